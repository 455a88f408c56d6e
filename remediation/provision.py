"""Creating and provisioning a container, by the target's own command or by ours."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError, RemediationError, UsageError
from docker_lxc_gate.facts.repository import file_of
from docker_lxc_gate.machines.lock import Lock
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.runtime.waiting import wait_until_booted, wait_until_online
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.machines.transport import Transport
from remediation import docker_in_lxc, phoenix, plan_file
from remediation.engine.action import Place
from remediation.engine.apply import apply
from remediation.engine.errors import ACCEPT, ChangedSince, NotClean, VerifyFailed
from remediation.engine.journal import Journal
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back
from remediation.phoenix.description import is_described

#: From nothing to a container with Docker, under emulation and over a slow mirror (seconds).
PATIENCE = 3600.0
_CREATE_PATIENCE = 600.0
_PHOENIX = program("remediation", "phoenix.sh")
#: Limit for the output of an installation with its progress (bytes).
_LONGEST = 64 << 20


@dataclass(frozen=True)
class Provisioned:
    """The result of a provisioning: the command, its success, its output, its duration."""

    how: str
    ok: bool
    output: str
    seconds: float


def provision(runtime: Runtime, target: Target, tell: Callable[[str], None]) -> Provisioned:
    """Provision the target's container, or provision it again if it exists.

    This runs the target's own command, or ``phoenix create`` if phoenix describes the container.
    Else it creates the container and applies the plan; on an existing one, it applies it again. It
    tells of each long operation, and returns the result, even of a failed provisioning.

    Raises RemediationError if provisioning, or its rollback, failed; FactError, with nothing
    changed, if the target names neither command nor template, or the container exists without the
    plan, so that it cannot be provisioned *again*.
    """
    if argv := target.provisioning() or _by_phoenix(runtime.node, target):
        tell(shlex.join(argv))
        result = runtime.node.run(argv, timeout=PATIENCE, limit=_LONGEST)
        output = result.text + result.stderr.decode(errors="replace")
        return Provisioned(shlex.join(argv), result.ok, output, result.seconds)
    started, how = time.monotonic(), "the plan"
    try:
        if runtime.state(target.ctid) is None:
            argv = target.creation(target.ctid, features=plan_file.find(target.plan).features)
            how = f"{' '.join(argv[:2])} and the plan"
            create(runtime, target.ctid, argv, tell)
            boot_created(runtime, target.ctid)
            apply(planned(runtime, target, tell))
        else:
            plan = planned(runtime, target, tell)
            if left := [drift.summary for _, drift in plan.drifts() if drift is not None]:
                raise FactError(
                    f"container {target.ctid} was not provisioned by the plan ({left[0]}), so it "
                    "cannot be provisioned again. Apply it first: docker-lxc-gate apply "
                    f"--target {target}"
                )
            apply(plan)
    except (CommandFailed, VerifyFailed) as error:
        return Provisioned(how, False, str(error), time.monotonic() - started)
    return Provisioned(how, True, "", time.monotonic() - started)


def _by_phoenix(node: Transport, target: Target) -> list[str]:
    argv = ["sh", "-c", _PHOENIX, "phoenix", target.repository]
    there, _, others = node.run(argv, timeout=60).require().text.partition("\n")
    text = node.ask(file_of(target.repository, phoenix.CONTAINERS)) if there else None
    if not is_described(text, target.ctid):
        return []
    if others:
        raise FactError(
            f"root does not run phoenix on {node.machine}, because others may change "
            f"{others.splitlines()[0]}; let root own it, or name the command in the target file: "
            "provision = 'phoenix create {ctid}'"
        )
    return [there, "create", str(target.ctid)]


def planned(runtime: Runtime, target: Target, tell: Callable[[str], None]) -> Plan:
    """Return the target's plan for its container."""
    return docker_in_lxc.plan(
        runtime,
        target.ctid,
        repository=target.repository,
        tell=tell,
        wanted=plan_file.find(target.plan),
    )


def create(runtime: Runtime, ctid: int, argv: Sequence[str], tell: Callable[[str], None]) -> None:
    """Create a container by a command of ``Target.creation``, and tell of it just before it runs.

    Raises UsageError, with nothing changed, if it exists already; NotClean if the journal still
    holds before-images of a former container with this id; FactError if the command is pct, but the
    node has none; and CommandFailed if it could not be created.
    """
    if argv[0] == "pct" and runtime.kind != "pct":
        raise FactError(
            f"{runtime.node.machine} has plain LXC: put the command that creates a container into "
            "the target file, such as create = 'lxc-create -n {ctid} -t download -- -d debian -r "
            "trixie -a amd64'"
        )
    with Lock.of(runtime.node).held(f"create container {ctid}"):
        if (state := runtime.state(ctid)) is not None:
            raise UsageError(f"container {ctid} exists already, and is {state}: it was not changed")
        _require_no_former(runtime, ctid)
        tell(shlex.join(argv))
        runtime.node.run(argv, timeout=_CREATE_PATIENCE, limit=_LONGEST).require()


def _require_no_former(runtime: Runtime, ctid: int) -> None:
    """Raise NotClean if a rollback would restore a former container's state into the new one."""
    journal, path = Journal(runtime.node, ctid), runtime.config_path(ctid)
    former = [e for e in journal.entries() if e.path == path or e.place is Place.CONTAINER]
    if former:
        raise NotClean(
            f"{journal.path} on {journal.machine} still holds before-images of the former "
            f"container {ctid}, which a rollback would restore into the new one. Drop them first: "
            f"{ACCEPT} " + " ".join(shlex.quote(entry.action) for entry in former)
        )


