"""From a container to its diagnosis: ask the node, ask the container, judge.

It asks what the node knows, what the container says, and what was denied. Of the denials those of
the last hour count, as far as a record says that it was this container. A container that does not
run, or is frozen, is not asked: its programs would not answer.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

from docker_lxc_gate.doctor import guest_reads, messages
from docker_lxc_gate.doctor.case import (
    FOLLOWS,
    PROBLEMS,
    Answers,
    Case,
    Diagnosis,
    Examination,
    Unseen,
    ask,
    examinations,
    here,
)
from docker_lxc_gate.doctor.examinations import confinement, container, network, ownership, storage
from docker_lxc_gate.errors import Dropped, FactError, RemediationError, Unreachable
from docker_lxc_gate.facts import startable
from docker_lxc_gate.facts.denial import denial_log
from docker_lxc_gate.facts.denial.denial_answers import wanted, who
from docker_lxc_gate.facts.denial.denial_groups import Group, Tally
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.lint.finding import Finding, Severity
from docker_lxc_gate.machines.read import content_of
from docker_lxc_gate.machines.runtime.base import FROZEN_STATES, Runtime
from docker_lxc_gate.machines.transport import Transport

_MODULES = (confinement, container, network, ownership, storage)
#: Their examinations judge some of Docker's messages; the others are judged here.
_JUDGED = {kind for examination in examinations(*_MODULES) for kind in examination.kinds}
_KINDS = tuple(kind for kind in messages.OF_DOCKER if kind not in _JUDGED)


@Examination(
    "what else Docker said", _KINDS, guest=(messages.READ, guest_reads.CONTAINERS, guest_reads.UNIT)
)
def messages_of_docker(case: Case) -> Iterator[Finding]:
    """Yield what hinders a container now; what is only in the journal may be long past."""
    errors = guest_reads.failures(case.guest.maybe(guest_reads.CONTAINERS, ()))
    matches = {match.message.problem: match for match in reversed([*messages.said(case, *_KINDS)])}
    for match in matches.values():
        now = (
            any(match.line in error for error in errors) or not case.guest.of(guest_reads.UNIT).runs
        )
        when = "Docker says" if now else "Docker said, in its present run"
        yield match.finding(f"{when}: {match.line[:300]}", None if now else Severity.ADVICE)


#: How far back the log is read (seconds).
_HOUR = 3600.0


@Examination("what AppArmor refused in the last hour", ("denied-lately",))
def lately(case: Case) -> Iterator[Finding]:
    """Yield the most frequent refusal, and how many there were."""
    kinds = [group for group in case.denied if not group.merged]
    if kinds:
        first = kinds[0]
        count = sum(group.count for group in kinds)
        times = "once" if count == 1 else f"{count} times"
        words = (
            f"{who(first.programs)} wanted to {wanted(first.denial.fields, several=first.several)}"
        )
        yield here(
            "denied-lately",
            f"AppArmor refused the container something {times}, most often: {words}",
        )
    if case.unread:
        raise FactError(case.unread)


EXAMINATIONS = examinations(*_MODULES, sys.modules[__name__])
_ORDER, _UP = tuple(Severity), "RUNNING"


def examine(runtime: Runtime, ctid: int) -> Diagnosis:
    """Return what is wrong with a container and its Docker. Changes nothing.

    Raises as :func:`asked` does.
    """
    case = asked(runtime, ctid, EXAMINATIONS)
    obstacle = "" if _is_up(case) else startable.start_obstacle(runtime, ctid)
    denied, unread = _denied(runtime.node, ctid)
    return diagnose(replace(case, start_obstacle=obstacle, denied=denied, unread=unread))


def asked(runtime: Runtime, ctid: int, questions: Iterable[Examination]) -> Case:
    """Ask the node and the container what these questions want to know.

    Raises FactError if there is no such container, TransportError if the node cannot be reached.
    """
    path = runtime.config_path(ctid)
    content = runtime.node.ask(content_of(path))
    if content is None:
        runtime.configuration(ctid)  # says where the container is instead
        raise FactError(f"there is no container {ctid} on {runtime.node.machine}: no {path}")
    parse = container_config.parse if runtime.kind == "pct" else container_config.parse_lxc
    config = parse(path, content.decode(errors="replace"))
    more = [question.by_config(config) for question in questions]
    reads = [read for question in questions for read in question.node]
    on_node = [read(ctid) if callable(read) else read for read in reads]
    on_node += [read for reads, _ in more for read in reads]
    node = ask(runtime.node, (Runtime.lxc_state(ctid), *on_node))
    case = Case(ctid, config, content, node, Answers({}))
    if not _is_up(case):
        how = "is frozen" if _state(case) in FROZEN_STATES else "does not run"
        return replace(case, guest=Answers({}, f"container {ctid} {how}"))
    inside = [*(question.guest for question in questions), *(reads for _, reads in more)]
    return replace(case, guest=ask(runtime.inside(ctid), chain.from_iterable(inside)))


def _state(case: Case) -> str:
    return case.node.maybe(Runtime.lxc_state(case.ctid), _UP)


def _is_up(case: Case) -> bool:
    return _state(case) == _UP


def _denied(node: Transport, ctid: int) -> tuple[tuple[Group, ...], str]:
    """Return what AppArmor refused a container lately, and why there may be more."""
    since = time.time() - _HOUR
    try:
        log = denial_log.read(node, since)
    except (Dropped, Unreachable):
        raise
    except RemediationError as error:
        return (), str(error)
    tally = Tally(log.owner, since)
    tally.count(log.lines)
    kinds = (kind for kind in tally.groups() if kind.readable and kind.owner)
    return tuple(kind for kind in kinds if kind.owner and kind.owner.container == ctid), log.unread


def diagnose(case: Case, questions: Iterable[Examination] = EXAMINATIONS) -> Diagnosis:
    """Judge what was read by some questions, the most likely cause first."""
    findings: list[Finding] = []
    unseen: list[Unseen] = []
    unit = case.guest.maybe(guest_reads.UNIT, None)
    down = unit is not None and not unit.runs
    for question in questions:
        if question.of_docker and down:
            continue  # that Docker does not run is a problem of its own
        try:
            findings.extend(question.judge(case))
        except RemediationError as error:
            matters = any(PROBLEMS[kind].severity is not Severity.ADVICE for kind in question.kinds)
            unseen.append(Unseen(question.what, str(error), matters))
    follow = {name for finding in findings for name in FOLLOWS.get(finding.id, ())}
    causes = [finding for finding in findings if finding.id not in follow]
    ordered = sorted(dict.fromkeys(causes), key=lambda cause: _ORDER.index(cause.severity))
    named = (replace(cause, fix=cause.fix.replace("CTID", str(case.ctid))) for cause in ordered)
    return Diagnosis(tuple(named), tuple(dict.fromkeys(unseen)))
