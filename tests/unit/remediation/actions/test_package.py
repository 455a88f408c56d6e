"""What is taken away again is only what came with the package."""

from __future__ import annotations

from docker_lxc_gate.facts.apt import LOOKING
from remediation.actions import package
from remediation.actions.package import Package, PackageState
from tests.doubles.scripted import Scripted

DPKG = ("dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\\n")
APT = (
    *("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", "-q", "-y"),
    *("-o", "DPkg::Lock::Timeout=600", "-o", "DPkg::Post-Invoke::=sync -f / /etc /usr /var"),
    *("-o", "DPkg::Options::=--force-confold"),
)
THERE = ("sh", "-c", package._THERE, "there", *package.SETTINGS)
_LOOK = (*APT, *LOOKING, "-s")
SIMULATE = (*_LOOK, "install", "--no-install-recommends", "--no-upgrade", "fuse-overlayfs")
ACTION = Package("package", "package", "STEP-3.1", "fuse-overlayfs")
PLAN = b"""Inst libfuse3-4 [3.17.1-1] (3.17.2-1 Debian:13 [amd64])
Inst fuse3 (3.17.2-1 Debian:13 [amd64])
Inst fuse-overlayfs (1.14-1 Debian:13 [amd64])
Conf libfuse3-4 (3.17.2-1 Debian:13 [amd64])
"""
UNKNOWN = (0, b"dpkg ii \n", b"")


def test_upgrade_is_not_an_addition() -> None:
    node = Scripted({DPKG: UNKNOWN, SIMULATE: (0, PLAN, b""), THERE: (0, b"", b"")})
    assert ACTION.capture(node) == PackageState("", {"fuse-overlayfs": "", "fuse3": ""})
    assert ACTION.check(node) is not None


def test_side_effects_name_what_is_upgraded_by_what_comes_beside() -> None:
    both = Package("package", "package", "STEP-3.1", "fuse-overlayfs", beside=("openssl",))
    upgrade = b"Inst libssl3t64 [3.5.1] (3.5.4 Debian:13 [amd64])\n"
    node = Scripted({(*SIMULATE, "openssl"): (0, PLAN + upgrade, b"")})
    (sentence,) = map(str, both.side_effects(node, None))
    assert sentence.startswith("libfuse3-4, libssl3t64: upgraded in ")


def test_side_effects_while_apts_lists_are_empty_say_that_they_are_not_known() -> None:
    node = Scripted({SIMULATE: (100, b"", b"E: Unable to locate package fuse-overlayfs\n")})
    (sentence,) = map(str, ACTION.side_effects(node, None))
    assert "what it upgrades in scripted is not known" in sentence
