"""Attempts to break out of the container and of its Docker containers.

PYTEST_DONT_REWRITE: assertions have messages of their own, for the reader of the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from pytest_bdd import parsers, then, when

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import escapes
from docker_lxc_gate.facts.audit import audit_window
from docker_lxc_gate.facts.denial.denial_answers import smallest_rule
from docker_lxc_gate.facts.escapes import ATTEMPTS, Outcome
from docker_lxc_gate.lab.docker_images import workload as built
from docker_lxc_gate.printable import counted
from docker_lxc_gate.verdict import evidence
from remediation import desired, plan_file
from steps.apparmor import why_wide
from steps.audit import subject
from steps.docker import cause, said
from steps.workload import ALONE, ESCAPER

if TYPE_CHECKING:
    from docker_lxc_gate.facts.audit.audit_records import Denial
    from docker_lxc_gate.machines.result import CommandResult
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target
    from docker_lxc_gate.machines.transport import Transport

#: Whether AppArmor records what a quiet deny refuses.
_AUDIT = "/sys/module/apparmor/parameters/audit"
_SET = 'printf %s "$1" >"$2"'
_DOCKER = "Docker (its seccomp list or capabilities)"
#: As docker run ends if the command in the Docker container did not.
_DOCKERS_OWN = frozenset({125, 126, 127})
_BY_NOBODY = "no profile refuses it, or a setting of the node allows it"
_PAGE = "docs/confinement.md"


@dataclass(frozen=True)
class Attempted:
    """What was attempted in one place.

    Attributes:
        where: the place, for a reader.
        command: what makes the attempts there.
        control: how each attempt ended as root of the node.
        found: how each ended in the place.
        who: who refused it there.
        denials: the record of each attempt that left one.
    """

    where: str
    command: tuple[str, ...]
    control: Mapping[str, Outcome]
    found: Mapping[str, Outcome]
    who: Mapping[str, str]
    denials: Mapping[str, Denial] = field(default_factory=dict)


@pytest.fixture(scope="module")
def of_container(
    runtime: Runtime,
    ctid: int,
    container: Transport,
    lab_snapshot: Callable[[str], None] | None,
) -> Attempted:
    """The attempts of the container's root, once for all scenarios."""
    node, is_lab = runtime.node, lab_snapshot is not None
    names = [name for name, attempt in ATTEMPTS.items() if attempt.looks or is_lab]
    machine = container.look(["uname", "-m"]).require().text.strip()
    targets = node.ask(escapes.targets(runtime.init_pid(ctid)))
    command = escapes.command(machine, names, targets)
    control = escapes.outcomes(_made(node, command), names)
    with _quiet_denies_recorded(node, is_lab) as all_recorded:
        answer, denials, is_whole = _watched(runtime, ctid, lambda: _made(container, command))
    found = escapes.outcomes(answer, names)
    without: dict[str, Outcome] = {}
    if is_lab:  # there the guest is ours: its perl runs without AppArmor and seccomp
        bare = _made(runtime.inside(ctid, "--elevated-privileges=LSM"), command)
        without = escapes.outcomes(bare, names)
    whole = all_recorded and is_whole
    who = escapes.refusers(found, without, denials, all_recorded=whole)
    return Attempted(f"container {ctid}", command, control, found, who, denials)


def _made(machine: Transport, command: tuple[str, ...]) -> CommandResult:
    return machine.run(command, timeout=escapes.PATIENCE, limit=escapes.LIMIT)


@contextmanager
def _quiet_denies_recorded(node: Transport, is_lab: bool) -> Iterator[bool]:
    """Let AppArmor record quiet denies, too, on the lab; tells whether it does.

    LXC's generated profile refuses much without a record, and seccomp leaves none: only so can they
    be told apart. It holds for the whole node, so a user's own is left as it is.
    """
    before = (node.read(_AUDIT) or b"").decode(errors="replace").strip() if is_lab else ""
    if not before:
        yield False
        return
    node.run(["sh", "-c", _SET, "set", "noquiet", _AUDIT]).require()
    try:
        yield True
    finally:
        node.run(["sh", "-c", _SET, "set", before, _AUDIT]).require()


def _watched(
    runtime: Runtime, ctid: int, make: Callable[[], CommandResult]
) -> tuple[CommandResult, dict[str, Denial], bool]:
    """Make attempts; return their answer, their denials, and whether the log was whole."""
    try:
        window = audit_window.Window(runtime.node, subject(runtime, ctid))
    except audit_window.Unwatched:
        return make(), {}, False
    try:
        answer = make()
        denials, is_whole = window.close(), True
    except audit_window.Unwatched as doubt:
        denials, is_whole = [*doubt.denials], False
    finally:
        window.end()
    ours = {escapes.attempt_of(denial): denial for denial in reversed(denials)}
    return answer, {name: denial for name, denial in ours.items() if name}, is_whole


