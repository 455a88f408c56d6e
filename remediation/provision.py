"""Bringing a container about where there is none: by what the target has for it, or by us."""

from __future__ import annotations

import re
import shlex
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from remediation import desired, docker_in_lxc
from remediation.engine.action import Place
from remediation.engine.apply import apply
from remediation.engine.journal import Journal
from remediation.engine.plan import ACCEPT
from remediation.engine.rollback import roll_back
from targets.errors import (
    ChangedSince,
    CommandFailed,
    FactError,
    NotClean,
    RemediationError,
    UsageError,
    VerifyFailed,
)
from targets.lock import Lock
from targets.runtime.waiting import wait_until_booted, wait_until_online
from targets.transport import at_most

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from remediation.engine.plan import Plan
    from targets.runtime.base import Runtime
    from targets.target import Target
    from targets.transport import Transport

#: From nothing to a container with Docker, under emulation and over a slow mirror (seconds).
PATIENCE = 3600.0
_CREATE_PATIENCE = 600.0
#: What it may print meanwhile: an installation, with its progress (bytes).
_LONGEST = 64 << 20


@dataclass(frozen=True)
class Provisioned:
    """How a provisioning ended: ``how`` it was done, what it said, and after how many seconds."""

    how: str
    ok: bool
    said: str
    seconds: float


def provision(runtime: Runtime, target: Target, tell: Callable[[str], None]) -> Provisioned:
    """Provision the target's container, once more if it is there.

    By the target's own command or ``phoenix create``; where there is neither, it is created, and
    the plan applied, and once more by the plan.

    Args:
        runtime: manages the container.
        target: says how.
        tell: hears one line before anything that takes time.

    Returns:
        How it ended, also if that was not well.

    Raises:
        FactError: nothing says how; or the container is there, and the plan is not applied to
            it: there is no "once more", and nothing was changed.
        RemediationError: it could not be done, or what was done could not be rolled back.
    """
    if argv := target.provisioning(runtime.node):
        tell(shlex.join(argv))
        with at_most(_LONGEST):
            result = runtime.node.run(argv, timeout=PATIENCE)
        said = result.text + result.stderr.decode(errors="replace")
        return Provisioned(shlex.join(argv), result.ok, said, result.seconds)
    started, how = time.monotonic(), "the plan"
    try:
        if runtime.state(target.ctid) is None:
            argv = target.creation(target.ctid, features=desired.FEATURES)
            how = f"{' '.join(argv[:2])} and the plan"
            create(runtime, target.ctid, argv, tell)
            boot_created(runtime, target.ctid)
            apply(_plan(runtime, target, tell))
        else:
            _again(runtime, target, tell)
    except (CommandFailed, VerifyFailed) as error:
        return Provisioned(how, False, str(error), time.monotonic() - started)
    return Provisioned(how, True, "", time.monotonic() - started)


def _plan(runtime: Runtime, target: Target, tell: Callable[[str], None]) -> Plan:
    return docker_in_lxc.plan(runtime, target.ctid, repository=target.repository, tell=tell)


def _again(runtime: Runtime, target: Target, tell: Callable[[str], None]) -> None:
    plan = _plan(runtime, target, tell)
    if left := [drift.summary for _, drift in plan.drifts() if drift is not None]:
        raise FactError(
            f"container {target.ctid} was not provisioned by the plan ({left[0]}), so it cannot be "
            f"once more. Apply it first: python -m remediation apply --target {target}"
        )
    apply(plan)


def create(runtime: Runtime, ctid: int, argv: Sequence[str], tell: Callable[[str], None]) -> None:
    """Create a container.

    Args:
        runtime: manages the containers of the node.
        ctid: the container.
        argv: what creates it: see ``Target.creation``.
        tell: hears one line before anything that takes time.

    Raises:
        UsageError: it is there already; nothing was changed.
        NotClean: the journal still holds what was changed of a former container of that id.
        FactError: it would be created by pct, and the node has none.
        CommandFailed: it could not be created.
    """
    if argv[0] == "pct" and runtime.kind != "pct":
        raise FactError(
            f"{runtime.node.machine} has plain LXC: say in the target file what creates a "
            "container, for example create = 'lxc-create -n {ctid} -t download -- -d debian -r "
            "trixie -a amd64'"
        )
    with Lock.of(runtime.node).held(f"create container {ctid}"):
        if (state := runtime.state(ctid)) is not None:
            raise UsageError(f"container {ctid} is there already, and {state}: it is left as it is")
        _require_no_former(runtime, ctid)
        tell(shlex.join(argv))
        with at_most(_LONGEST):
            runtime.node.run(argv, timeout=_CREATE_PATIENCE).require()


def _require_no_former(runtime: Runtime, ctid: int) -> None:
    """Raise NotClean where a rollback would put back into it what was another container's."""
    journal, path = Journal(runtime.node, ctid), runtime.config_path(ctid)
    former = [e for e in journal.entries() if e.path == path or e.place is Place.CONTAINER]
    if former:
        raise NotClean(
            f"{journal.path} on {journal.machine} still holds what the plan changed of the former "
            f"container {ctid}, which a rollback would put into the new one. Let it go first: "
            f"{ACCEPT} " + " ".join(shlex.quote(entry.action) for entry in former)
        )


