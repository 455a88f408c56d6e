"""The record of a run, ``verdict.json``: terminal and JUnit are made from it.

``docs/verdict.schema.json`` is generated from these types. A change that a reader of the file must
know of raises :data:`FORMAT`.
"""

from __future__ import annotations

import getpass
import os
import platform
import shlex
from collections import defaultdict
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Literal

import msgspec
import pytest

from docker_lxc_gate import home
from docker_lxc_gate.commandline.json_output import with_texts
from docker_lxc_gate.machines.fleet import Listing
from docker_lxc_gate.printable import counted, one_line
from docker_lxc_gate.verdict.evidence import bounded
from docker_lxc_gate.verdict.requirements import CATALOGUE, in_order
from docker_lxc_gate.verdict.waivers import GIVEN, Use, Used, Waiver

FORMAT: Literal[1] = 1
#: If several exit codes apply, the first of these counts. A usage error leaves no verdict. A change
#: that was left behind outranks every verdict. A proven difference outranks a missing result, that
#: outranks a waiver that does not hold, and that an undetermined one.
USAGE, NOT_EXACT, DIFFERS, INCOMPLETE, WAIVER, UNKNOWN, HOLDS = PRECEDENCE = (2, 5, 1, 6, 4, 3, 0)
#: The exit codes of what is known to be wrong.
BAD = frozenset({NOT_EXACT, DIFFERS})
#: The exit code of an interrupted session, as in a shell (128 + SIGINT).
INTERRUPTED = 130
#: The word for each exit code of a session; the others are those of signals.
WORDS = {
    HOLDS: "compliant",
    DIFFERS: "not compliant",
    USAGE: "usage error",
    UNKNOWN: "undetermined",
    INCOMPLETE: "incomplete",
    WAIVER: "a waiver does not hold",
    NOT_EXACT: "a rollback was not exact",
}
#: How many lines of evidence, and names of files, a scenario has at most.
MOST = 100
#: It stands behind a verdict.
WAIVED = " (waived)"


class Verdict(StrEnum):
    """One of the three words, or why a scenario has none."""

    COMPLIANT = "compliant"
    NOT_COMPLIANT = "not compliant"
    UNDETERMINED = "undetermined"
    NO_RESULT = "no result"
    NOT_ASKED = "not asked"
    NOT_APPLICABLE = "not applicable"


class Outcome(msgspec.Struct, frozen=True):
    """A scenario on one target.

    ``id`` is its name for programs, ``where`` and ``step`` are those that ran last. ``code`` is the
    exit code of a run of this scenario alone, 0 if it was not asked. ``shared``: the cause is that
    of a whole session, such as an unreachable target. ``said`` are lines of evidence; ``files``,
    among Allure's results, hold what was run and what came back. ``began`` and ``ended`` are null
    until then. ``waiver`` is one for its verdict, if that is not compliant or undetermined.
    """

    nodeid: str
    title: str
    id: str = ""
    target: str = ""
    feature: str = ""
    requirements: tuple[str, ...] = ()
    where: str = ""
    step: str = ""
    verdict: Verdict = Verdict.NO_RESULT
    code: int = INCOMPLETE
    cause: str = "it should have run, but has no result"
    shared: bool = False
    said: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    began: datetime | None = None
    ended: datetime | None = None
    seconds: float = 0.0
    waiver: Waiver | None = None

    @property
    def counts_as(self) -> int:
        """Its part in the exit code of a run: 0 if it is waived, 4 if that waiver is expired."""
        if self.waiver is None or self.ended is None:
            return self.code
        return HOLDS if self.waiver.holds_on(self.ended.date()) else WAIVER

    @property
    def is_waived(self) -> bool:
        """Whether it is not compliant or undetermined, and a waiver for that holds."""
        return self.counts_as == HOLDS != self.code

    @property
    def word(self) -> str:
        """Its verdict, and whether that is waived."""
        return self.verdict + WAIVED * self.is_waived

    @property
    def place(self) -> tuple[str, str]:
        """Its file and line, as far as known."""
        file, _, line = self.where.rpartition(":")
        return file, line

    @property
    def asked(self) -> bool:
        """Whether it was to be run."""
        return self.verdict not in {Verdict.NOT_ASKED, Verdict.NOT_APPLICABLE}


class Requirement(msgspec.Struct, frozen=True):
    """A clause of the plan on one target: the worst verdict of its scenarios that were asked.

    ``scenarios`` are the node ids of all of them, ``asked`` counts those that were asked;
    ``waived``: the verdict is waived.
    """

    id: str
    text: str
    target: str
    verdict: Verdict
    cause: str
    asked: int
    scenarios: tuple[str, ...]
    waived: bool = False


