"""The answers to many reads of one machine, each a fact or the reason why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from docker_lxc_gate.errors import Dropped, FactError, RemediationError, TransportError, Unreachable
from docker_lxc_gate.machines.batch import Ahead
from docker_lxc_gate.machines.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from docker_lxc_gate.machines.read import Read
    from docker_lxc_gate.machines.result import CommandResult
    from docker_lxc_gate.machines.transport import Transport

T = TypeVar("T")
D = TypeVar("D")
#: Nothing more is asked of a machine on which so many questions in a row could not be put.
_ENOUGH = 3
#: More of an error than a reader wants to see (characters).
_LONGEST = 300


def script(name: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs one of ``programs/``."""
    return ("sh", "-c", program("docker_lxc_gate.doctor", f"{name}.sh"), name, *arguments)


def told(result: CommandResult) -> CommandResult:
    """Return the result of a command that ended well.

    Raises:
        FactError: it did not, with what it said, and without our script.
    """
    if result.ok:
        return result
    said = result.stderr.decode(errors="replace").strip()[:_LONGEST]
    raise FactError(said or f"on {result.machine}, the question ended with {result.exit_code}")


_NOT_ASKED = "it was not asked"


class Answers:
    """What a machine answered.

    Args:
        found: by read, the fact or the error.
        otherwise: why a read that is not among them has no answer.
    """

    def __init__(self, found: Mapping[Read[Any], object], otherwise: str = _NOT_ASKED) -> None:
        self._found, self._otherwise = found, otherwise

    def __or__(self, more: Answers) -> Answers:
        """Return these answers, and those of the same machine to further reads."""
        why = more._otherwise if self._otherwise == _NOT_ASKED else self._otherwise
        return Answers({**self._found, **more._found}, why)

    def of(self, read: Read[T]) -> T:
        """Return the fact that a read found.

        Raises:
            RemediationError: it found none.
        """
        if read not in self._found:
            raise FactError(self._otherwise)
        answer: Any = self._found[read]
        if isinstance(answer, RemediationError):
            raise answer
        found: T = answer
        return found

    def maybe(self, read: Read[T], otherwise: D) -> T | D:
        """Return the fact that a read found, or another value: for what only adds words."""
        try:
            return self.of(read)
        except RemediationError:
            return otherwise


def ask(on: Transport, reads: Iterable[Read[Any]]) -> Answers:
    """Ask a machine all of these in one round trip.

    Raises:
        Dropped: the connection was cut.
        Unreachable: there is no connection.
    """
    wanted = list(dict.fromkeys(reads))
    ahead = Ahead(on, wanted)
    found: dict[Read[Any], object] = {}
    failed = 0
    for read in wanted:
        try:
            found[read] = ahead.ask(read)
            failed = 0
        except (Dropped, Unreachable):
            raise
        except RemediationError as error:
            found[read] = error
            failed = failed + 1 if isinstance(error, TransportError) else 0
            if failed == _ENOUGH:
                return Answers(found, str(error))
    return Answers(found)
