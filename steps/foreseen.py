"""What a step will ask, declared beside it: the run asks it for many scenarios in one round trip.

A step that declares nothing, or too little, asks by itself: that costs a round trip, and changes
nothing else. What must be seen after something else was seen or done is never declared.

PYTEST_DONT_REWRITE: pytest loads each module of this folder as a plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pytest_bdd.steps import StepFunctionContext, step_function_context_registry

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.facts.dockerd import find
from docker_lxc_gate.machines.read import Read, content_of
from docker_lxc_gate.machines.transport import Inside
from docker_lxc_gate.verdict.collection import scenario_of

if TYPE_CHECKING:
    import pytest
    from pytest_bdd.parser import Step

    from docker_lxc_gate.machines.batch import Shared
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target

_Function = TypeVar("_Function", bound="Callable[..., Any]")
_DECLARED = "foreseen_reads"


@dataclass(frozen=True)
class At:
    """Where a step is asked, with the parameters of its sentence, its ``words``.

    ``pid`` is that of the container's first process, on the node; empty if it is not known.
    ``find`` returns the command line of the dockerd of a container with such a process.
    """

    runtime: Runtime
    target: Target
    pid: str = ""
    words: Mapping[str, Any] = field(default_factory=dict)
    find: Callable[[str], tuple[str, ...]] = lambda _: ()

    @property
    def written(self) -> Read[bytes | None]:
        """The container's configuration as written."""
        return content_of(self.runtime.config_path(self.target.ctid))

    @property
    def started(self) -> Read[bytes | None]:
        """LXC's configuration of its last start."""
        return content_of(self.runtime.started_path(self.target.ctid))

    @property
    def first_process(self) -> Read[str]:
        """The pid of its first process."""
        return self.runtime.first_process(self.target.ctid)

    @property
    def dockerd(self) -> tuple[str, ...]:
        """The command line of the dockerd that runs in it; empty if none is known."""
        return self.find(self.pid) if self.pid else ()

    def of_process(self, *names: str) -> list[Read[Any]]:
        """The pid of its first process and, once that is known, files of it below ``/proc``."""
        paths = [f"/proc/{self.pid}/{name}" for name in names if self.pid]
        return [self.first_process, *map(content_of, paths)]


#: Returns what a step asks of one machine.
_Declared: TypeAlias = "Callable[[At], Iterable[Read[Any]]]"


def foreseen(
    node: _Declared = lambda _: (), container: _Declared = lambda _: (), *, of_node: bool = False
) -> Callable[[_Function], _Function]:
    """Declare what a step asks of the node and of the container, in that order; below ``@then``.

    A step ``of_node`` judges the node alone, or all its containers. In a run that changes nothing,
    what it asked for one target, declared or not, serves it for the others on the node.
    """

    def declare(function: _Function) -> _Function:
        setattr(function, _DECLARED, (node, container, of_node))
        return function

    return declare


class Foresight:
    """Has the reads of many scenarios asked in one round trip a machine.

    They are those of a scenario that changes nothing and of all after it, up to the next one that
    changes something. Such a scenario foresees one step at a time. ``shared`` lies between the node
    and the evidence, so each scenario's evidence has its own. ``inside`` is what is asked of the
    container beside the steps.
    """

    def __init__(
        self, runtime: Runtime, target: Target, shared: Shared, inside: Iterable[Read[Any]] = ()
    ) -> None:

        @cache
        def dockerd(_: str) -> tuple[str, ...]:
            with suppress(RemediationError):  # the step will say it
                if found := find(runtime.on(shared), target.ctid):
                    return found.argv
            return ()

        self._at, self._shared = At(runtime, target, find=dockerd), shared
        self._look_again = dockerd.cache_clear
        self._inside = list(inside)
        within = runtime.on(shared.inner).inside(target.ctid)
        self._within = within if isinstance(within, Inside) else None
        self._item: pytest.Item | None = None

    def of_scenario(
        self, item: pytest.Item, target_of: Callable[[pytest.Item], Target | None]
    ) -> None:
        """Foresee what a scenario and those after it ask, unless that was done for it already.

        The scenario before it may be of another target on the same node, and have changed the node.
        """
        if self._item is not item:
            self._item = item
            items = item.session.items
            if target_of(items[max(items.index(item) - 1, 0)]) != target_of(item):
                self._shared.forget()
                self._look_again()
            self._expect(_read_only_from(item, target_of))
        self._shared.begin()

    def of_step(self, item: pytest.Item, step: Step) -> None:
        """Begin a step: every answer may serve it once."""
        if item.get_closest_marker("mutates"):
            self._look_again()
            self._expect([step])
        declared = _definitions(step.type, step.name)
        self._shared.begin(of_node=any(of_node for (_, _, of_node), _ in declared))

    def _expect(self, steps: Sequence[Step]) -> None:
        """Expect what steps declare; what is of the first process, once its pid is known."""
        if self._within is None:
            return
        at, shared, known = self._at, self._shared, self._shared.of_node or {}
        shared.begin()
        node, container = _reads_of(steps, at, known)
        shared.expect(node, self._within, [*container, *self._inside])
        with suppress(RemediationError):  # the step will say it
            if at.first_process in node:
                at = replace(at, pid=shared.ask(at.first_process))
                shared.begin()  # it serves the search for dockerd, too
                node, container = _reads_of(steps, at, known)
                shared.expect(node, self._within, [*container, *self._inside])
        if at.started in node:
            with suppress(RemediationError), shared.learn():
                at.runtime.on(shared).effective(at.target.ctid)  # its includes


def _read_only_from(
    item: pytest.Item, target_of: Callable[[pytest.Item], Target | None]
) -> list[Step]:
    """Return the steps of a scenario and of those after it, up to one that changes something."""
    items, target = item.session.items, target_of(item)
    asked = takewhile(
        lambda each: each.get_closest_marker("mutates") is None and target_of(each) == target,
        items[items.index(item) :],
    )
    found = map(scenario_of, asked)
    return [step for scenario in found if scenario for step in scenario.steps]


def _reads_of(
    steps: Iterable[Step], at: At, known: Container[tuple[str, ...]]
) -> tuple[list[Read[Any]], list[Read[Any]]]:
    """Return what steps declare, of the node and of the container; not what is known of a node."""
    node: list[Read[Any]] = []
    container: list[Read[Any]] = []
    for step in steps:
        for (asked, inside, of_node), words in _definitions(step.type, step.name):
            here = replace(at, words=words)
            node.extend(each for each in asked(here) if not of_node or each.argv not in known)
            container.extend(inside(here))
    return node, container


@cache
def _definitions(kind: str, sentence: str) -> list[tuple[tuple[_Declared, _Declared, bool], Any]]:
    """Return what the definitions of a sentence declare, each with the sentence's parameters."""
    known: Iterable[StepFunctionContext] = step_function_context_registry.values()
    return [
        (declared, each.parser.parse_arguments(sentence) or {})
        for each in known
        if (declared := getattr(each.step_func, _DECLARED, None))
        and each.type in {None, kind}
        and each.parser.is_matching(sentence)
    ]
