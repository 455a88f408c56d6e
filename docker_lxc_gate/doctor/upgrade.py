"""Before an upgrade: would Docker still run after ``apt-get dist-upgrade``?

The node is asked, and the container if it runs. What apt would install is compared with the table
of versions that do not go together. What the table does not know is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import guest_reads, node_reads, upgrade_reads
from docker_lxc_gate.doctor.case import Answers, Case, Diagnosis, Examination, State, here
from docker_lxc_gate.doctor.examine import asked
from docker_lxc_gate.doctor.examine import diagnose as judged
from docker_lxc_gate.doctor.upgrade_pairs import (
    DOCKERS,
    KERNEL,
    KNOWN,
    NEEDED,
    PAIRS,
    Pair,
    Versions,
    Where,
    groups,
)
from docker_lxc_gate.errors import FactError, RemediationError
from docker_lxc_gate.facts.apt import is_within, order
from docker_lxc_gate.printable import listed

if TYPE_CHECKING:
    from docker_lxc_gate.lint.finding import Finding
    from docker_lxc_gate.machines.runtime.base import Runtime

KINDS = ("upgrade-removes", "upgrade-order", "upgrade-fixes", "upgrade-unknown")
_WHERES: tuple[Where, ...] = ("node", "container")
_IN = {"node": "on the node", "container": "in the container"}
#: A message names at most so many packages.
_MANY = 6


def examine(runtime: Runtime, ctid: int) -> Diagnosis:
    """Return what would be wrong with a container's Docker after an upgrade. Changes nothing.

    Raises as :func:`docker_lxc_gate.doctor.examine.asked` does.
    """
    return diagnose(asked(runtime, ctid, EXAMINATIONS))


def diagnose(case: Case) -> Diagnosis:
    """Judge what was read."""
    before: dict[Where, dict[str, str]] = {}
    after: dict[Where, dict[str, str]] = {}
    for where in _WHERES:
        with suppress(RemediationError):  # an examination names it
            before[where], after[where] = states(case, where)
    return judged(replace(case, before=before, after=after), EXAMINATIONS)


def states(case: Case, where: Where) -> tuple[dict[str, str], dict[str, str]]:
    """Return what is installed on a machine, and what would be after the upgrade.

    The node's kernel is the running one, and then the newest: it runs after a reboot. Raises
    RemediationError if one of the two could not be read.
    """
    answers = _answers(case, where)
    installed, plan = answers.of(upgrade_reads.INSTALLED), answers.of(upgrade_reads.PLAN)
    before = {name: version for name, version in installed.items() if name in upgrade_reads.WATCHED}
    later = {name: version for name, version in (installed | plan).items() if version}
    after = {name: version for name, version in later.items() if name in upgrade_reads.WATCHED}
    if where == "node":
        running = answers.of(node_reads.VERSIONS).get("kernel", "")
        if not running:
            raise FactError("the node does not say which kernel it runs")
        releases = [release for release in map(upgrade_reads.release, later) if release]
        before[KERNEL] = running
        after[KERNEL] = max([running, *releases], key=order)
    return before, after


def _answers(case: Case, where: Where) -> Answers:
    return case.node if where == "node" else case.guest


def _planned(where: Where, case: Case) -> Iterator[Finding]:
    """Raise if a machine does not say what apt would install, or its lists are too old for that."""
    states(case, where)
    if doubt := _answers(case, where).of(upgrade_reads.LISTS):
        raise FactError(doubt)
    yield from ()


def _judged(pair: Pair, case: Case) -> Iterator[Finding]:
    """Yield what one row of the table says of the upgrade."""
    if not {*pair.broken, *pair.fixed} <= case.before.keys():
        return  # that this machine could not be asked is said once
    was, will = _breaks(pair, case.before), _breaks(pair, case.after)
    first = None if was or will else _first(pair, case)
    if not (was or will or first) or (was and will and pair.advice):
        return
    if pair.only and not upgrade_reads.CONDITIONS[pair.only](case):
        return
    problem = f"{pair.title} ({_told(pair, case)})"
    if will:
        yield here(pair.id, f"as now already, {problem}" if was else f"after the upgrade {problem}")
    elif first:
        reboots = any(span.package == KERNEL for _, group in groups(pair.broken) for span in group)
        order = f"upgrade the {first} {'before the node reboots' if reboots else 'first'}"
        yield here("upgrade-order", f"{order}; otherwise, for a while, {problem}: row {pair.id}")
    else:
        yield here("upgrade-fixes", f"now {problem}; after the upgrade no more: row {pair.id}")


def _breaks(pair: Pair, state: State) -> bool:
    broken = all(_has(state[where], group) for where, group in groups(pair.broken))
    return broken and not any(_has(state[where], group) for where, group in groups(pair.fixed))


def _has(there: Mapping[str, str], group: Sequence[Versions]) -> bool:
    return any(
        span.package in there and is_within(there[span.package], span.since, span.before)
        for span in group
    )


def _first(pair: Pair, case: Case) -> Where | None:
    """Return the machine that must be upgraded first; None if either may be."""
    for where in _WHERES:
        if _breaks(pair, {**case.after, where: case.before.get(where, {})}):
            return where
    return None


def _told(pair: Pair, case: Case) -> str:
    """Return the versions that a row is about, before and after."""
    named = dict.fromkeys(
        (where, span.package)
        for where, group in (*groups(pair.broken), *groups(pair.fixed))
        for span in group
        if span.package in case.before[where] or span.package in case.after[where]
    )
    return ", ".join(_change(case, where, package) for where, package in named)


def _change(case: Case, where: Where, package: str) -> str:
    old, new = case.before[where].get(package, ""), case.after[where].get(package, "")
    if old == new:
        return f"{package} stays {old} {_IN[where]}"
    return f"{package} {old or '(absent)'} → {new or '(removed)'} {_IN[where]}"


def _removed(case: Case) -> Iterator[Finding]:
    """Yield what Docker needs and apt would remove; raises FactError if there is no Docker."""
    needed = [(where, packages) for where, groups in NEEDED.items() for packages in groups]
    info = case.guest.maybe(guest_reads.INFO, None)
    if info is not None and info.driver == "fuse-overlayfs":
        needed.append(("container", ("fuse-overlayfs",)))
    gone: dict[str, None] = {}
    for where, packages in needed:
        had = [package for package in packages if package in case.before.get(where, {})]
        if had and not any(package in case.after[where] for package in packages):
            gone.update(dict.fromkeys(f"{package} {_IN[where]}" for package in had))
    if gone:
        yield here("upgrade-removes", f"apt would remove {', '.join(gone)}")
    inside = case.after.get("container")
    if inside is not None and not inside.keys() & {*DOCKERS}:
        raise FactError(f"none of these packages is installed: {', '.join(DOCKERS)}")


def _unknown(case: Case) -> Iterator[Finding]:
    """Say what is newer than the table."""
    changes = [
        _change(case, where, package)
        for where in case.after
        for package, version in case.after[where].items()
        if version != case.before[where].get(package)
        and not is_within(version, "", KNOWN[package].before)
    ]
    if changes:
        yield here("upgrade-unknown", f"nothing is known of {listed(changes, _MANY)}")


_OF_MACHINE = (upgrade_reads.PLAN, upgrade_reads.INSTALLED, upgrade_reads.LISTS)
_REMOVES = ("upgrade-removes",)
EXAMINATIONS = (
    *(
        Examination(
            f"what apt would install {_IN[where]}",
            _REMOVES,
            node=_OF_MACHINE if where == "node" else (),
            guest=_OF_MACHINE if where == "container" else (),
            judge=partial(_planned, where),
        )
        for where in _WHERES
    ),
    Examination("whether Docker would run", _REMOVES, judge=_removed),
    *(
        Examination(
            f"whether {pair.title}",
            (pair.id,),
            node=upgrade_reads.NODE,
            guest=upgrade_reads.GUEST,
            judge=partial(_judged, pair),
        )
        for pair in PAIRS
    ),
    Examination("what is not known of the plan", ("upgrade-unknown",), judge=_unknown),
)
