"""The witness reads what a machine says of itself, and knows what may differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scripted import Scripted

from remediation import witness
from remediation.errors import FactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from remediation.transport import CommandResult

SAID = """
== files
/etc\td 755 0:0 4096 |10.5 2
/etc/hosts.allow\tf 644 0:0 7 |11.5 3
/etc/link\tl 777 0:0 3 a b|12.5 4
/var/lib/docker/taken-back-1/x\tf 644 0:0 7 |13.5 5

== content
0123456789012345678901234567890123456789012345678901234567890123  /etc/hosts.allow

== attributes
# file: /etc/hosts.allow
user.x=0x31
user.y=0x32

# file: /etc/link
user.z=0x33

== package
bash:amd64\tii  5.2

== policy
lxc-phoenix-v2\tenforce
hash of lxc-phoenix-v2\tabc
hash of firefox\tdef

== unit
docker.service\tenabled enabled

== active
session-1.scope\tloaded active

== mount
/\t/dev/vda ext4 rw
/\toverlay overlay rw
"""


def record(said: str = SAID, code: int = 0) -> dict[str, str]:
    class Asked(Scripted):
        def run(
            self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
        ) -> CommandResult:
            self._answers[tuple(argv)] = (code, said.encode(), b"find: it went wrong")
            return super().run(argv, stdin=stdin, timeout=timeout)

    return witness.record(Asked({}))


def test_every_part_is_read() -> None:
    found = record()
    assert found["file /etc/link"] == "l 777 0:0 3 a b|12.5 4"
    assert found["content of /etc/hosts.allow"].startswith("0123")
    assert found["attributes of /etc/hosts.allow"] == "user.x=0x31\nuser.y=0x32"
    assert found["attributes of /etc/link"] == "user.z=0x33"
    assert found["package bash:amd64"] == "ii  5.2"
    assert found["policy lxc-phoenix-v2"] == "enforce"
    assert found["unit docker.service"] == "enabled enabled"
    assert found["mount /"] == "/dev/vda ext4 rw; overlay overlay rw"


@pytest.mark.parametrize(("said", "code"), [(SAID, 9), ("", 0), (SAID.replace("bash", ""), 1)])
def test_what_cannot_be_seen_is_no_record(said: str, code: int) -> None:
    with pytest.raises(FactError, match="could not be looked at"):
        record(said, code)


def test_nothing_compared_is_no_comparison() -> None:
    with pytest.raises(FactError, match="nothing"):
        witness.differences({}, {})
    with pytest.raises(FactError, match="nothing"):
        witness.differences(record(), {})


@pytest.mark.parametrize(
    ("now", "differs"),
    [
        ("/etc/hosts.allow\tf 644 0:0 7 |11.5 99", False),  # put back: another inode
        ("/etc/hosts.allow\tf 644 0:0 7 |11.6 3", True),
        ("/etc/hosts.allow\tf 600 0:0 7 |11.5 3", True),
        ("/etc/hosts.allow\tf 644 0:1 7 |11.5 3", True),
        ("/etc/hosts.allow\tl 777 0:0 7 elsewhere|11.5 3", True),
        ("/etc/hosts.allow\tf 644 0:0 7 |11.5 3\n/etc/new\tf 644 0:0 0 |1.0 9", True),
        ("", True),
    ],
)
def test_what_differs_after_an_undoing(now: str, differs: bool) -> None:
    after = record(SAID.replace("/etc/hosts.allow\tf 644 0:0 7 |11.5 3", now))
    lines = witness.differences(witness.undone(record()), witness.undone(after))
    assert bool(lines) is differs, lines


@pytest.mark.parametrize(
    ("was", "is_", "differs"),
    [
        ("/etc\td 755 0:0 4096 |10.5 2", "/etc\td 755 0:0 8192 |99.5 2", False),
        ("/etc\td 755 0:0 4096 |10.5 2", "/etc\td 700 0:0 4096 |10.5 2", True),
        ("taken-back-1/x\tf 644 0:0 7 ", "taken-back-1/x\tf 644 0:0 8 ", False),
        ("session-1.scope\tloaded active", "session-2.scope\tloaded active", False),
        ("hash of firefox\tdef", "hash of firefox\tghi", False),
        ("hash of lxc-phoenix-v2\tabc", "hash of lxc-phoenix-v2\tabd", True),
        ("lxc-phoenix-v2\tenforce", "lxc-phoenix-v2\tcomplain", True),
        ("user.y=0x32", "user.y=0x33", True),
        ("ii  5.2", "ii  5.3", True),
        ("enabled enabled", "disabled enabled", True),
        ("overlay overlay rw", "overlay overlay ro", True),
    ],
)
def test_what_may_differ_and_what_may_not(was: str, is_: str, differs: bool) -> None:
    assert was in SAID
    after = record(SAID.replace(was, is_, 1))
    lines = witness.differences(witness.undone(record()), witness.undone(after))
    assert bool(lines) is differs, lines


def test_unchanged_is_stricter_but_not_of_what_the_machine_writes() -> None:
    before = {f"node: {key}": fact for key, fact in record().items()}
    inode = dict(before) | {"node: file /etc/hosts.allow": "f 644 0:0 7 |11.5 99"}
    volatile = dict(before) | {"node: file /var/lib/docker/x": "f", "node: active y": "z"}
    assert witness.differences(witness.unchanged(before), witness.unchanged(inode))
    assert not witness.differences(witness.unchanged(before), witness.unchanged(volatile))
