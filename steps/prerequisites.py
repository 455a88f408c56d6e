"""The prerequisites of a change: backups, repository, access, neighbours, log.

PYTEST_DONT_REWRITE: assertions have messages of their own, for the reader of the verdict.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import pytest
from pytest_bdd import given, then

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import backups as backup
from docker_lxc_gate.facts import prerequisites, repository
from docker_lxc_gate.facts.backup_archives import (
    PATIENCE,
    defects,
    expected,
    left_out,
    listed_defects,
)
from docker_lxc_gate.formats.container_config import may_freeze
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.verdict import evidence
from remediation import desired, phoenix
from remediation.docker_data import judged, shown
from steps.audit import SEEN

if TYPE_CHECKING:
    from docker_lxc_gate.facts.audit import audit_window
    from docker_lxc_gate.facts.prerequisites import Affected
    from docker_lxc_gate.facts.repository import Checkout
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target
    from docker_lxc_gate.machines.transport import Transport


_BACK_UP = program("steps", "back_up_lab.sh")


@pytest.fixture(scope="session")
def made_by_this_run(runtime: Runtime, target: Target, ctid: int, own_lab: bool) -> bool:
    """Back up the lab that this run has made; no other target is backed up."""
    if own_lab:
        back_up_lab(runtime, ctid, target.backups or backup.DUMP)
    return own_lab


def back_up_lab(runtime: Runtime, ctid: int, directory: str) -> None:
    """Archive a container and its node's ``/etc``; raises CommandFailed."""
    rootfs = runtime.effective(ctid).current().get("lxc.rootfs.path", "").removeprefix("dir:")
    about = (directory, str(ctid), rootfs, runtime.config_path(ctid), "/")
    runtime.node.run(["sh", "-c", _BACK_UP, "back_up", *about], timeout=PATIENCE).require()


@pytest.fixture(scope="session")
def reads_archives(may_change: bool, request: pytest.FixtureRequest) -> bool:
    """Whether a container's archives are read to their end, which takes as long as a backup."""
    return may_change or bool(request.config.getoption("--read-backups"))


@given("the backups on the node are listed", target_fixture="backups")
def backups_are_listed(
    runtime: Runtime, ctid: int, target: Target, made_by_this_run: bool
) -> backup.Backups:
    """List all backups, good and bad ones; a Then judges them."""
    if made_by_this_run:
        evidence.say("made by this run")
    return backup.find(runtime.node, ctid, target.backups)


@then("a recent backup of the container was finished, and is whole if it was read to its end")
def container_is_backed_up(
    node: Transport,
    backups: backup.Backups,
    target: Target,
    runtime: Runtime,
    reads_archives: bool,
) -> None:
    """Check vzdump's log beside the archive, and the archive's own checksums if it is to be read.

    The configuration in it must be this container's, because anyone can rename a file. vzdump
    leaves out most mount points: Docker's data must not be on one.
    """
    ctid = target.ctid
    ours = (node.read(runtime.config_path(ctid)) or b"").decode(errors="replace")
    hours = target.backup_age
    of_container = backups.container
    if reads_archives:
        of_container = expected(of_container, runtime, ctid)
    archive, faulty = backup.newest_sound(
        of_container, lambda candidate: defects(node, candidate, hours, ours, read=reads_archives)
    )
    if archive is None:
        how = _vzdump(ctid, _place(backups), "stop" if may_freeze(ours) else "snapshot")
        remote, outdated = backup.newest_sound(
            backups.remote, lambda candidate: listed_defects(candidate, hours)
        )
        if remote is not None:
            lost, _ = judged(runtime, ctid, left_out(ours, node))
            assert not lost, f"{remote} {lost}"
            raise FactError(
                f"the newest backup of container {ctid} is {remote}, on a Proxmox Backup Server: "
                "it exists and is recent, but the node cannot verify its log and its content. Let "
                "the server verify it (Datastore, Verify). For a verdict here, make one that the "
                "node can read: " + how
            )
        _not_backed_up(f"container {ctid}", (*faulty, *outdated), backups, how)
    how = "read to its end" if reads_archives else "not read to its end (--read-backups does)"
    evidence.say(f"{archive}, finished by its log, {how}")
    if left := left_out(ours, node, archive):
        lost, known = judged(runtime, ctid, left, archive.path)
        assert not lost, f"{archive.path} {lost}"
        evidence.say(f"not in it: {shown(left)}; {known}")


@then("a recent backup of the node's configuration can be read to its end")
def node_is_backed_up(node: Transport, backups: backup.Backups, target: Target) -> None:
    """Check the archive of this node's /etc, with /etc/pve on Proxmox."""
    archive, faulty = backup.newest_sound(
        backups.etc, lambda candidate: defects(node, candidate, target.backup_age, backups.host)
    )
    if archive is None:
        name = f"{_place(backups)}/etc-{backups.host}-$(date +%Y_%m_%d-%H_%M_%S).tar.zst"
        how = f"umask 077; tar --create --zstd --file={name} -C / etc"
        # A backup server lists guests only, so whether it has the node's /etc is not known.
        hidden = replace(backups, unasked=(*backups.unasked, *backups.servers))
        _not_backed_up(f"{backups.host}'s /etc", faulty, hidden, how)
    evidence.say(f"{archive}, read to its end")


def _vzdump(ctid: int, directory: str, mode: str) -> str:
    # Else vzdump.conf's retention deletes older backups before anyone has looked at this one.
    keep = ["--prune-backups", "keep-all=1", "--dumpdir", directory]
    return shlex.join(["vzdump", str(ctid), "--mode", mode, "--compress", "zstd", *keep])


def _place(backups: backup.Backups) -> str:
    return (*backups.places, backup.DUMP)[0]


