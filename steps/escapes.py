"""Attempts to break out of the container, and of Docker containers in it.

PYTEST_DONT_REWRITE: assertions have messages of their own, for the reader of the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from pytest_bdd import parsers, then, when

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import apparmor, escapes
from docker_lxc_gate.facts.audit.audit_window import Unwatched, Window
from docker_lxc_gate.facts.denial.denial_answers import smallest_rule
from docker_lxc_gate.facts.escapes import ATTEMPTS, DONE, NOTHING
from docker_lxc_gate.lab.docker_images import workload as built
from docker_lxc_gate.printable import counted
from docker_lxc_gate.verdict import evidence
from remediation import desired, plan_file
from steps.apparmor import why_wide
from steps.audit import subject
from steps.docker import cause, output
from steps.workload import ALONE, ESCAPER

if TYPE_CHECKING:
    from docker_lxc_gate.facts.audit.audit_records import Denial
    from docker_lxc_gate.machines.result import CommandResult
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target
    from docker_lxc_gate.machines.transport import Transport

#: How long all attempts may take (seconds), and what they may print (bytes).
_PATIENCE, _LIMIT = 300.0, 1 << 14
#: As docker run ends if it did not run the command.
_DOCKERS_OWN = frozenset({125, 126, 127})
_PAGE = "docs/confinement.md"


@dataclass(frozen=True)
class Attempted:
    """How attempts ended in a place, for a reader, and as root of the node; who refused them.

    A container with a policy of its own has a namespace of profiles, which no process leaves.
    """

    where: str
    command: tuple[str, ...]
    control: Mapping[str, str]
    ends: Mapping[str, str]
    who: Mapping[str, str]
    own_policy: bool


@pytest.fixture(scope="module")
def of_container(runtime: Runtime, ctid: int, target: Target, container: Transport) -> Attempted:
    """The attempts of the node's root and the container's, once for all scenarios."""
    node, is_lab = runtime.node, target.place == "lab"
    names = [name for name, attempt in ATTEMPTS.items() if attempt.looks or is_lab]
    words = names, escapes.targets(node, runtime.init_pid(ctid))
    # Not the container's answer: it would choose the numbers of the node's system calls.
    control = escapes.command("control", _kind(node), *words)
    command = escapes.command("attempt", _kind(container), *words)
    possible = escapes.in_time(_made(node, control), names)
    answer, denials, is_whole = _watched(runtime, ctid, partial(_made, container, command))
    ends = escapes.in_time(answer, names)
    without: dict[str, str] = {}
    if is_lab:  # by LXC's attach.c without profile and seccomp list, so not in a user's container
        bare = runtime.inside(ctid, "--elevated-privileges=LSM")
        without = escapes.in_time(_made(bare, command), names)
    # LXC's generated profile has quiet denies, which leave no record; the shipped one has none.
    silent = "seccomp" if is_whole and _is_shipped(target) else "AppArmor or seccomp"
    who = {
        name: escapes.refuser(without.get(name), _recorded(denials.get(name)), silent)
        for name in ends
    }
    own_policy = "//&" in apparmor.label(node, runtime.init_pid(ctid))
    return Attempted(f"container {ctid}", command, possible, ends, who, own_policy)


def _kind(machine: Transport) -> str:
    return machine.look(["uname", "-m"]).require().text.strip()


def _is_shipped(target: Target) -> bool:
    return plan_file.find(target.plan).profile == desired.PROFILE


def _made(machine: Transport, command: tuple[str, ...]) -> CommandResult:
    return machine.run(command, timeout=_PATIENCE, limit=_LIMIT)


def _watched(
    runtime: Runtime, ctid: int, make: Callable[[], CommandResult]
) -> tuple[CommandResult, Mapping[str, Denial], bool]:
    """Make attempts, and return their denials, too, and whether the log had room for all."""
    try:
        window = Window(runtime.node, subject(runtime, ctid))
    except FactError:
        return make(), {}, False
    try:
        answer = make()
        return answer, escapes.by_attempt(window.close()), True
    except Unwatched as doubt:
        return answer, escapes.by_attempt(doubt.denials), False
    finally:
        window.end()


def _recorded(denial: Denial | None) -> str:
    if not denial:
        return ""
    return f"AppArmor ({escapes.what_was_denied(denial)}; to allow it: {smallest_rule(denial)})"


@when("root of the container attempts to break out", target_fixture="attempted")
def container_attempts(of_container: Attempted) -> Attempted:
    """On the lab all attempts are made, elsewhere those that look."""
    return of_container


@when(
    parsers.parse("root of a {kind} Docker container attempts to break out"),
    target_fixture="attempted",
)
def docker_container_attempts(
    of_container: Attempted, container: Transport, made: CommandResult, kind: str
) -> Attempted:
    """What the container is refused, too, has the container's refuser; Docker refuses the rest."""
    # Where Docker maps users, it lets none of these be privileged that is mapped.
    more = ["--privileged", "--userns=host"] if kind == "privileged" else []
    run = [*ALONE, "--rm", "--name", ESCAPER, *more, built.COMMITTED, *of_container.command]
    answer = _made(container, tuple(run)) if made.ok else made
    if not made.ok or answer.exit_code in _DOCKERS_OWN:
        raise FactError(
            f"no {kind} Docker container can be started in {container.machine}, so its root could "
            f"not attempt to break out: {cause(output(answer))}"
        )
    where = f"a {kind} Docker container in {of_container.where}"
    ends = escapes.in_time(replace(answer, machine=where), [*of_container.ends])
    allowed = (name for name, end in of_container.ends.items() if end == DONE)
    of_docker = dict.fromkeys(allowed, "Docker")
    return replace(of_container, where=where, ends=ends, who={**of_container.who, **of_docker})


