"""A container that does not start with what apply wrote, and one whose Docker containers ran."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.facts import docker
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.transport import Transport
from remediation import docker_in_lxc
from remediation.engine.apply import apply
from remediation.engine.errors import RollbackFailed
from tests.doubles.flag import Flag, fail, plan
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
    assert not whole.plan().journal.interrupted()


@pytest.mark.parametrize("runs", [True, False])
def test_containers_of_docker_run_again_after_the_containers_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: bool
) -> None:
    """Docker starts none without a restart policy, and on overlay2 may not start itself."""
    whole, started = Whole(tmp_path), list[list[str]]()
    inside, of_inside = whole.in_container, whole.in_container.answer

    def answer(words: list[str], stdin: bytes) -> _Answer:
        if tuple(words) == docker.RUNNING.argv:
            return 0, b"1-web\n", b""
        if tuple(words) == docker.CONTAINERS.argv:
            return (0, b"1-web\n", b"") if runs else (3, b"", b"")
        if words == ["systemctl", "is-enabled", "docker"]:
            return 0, b"enabled\n", b""
        if words[:2] == ["docker", "start"]:
            started.append(words[2:])
            return 0, b"", b""
        return of_inside(words, stdin)

    monkeypatch.setattr(inside, "answer", answer)
    told: list[str] = []
    of_it = docker_in_lxc.plan(whole, whole.ctid, tell=told.append).only(["container-options"])
    outcomes = apply(replace(of_it, exclusive=lambda _: nullcontext()))
    assert started == [["1-web"]] * runs
    assert any("not all that ran before" in line for line in told) is not runs
    assert outcomes[-1].id == "resume-docker-containers"


class Stuck(Flag):
    """Cannot be rolled back."""

    tried = 0

    def rollback(self, on: Transport, before: str) -> None:
        self.tried += 1
        raise RemediationError("the disk is read-only")


@pytest.mark.parametrize(("others", "tried"), [([], 1), ([Flag("beside")], 2)])
def test_rollback_of_a_failed_apply_is_tried_again_if_it_got_anywhere(
    tmp_path: Path, others: list[Flag], tried: int
) -> None:
    """And an error of the second attempt does not hide the first."""
    stuck = Stuck("stuck", on_apply=fail)
    with naming(RollbackFailed, "the disk is read-only"):
        apply(plan(tmp_path, *others, stuck))
    assert stuck.tried == tried