class JudgedTarget(msgspec.Struct):
    """What was asked about, by its name on a command line.

    ``plan`` is the name, version and hash of its plan, of which ``clauses`` apply; ``because`` says
    why it is that one, if none was named; ``host_key`` is the key that the node showed over SSH.
    """

    name: str
    plan: str = ""
    because: str = ""
    clauses: tuple[str, ...] = tuple(CATALOGUE)
    host_key: str = ""
    versions: dict[str, str] = {}

    @property
    def facts(self) -> dict[str, str]:
        """All of it, as lines for a reader."""
        plan = f"{self.plan}, because {self.because}" if self.because else self.plan
        facts = {"Target": self.name, "Plan": plan, "Host key": self.host_key} | self.versions
        return {key: value for key, value in facts.items() if value}


class Run(msgspec.Struct, kw_only=True):
    """A run of the gate on some targets, by a user on a machine.

    ``code`` is the exit code, and ``verdict`` its word. ``problems`` are those of the run itself.
    ``clean``: the files of the gate are those of ``commit``; null if it is not known.
    ``nodes``: those of which every container was to be asked about. ``may_differ`` has, by machine
    and reason, patterns of what a comparison after a rollback leaves out. Requirements and
    scenarios are in the plan's order, by target.
    """

    format: Literal[1]
    verdict: str = ""
    code: int = UNKNOWN
    problems: list[str] = []
    version: str
    commit: str
    clean: bool | None
    command: str
    user: str
    machine: str
    began: datetime
    ended: datetime
    nodes: list[Listing] = []
    targets: list[JudgedTarget] = []
    may_differ: dict[str, dict[str, tuple[str, ...]]] = {}
    waivers: list[Used] = []
    requirements: list[Requirement] = []
    scenarios: list[Outcome] = []

    @property
    def asked(self) -> list[Outcome]:
        """The scenarios that were asked."""
        return [scenario for scenario in self.scenarios if scenario.asked]

    @property
    def own_problems(self) -> list[str]:
        """The problems of the run itself: at least one if no scenario tells of its exit code."""
        problems = self.problems + [str(waiver) for waiver in self.waivers if waiver.use.is_wrong]
        told = not self.code or any(scenario.counts_as for scenario in self.scenarios)
        return problems or [f"the run is {self.verdict}"] * (not told)

    @property
    def remarks(self) -> list[str]:
        """What a reader must know besides the verdicts, in lines: problems, nodes and others."""
        return [*map(str, self.nodes), *self.problems, *map(str, self.waivers)]

    @property
    def causes(self) -> dict[str, list[Outcome]]:
        """The scenarios that are not compliant by cause: an unreachable target is one cause."""
        causes: dict[str, list[Outcome]] = {}
        for scenario in self.asked:
            if scenario.counts_as != HOLDS:
                causes.setdefault(scenario.cause, []).append(scenario)
        return causes

    @property
    def scope(self) -> str:
        """How many scenarios were asked, of how many."""
        return f"{len(self.asked)} of {counted(len(self.scenarios), 'scenario')}"

    @property
    def coverage(self) -> str:
        """How many clauses of the plans were asked, of how many, on all targets."""
        its = [row for row in self.requirements if row.verdict is not Verdict.NOT_APPLICABLE]
        return f"{sum(row.asked > 0 for row in its)} of {counted(len(its), 'clause')}"

    @property
    def counts(self) -> str:
        """How many scenarios have which verdict."""
        words = [scenario.word for scenario in self.scenarios]
        order = (word + waived for word in Verdict for waived in ("", WAIVED))
        return ", ".join(f"{words.count(word)} {word}" for word in order if word in words)

    @property
    def by_target(self) -> list[tuple[str, str, str]]:
        """Each target with its verdict, and the clauses that are not compliant."""
        rows, by_name = [], _by_target(self.asked)
        for target in self.targets:
            its = by_name[target.name]
            code = min((o.counts_as for o in its), key=PRECEDENCE.index, default=UNKNOWN)
            word = WORDS[code] + WAIVED * (not code and any(o.code for o in its))
            clauses = in_order({clause for o in its if o.code for clause in o.requirements})
            rows.append((target.name, word, ", ".join(clauses)))
        return rows

    @property
    def left_out(self) -> list[tuple[str, str]]:
        """Why scenarios were not asked; and how many, and of which clauses."""
        groups: dict[str, list[Outcome]] = {}
        for scenario in self.scenarios:
            if not scenario.asked:
                on = f"{scenario.target}: " if len(self.targets) > 1 else ""
                groups.setdefault(f"{on}{scenario.cause}", []).append(scenario)
        return [(why, _counted(those)) for why, those in groups.items()]


def _counted(outcomes: list[Outcome]) -> str:
    clauses = in_order({clause for outcome in outcomes for clause in outcome.requirements})
    return f"{len(outcomes)}" + f" ({', '.join(clauses)})" * bool(clauses)


#: The targets of a run, and its nodes, by name; what may differ. The steps fill all.
TARGETS = pytest.StashKey[dict[str, JudgedTarget]]()
NODES = pytest.StashKey[dict[str, Listing]]()
MAY_DIFFER = pytest.StashKey[dict[str, dict[str, tuple[str, ...]]]]()