@then("what the platform and the plan's profile must refuse is refused")
def what_must_be_is_refused(attempted: Attempted, target: Target, node: Transport) -> None:
    """What the node's root cannot do either proves nothing, and is left out."""
    proved = [name for name in attempted.ends if attempted.control[name] == DONE]
    must = {"platform"} | ({"profile"} if _is_shipped(target) else set())
    must |= set() if attempted.own_policy else {"namespace"}
    if not any(ATTEMPTS[name].by in must for name in proved):
        raise FactError(
            f"all that must be refused fails as root of {node.machine}, too: that proves nothing"
        )
    may = [name for name in proved if attempted.ends[name] == DONE]
    wrong = [name for name in may if ATTEMPTS[name].by in must]
    of_profile = any(ATTEMPTS[name].by != "platform" for name in wrong)
    who = "the profile" if of_profile else "LXC and the kernel"
    assert not wrong, (
        f"{attempted.where}: its root may {'; '.join(ATTEMPTS[name].what for name in wrong)}, "
        f"which {who} must refuse ({_PAGE}, {', '.join(wrong)})"
        f"{why_wide(node, desired.PROFILE) if of_profile and _is_shipped(target) else ''}"
    )
    must_be_refused = (name for name in proved if ATTEMPTS[name].by in must)
    unclear = [name for name in must_be_refused if attempted.ends[name] not in escapes.REFUSALS]
    if unclear:
        raise FactError(
            f"{attempted.where}: cannot tell if its root may {ATTEMPTS[unclear[0]].what}: the "
            f"attempt ended with {attempted.ends[unclear[0]]}, which is no refusal"
        )
    number = counted(len(proved) - len(may), "attempt")
    evidence.say(f"{number} refused to {attempted.where}, each possible as root of {node.machine}")
    for line in _told(attempted, proved, may):
        evidence.say(line)


def _told(attempted: Attempted, proved: list[str], may: list[str]) -> Iterator[str]:
    """Yield who refused, what nobody refuses, and what proves nothing here."""
    refused = {name: attempted.who[name] for name in proved if name not in may}
    for who in dict.fromkeys(refused.values()):
        by = f"refused by {who}" if who else "refused, by whom is not known"
        yield f"{by}: {', '.join(name for name in refused if refused[name] == who)}"
    of_nobody = [name for name in may if ATTEMPTS[name].by == "nobody"]
    for names, why in (
        ([name for name in may if name not in of_nobody], f"{desired.PROFILE} refuses it"),
        (of_nobody, _PAGE),
    ):
        if names:
            yield f"possible ({why}): {', '.join(names)}"
    if names := [name for name in ATTEMPTS if name not in attempted.ends]:
        yield f"attempted on the lab alone: {', '.join(names)}"
    useless = {name: end for name, end in attempted.control.items() if end != DONE}
    if names := [name for name, end in useless.items() if end == NOTHING]:
        yield f"not attempted, nothing on the node to try it on: {', '.join(names)}"
    if names := [f"{name} ({end})" for name, end in useless.items() if end != NOTHING]:
        yield f"left out, as the node's root cannot do it either: {', '.join(names)}"