_IN_TEMPLATE = program("remediation", "template_file.sh")
#: tar's whole output about an intact archive that lacks the file.
_NOT_IN_IT = patterns.compile(
    rb"(tar: (.*: Not found in archive|Exiting with failure status due to previous errors)\s*)+"
)


#: The volume of a template, and of nothing else.
_TEMPLATE = patterns.compile(r"[A-Za-z0-9][\w.-]*:vztmpl/[A-Za-z0-9][\w.+~-]*")


def of_template(node: Transport, template: str, path: str) -> bytes:
    """Return the content of a file, by its absolute path, in a template; empty if that lacks it.

    The template is named by its volume, which whoever owns a phoenix checkout may have chosen.
    Raises FactError if it is the volume of something else, CommandFailed if it does not exist or
    cannot be read.
    """
    if not _TEMPLATE.fullmatch(template):
        raise FactError(f"{template!r:.200} is no template (STORAGE:vztmpl/NAME): it was not read")
    argv = ["env", "LC_ALL=C", "sh", "-c", _IN_TEMPLATE, "template", template, path]
    result = node.look(argv, timeout=_CREATE_PATIENCE)
    if not result.ok and _NOT_IN_IT.fullmatch(result.stderr):
        return b""
    return result.require().stdout


@contextmanager
def thrown_away(
    runtime: Runtime,
    target: Target,
    tell: Callable[[str], None],
    *,
    features: Iterable[str] = (),
) -> Iterator[int]:
    """Create the target's first reserved container, start it, and destroy it at the end.

    Only a container that this function created is destroyed, even if Ctrl-C ends its creation.
    Yield its id. ``tell`` gets a line before each long operation, and about leftovers. ``features``
    are Proxmox's, by name.

    Raises FactError if no id is reserved, the target has no template, or the container exists
    already, and RemediationError if it could not be created or destroyed.
    """
    ctid, argv = reserved(target, features)
    if runtime.state(ctid) is not None:
        raise FactError(f"container {ctid} exists already, and is not ours: it was not changed")
    begun: list[str] = []  # create tells of the command just before it runs, with the lock held
    try:
        try:
            create(runtime, ctid, argv, begun.append)
        except CommandFailed as failed:  # pct removes what it began: what is there is another's
            begun.clear()
            raise CommandFailed(failed.result, _not_ours(runtime, ctid)) from failed
        boot(runtime, ctid)
        yield ctid
    finally:
        if begun:
            _throw_away(runtime, target, ctid, tell)


def _not_ours(runtime: Runtime, ctid: int) -> str:
    """Return the message about a container that is there after its creation failed."""
    if runtime.state(ctid) is None:
        return ""
    return (
        f"container {ctid} is on {runtime.node.machine} now, and stays, because somebody else may "
        "have made it. If nobody did, destroy it"
    )


def reserved(target: Target, features: Iterable[str] = ()) -> tuple[int, list[str]]:
    """Return the container that may be created and destroyed, and the argv that creates it.

    Raises FactError if none is reserved, or the target has no template.
    """
    if not target.reserved:
        raise FactError(
            "no ctid is reserved for throw-away containers on this target: put one into its target "
            "file, for example reserved = [951], with the template, storage and bridge for it"
        )
    ctid = target.reserved[0]
    return ctid, target.creation(ctid, hostname="throw-away", size=4, features=features)


def _throw_away(runtime: Runtime, target: Target, ctid: int, tell: Callable[[str], None]) -> None:
    """Roll the plan back on the node, and destroy our container."""
    tell(f"throwing away container {ctid}")

    def plan() -> Plan:
        return docker_in_lxc.plan(runtime, ctid, repository=target.repository, tell=lambda _: None)

    try:
        if plan().journal.entries():
            try:
                roll_back(plan())
            except ChangedSince as changed:  # on the node, it may be somebody's own change
                tell(f"{changed}: rolled back by force, with a copy in the journal's kept/")
                roll_back(plan(), force=True)
        if runtime.state(ctid) == "running":
            runtime.shutdown(ctid)
        if runtime.state(ctid) is not None:
            runtime.destroy(ctid)
    except BaseException:
        tell(
            f"container {ctid} may be left on {runtime.node.machine}, with the plan's changes for "
            f"it: roll them back (docker-lxc-gate rollback, for container {ctid}), then "
            "destroy the container"
        )
        raise


def boot(runtime: Runtime, ctid: int) -> Transport:
    """Start a container; return a transport into it when it has booted and has a network.

    Raises CommandFailed if it does not start, TransportError if it did not boot, or got no network,
    in time.
    """
    runtime.start(ctid)
    inside = runtime.inside(ctid)
    wait_until_booted(inside)
    wait_until_online(inside)
    return inside


def boot_created(runtime: Runtime, ctid: int) -> Transport:
    """Boot a container that this run created; destroy it if it cannot be started.

    Raises as :func:`boot`. CommandFailed says whether it was destroyed; else it was not.
    """
    try:
        return boot(runtime, ctid)
    except CommandFailed as failed:
        raise CommandFailed(failed.result, _destroyed(runtime, ctid)) from failed


def _destroyed(runtime: Runtime, ctid: int) -> str:
    """Destroy the container if it is stopped; return the message about it."""
    left = (
        f"container {ctid} was created by this run and is left on {runtime.node.machine}: destroy "
        "it (pct destroy), or start it yourself"
    )
    try:
        if runtime.state(ctid) != "stopped":
            return left
        runtime.destroy(ctid)
    except RemediationError as error:
        return f"{left}\nit could not be destroyed: {error}"
    return f"container {ctid}, which this run created, was destroyed again: correct the target file"
