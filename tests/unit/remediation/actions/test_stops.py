"""Proxmox writes a container's file anew at every stop; a rollback leaves it as it was before."""

from pathlib import Path

from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.runtime.pct import Pct
from remediation import docker_in_lxc, plan_file
from remediation.actions.container_power import started
from tests.doubles.answering import Answer, Answering
from tests.doubles.flag import journal
from tests.doubles.naming import naming
from tests.doubles.nodes.world import OfFolder, World, world
from tests.doubles.states import Laid

#: As nobody's pct writes it: not sorted, a comment in the middle, a blank line, one that is none.
WRITTEN = "rootfs: a\n# von Hand: Büro\n\narch: amd64\nrubbish\n".encode()


def answer(argv: list[str]) -> Answer:
    """The inside of a container that has booted, and whose kernel still has Docker's bridge."""
    if "is-system-running" in argv[2]:
        return b"running\n"
    return int("docker0" not in argv[2]), b"", b""  # its daemon is gone, its bridge is not


def runtime(it: World) -> OfFolder:
    return OfFolder(it.node, it.config, Answering(answer, "container 950"))


def test_docker_restart_on_the_way_back_leaves_the_file(tmp_path: Path) -> None:
    it = world(str(tmp_path), Laid(content=WRITTEN), running=True)
    before = it.look()
    steps = docker_in_lxc._inside(runtime(it), 950, lambda _: None, plan_file.find())
    (gone,) = steps[-1].then_back
    gone.run({})
    assert it.look() == before


def test_started_container_stopped_again_leaves_the_file(tmp_path: Path) -> None:
    it = world(str(tmp_path), Laid(content=WRITTEN), running=False)
    before = it.look()
    with started(runtime(it), 950, journal(tmp_path), lambda _: None):
        assert it.node.effective == repr(WRITTEN)
    assert it.look() == before


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
