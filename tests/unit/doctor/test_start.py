"""A container that does not start: doctor starts it, reads LXC's log, and stops it again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from docker_lxc_gate.doctor import messages
from docker_lxc_gate.doctor.start import try_start
from docker_lxc_gate.errors import FactError, TransportError, UsageError
from docker_lxc_gate.machines.lock import Lock
from docker_lxc_gate.machines.runtime.lxc import Lxc
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.transport import Local
from tests.doubles.naming import naming

CAUSE = 'mount_entry: 2200 No such file or directory - Failed to mount "/dev/fuse" on "/x"'
#: pct, LXC's programs and systemctl, by their names: the state is a file, and so is what they did.
PROGRAM = """#!/bin/sh
cd {folder} || exit
did() {{ echo "$*" >>did; }}
case "${{0##*/}} $1" in
    "pct status") grep -q STOPPED state && echo status: stopped || echo status: running ;;
    lxc-info*) cat state; sed -i s/STOPPING/STOPPED/ state ;;
    "pct start" | lxc-start*)
        did "${{0##*/}} $*"
        stat -c 'INFO the log has mode %a' tmp/*
        cat log >&2
        cp next state ;;
    "pct shutdown" | lxc-stop*) did stopped; echo STOPPED >state ;;
    *) exit 3 ;;
esac
"""


class Node:
    """This machine with such programs, a container 950, and what is done with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("pct", "lxc-info", "lxc-start", "lxc-stop", "systemctl"):
            path = folder / name
            path.write_text(PROGRAM.format(folder=folder))
            path.chmod(0o755)
        (folder / "tmp").mkdir()
        self.will("STOPPED", "", state="STOPPED")

    def will(self, become: str, log: str, *, state: str = "STOPPED") -> None:
        """Decide what a start comes to, and what LXC says of it."""
        for name, text in (("state", state), ("next", become), ("log", log)):
            (self.folder / name).write_text(f"{text}\n")

    @property
    def did(self) -> list[str]:
        did = self.folder / "did"
        return did.read_text().splitlines() if did.exists() else []


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    @contextmanager
    def held(self: Lock, doing: str) -> Iterator[None]:
        assert "950" in doing
        yield

    monkeypatch.setattr(Lock, "held", held)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return Node(tmp_path)


RUNTIMES = pytest.mark.parametrize("runtime", [Pct(Local()), Lxc(Local())], ids=["pct", "lxc"])
STARTED = {
    "pct": "pct start 950 --debug",
    "lxc": "lxc-start -P /var/lib/lxc -n 950 -l DEBUG -o /dev/stderr",
}


@RUNTIMES
@pytest.mark.parametrize("later", ["STOPPED", "STOPPING"])
def test_start_that_fails_is_named_by_its_log_and_leaves_no_file(
    node: Node, runtime: Pct | Lxc, later: str
) -> None:
    node.will(later, f"DEBUG    x - a\n\x1b[31mERROR    {CAUSE}\x1b[0m")
    found = try_start(runtime, 950)
    assert [each.id for each in found.problems] == ["container-mount-entry-cut"]
    assert found.log == (f"ERROR    {CAUSE}",)
    assert found.exit_code == 1
    assert node.did == [STARTED[runtime.kind]]
    assert not list((node.folder / "tmp").iterdir())


@RUNTIMES
def test_start_that_fails_for_an_unknown_cause_is_undetermined_and_shows_the_end_of_the_log(
    node: Node, runtime: Pct | Lxc
) -> None:
    node.will("STOPPED", "odd\n" * 20 + "the very end")
    found = try_start(runtime, 950)
    assert (found.problems, found.exit_code) == ((), 3)
    assert found.log[-1] == "the very end"
    assert len(found.log) < 20


@RUNTIMES
def test_container_that_starts_is_stopped_again_and_its_log_names_nothing(
    node: Node, runtime: Pct | Lxc
) -> None:
    node.will("RUNNING", f"ERROR    {CAUSE}")
    found = try_start(runtime, 950)
    assert (found.problems, found.unseen, found.log, found.exit_code) == ((), (), (), 0)
    assert node.did == [STARTED[runtime.kind], "stopped"]


@RUNTIMES
def test_container_that_runs_is_not_touched(node: Node, runtime: Pct | Lxc) -> None:
    node.will("RUNNING", "", state="RUNNING")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(runtime), "configuration", lambda *_: None)
        with naming(UsageError, "950", "running", "--try-start"):
            try_start(runtime, 950)
    assert node.did == []


def test_container_that_does_not_exist_is_not_started(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lxc, "state", lambda *_: None)
    with naming(FactError, "no container 950"):
        try_start(Lxc(Local()), 950)
    assert node.did == []


@RUNTIMES
def test_container_that_started_is_stopped_again_if_the_connection_is_cut(
    node: Node, runtime: Pct | Lxc, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(self: Pct | Lxc, ctid: int, most: int) -> str:
        node.will("RUNNING", "", state="RUNNING")
        raise TransportError("cut")

    monkeypatch.setattr(type(runtime), "start_log", cut)
    with naming(TransportError, "cut"):
        try_start(runtime, 950)
    assert node.did == ["stopped"]


@RUNTIMES
def test_log_of_a_start_is_a_file_of_roots_of_which_the_end_is_read(
    node: Node, runtime: Pct | Lxc
) -> None:
    node.will("STOPPED", "x" * 300)
    assert runtime.start_log(950, 100) == "x" * 99 + "\n"
    assert "has mode 600\n" in runtime.start_log(950, messages.MOST)
