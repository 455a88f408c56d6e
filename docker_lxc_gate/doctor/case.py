"""One container as it was found: what an examination asks of it, the answers, and what it has.

An answer is a fact, or the reason why there is none.

What doctor names is data: ``problems.toml``, ``messages.toml`` and ``follows.toml``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from docker_lxc_gate.doctor import message_table
from docker_lxc_gate.doctor.upgrade_pairs import PAIRS, Where
from docker_lxc_gate.errors import Dropped, FactError, RemediationError, TransportError, Unreachable
from docker_lxc_gate.lint import finding
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.tables import table

if TYPE_CHECKING:
    from types import ModuleType

    from docker_lxc_gate.facts.denial.denial_groups import Group
    from docker_lxc_gate.formats.container_config import ContainerConfig
    from docker_lxc_gate.lint.finding import Finding, Severity
    from docker_lxc_gate.machines.read import Read
    from docker_lxc_gate.machines.result import CommandResult
    from docker_lxc_gate.machines.transport import Transport

T = TypeVar("T")
D = TypeVar("D")
#: Nothing more is asked of a machine on which so many questions in a row could not be put.
_ENOUGH = 3
#: More of an error than a reader wants to see (characters).
_LONGEST = 300


def script(name: str, *arguments: str, begins: str = "") -> tuple[str, ...]:
    """Return the command that runs one of ``programs/``, after the one that it ``begins`` with."""
    texts = [program("docker_lxc_gate.doctor", f"{part}.sh") for part in (begins, name) if part]
    return ("sh", "-c", "".join(texts), name, *arguments)


def told(result: CommandResult) -> CommandResult:
    """Return the result of a command that ended well; otherwise raises FactError with its words."""
    if result.ok:
        return result
    stderr = result.stderr.decode(errors="replace").strip()[:_LONGEST]
    raise FactError(stderr or f"on {result.machine}, the question ended with {result.exit_code}")


class Answers:
    """What a machine answered, by read: the fact or the error.

    ``otherwise`` says why a read that is not among them has no answer.
    """

    def __init__(
        self, answers: Mapping[Read[Any], object], otherwise: str = "it was not asked"
    ) -> None:
        self._answers, self._otherwise = answers, otherwise

    def of(self, read: Read[T]) -> T:
        """Return the fact that a read found; raises RemediationError if it found none."""
        if read not in self._answers:
            raise FactError(self._otherwise)
        answer: Any = self._answers[read]
        if isinstance(answer, RemediationError):
            raise answer
        fact: T = answer
        return fact

    def maybe(self, read: Read[T], otherwise: D) -> T | D:
        """Return the fact that a read found, or another value: for what only adds words."""
        try:
            return self.of(read)
        except RemediationError:
            return otherwise


def ask(on: Transport, reads: Iterable[Read[Any]]) -> Answers:
    """Ask a machine all of these.

    Raises Dropped if the connection was cut, Unreachable if there is none.
    """
    wanted = list(dict.fromkeys(reads))
    answers: dict[Read[Any], object] = {}
    failed = 0
    for read in wanted:
        try:
            answers[read] = on.ask(read)
            failed = 0
        except (Dropped, Unreachable):
            raise
        except RemediationError as error:
            answers[read] = error
            failed = failed + 1 if isinstance(error, TransportError) else 0
            if failed == _ENOUGH:
                return Answers(answers, str(error))
    return Answers(answers)


#: By id, what lint looks for, too, and the rows of ``messages.toml`` and ``upgrades.toml``.
PROBLEMS = finding.PROBLEMS | finding.problems("docker_lxc_gate.doctor")
PROBLEMS |= message_table.PROBLEMS | {pair.id: pair.problem for pair in PAIRS}
#: By id, the problems that merely follow from this one.
FOLLOWS = table("docker_lxc_gate.doctor", "follows", dict[str, frozenset[str]])


def here(name: str, cause: str, *, fix: str = "", severity: Severity | None = None) -> Finding:
    """Return a finding of a problem, by its id, in a container; see :class:`Finding`."""
    return PROBLEMS[name].here(cause, fix=fix, severity=severity)


@dataclass(frozen=True)
class Unseen:
    """What was to be found out and was not, and why.

    It ``matters`` if the answer could have been a problem, and not only advice.
    """

    what: str
    why: str
    matters: bool = True


@dataclass(frozen=True)
class Diagnosis:
    """What a target has, the most likely cause first, and what could not be seen."""

    problems: tuple[Finding, ...]
    unseen: tuple[Unseen, ...]

    @property
    def exit_code(self) -> int:
        """1 if a problem is named, 3 if none is and one may be hidden, else 0."""
        if any(not problem.is_advice for problem in self.problems):
            return 1
        return 3 if any(unseen.matters for unseen in self.unseen) else 0


Reads: TypeAlias = "tuple[Read[Any], ...]"
#: By machine, the version of each package of ``upgrades.toml`` that is there.
State: TypeAlias = "Mapping[Where, Mapping[str, str]]"


@dataclass(frozen=True)
class Case:
    """What was read of one container: its configuration, and the answers of both machines.

    Attributes:
        content: the bytes of the configuration's file.
        denied: what AppArmor refused it lately, the most frequent first.
        start_obstacle: why a stopped container cannot start, as its files and the kernel show it.
        unread: why the node's log may hold other refusals; empty if it was read to its end.
        before: for an upgrade, what is installed; a machine that could not be asked is not in it.
        after: what would be installed, with the same machines.
    """

    ctid: int
    config: ContainerConfig
    content: bytes
    node: Answers
    guest: Answers
    denied: tuple[Group, ...] = ()
    unread: str = ""
    start_obstacle: str = ""
    before: State = field(default_factory=dict)
    after: State = field(default_factory=dict)

    @property
    def pct(self) -> bool:
        """Whether Proxmox manages it."""
        return not self.config.plain


@dataclass(frozen=True)
class Examination:
    """One question and what it asks; a decorator of the pure function that answers it.

    Attributes:
        what: what it finds out, in words that follow "could not see".
        kinds: the ids of the problems that it names.
        node: what it asks the node, as such or about a container.
        guest: what it asks in the container.
        by_config: what else it asks, the node and the container, because of the configuration.
        of_docker: whether it is about a Docker that runs, and has nothing to say without one.
        judge: the function: yields problems; raises RemediationError where an answer is missing.
    """

    what: str
    kinds: tuple[str, ...]
    node: tuple[Read[Any] | Callable[[int], Read[Any]], ...] = ()
    guest: Reads = ()
    by_config: Callable[[ContainerConfig], tuple[Reads, Reads]] = lambda _: ((), ())
    of_docker: bool = False
    judge: Callable[[Case], Iterator[Finding]] = lambda _: iter(())

    def __call__(self, judge: Callable[[Case], Iterator[Finding]]) -> Examination:
        """Return the examination with the function that answers it."""
        return replace(self, judge=judge)


def examinations(*modules: ModuleType) -> tuple[Examination, ...]:
    """Return the examinations of some modules, in the order of the first problem of each."""
    order = {name: number for number, name in enumerate(PROBLEMS)}
    members = [x for module in modules for x in vars(module).values() if isinstance(x, Examination)]
    return tuple(sorted(members, key=lambda examination: order[examination.kinds[0]]))
