"""Whether a stopped container can start, and what to do: before anybody is told to start it."""

from __future__ import annotations

import pytest

from facts import startable
from targets.errors import CommandFailed
from targets.runtime.lxc import Lxc
from tests.doubles.canned import Machine, Runtime
from tests.unit.facts.test_apparmor import PROFILES

CONF = "/etc/pve/lxc/950.conf"
LOADED = "lxc-phoenix-v2 (enforce)\nlxc_phoenix_v2 (enforce)\n"
STARTER = "/usr/bin/lxc-start (enforce)\n"


def runtime(written: str, loaded: str = LOADED + STARTER) -> Runtime:
    return Runtime(Machine({CONF: written, PROFILES: loaded}))


@pytest.mark.parametrize(
    ("written", "cause"),
    [
        ("lxc.mount.entry: /dev/fuse\n", "the mount entry '/dev/fuse' lacks target, type, options"),
        ("features: nesting=1,fusion=1\n", "unable to parse value of 'features' - format error: "),
        (
            "arch: amd64\nlxc.aa_profile: x\n",
            f"write lxc.apparmor.profile ({CONF}, line 2)",
        ),
        ("lxc.apparmor.profile: lxc-other\n", "the kernel does not know its profile lxc-other"),
        ("lxc.apparmor.profile: lxc_phoenix_v2\n", "its profile lxc_phoenix_v2 cannot be entered"),
    ],
)
def test_hindrance_is_seen_in_the_file_and_the_kernel(written: str, cause: str) -> None:
    assert cause in startable.hindrance(runtime(written), 950)


@pytest.mark.parametrize(
    "written",
    [
        "features: nesting=1,fuse=yes\n",
        "features: fusion=1\nfeatures: fuse=1\n",
        "arch: amd64\n[pre]\nfeatures: fusion=1\nlxc.aa_profile: x\n",
        "lxc.apparmor.profile: lxc-phoenix-v2\n",
        "lxc.apparmor.profile: generated\n",
        "lxc.apparmor.profile: unconfined\n",
    ],
)
def test_hindrance_none_is_seen_where_there_is_none(written: str) -> None:
    assert startable.hindrance(runtime(written), 950) == ""


def test_hindrance_a_profile_of_any_name_is_entered_by_a_starter_without_a_profile() -> None:
    assert startable.hindrance(runtime("lxc.apparmor.profile: lxc_phoenix_v2\n", LOADED), 950) == ""


def test_hindrance_of_plain_lxc_is_in_its_own_file() -> None:
    plain = "/var/lib/lxc/950/config"
    node = Machine({plain: "lxc.mount.entry = /dev/fuse\n", PROFILES: LOADED})
    assert f"({plain}, line 1)" in startable.hindrance(Lxc(node), 950)


PROFILE_ABSENT = "sync_wait: 34 An error occurred in another process\n"


@pytest.mark.parametrize(
    ("written", "cause"),
    [
        ("lxc.apparmor.profile: lxc-other\n", "950 cannot start: the kernel does not know its pro"),
        ("arch: amd64\n", ""),
    ],
)
def test_start_that_fails_names_the_cause_that_pct_does_not(written: str, cause: str) -> None:
    pct = runtime(written)
    assert isinstance(pct.node, Machine)
    pct.node.files["/etc/pve/ha/resources.cfg"] = None
    pct.node.answers["pct start 950"] = (255, "", PROFILE_ABSENT)
    with pytest.raises(CommandFailed, match="sync_wait: 34") as raised:
        startable.start(pct, 950)
    assert (cause or PROFILE_ABSENT.strip()) in str(raised.value)
    assert ("cannot start" in str(raised.value)) is bool(cause)


def test_how_a_container_that_cannot_start_is_mended_first() -> None:
    pct, plain = runtime(""), Lxc(Machine())
    assert startable.how(pct, 950, "") == "start it (pct start 950)"
    assert startable.how(pct, 950, "x") == "correct that, then start it (pct start 950)"
    assert startable.how(plain, 950, "") == "start it (lxc-start -n 950)"
