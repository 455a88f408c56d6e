"""Before an upgrade: would Docker still run after ``apt-get dist-upgrade``?

Two round trips: the node, and the container if it runs. What apt would install is compared with the
table of versions that do not go together. What the table does not know is said to be unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import guest_reads, node_reads, upgrade_conditions, upgrade_reads
from docker_lxc_gate.doctor.case import Case, Diagnosis, Unseen, here
from docker_lxc_gate.doctor.first_look import ask_inside, first_look
from docker_lxc_gate.doctor.upgrade_conditions import Container
from docker_lxc_gate.doctor.upgrade_pairs import KERNEL, KNOWN, NEEDED, PAIRS
from docker_lxc_gate.errors import FactError, RemediationError
from docker_lxc_gate.facts.apt import is_within
from docker_lxc_gate.lint.finding import Finding, Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker_lxc_gate.doctor.answers import Answers
    from docker_lxc_gate.doctor.upgrade_conditions import State
    from docker_lxc_gate.doctor.upgrade_pairs import Pair, Side, Where
    from docker_lxc_gate.machines.runtime.base import Runtime

KINDS = ("upgrade-removes", "upgrade-order", "upgrade-fixes", "upgrade-unknown")
_OF_MACHINE = (upgrade_reads.PLAN, upgrade_reads.INSTALLED, upgrade_reads.LISTS)
_WHERES: tuple[Where, ...] = ("node", "container")
_IN = {"node": "on the node", "container": "in the container"}
#: Of more packages a reader needs no more.
_MANY = 6


def examine(runtime: Runtime, ctid: int) -> Diagnosis:
    """Return what would be wrong with a container's Docker after an upgrade. Changes nothing.

    Args:
        runtime: manages the container.
        ctid: the container.

    Raises:
        FactError: there is no such container on the node.
        TransportError: the node cannot be reached.
    """
    look = first_look(runtime, ctid, (*_OF_MACHINE, *upgrade_conditions.node(ctid)))
    inside = ask_inside(runtime, ctid, look, (*_OF_MACHINE, *upgrade_conditions.GUEST))
    return diagnose(Case(ctid, look.config, look.content, look.node, inside))


def diagnose(case: Case) -> Diagnosis:
    """Judge what was read."""
    before: dict[Where, dict[str, str]] = {}
    after: dict[Where, dict[str, str]] = {}
    unseen = []
    answers: dict[Where, Answers] = {"node": case.node, "container": case.guest}
    for where, each in answers.items():
        try:
            before[where], after[where] = states(each, where)
            _require_current(each)
        except RemediationError as error:
            unseen.append(Unseen(f"what apt would install {_IN[where]}", str(error)))
    of = Container(**vars(case), before=before, after=after)
    if not _engines(of) and "container" in before:
        what = "whether Docker would run"
        unseen.append(Unseen(what, "no package docker-ce or docker.io is installed"))
    found = list(_removed(of))
    for pair in PAIRS:
        try:
            found.extend(_judged(pair, of))
        except RemediationError as error:
            unseen.append(Unseen(f"whether {pair.title}", str(error), not pair.advice))
    found.extend(_unknown(of))
    ordered = sorted(found, key=lambda each: each.is_advice)
    return Diagnosis(tuple(ordered), tuple(dict.fromkeys(unseen)))


def states(answers: Answers, where: Where) -> tuple[dict[str, str], dict[str, str]]:
    """Return what is installed on a machine, and what would be after the upgrade.

    The node's kernel is the running one, and then the newest: it runs after a reboot.

    Raises:
        RemediationError: one of the two could not be read.
    """
    installed, plan = answers.of(upgrade_reads.INSTALLED), answers.of(upgrade_reads.PLAN)
    before = {name: each for name, each in installed.items() if name in upgrade_reads.WATCHED}
    after = dict(before)
    for step in plan:
        if step.package not in upgrade_reads.WATCHED:
            continue
        if step.version:
            after[step.package] = step.version
        else:
            after.pop(step.package, None)
    if where == "node":
        running = answers.of(node_reads.VERSIONS).get("kernel", "")
        if not running:
            raise FactError("the node does not say which kernel it runs")
        removed = {step.package for step in plan if not step.version}
        names = [*(installed.keys() - removed), *(step.package for step in plan if step.version)]
        releases = [each for each in map(upgrade_reads.release, names) if each]
        before[KERNEL] = running
        after[KERNEL] = upgrade_reads.newest([running, *releases])
    return before, after


def _require_current(answers: Answers) -> None:
    """Raise FactError if apt's lists are too old to tell what it would install."""
    if doubt := answers.of(upgrade_reads.LISTS).doubt:
        raise FactError(doubt)


