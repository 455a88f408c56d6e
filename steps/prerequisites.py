"""What must be so before anything is changed: backups, repository, access, neighbours, log.

PYTEST_DONT_REWRITE: an assertion here has its own words, for the reader of the verdict.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import pytest
from pytest_bdd import given, then

from facts import access, log_room, neighbours, repository
from facts import backups as backup
from gate import evidence
from remediation import desired
from remediation.backup import make_backup
from steps.audit import seen
from targets.errors import FactError

if TYPE_CHECKING:
    from facts import audit_window
    from facts.access import Access
    from facts.neighbours import Affected
    from facts.repository import Checkout
    from targets.runtime.base import Runtime
    from targets.target import Target
    from targets.transport import Transport


@pytest.fixture(scope="session")
def made_by_this_run(
    runtime: Runtime, target: Target, ctid: int, request: pytest.FixtureRequest
) -> bool:
    """The lab of this run was made minutes ago: it is backed up here. Nothing else is."""
    if target.place != "lab" or request.config.getoption("--target"):
        return False
    make_backup(runtime, ctid, target.backups or backup.DUMP)
    return True


@given("the backups on the node are listed", target_fixture="backups")
def backups_are_listed(
    runtime: Runtime, ctid: int, target: Target, made_by_this_run: bool
) -> backup.Backups:
    """Found only; what counts is for a Then."""
    if made_by_this_run:
        evidence.say("made by this run")
    return backup.find(runtime.node, ctid, target.backups)


@then("a recent backup of the container was finished, and can be read to its end")
def container_is_backed_up(
    node: Transport, ctid: int, backups: backup.Backups, target: Target, runtime: Runtime
) -> None:
    """By the log that vzdump leaves beside the archive, and by the archive's own checksums.

    It has to be of this container, by the configuration in it: the file's name is anybody's.
    """
    ours = (node.read(runtime.config_path(ctid)) or b"").decode(errors="replace")
    found, defects = backup.sound(node, backups.container, target.backup_age, ours)
    if found is None:
        how = f"vzdump {ctid} --mode snapshot --compress zstd --dumpdir {_place(backups)}"
        remote, outdated = backup.listed(backups.remote, target.backup_age)
        if remote is not None:
            raise FactError(
                f"the newest backup of container {ctid} is {remote}, on a Proxmox Backup Server: "
                "it is there and recent, but neither its log nor whether it can be read to its end "
                "was verified, since that cannot be done from the node. Let the server verify it "
                "(Datastore, Verify); for a verdict here, make one that can be read: " + how
            )
        _not_backed_up(f"container {ctid}", (*defects, *outdated), backups, how)
    evidence.say(f"{found}, read to its end")


@then("a recent backup of the node's configuration can be read to its end")
def node_is_backed_up(node: Transport, backups: backup.Backups, target: Target) -> None:
    """The node's /etc, with Proxmox's own /etc/pve where there is one."""
    found, defects = backup.sound(node, backups.etc, target.backup_age)
    if found is None:
        name = f"{_place(backups)}/etc-{backups.host}-$(date +%Y_%m_%d-%H_%M_%S).tar.zst"
        how = f"umask 077; tar --create --zstd --file={name} -C / etc"
        # A server's storage lists guests only: whether it has the node's /etc nobody can see here.
        hidden = replace(backups, unasked=(*backups.unasked, *backups.servers))
        _not_backed_up(f"{backups.host}'s /etc", defects, hidden, how)
    evidence.say(f"{found}, read to its end")


def _place(backups: backup.Backups) -> str:
    return (*backups.places, backup.DUMP)[0]


def _not_backed_up(
    what: str, defects: tuple[str, ...], backups: backup.Backups, how: str
) -> NoReturn:
    """Not compliant; undetermined if there may be one where nobody could look."""
    places = ", ".join(backups.places) or "any storage for backups"
    why = defects[0] if defects else f"none is in {places}"
    if backups.unasked:
        unasked = ", ".join(backups.unasked)
        raise FactError(
            f"no backup of {what} in {places} counts ({why}), and {unasked} cannot be looked into; "
            f"for a verdict, make one that can be read: {how}"
        )
    raise AssertionError(f"there is no backup of {what} that counts: {why}; make one: {how}")


@given("the repository is asked for its state", target_fixture="checkout")
def repository_is_asked(node: Transport, target: Target) -> Checkout | None:
    """By git, which writes nothing; None if there is no repository."""
    return repository.checkout(node, target.repository)


@then("it is a checkout, changed in nothing but what the plan changes")
def is_clean(checkout: Checkout | None) -> None:
    """The files of docker_in_lxc may differ; anything else is somebody's unfinished work."""
    if checkout is None:
        evidence.say("no checkout; the plan works without it")
        return
    assert checkout.commit, (
        f"{checkout.path} is a directory, but no git checkout: clone it there, so that what the "
        "plan changes can be seen and rolled back"
    )
    foreign = checkout.foreign(desired.FILES)
    assert not foreign, (
        f"{checkout.path} has {len(foreign)} change(s) that are not the plan's: "
        f"{', '.join(foreign[:8])}; commit or remove them (git -C {checkout.path} status)"
    )
    evidence.say(f"{checkout.commit[:12]}, {len(checkout.changed)} file(s) changed by the plan")