#: A template's place; a node without pvesm keeps them where Proxmox's storage ``local`` does. Its
#: names begin in one of two ways, as a rule all as the first one does. tar reads on, for seconds,
#: until it has found all that it is asked for, so it is asked for one, and then for the other.
_IN_TEMPLATE = """
file=$(pvesm path "$1" 2>/dev/null) || file=/var/lib/vz/template/cache/${1##*/}
case $(tar --list --file="$file" 2>/dev/null | head -n 1) in
    ./*) set -- ".$2" "${2#/}" ;;
    *) set -- "${2#/}" ".$2" ;;
esac
for name; do
    tar --extract --to-stdout --occurrence=1 --file="$file" -- "$name" && exit
done
"""
#: All that tar says of an archive that is whole, and does not have the file.
_NOT_IN_IT = re.compile(
    rb"(tar: (.*: Not found in archive|Exiting with failure status due to previous errors)\s*)+"
)


def of_template(node: Transport, template: str, path: str) -> bytes:
    """Return a file as it is in a template; empty if it is not there.

    Args:
        node: where the template lies.
        template: its volume.
        path: absolute.

    Raises:
        CommandFailed: there is no such template, or it cannot be read.
    """
    argv = ["env", "LC_ALL=C", "sh", "-c", _IN_TEMPLATE, "template", template, path]
    found = node.run(argv, timeout=_CREATE_PATIENCE)
    if not found.ok and _NOT_IN_IT.fullmatch(found.stderr):
        return b""
    return found.require().stdout


@contextmanager
def thrown_away(
    runtime: Runtime, target: Target, tell: Callable[[str], None], *, features: Iterable[str] = ()
) -> Iterator[int]:
    """Make the target's first reserved container, start it, and destroy it in the end.

    Only what was made here is destroyed, also if Ctrl-C ends its creation.

    Args:
        runtime: manages the containers.
        target: says which id is reserved, and what the container is made from.
        tell: hears one line before anything that takes time, and what may be left.
        features: Proxmox's, each one switched on.

    Yields:
        Its id.

    Raises:
        FactError: no id is reserved, nothing says what it is made from, or it is there already.
        RemediationError: it cannot be made, or not be taken away again.
    """
    ctid, argv = reserved(target, features)
    if runtime.state(ctid) is not None:
        raise FactError(f"container {ctid} is there already, and not ours: it is left alone")
    begun: list[str] = []  # create tells of it when it is about to run, and nobody else may
    try:
        create(runtime, ctid, argv, begun.append)
        boot(runtime, ctid)
        yield ctid
    finally:
        if begun:
            _throw_away(runtime, target, ctid, tell)


def reserved(target: Target, features: Iterable[str] = ()) -> tuple[int, list[str]]:
    """Return the container that may be made and destroyed, and the argv that creates it.

    Raises:
        FactError: none is reserved, or nothing says what it is made from.
    """
    if not target.reserved:
        raise FactError(
            "no ctid is reserved for throw-away containers on this target: put one into its target "
            "file, for example reserved = [951], with the template, storage and bridge for it"
        )
    ctid = target.reserved[0]
    return ctid, target.creation(ctid, hostname="throw-away", size=4, features=features)


def _throw_away(runtime: Runtime, target: Target, ctid: int, tell: Callable[[str], None]) -> None:
    """Destroy a container of ours, with nothing of its plan left on the node."""
    tell(f"throwing away container {ctid}")

    def plan() -> Plan:
        return docker_in_lxc.plan(runtime, ctid, repository=target.repository, tell=lambda _: None)

    try:
        if plan().journal.entries():
            try:
                roll_back(plan())
            except (
                ChangedSince
            ) as changed:  # in a container of ours; on the node it may be somebody's
                tell(f"{changed}: rolled back all the same, with a copy in the journal's kept/")
                roll_back(plan(), force=True)
        if runtime.state(ctid) == "running":
            runtime.stop(ctid)
        if runtime.state(ctid) is not None:
            runtime.destroy(ctid)
    except BaseException:
        tell(
            f"container {ctid} may be left on {runtime.node.machine}, with what the plan changed "
            f"for it: roll that back (python -m remediation rollback, for container {ctid}), then "
            "destroy the container"
        )
        raise


def boot(runtime: Runtime, ctid: int) -> Transport:
    """Start a container; return its inside when it has booted and has a network.

    Raises:
        CommandFailed: it does not start.
        TransportError: it has not booted, or has no network, in time.
    """
    runtime.start(ctid)
    inside = runtime.inside(ctid)
    wait_until_booted(inside)
    wait_until_online(inside)
    return inside


def boot_created(runtime: Runtime, ctid: int) -> Transport:
    """Boot a container that this run created; destroy it if it cannot be started at all.

    Raises:
        CommandFailed: it does not start; the error says whether it is gone again.
        TransportError: it has not booted, or has no network, in time; it is left as it is.
    """
    try:
        return boot(runtime, ctid)
    except CommandFailed as failed:
        raise CommandFailed(failed.result, _destroyed(runtime, ctid)) from failed


def _destroyed(runtime: Runtime, ctid: int) -> str:
    """Destroy it if it is stopped; what became of it."""
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
    return f"container {ctid}, which this run created, is destroyed again: mend the target file"
