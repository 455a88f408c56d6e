"""Other containers that the change reaches: who they are, who is at risk, what cannot be listed."""

from __future__ import annotations

import pytest

from facts import denials, neighbours
from remediation.desired import PROFILE
from steps import prerequisites as steps
from targets.errors import CommandFailed, FactError
from targets.target import Target
from tests.doubles.scripted import Scripted

CONFIGURATIONS = f"""\
/etc/pve/lxc/950.conf:features: nesting=1,keyctl=1,fuse=1
/etc/pve/lxc/950.conf:lxc.apparmor.profile: {PROFILE}
/etc/pve/lxc/951.conf:lxc.apparmor.profile: {PROFILE}
/etc/pve/lxc/952.conf:features: nesting=1,keyctl=1
/etc/pve/lxc/953.conf:features: nesting=1
/etc/pve/lxc/954.conf:arch: amd64
/etc/pve/lxc/954.conf:[snap]
/etc/pve/lxc/954.conf:lxc.apparmor.profile: {PROFILE}
"""
LISTING = """\
VMID       Status     Lock         Name                
950        running                 ct950               
951        running    backup       ct951               
952        stopped                 ct952               
953        running                 ct953               
954        running                 ct954               
"""  # noqa: W291 - as pct prints it
FIND = ("find", "-L", "/etc/pve/lxc", "-name", "*.conf", "-exec", "grep", "-aH", "", "{}", "+")


@pytest.fixture(autouse=True)
def running(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The containers that the kernel has under the profile, besides what is written."""
    names: set[str] = set()
    monkeypatch.setattr(denials, "running_under", lambda *_: frozenset(names))
    return names


def reached(
    configurations: str = CONFIGURATIONS, listing: str = LISTING
) -> tuple[neighbours.Affected, ...]:
    answers = {FIND: configurations, ("pct", "list"): listing}
    node = Scripted({argv: (0, text.encode(), b"") for argv, text in answers.items()})
    found = neighbours.affected(node, PROFILE, 950)
    assert len(node.ran) == 2
    return found


def test_whom_the_change_reaches() -> None:
    assert list(map(str, reached())) == [
        "950 (running, under the profile)",
        "951 (running, under the profile)",
        "952 (stopped, made for Docker)",
    ]
    with pytest.raises(FactError, match="lacks container 950"):
        reached("")
    with pytest.raises(FactError, match="lacks container 950"):
        reached(listing="")


def test_whom_the_change_reaches_by_the_kernel_though_no_file_says_so(running: set[str]) -> None:
    running |= {"953", "web"}
    assert list(map(str, reached()))[3:] == [
        "953 (running, under the profile)",
        "web (running, under the profile)",
    ]
    with pytest.raises(AssertionError, match=r"3 other container\(s\) that run: 951 .*953 .*web"):
        steps.others_are_safe(reached(), 950, Target("pve1", 950), may_change=True)


def test_who_is_made_for_docker() -> None:
    others = """\
/etc/pve/lxc/950.conf:arch: amd64
/etc/pve/lxc/951.conf:features: nesting=1,fuse=1
/etc/pve/lxc/952.conf:features: nesting=1,keyctl=0,fuse=0
/etc/pve/lxc/953.conf:features: keyctl=1,fuse=1
/etc/pve/lxc/954.conf:features: nesting=0,keyctl=1
/etc/pve/lxc/955.conf:features: nesting=1,keyctl=1
"""
    listing = "VMID Status\n\n950 running\nlonely\n951 stopped\n"
    assert list(map(str, reached(others, listing))) == [
        "951 (stopped, made for Docker)",
        "955 (in no known state, made for Docker)",
    ]


PLAIN = """\
/var/lib/lxc/950/config:lxc.apparmor.profile = lxc-phoenix-v2
/var/lib/lxc/web/config:# lxc.apparmor.profile = other
/var/lib/lxc/web/config:lxc.apparmor.profile = lxc-phoenix-v2
/var/lib/lxc/docker/config:lxc.apparmor.allow_nesting = 1
/var/lib/lxc/docker/config:lxc.mount.entry = /dev/fuse dev/fuse none bind,create=file 0 0
/var/lib/lxc/other/config:lxc.apparmor.allow_nesting = 1
"""
OF_PLAIN = (
    *("find", "-L", "/var/lib/lxc", "-mindepth", "2", "-maxdepth", "2", "-name", "config"),
    *("-exec", "grep", "-aH", "", "{}", "+"),
)
LXC_LS = ("lxc-ls", "-P", "/var/lib/lxc", "--fancy", "--fancy-format", "NAME,STATE")


def test_whom_it_reaches_on_plain_lxc() -> None:
    listing = (
        "NAME   STATE   \n950    RUNNING \nweb    RUNNING \ndocker STOPPED \nother  RUNNING \n"
    )

    def found(listing: str) -> tuple[neighbours.Affected, ...]:
        node = Scripted({OF_PLAIN: (0, PLAIN.encode(), b""), LXC_LS: (0, listing.encode(), b"")})
        return neighbours.affected_plain(node, PROFILE, 950)

    assert list(map(str, found(listing))) == [
        "950 (running, under the profile)",
        "docker (stopped, made for Docker)",
        "web (running, under the profile)",
    ]
    assert found(listing)[0].ctid == 950
    with pytest.raises(FactError, match="lacks container 950"):
        found("NAME STATE\n")


@pytest.mark.parametrize("refused", [FIND, ("pct", "list")])
def test_what_cannot_be_listed(refused: tuple[str, ...]) -> None:
    answers = {FIND: (0, CONFIGURATIONS), ("pct", "list"): (0, LISTING)}
    answers[refused] = (1, answers[refused][1])
    node = Scripted({argv: (n, text.encode(), b"no") for argv, (n, text) in answers.items()})
    with pytest.raises(CommandFailed):
        neighbours.affected(node, PROFILE, 950)


def test_another_that_runs_needs_consent() -> None:
    settings = Target("pve1", 950)
    with pytest.raises(AssertionError, match=r"1 other container\(s\) that run: 951 \(running"):
        steps.others_are_safe(reached(), 950, settings, may_change=True)
    steps.others_are_safe(reached(), 950, Target("pve1", 950, reserved=(951,)), may_change=True)
    steps.others_are_safe(reached(), 950, settings, may_change=False)
    busy = CONFIGURATIONS.replace(f"951.conf:lxc.apparmor.profile: {PROFILE}", "951.conf:arch: x")
    steps.others_are_safe(reached(busy), 950, settings, may_change=True)
    stopped = LISTING.replace("951        running", "951        stopped")
    steps.others_are_safe(reached(listing=stopped), 950, settings, may_change=True)