def _not_backed_up(
    what: str, faulty: tuple[str, ...], backups: backup.Backups, how: str
) -> NoReturn:
    """Raise AssertionError, or FactError if a storage that could not be listed may have one."""
    places = ", ".join(backups.places) or "any storage for backups"
    why = faulty[0] if faulty else f"none is in {places}"
    if backups.unasked:
        unasked = ", ".join(backups.unasked)
        raise FactError(
            f"no backup of {what} in {places} counts ({why}), and {unasked} cannot be listed; "
            f"for a verdict, make one that the node can read: {how}"
        )
    raise AssertionError(f"there is no backup of {what} that counts: {why}; make one: {how}")


@given("the repository is asked for its state", target_fixture="checkout")
def repository_is_asked(node: Transport, target: Target) -> Checkout | None:
    """Run git, which writes nothing; None if there is no repository."""
    return repository.checkout(node, target.repository)


@then("it is a checkout, changed in nothing but what the plan changes")
def is_clean(checkout: Checkout | None, target: Target) -> None:
    """The files that the plan changes may differ; other changes are somebody's uncommitted work.

    On a node without phoenix nobody asks, unless the target names a repository.
    """
    assert checkout, (
        f"{target.repository} does not exist on {target.host}: clone phoenix there, or take "
        "repository out of the target file"
    )
    assert checkout.commit, (
        f"{checkout.path} is a directory, but no git checkout: clone it there, so that what the "
        "plan changes can be seen and rolled back"
    )
    foreign = [path for path in checkout.changed if path not in phoenix.FILES]
    assert not foreign, (
        f"{checkout.path} has {len(foreign)} change(s) that are not the plan's: "
        f"{', '.join(foreign[:8])}; commit or remove them (git -C {checkout.path} status "
        "--ignored; ls-files -v has what git was told to leave alone in small letters)"
    )
    evidence.say(f"{checkout.commit[:12]}, {len(checkout.changed)} of the plan's file(s) changed")


@then("it stands at its upstream's commit")
def is_current(node: Transport, checkout: Checkout) -> None:
    """Query the upstream itself, because the last fetch may be old."""
    if not checkout.upstream:
        detached = checkout.branch.startswith("(")
        then = "switch BRANCH" if detached else "branch --set-upstream-to=REMOTE/BRANCH"
        raise FactError(
            f"{checkout.branch} of {checkout.path} has no upstream to compare with: "
            f"git -C {checkout.path} {then}"
        )
    current = repository.upstream_commit(node, checkout)
    assert checkout.commit == current, (
        f"{checkout.path} is at {checkout.commit[:12]}, but its upstream {checkout.upstream} at "
        f"{current[:12]}: git -C {checkout.path} pull --ff-only. If that is refused, somebody made "
        "a commit here and did not push it"
    )
    evidence.say(f"as {checkout.upstream}")


@given("the node is asked as whom it lets us in", target_fixture="user_id")
def node_is_asked(node: Transport) -> str:
    """Run id(1), over the same transport as all commands."""
    return node.look(["id", "-u"]).require().text.strip()


@then("commands on the node run as root, and no password was asked for")
def runs_as_root(target: Target, user_id: str) -> None:
    """Check the user id. There was no prompt: no program here could have answered one."""
    if not patterns.fullmatch("[0-9]+", user_id):
        raise FactError(f"on {target.host}: id -u printed {user_id!r:.200}, which is no user id")
    assert user_id == "0", (
        f"on {target.host} commands run as uid {user_id}, but the plan needs root: log in as "
        "root, or let sudo ask for no password (NOPASSWD)"
    )
    evidence.say(f"as root, {'on the node itself' if target.place == 'local' else 'over SSH'}")


@given("the containers that the change reaches are known", target_fixture="affected")
def affected_are_known(runtime: Runtime, ctid: int) -> tuple[Affected, ...]:
    """Find them by profile, or by the features that Docker needs."""
    return prerequisites.affected(runtime, desired.PROFILE, ctid)


@then("each other one under the profile is stopped, or may be restarted")
def others_are_safe(
    affected: tuple[Affected, ...], ctid: int, target: Target, may_change: bool
) -> None:
    """A read-only run puts no container at risk, so it only lists them.

    Other containers that are made for Docker are listed, too, although the plan does not affect
    them.
    """
    others = [other for other in affected if other.ctid != ctid]
    names = ", ".join(map(str, others)) or "none"
    if not may_change:
        evidence.say(f"this run changes nothing; others: {names}")
        return
    reached = [other for other in others if other.under_profile and other.state != "stopped"]
    asked = [other for other in reached if other.ctid not in target.reserved]
    assert not asked, (
        f"the change reaches {len(asked)} other container(s) that run: "
        f"{', '.join(map(str, asked))}; stop them (pct shutdown CTID), or reserve them in the "
        "target"
    )
    evidence.say(f"others: {names}")


@then("its file system has room for the records of a start")
def log_has_room(node: Transport, window: audit_window.Window) -> None:
    """At ``space_left`` auditd may stop writing, if it is configured so."""
    room = prerequisites.log_room(node, window.log)
    free, needed = room.free >> 20, room.needed >> 20
    assert room.free >= room.needed, (
        f"{room.place} on {node.machine} has {free} MiB left for {room.log}, but {needed} MiB are "
        "needed, or records would be lost: make room there"
    )
    evidence.say(f"{free} MiB free in {room.place} for {room.log}")


@then("a denial provoked on purpose shows in it")
def canary_shows(window: audit_window.Window) -> None:
    """A log that does not show the canary proves nothing: undetermined, not red."""
    window.close()
    window.require_logged()
    evidence.say(SEEN)
