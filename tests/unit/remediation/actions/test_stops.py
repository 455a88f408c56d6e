"""Proxmox writes a container's file anew at every stop; a rollback leaves it as it was before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from remediation import docker_in_lxc as it
from remediation.actions.container_power import started
from targets.errors import CommandFailed
from targets.runtime.pct import Pct
from targets.transport import CommandResult, Transport
from tests.doubles.flag import journal
from tests.doubles.naming import naming
from tests.doubles.nodes.machines import Container
from tests.doubles.nodes.world import OfFolder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


#: As nobody's pct writes it: not sorted, a comment in the middle, a blank line, one that is none.
WRITTEN = "rootfs: a\n# von Hand: Büro\n\narch: amd64\nrubbish\n".encode()


class Guest(Transport):
    """The inside of a container that has booted, and whose kernel still has Docker's bridge."""

    machine = "container 950"

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        del stdin, timeout
        script = argv[2]
        if "is-system-running" in script:
            out, code = b"running\n", 0
        else:
            out, code = b"", int("docker0" not in script)  # its daemon is gone, its bridge is not
        return CommandResult(tuple(argv), code, out, b"", self.machine, 0.0, 0.0)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    (tmp_path / "950.conf").write_bytes(WRITTEN)
    made = Container(tmp_path / "950.conf")
    made.start()
    return made


@pytest.fixture
def node(container: Container, tmp_path: Path) -> OfFolder:
    return OfFolder(container, tmp_path / "950.conf", Guest())


def _look(path: Path) -> tuple[bytes, int]:
    return path.read_bytes(), path.stat().st_mtime_ns


def test_container_double_stopped_rewrites_its_file(node: OfFolder) -> None:
    node.shutdown(950)
    assert node.config.read_bytes() == b"# von Hand%3A B%C3%BCro\narch: amd64\nrootfs: a\n"


def test_docker_restart_on_the_way_back_leaves_the_file(
    node: OfFolder, container: Container
) -> None:
    before = _look(node.config)
    (gone,) = it._inside(node, 950, lambda _: None)[-1].then_back
    gone.run()
    assert _look(node.config) == before
    assert container.effective == repr(WRITTEN)


def test_started_container_stopped_again_leaves_the_file(
    node: OfFolder, container: Container, tmp_path: Path
) -> None:
    before = _look(node.config)
    container.effective = None
    with started(node, 950, journal(tmp_path), lambda _: None):
        assert node.state(950) == "running"
    assert node.state(950) == "stopped"
    assert _look(node.config) == before


class Stopping(Transport):
    """A node whose pct stops a container, and whose unit of it has ended, or has not."""

    machine = "node"

    def __init__(self, *, ended: bool) -> None:
        self._ended = ended
        self.ran: list[tuple[str, ...]] = []

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        del stdin, timeout
        words = tuple(argv)
        self.ran.append(words)
        code, err = 0, b""
        match words:
            case ("env", "LC_ALL=C", "cat", "--", _):
                code, err = 1, b"No such file or directory"
            case ("sh", "-c", _, "ended", "pve-container@950.service"):
                code, err = int(not self._ended), b"it is still active"
            case _:
                assert words[0] == "pct", words
        return CommandResult(words, code, b"", err, self.machine, 0.0, 0.0)


@pytest.mark.parametrize("act", ["stop", "shutdown"])
@pytest.mark.parametrize("ended", [True, False])
def test_pct_stop_waits_for_the_hook_that_writes_the_file(act: str, ended: bool) -> None:
    node = Stopping(ended=ended)
    if ended:
        getattr(Pct(node), act)(950)
        assert [words[0] for words in node.ran][-2:] == ["pct", "sh"]
        return
    with naming(CommandFailed, "journalctl -u pve-container@950.service"):
        getattr(Pct(node), act)(950)
