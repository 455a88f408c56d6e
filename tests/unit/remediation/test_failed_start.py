"""A container that does not start with what apply wrote, and one whose Docker containers ran."""

from pathlib import Path

import pytest

from docker_lxc_gate.facts import docker
from docker_lxc_gate.machines.result import CommandFailed
from remediation.engine.apply import apply
from tests.doubles.naming import naming
from tests.doubles.nodes.whole import Whole

_Answer = tuple[int, bytes, bytes] | None


def test_apply_whose_container_does_not_start_is_rolled_back_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is stopped, nobody can look at what was never changed in it."""
    whole = Whole(tmp_path)
    node, inside = whole.on_node.container, whole.in_container
    of_node, of_inside, starts = node.answer, inside.answer, list[int]()

    def on_node(words: list[str], stdin: bytes) -> _Answer:
        if words == ["container", "start"]:
            starts.append(1)
            if len(starts) == 1:
                return 1, b"", b"startup for container '950' failed"
        return of_node(words, stdin)

    def answer(words: list[str], stdin: bytes) -> _Answer:
        if node.effective is None:
            return 255, b"", b"container '950' not running!"
        return of_inside(words, stdin)

    monkeypatch.setattr(node, "answer", on_node)
    monkeypatch.setattr(inside, "answer", answer)
    before = node.effective
    with naming(CommandFailed, "startup for container '950' failed"):
        apply(whole.plan())
    assert node.effective == before
    assert whole.plan().journal.entries() == []
    assert not whole.plan().journal.unfinished()


def test_containers_of_docker_run_again_after_the_containers_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a restart policy, Docker does not start them at boot."""
    whole, started = Whole(tmp_path), list[list[str]]()
    inside, of_inside = whole.in_container, whole.in_container.answer

    def answer(words: list[str], stdin: bytes) -> _Answer:
        if tuple(words) in (docker.RUNNING.argv, docker.CONTAINERS.argv):
            return 0, b"1-web\n", b""
        if words[:2] == ["docker", "start"]:
            started.append(words[2:])
            return 0, b"", b""
        return of_inside(words, stdin)

    monkeypatch.setattr(inside, "answer", answer)
    apply(whole.plan().only(["container-options"]))
    assert started == [["1-web"]]
