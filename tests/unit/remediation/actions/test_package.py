"""What is taken away again is only what came with the package."""

import os
from pathlib import Path

import pytest

from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Local
from remediation.actions import package
from remediation.actions.package import Package, PackageState
from tests.doubles.samples import sample
from tests.doubles.scripted import Scripted

DPKG = ("dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\\n")
THERE = ("sh", "-c", package._THERE, "there", *package.SETTINGS)
SIMULATE = ("sh", "-c", package._CHOSEN, "simulate", "fuse-overlayfs")
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


#: Knows the packages in ``$HAS``, and prints what it is asked of them.
APT_GET = sample("programs/apt-get")


def with_apt_get(folder: Path, has: str, *words: str) -> tuple[CommandResult, list[str]]:
    """Run a script with an apt-get of ours; return the result, and what apt was asked."""
    apt, log = folder / "apt-get", folder / "log"
    apt.write_text(APT_GET)
    apt.chmod(0o755)
    log.touch()
    environment = (f"PATH={folder}:{os.environ['PATH']}", f"HAS={has}", f"LOG={log}")
    done = Local().run(["env", *environment, "sh", "-c", *words])
    return done, log.read_text().splitlines()


@pytest.mark.parametrize(
    ("verb", "names", "has", "asked"),
    [
        ("simulate", "a b c", "a b c", ["-s a b c"]),
        ("simulate", "a b c", "a c", ["-s a b c", "-s a b", "-s a c", "-s a c"]),
        ("simulate", "a", "", ["-s a", "-s a"]),
        ("install", "a b", "a", ["a b", "-s a b", "-s a b", "a"]),
        ("install", "a b", "a b", ["a b"]),
    ],
)
def test_chosen_packages_are_those_that_the_release_has(
    tmp_path: Path, verb: str, names: str, has: str, asked: list[str]
) -> None:
    done, ran = with_apt_get(tmp_path, has, package._CHOSEN, verb, *names.split())
    assert [line.replace("install ", "") for line in ran] == asked
    assert done.exit_code == (0 if has else 100)
    assert done.stderr == b"none\n" * (not has or (len(asked) > 1 and verb == "install"))
    assert done.text.splitlines() == [f"Inst {name} (1)" for name in has.split()]


@pytest.mark.parametrize(
    ("states", "asked"),
    [("ii |ii |", []), ("ii |iU |", ["-s a b"]), ("ii |hi |", ["-s a b"]), ("ii |", ["-s a b"])],
)
def test_simulation_of_packages_that_are_all_installed_asks_apt_nothing(
    tmp_path: Path, states: str, asked: list[str]
) -> None:
    known = int(states.count("|") < 2)  # dpkg-query ends with 1 if it does not know one
    (tmp_path / "dpkg-query").write_text(f"#!/bin/sh\necho '{states}'\nexit {known}\n")
    (tmp_path / "dpkg-query").chmod(0o755)
    done, ran = with_apt_get(tmp_path, "a b", package._CHOSEN, "simulate", "a", "b")
    assert [line.replace("install ", "") for line in ran] == asked
    assert done.ok
    assert bool(done.text) is bool(asked)


@pytest.mark.parametrize(
    ("ours", "names", "told", "ran"),
    [
        ("a b", "a b", (0, "Purg a (1) Purg b (1)"), ["-s purge a b", "purge a b"]),
        ("a", "a b c", (3, "b c"), ["-s purge a b c"]),
        ("a d", "a d", (100, ""), ["-s purge a d"]),
    ],
)
def test_alone_touches_nothing_but_what_is_ours(
    tmp_path: Path, ours: str, names: str, told: tuple[int, str], ran: list[str]
) -> None:
    words = (package._ALONE, "alone", ours, "-o", "DPkg::X::=true", "purge", *names.split())
    done, asked = with_apt_get(tmp_path, "a b c", *words)
    assert ((done.exit_code, " ".join(done.text.split())), asked) == (told, ran)


def test_alone_runs_nothing_if_the_plan_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "awk").write_text("#!/bin/sh\nexit 2\n")
    (tmp_path / "awk").chmod(0o755)
    words = (package._ALONE, "alone", "a", "purge", "a", "b")
    done, asked = with_apt_get(tmp_path, "a b", *words)
    assert (done.exit_code, asked) == (2, ["-s purge a b"])
