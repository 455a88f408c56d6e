"""What the node reads below a guest's root: by no link of the guest does it leave that."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.runtime import guest_root
from docker_lxc_gate.machines.runtime.guest_root import Inode
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.transport import Local
from tests.doubles.answering import Answer, Answering
from tests.doubles.canned import Runtime
from tests.doubles.naming import naming
from tests.doubles.programs.guest import Guest, guest


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Guest]:
    """A container's root with what a hostile guest may put there."""
    (tmp_path / "node").mkdir()
    (tmp_path / "node/secret").write_text("the node's")
    root = tmp_path / "root"
    for folder in ("dev", "etc", "proc"):
        (root / folder).mkdir(parents=True)
    (root / "etc/file").touch()
    os.mkfifo(root / "etc/pipe")
    (root / "etc/out").symlink_to(tmp_path / "node")
    (root / "etc/up").symlink_to("../../../../../../../../" + str(tmp_path / "node"))
    (root / "etc/loop").symlink_to("loop")
    (root / "etc/in").symlink_to("/etc")
    with guest(root) as started:
        yield started


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/file", Inode("a file")),
        ("/etc", Inode("a directory")),
        ("/etc/pipe", Inode("a pipe")),
        ("/etc/out", Inode("a symbolic link")),
        ("/etc/in/file", Inode("a file")),
        ("/../../etc/file", Inode("a file")),
        ("/etc/nosuch", None),
        ("/etc/file/x", None),
        ("/etc/out/secret", None),
        ("/etc/up/secret", None),
        ("/proc/self/root/etc/passwd", None),
    ],
)
def test_look_through_links_stays_in_root(inside: Guest, path: str, expected: Inode | None) -> None:
    assert guest_root.look(inside, 950, path) == expected


def test_look_through_links_without_end_is_an_error(inside: Guest) -> None:
    with naming(FactError, "/etc/loop/x", os.strerror(errno.ELOOP)):
        guest_root.look(inside, 950, "/etc/loop/x")


def test_look_at_a_device_returns_its_numbers(inside: Guest) -> None:
    try:
        os.mknod(inside.root / "dev/fuse", 0o666 | stat.S_IFCHR, os.makedev(10, 229))
    except PermissionError as error:
        pytest.skip(f"mknod: {error}")
    found = guest_root.look(inside, 950, "/dev/fuse")
    assert found == Inode("a character device", 10, 229)
    assert str(found) == "a character device 10:229"


def test_look_below_the_nodes_own_root_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a runtime that takes a process of the node's for a container's."""
    monkeypatch.setattr(Pct, "init_pid", lambda *_: os.getpid())
    with naming(FactError, "mnt namespace"):
        guest_root.look(Pct(Local()), 950, "/etc/passwd")


def test_look_below_a_process_that_has_ended_names_it(
    inside: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guest, "init_pid", lambda *_: 1 << 22)
    with naming(FactError, "process 4194304"):
        guest_root.look(inside, 950, "/etc")


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ((127, b"", b"perl: not found"), "perl: not found"),
        (b"", "''"),
        (b"100000 x 1\n", "100000 x 1"),
        (b"0100000 1 1\n", "0100000"),
    ],
)
def test_look_by_an_unforeseen_perl_is_an_error(answer: Answer, named: str) -> None:
    node = Answering(lambda words: answer if words[0] == "perl" else b"7\n")
    with naming(FactError, "/x", named):
        guest_root.look(Runtime(node), 950, "/x")