@then("it stands at its upstream's commit")
def is_current(node: Transport, checkout: Checkout | None) -> None:
    """The upstream itself is asked: what was fetched last may be old."""
    if checkout is None or not checkout.upstream:
        if checkout:
            evidence.say(f"{checkout.branch} has no upstream to compare with")
        return
    current = repository.upstream_commit(node, checkout)
    assert checkout.commit == current, (
        f"{checkout.path} is at {checkout.commit[:12]}, and its upstream {checkout.upstream} at "
        f"{current[:12]}: git -C {checkout.path} pull --ff-only"
    )
    evidence.say(f"as {checkout.upstream}")


@given("the node is asked as whom it lets us in", target_fixture="access")
def node_is_asked(node: Transport) -> Access:
    """By id, over the same transport as everything else."""
    return access.access(node)


@then("commands on the node run as root, and no password was asked for")
def runs_as_root(target: Target, access: Access) -> None:
    """Nothing here could have answered a prompt: that a command ran says that there was none."""
    assert access.uid == 0, (
        f"on {target.host} commands run as {access.user} (uid {access.uid}), and the plan needs "
        "root: log in as root, or let sudo ask for no password (NOPASSWD)"
    )
    how = f"by sudo from {access.sudo_user}" if access.sudo_user else "logged in as root"
    evidence.say(f"{how}, {'on the node itself' if target.place == 'local' else 'over SSH'}")


@given("the containers that the change reaches are known", target_fixture="affected")
def affected_are_known(runtime: Runtime, ctid: int) -> tuple[Affected, ...]:
    """By their configurations: the profile, or the features that Docker needs."""
    plain = runtime.kind == "lxc"
    look = neighbours.affected_plain if plain else neighbours.affected
    return look(runtime.node, desired.PROFILE, ctid)


@then("each other one under the profile is stopped, or may be restarted")
def others_are_safe(
    affected: tuple[Affected, ...], ctid: int, target: Target, may_change: bool
) -> None:
    """Where nothing is changed nobody is at risk: they are listed, and that is said.

    Who else is made for Docker is listed, too: the plan does not reach them, its reader may.
    """
    others = [each for each in affected if each.ctid != ctid]
    said = ", ".join(map(str, others)) or "none"
    if not may_change:
        evidence.say(f"this run changes nothing; others: {said}")
        return
    reached = [each for each in others if each.under_profile and each.state != "stopped"]
    asked = [each for each in reached if each.ctid not in target.reserved]
    assert not asked, (
        f"the change reaches {len(asked)} other container(s) that run: "
        f"{', '.join(map(str, asked))}; stop them (pct shutdown CTID), or reserve them in the "
        "target"
    )
    evidence.say(f"others: {said}")


@then("its file system has room for the records of a start")
def log_has_room(node: Transport, window: audit_window.Window) -> None:
    """At auditd's space_left it does as it was told, which may be to stop writing."""
    room = log_room.log_room(node, window.source)
    free, needed = room.free >> 20, room.needed >> 20
    assert room.free >= room.needed, (
        f"{room.place} on {node.machine} has {free} MiB left for {room.log}, and {needed} MiB are "
        "needed: records would be lost"
    )
    evidence.say(f"{free} MiB free in {room.place} for {room.log}")


@then("a denial provoked on purpose shows in it")
def canary_shows(window: audit_window.Window) -> None:
    """A log that cannot show it says nothing about the rest: undetermined, not compliant."""
    window.close()
    evidence.say(seen(window))
