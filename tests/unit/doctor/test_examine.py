"""A container is asked in few round trips, and only if it answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from doctor import node_reads, upgrade
from doctor.examine import _FOLLOWS, EXAMINATIONS, examine
from lint.catalogue import RULES
from targets.errors import FactError, TransportError, Unreachable
from targets.transport import CommandResult, Transport
from tests.doubles.canned import Runtime
from tests.doubles.naming import naming
from tests.doubles.nodes.behind_shell import answers
from tests.doubles.patient import CONFIG, CTID

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BOTH = pytest.mark.parametrize("ask", [examine, upgrade.examine], ids=["now", "upgrade"])


class Counted(Transport):
    """Answers every round trip of many reads with one word for each, and counts."""

    machine = "pve1"

    def __init__(self, state: str = "RUNNING", config: str | None = CONFIG) -> None:
        self.trips: list[tuple[str, ...]] = []
        self._state, self._config = state, config

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        self.trips.append(tuple(argv))
        out, err, code = b"", b"", 0
        if argv[-1] == "at once":
            out, err = answers(argv[2], [(0, b"", b"")] * argv[2].count("\none timeout "))
        if tuple(argv) == node_reads.lxc_state(CTID).argv:
            out = self._state.encode()
        if argv[-1] == f"/etc/pve/lxc/{CTID}.conf":
            code, out = (0, self._config.encode()) if self._config is not None else (1, b"")
        err = b"No such file or directory" if code else err
        return CommandResult(tuple(argv), code, out, err, self.machine, 0.0, 0.0)


class Plain(Counted):
    """Has no shell that answers many reads at once, so each is asked alone."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        done = super().run(argv, stdin=stdin, timeout=timeout)
        if argv[-1] == "at once":
            return CommandResult(tuple(argv), 1, b"", b"", self.machine, 0.0, 0.0)
        return done


class Ours(Counted):
    """As Counted, whose first two answers are the configuration and the state."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        done = super().run(argv, stdin=stdin, timeout=timeout)
        if argv[-1] == "at once" and len(self.trips) == 1:
            said = [(0, each.encode(), b"") for each in (CONFIG, self._state)]
            said += [(0, b"", b"")] * (argv[2].count("\none timeout ") - len(said))
            return CommandResult(tuple(argv), 0, *answers(argv[2], said), self.machine, 0.0, 0.0)
        return done


def test_examination_takes_three_round_trips_to_the_node_and_one_to_the_container() -> None:
    node, inside = Ours(), Counted()
    examine(Runtime(node, inside), CTID)
    assert (len(node.trips), len(inside.trips)) == (3, 1)


@pytest.mark.parametrize("state", ["STOPPED", "FROZEN", "FREEZING", ""])
def test_container_that_would_not_answer_is_not_asked(state: str) -> None:
    node, inside = Ours(state), Counted()
    found = examine(Runtime(node, inside), CTID)
    assert inside.trips == []
    assert found.exit_code == 1
    assert found.unseen


def test_node_without_such_a_shell_is_asked_each_read_alone() -> None:
    node, inside = Plain(), Plain()
    examine(Runtime(node, inside), CTID)
    wanted = {read.argv for each in EXAMINATIONS for read in each.guest}
    assert wanted <= set(inside.trips)


class Logged(Ours):
    """As Ours, with a log of two containers' denials."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        done = super().run(argv, stdin=stdin, timeout=timeout)
        if "denials" not in argv:
            return done
        line = (
            'type=AVC msg=audit({at}:{ctid}): apparmor="DENIED" operation="open" class="file" '
            'profile="lxc-{ctid}_</var/lib/lxc>" name="/x" pid=4 comm="cat" denied_mask="r"\n'
        )
        said = "".join(line.format(at=f"{time.time():.3f}", ctid=each) for each in (CTID, 951))
        out = f"== state\nlost 0\n== kernel\n{said}== clock\n== end\n".encode()
        return CommandResult(tuple(argv), 0, out, b"", self.machine, 0.0, 0.0)


def test_refusals_are_those_of_the_container_alone() -> None:
    found = examine(Runtime(Logged(), Counted()), CTID)
    (said,) = [each for each in found.troubles if each.id == "denied-lately"]
    assert "once, most often: cat wanted to read /x" in said.cause


def test_container_that_cannot_be_entered_is_not_asked_again_and_again() -> None:
    class Closed(Counted):
        def run(
            self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
        ) -> CommandResult:
            self.trips.append(tuple(argv))
            raise TransportError("it cannot be entered")

    inside = Closed()
    found = examine(Runtime(Ours(), inside), CTID)
    assert len(inside.trips) < 6
    assert any(each.why == "it cannot be entered" for each in found.unseen)
    assert found.exit_code != 0


@BOTH
def test_container_that_does_not_exist_cannot_be_asked(ask: Callable[..., Any]) -> None:
    with naming(FactError, "container 950"):
        ask(Runtime(Plain(config=None), Counted()), CTID)


@BOTH
def test_connection_that_is_gone_ends_the_examination(ask: Callable[..., Any]) -> None:
    class Gone(Counted):
        def run(
            self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
        ) -> CommandResult:
            raise Unreachable(f"no connection for {argv[0]}")

    with pytest.raises(Unreachable):
        ask(Runtime(Ours(), Gone()), CTID)


def test_consequences_and_their_causes_are_troubles_that_exist() -> None:
    known = {kind.id for each in EXAMINATIONS for kind in each.kinds}
    known |= {rule.id for rule in RULES}
    assert {*_FOLLOWS, *(cause for causes in _FOLLOWS.values() for cause in causes)} <= known


def test_every_examination_names_what_it_finds_out_and_its_troubles() -> None:
    ids = [kind.id for each in EXAMINATIONS for kind in each.kinds if kind.id != "lint"]
    assert len(ids) == len(set(ids))
    assert all(each.what and each.kinds for each in EXAMINATIONS)
