"""Proxmox writes a container's file anew at every stop; a rollback leaves it as it was before."""

from pathlib import Path

import pytest

from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.runtime.pct import Pct
from remediation import docker_in_lxc as it
from remediation import plan_file
from remediation.actions.container_power import started
from tests.doubles.answering import Answer, Answering
from tests.doubles.flag import journal
from tests.doubles.naming import naming
from tests.doubles.nodes.machines import Container
from tests.doubles.nodes.world import OfFolder

#: As nobody's pct writes it: not sorted, a comment in the middle, a blank line, one that is none.
WRITTEN = "rootfs: a\n# von Hand: Büro\n\narch: amd64\nrubbish\n".encode()


def answer(argv: list[str]) -> Answer:
    """The inside of a container that has booted, and whose kernel still has Docker's bridge."""
    if "is-system-running" in argv[2]:
        return b"running\n"
    return int("docker0" not in argv[2]), b"", b""  # its daemon is gone, its bridge is not


@pytest.fixture
def container(tmp_path: Path) -> Container:
    (tmp_path / "950.conf").write_bytes(WRITTEN)
    made = Container(tmp_path / "950.conf")
    made.start()
    return made


@pytest.fixture
def node(container: Container, tmp_path: Path) -> OfFolder:
    return OfFolder(container, tmp_path / "950.conf", Answering(answer, "container 950"))


def _look(path: Path) -> tuple[bytes, int]:
    return path.read_bytes(), path.stat().st_mtime_ns


def test_docker_restart_on_the_way_back_leaves_the_file(
    node: OfFolder, container: Container
) -> None:
    before = _look(node.config)
    (gone,) = it._inside(node, 950, lambda _: None, plan_file.find())[-1].then_back
    gone.run({})
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


def test_pct_shutdown_waits_for_the_hook_that_writes_the_file() -> None:
    def pve(words: list[str]) -> Answer:
        match words:
            case ["sh", "-c", _, "control"]:
                return b"755\n"
            case ["sh", "-c", _, "ended", "pve-container@950.service"]:
                return 1, b"", b"it is still active"
        assert words[0] == "pct", words
        return b""

    node = Answering(pve)
    with naming(CommandFailed, "journalctl -u pve-container@950.service"):
        Pct(node).shutdown(950)
    assert [words[0] for words in node.ran][-2:] == ["pct", "sh"]