def _engines(of: Container) -> set[str]:
    return {"docker-ce", "docker.io"} & of.after.get("container", {}).keys()


def _judged(pair: Pair, of: Container) -> Iterator[Finding]:
    """Yield what one row of the table says of the upgrade."""
    if not {side.where for side in (*pair.broken, *pair.fixed)} <= of.before.keys():
        return  # that this machine could not be asked is said once
    was, will = _breaks(pair, of.before), _breaks(pair, of.after)
    first = None if was or will else _first(pair, of)
    if not (was or will or first) or (was and will and pair.advice) or not _applies(pair, of):
        return
    said = f"{pair.title} ({_told(pair, of)})"
    if will:
        severity = Severity.ADVICE if pair.advice else Severity.PROBLEM
        cause = f"as now already, {said}" if was else f"after the upgrade {said}"
        sources = f"Known from {', '.join(pair.sources)}."
        why = f"{pair.why} {sources}"
        yield Problem(pair.id, severity, pair.title, why, pair.fix).here(cause)
    elif first:
        reboots = any(each.package == KERNEL for side in pair.broken for each in side.versions)
        order = f"upgrade the {first} {'before the node reboots' if reboots else 'first'}"
        yield here("upgrade-order", f"{order}; otherwise, for a while, {said}: row {pair.id}")
    else:
        yield here("upgrade-fixes", f"now {said}; after the upgrade no more: row {pair.id}")


def _applies(pair: Pair, of: Container) -> bool:
    if not pair.only:
        return True
    _, condition = upgrade_conditions.CONDITIONS[pair.only]
    return condition(of)


def _breaks(pair: Pair, state: State) -> bool:
    broken = all(_has(side, state) for side in pair.broken)
    return broken and not any(_has(side, state) for side in pair.fixed)


def _has(side: Side, state: State) -> bool:
    there = state[side.where]
    return any(
        each.package in there and is_within(there[each.package], each.since, each.before)
        for each in side.versions
    )


def _first(pair: Pair, of: Container) -> Where | None:
    """Return the machine that must be upgraded first; None if either may be."""
    for where in _WHERES:
        between = {**of.before, **{each: of.after[each] for each in of.after if each != where}}
        if _breaks(pair, between):
            return where
    return None


def _told(pair: Pair, of: Container) -> str:
    """Return the versions that a row is about, before and after."""
    named = dict.fromkeys(
        (side.where, each.package)
        for side in (*pair.broken, *pair.fixed)
        for each in side.versions
        if each.package in of.before[side.where] or each.package in of.after[side.where]
    )
    return ", ".join(_change(of, where, package) for where, package in named)


def _change(of: Container, where: Where, package: str) -> str:
    old, new = of.before[where].get(package, ""), of.after[where].get(package, "")
    if old == new:
        return f"{package} stays {old} {_IN[where]}"
    return f"{package} {old or '(absent)'} → {new or '(removed)'} {_IN[where]}"


def _removed(of: Container) -> Iterator[Finding]:
    """Yield what Docker needs and the plan removes without a substitute."""
    needed = list(NEEDED)
    info = of.guest.maybe(guest_reads.INFO, None)
    if info is not None and info.driver == "fuse-overlayfs":
        needed.append(("container", ("fuse-overlayfs",)))
    gone: dict[str, None] = {}
    for where, packages in needed:
        had = [each for each in packages if each in of.before.get(where, {})]
        if had and not any(each in of.after[where] for each in packages):
            gone.update(dict.fromkeys(f"{each} {_IN[where]}" for each in had))
    if gone:
        yield here("upgrade-removes", f"apt would remove {', '.join(gone)}")


def _unknown(of: Container) -> Iterator[Finding]:
    """Say what is newer than the table."""
    until = {each.package: each.before for each in KNOWN}
    found = [
        _change(of, where, package)
        for where in of.after
        for package, version in of.after[where].items()
        if version != of.before[where].get(package) and not is_within(version, "", until[package])
    ]
    if found:
        more = f" and {len(found) - _MANY} more" if len(found) > _MANY else ""
        yield here("upgrade-unknown", f"nothing is known of {', '.join(found[:_MANY])}{more}")