def about(config: pytest.Config, name: str = "") -> JudgedTarget:
    """Return what is known of a target, for the steps to add to."""
    return config.stash.setdefault(TARGETS, {}).setdefault(name, JudgedTarget(name))


def begun(config: pytest.Config) -> Run:
    """Return the record of a run that begins now."""
    commit, _, changes = home.commit().partition(", ")
    now, arguments = datetime.now(UTC), config.invocation_params.args
    options = [f"PYTEST_ADDOPTS={shlex.quote(o)}" for o in [os.environ.get("PYTEST_ADDOPTS")] if o]
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "a user without a name"
    return Run(
        format=FORMAT,
        version=home.number(),
        commit=commit,
        clean=not changes if commit else None,
        command=" ".join([*options, shlex.join(["pytest", *map(str, arguments)])]),
        user=user,
        machine=platform.node(),
        began=now,
        ended=now,
    )


def completed(run: Run, config: pytest.Config, outcomes: list[Outcome]) -> Run:
    """Return a run's record as it is written: complete, in order, masked and bounded."""
    for scenario in outcomes:
        about(config, scenario.target)
    targets = config.stash.get(TARGETS, {})
    names, clauses = {name: at for at, name in enumerate(targets)}, [*CATALOGUE]

    def place(outcome: Outcome) -> tuple[int, int]:
        first = clauses.index(outcome.requirements[0]) if outcome.requirements else len(clauses)
        return names[outcome.target], first

    run.verdict, run.ended = WORDS.get(run.code, "interrupted"), datetime.now(UTC)
    run.problems = [*dict.fromkeys(run.problems)]
    run.nodes = [*config.stash.get(NODES, {}).values()]
    run.targets, run.may_differ = [*targets.values()], config.stash.get(MAY_DIFFER, {})
    run.scenarios = sorted(outcomes, key=place)
    its = _by_target(run.scenarios)
    run.requirements = [_judged(on, one, its[on.name]) for on in run.targets for one in clauses]
    run.waivers = used(config, outcomes)
    if run.code == HOLDS and any(outcome.is_waived for outcome in outcomes):
        run.verdict += ", but for what is waived"
    clean = with_texts(msgspec.to_builtins(run), _bounded, lambda key: _bounded(one_line(key)))
    return msgspec.convert(clean, Run)


def _by_target(outcomes: list[Outcome]) -> defaultdict[str, list[Outcome]]:
    by_target = defaultdict[str, list[Outcome]](list)
    for outcome in outcomes:
        by_target[outcome.target].append(outcome)
    return by_target


def _judged(target: JudgedTarget, clause: str, outcomes: list[Outcome]) -> Requirement:
    its = [outcome for outcome in outcomes if clause in outcome.requirements]
    asked = [outcome for outcome in its if outcome.asked]
    verdict, cause, waived = Verdict.NOT_ASKED, "no scenario of this clause was collected", False
    if not outcomes and target.name:
        verdict, cause = Verdict.UNDETERMINED, "the target was not judged"
    if clause not in target.clauses:
        verdict, cause = Verdict.NOT_APPLICABLE, "no clause of the plan"
    elif its:
        worst = min(asked or its, key=lambda o: [*map(PRECEDENCE.index, (o.counts_as, o.code))])
        verdict, cause, waived = worst.verdict, worst.cause, worst.is_waived
        if verdict is Verdict.COMPLIANT and len(asked) < len(its):
            cause = f"only {len(asked)} of its {counted(len(its), 'scenario')} were asked"
    nodeids = tuple(outcome.nodeid for outcome in its)
    about = clause, CATALOGUE[clause], target.name
    return Requirement(*about, verdict, cause, len(asked), nodeids, waived)


def used(config: pytest.Config, outcomes: list[Outcome]) -> list[Used]:
    """Return each waiver of a run, and what became of it."""
    today = max((o.ended for o in outcomes if o.ended), default=datetime.now(UTC)).date()

    def use(waiver: Waiver) -> Use:
        its = [o for o in outcomes if waiver.applies(o.target, o.id, o.requirements)]
        its = [outcome for outcome in its if outcome.verdict is not Verdict.NOT_APPLICABLE]
        if not waiver.holds_on(today):
            return Use.EXPIRED
        if its and "*" not in waiver.target and all(o.asked and o.code == HOLDS for o in its):
            return Use.UNNEEDED
        return Use.MATCHED if any(outcome.waiver for outcome in its) else Use.UNUSED

    return [Used(waiver, use(waiver)) for waiver in config.stash.get(GIVEN, ())]


#: Masking a text takes a tenth of a millisecond, and most of them occur often.
_bounded = lru_cache(4096)(bounded)


def encoded(run: Run) -> str:
    """Return the file's content."""
    return msgspec.json.format(msgspec.json.encode(run), indent=1).decode() + "\n"
