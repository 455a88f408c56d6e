"""A container is asked if it answers; the lab's problems are doctor's own."""

import time
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest

from docker_lxc_gate.doctor import upgrade
from docker_lxc_gate.doctor.case import FOLLOWS
from docker_lxc_gate.doctor.examine import EXAMINATIONS, examine
from docker_lxc_gate.errors import FactError, TransportError, Unreachable
from docker_lxc_gate.lint.finding import PROBLEMS as OF_FILES
from tests.doubles.answering import Answer, Answering
from tests.doubles.canned import Runtime
from tests.doubles.naming import naming
from tests.doubles.patient import CONFIG, CTID, DATA


def silent(state: str = "RUNNING", config: str | None = CONFIG, log: str = "") -> Answering:
    """A node or a container that says nothing but this; without ``config`` it has no container."""

    def said(words: list[str]) -> Answer:
        if tuple(words) == Runtime.lxc_state(CTID).argv:
            return state.encode()
        if words[-1] == f"/etc/pve/lxc/{CTID}.conf":
            absent = 1, b"", b"No such file or directory"
            return absent if config is None else config.encode()
        if words[:2] == ["pct", "status"]:
            return 2, b"", b"Configuration file 'nodes/pve1/lxc/950.conf' does not exist\n"
        return log.encode() if "denials" in words else b""

    return Answering(said, "pve1")


@pytest.mark.parametrize(
    ("ask", "config"), [(examine, CONFIG), (examine, DATA), (upgrade.examine, DATA)]
)
def test_examination_asks_each_read_once(ask: Callable[..., Any], config: str) -> None:
    node, inside = silent(config=config), silent()
    found = ask(Runtime(node, inside), CTID)
    assert len(inside.ran) == len(set(map(tuple, inside.ran))) > 0
    assert "it was not asked" not in {each.why for each in found.unseen}


@pytest.mark.parametrize(("ask", "code"), [(examine, 1), (upgrade.examine, 3)])
@pytest.mark.parametrize("state", ["STOPPED", "FROZEN", "FREEZING", ""])
def test_container_that_would_not_answer_is_not_asked(
    ask: Callable[..., Any], code: int, state: str
) -> None:
    node, inside = silent(state), silent()
    found = ask(Runtime(node, inside), CTID)
    assert inside.ran == []
    assert found.exit_code == code
    assert found.unseen


def test_refusals_are_those_of_the_container_alone() -> None:
    line = (
        'type=AVC msg=audit({at}:{ctid}): apparmor="DENIED" operation="open" class="file" '
        'profile="lxc-{ctid}_</var/lib/lxc>" name="/x" pid=4 comm="cat" denied_mask="r"\n'
    )
    lines = "".join(line.format(at=f"{time.time():.3f}", ctid=each) for each in (CTID, 951))
    node = silent(log=f"== state\nlost 0\n== kernel\n{lines}== clock\n== end\n")
    found = examine(Runtime(node, silent()), CTID)
    (said,) = [each for each in found.problems if each.id == "denied-lately"]
    assert "once, most often: cat wanted to read /x" in said.cause


def test_container_that_cannot_be_entered_is_not_asked_again_and_again() -> None:
    inside = Answering(Mock(side_effect=TransportError("it cannot be entered")))
    found = examine(Runtime(silent(), inside), CTID)
    assert len(inside.ran) < 6
    assert any(each.why == "it cannot be entered" for each in found.unseen)
    assert found.exit_code != 0


@pytest.mark.parametrize("ask", [examine, upgrade.examine], ids=["now", "upgrade"])
def test_no_such_container_or_a_connection_that_is_gone_ends_the_examination(
    ask: Callable[..., Any],
) -> None:
    with naming(FactError, "container 950"):
        ask(Runtime(silent(config=None), silent()), CTID)
    with pytest.raises(Unreachable):
        ask(Runtime(silent(), Answering(Mock(side_effect=Unreachable("no connection")))), CTID)


def test_consequences_and_their_causes_are_problems_that_exist() -> None:
    known = {kind for each in EXAMINATIONS for kind in each.kinds}
    known |= OF_FILES.keys()
    assert {*FOLLOWS, *(name for names in FOLLOWS.values() for name in names)} <= known
    of_docker = ("daemon-", "json-key", "json-syntax")
    for cause in (each for each in OF_FILES if each.startswith(of_docker)):
        assert "docker-down" in FOLLOWS[cause]
