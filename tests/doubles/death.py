"""A program that is killed: at one command, in the middle of one, and of what it runs."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

import pytest

from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Command, Layer, Transport
from remediation.engine.apply import apply
from remediation.engine.errors import NotClean
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back
from tests.doubles.examples import in_depth

#: The start of a statement that changes nothing on a disk.
_IDLE = re.compile(
    r"set -e|umask |trap |sync |test -L \"\$new\" \|\| sync |d=\$\(dirname |new=\"\$"
)


class Died(BaseException):
    """The program was killed; nothing of it runs any more."""


@dataclass
class Death:
    """When the program dies, over all its transports, and how.

    Args:
        nth: at which command, from 1; 0: never.
        how: ``before`` it; ``after`` it, with its answer lost; with ``half`` of its input sent;
            or a statement of its shell script, from 1, before which the shell is killed, too.
    """

    nth: int = 0
    how: str | int = "before"
    ran: list[tuple[list[str], bytes]] = field(default_factory=list)
    dead: bool = False

    def under(self, inner: Transport) -> Transport:
        return _Mortal(inner, self)

    def ways(self) -> Iterator[tuple[int, str | int]]:
        """Yield every way to die in what ran, of a run that came to its end.

        After a command is the same as before the next one: what was heard dies with the program.
        So is after a statement that changes nothing.
        """
        assert self.ran
        for number, (argv, stdin) in enumerate(self.ran, 1):
            yield number, "before"
            if stdin:
                yield number, "half"
            for statement, done in enumerate(_statements(argv)[:-1], 1):
                if not _IDLE.match(done):
                    yield number, statement
        yield len(self.ran), "after"


class Killable(Protocol):
    """A machine with a plan, whose run can be killed."""

    def plan(self, death: Death | None = None) -> Plan:
        """Return a new plan; given a death, the program dies so."""


M = TypeVar("M", bound=Killable)


def comes_back_wherever_killed(
    fresh: Callable[[str], M],
    look: Callable[[M], Any],
    *,
    ways: int,
    meanwhile: Callable[[M], object] = lambda _: None,
) -> None:
    """Kill apply, and then a rollback, at every command: a rollback then brings everything back.

    `scripts/test` tries a sample of the ways to die, `scripts/test --all` all of them.

    Args:
        fresh: makes a machine in a folder.
        look: returns what must be as before.
        ways: there are more than so many.
        meanwhile: changes the machine after apply, or after the apply that is killed.
    """
    for back in (False, True):
        whole = Death()
        with TemporaryDirectory() as name:
            it = fresh(name)
            apply(it.plan(None if back else whole))
            meanwhile(it)
            if back:
                roll_back(it.plan(whole))
        with TemporaryDirectory() as name:
            meanwhile(it := fresh(name))
            before = look(it)
        deaths = list(whole.ways())
        assert len(deaths) > ways
        for way in deaths[:: 1 if in_depth() else 20]:
            with TemporaryDirectory() as name:
                it = fresh(name)
                if back:
                    apply(it.plan())
                    meanwhile(it)
                dying = it.plan(Death(*way))
                with pytest.raises(Died):
                    roll_back(dying) if back else apply(dying)
                if not back:
                    meanwhile(it)
                comes_back(it, look, before, ("rollback" if back else "apply", way))


def comes_back(it: M, look: Callable[[M], Any], before: object, way: object) -> None:
    """A fresh program finds the truth, refuses to go on, and rolls everything back."""
    again = it.plan()
    if again.journal.interrupted():
        with pytest.raises(NotClean):
            apply(it.plan())
    elif again.journal.entries():  # killed after its last word, or before the first of a rollback
        assert all(drift is None for _, drift in again.drifts()), way
    else:
        assert look(it) == before, way
    roll_back(it.plan())
    assert look(it) == before, way
    assert not it.plan().journal.interrupted()
    assert roll_back(it.plan()) == []


def _statements(argv: Sequence[str]) -> list[str]:
    named = list(argv[:2]) == ["sh", "-c"] and len(argv) > 3 and argv[3] != "sync"
    return argv[2].split("; ") if named else []


class _Mortal(Layer):
    def __init__(self, inner: Transport, death: Death) -> None:
        super().__init__(inner)
        self._death = death

    def execute(self, command: Command) -> CommandResult:
        """To die in a read is to die before the next change."""
        if self._death.dead:
            raise Died
        if not command.changes:
            return self._inner.execute(command)
        argv, stdin = list(command.argv), command.stdin
        self._death.ran.append((argv, stdin))
        if len(self._death.ran) != self._death.nth:
            return self._inner.execute(command)
        self._death.dead = True
        match self._death.how:
            case "after":
                self._inner.execute(command)
            case "half":
                self._inner.execute(replace(command, stdin=stdin[: len(stdin) // 2]))
            case int(statement) if statements := _statements(argv):
                statements.insert(statement, "kill -9 $$")
                killed = [*argv[:2], "; ".join(statements), *argv[3:]]
                assert self._inner.run(killed, stdin=stdin).exit_code == 137
        raise Died
