"""What a change depends on: the room of a log, the containers it reaches."""

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import prerequisites
from docker_lxc_gate.facts.denial import denial_log
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.runtime.lxc import Lxc
from docker_lxc_gate.machines.runtime.pct import Pct
from remediation.desired import PROFILE
from tests.doubles.naming import naming
from tests.doubles.scripted import Scripted

GIB = 1 << 30
PLACES = {"auditd": "/var/log/audit", "kernel": "/run"}


def room(answer: str, source: str = "auditd", code: int = 0) -> prerequisites.Room:
    node = Scripted({("sh", "room", PLACES[source]): (code, answer.encode(), b"")})
    return prerequisites.log_room(node, source)


def test_log_room_needed_is_the_least_or_auditds_own_limit() -> None:
    found = room(f"{GIB} {8 * GIB} /var/log\n")
    assert (found.place, found.free, found.needed) == ("/var/log", GIB, prerequisites.LEAST_ROOM)
    assert room(f"{GIB} {8 * GIB} /var/log\n75\n").needed == 75 << 20
    assert room(f"{GIB} {8 * GIB} /\n10%\n").needed == 8 * GIB // 10
    assert room(f"{GIB} {8 * GIB} /run\n75\n", "kernel").needed == prerequisites.LEAST_ROOM
    assert room(f"0 {8 * GIB} /var/log\n").free == 0


def test_log_room_without_an_answer_is_an_error() -> None:
    with pytest.raises(FactError):
        room("df: no such file\n")
    with pytest.raises(CommandFailed):
        room(f"{GIB} {8 * GIB} /var/log\n", code=1)


CONFIGURATIONS = f"""\
/etc/pve/lxc/950.conf:features: nesting=1,keyctl=1,fuse=1
/etc/pve/lxc/950.conf:lxc.apparmor.profile: {PROFILE}
/etc/pve/lxc/951.conf:lxc.apparmor.profile: {PROFILE}
/etc/pve/lxc/952.conf:features: nesting=1,keyctl=1
/etc/pve/lxc/953.conf:features: nesting=1,keyctl=0,fuse=0
/etc/pve/lxc/954.conf:arch: amd64
/etc/pve/lxc/954.conf:[snap]
/etc/pve/lxc/954.conf:lxc.apparmor.profile: {PROFILE}
/etc/pve/lxc/955.conf:features: nesting=1,fuse=1
/etc/pve/lxc/956.conf:features: nesting=0,keyctl=1,fuse=1
"""
LINES = ("sh", "-c", "grep -aH '' /etc/pve/lxc/*.conf")
LXC_LS = ("lxc-ls", "-P", "/var/lib/lxc", "--active", "-1")
ACTIVE = "950\n951\n953\n954\n"


@pytest.fixture(autouse=True)
def running(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The containers that the kernel has under the profile, besides what is written."""
    names: set[str] = set()
    monkeypatch.setattr(denial_log, "running_under", lambda *_: frozenset(names))
    return names


def reached(
    configurations: str = CONFIGURATIONS,
    active: str = ACTIVE,
    *,
    runtime: type[Pct | Lxc] = Pct,
    lines: tuple[str, ...] = LINES,
) -> tuple[prerequisites.Affected, ...]:
    answers = {lines: configurations, LXC_LS: active}
    node = Scripted({argv: (0, text.encode(), b"") for argv, text in answers.items()})
    found = prerequisites.affected(runtime(node), PROFILE, 950)
    assert len(node.ran) == 2
    return found


def test_affected_containers_are_those_under_the_profile_or_made_for_docker() -> None:
    assert list(map(str, reached())) == [
        "950 (running, under the profile)",
        "951 (running, under the profile)",
        "952 (stopped, made for Docker)",
        "955 (stopped, made for Docker)",
    ]
    with naming(FactError, "container 950"):
        reached("")


def test_affected_containers_by_the_kernel_alone_are_among_them(running: set[str]) -> None:
    running |= {"953", "web"}
    assert {"953 (running, under the profile)", "web (running, under the profile)"} <= {
        *map(str, reached())
    }


PLAIN = """\
/var/lib/lxc/950/config:lxc.apparmor.profile = lxc-phoenix-v2
/var/lib/lxc/web/config:# lxc.apparmor.profile = other
/var/lib/lxc/web/config:lxc.apparmor.profile = lxc-phoenix-v2
/var/lib/lxc/docker/config:lxc.apparmor.allow_nesting = 1
/var/lib/lxc/docker/config:lxc.mount.entry = /dev/fuse dev/fuse none bind,create=file 0 0
/var/lib/lxc/other/config:lxc.apparmor.allow_nesting = 1
"""
OF_PLAIN = ("sh", "-c", "grep -aH '' /var/lib/lxc/*/config")


def test_affected_plain_containers_are_those_under_the_profile_or_made_for_docker() -> None:
    found = reached(PLAIN, "950\nother\nweb\n", runtime=Lxc, lines=OF_PLAIN)
    assert list(map(str, found)) == [
        "950 (running, under the profile)",
        "web (running, under the profile)",
        "docker (stopped, made for Docker)",
    ]
    assert found[0].ctid == 950
    with naming(FactError, "container 950"):
        reached("", "950\n", runtime=Lxc, lines=OF_PLAIN)


@pytest.mark.parametrize("refused", [LINES, LXC_LS])
def test_affected_where_something_cannot_be_listed_is_an_error(refused: tuple[str, ...]) -> None:
    answers = {LINES: (0, CONFIGURATIONS), LXC_LS: (0, ACTIVE)}
    answers[refused] = (1, answers[refused][1])
    node = Scripted({argv: (n, text.encode(), b"no") for argv, (n, text) in answers.items()})
    with pytest.raises(CommandFailed):
        prerequisites.affected(Pct(node), PROFILE, 950)