@when("root of the container attempts to break out", target_fixture="attempted")
def container_attempts(of_container: Attempted) -> Attempted:
    """First as root of the node, then as the container's, and on the lab without AppArmor."""
    return of_container


@when(
    parsers.parse("root of a {kind} Docker container attempts to break out"),
    target_fixture="attempted",
)
def docker_container_attempts(
    of_container: Attempted, container: Transport, made: CommandResult, kind: str
) -> Attempted:
    """What was refused to the container as well, the same refused here; the rest was Docker."""
    more = ["--privileged"] if kind == "privileged" else []
    run = [*ALONE, "--rm", "--name", ESCAPER, *more, built.COMMITTED, *of_container.command]
    answer = _made(container, tuple(run)) if made.ok else made
    if answer.exit_code in _DOCKERS_OWN or not made.ok:
        raise FactError(
            f"no {kind} Docker container can be run in {container.machine} to attempt to break out "
            f"of: {cause(said(answer))}"
        )
    where = f"a {kind} Docker container in {of_container.where}"
    answer = replace(answer, machine=where)
    found = escapes.outcomes(answer, [*of_container.found])
    failed = (name for name, outcome in found.items() if not outcome.succeeded)
    who = {name: of_container.who.get(name, _DOCKER) for name in failed}
    return replace(of_container, where=where, found=found, who=who)


@then("what the platform and the plan's profile must refuse is refused")
def what_must_be_is_refused(attempted: Attempted, target: Target, node: Transport) -> None:
    """An attempt that fails as root of the node, too, proves nothing, and is left out."""
    control, found = attempted.control, attempted.found
    proved = [name for name in found if control[name].succeeded]
    if not proved:
        raise FactError(
            f"no attempt to break out succeeds as root of {node.machine}, so none proves anything"
        )
    is_shipped = plan_file.find(target.plan).profile == desired.PROFILE
    may = [name for name in proved if found[name].succeeded]
    must = {"platform", "profile"} if is_shipped else {"platform"}
    wrong = [name for name in may if ATTEMPTS[name].by in must]
    of_profile = any(ATTEMPTS[name].by == "profile" for name in wrong)
    assert not wrong, (
        f"{attempted.where}: its root may {'; '.join(ATTEMPTS[name].what for name in wrong)}: "
        f"{'the shipped profile' if of_profile else 'LXC'} refuses that (attempts "
        f"{', '.join(wrong)} of {_PAGE}){why_wide(node, desired.PROFILE) if of_profile else ''}"
    )
    refused = [name for name in proved if name not in may]
    evidence.say(
        f"{counted(len(refused), 'attempt')} of {attempted.where} refused, and each succeeds as "
        f"root of {node.machine}"
    )
    for line in _told(attempted, refused, may):
        evidence.say(line)


def _told(attempted: Attempted, refused: list[str], may: list[str]) -> Iterator[str]:
    """Yield who refused, what nobody does, and what proves nothing here."""
    for who in dict.fromkeys(attempted.who[name] for name in refused):
        those = [name for name in refused if attempted.who[name] == who]
        shown = [f"{name}{_record(attempted, name, who)}" for name in those]
        yield f"refused by {who}: {', '.join(shown)}"
    for by, why in (("profile", f"refused by {desired.PROFILE} alone"), ("nobody", _BY_NOBODY)):
        if those := [name for name in may if ATTEMPTS[name].by == by]:
            yield f"possible, because {why}: {', '.join(those)} ({_PAGE})"
    failed = {name: end for name, end in attempted.control.items() if not end.succeeded}
    if nothing := [name for name, end in failed.items() if escapes.nothing_to_try(end)]:
        yield f"not attempted, because the node has nothing to try it on: {', '.join(nothing)}"
    if those := [f"{name} ({end})" for name, end in failed.items() if name not in nothing]:
        yield f"proves nothing, because the node's root cannot do it either: {', '.join(those)}"


def _record(attempted: Attempted, name: str, who: str) -> str:
    """Return what AppArmor recorded of an attempt, and the rule that would allow it."""
    if who != escapes.APPARMOR:
        return ""
    denial = attempted.denials[name]
    done = " ".join(filter(None, map(denial.fields.get, ("operation", "name", "family"))))
    return f" ({done}; to allow it: {smallest_rule(denial)})"
