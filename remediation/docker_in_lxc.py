"""The plan of "Docker in Unprivileged LXC", action by action, in the plan's order.

The plan's text lacks two necessary things, the container's features and the assignment of its
profile. Here they have an action, under the clause that they serve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.facts import startable
from docker_lxc_gate.machines.lock import Lock
from docker_lxc_gate.machines.read import is_directory
from docker_lxc_gate.tables import table
from remediation import desired, phoenix, plan_file
from remediation.actions import container_power
from remediation.actions.apparmor_profile import AppArmorProfile
from remediation.actions.container_options import MACHINE_ID, ContainerOptions, start
from remediation.actions.docker_package import DockerPackage, is_in_the_kernel
from remediation.actions.file_edit import Directory, FileEdit
from remediation.actions.package import Package
from remediation.actions.storage_driver import StorageDriver, start_again
from remediation.data_root import profile_elsewhere
from remediation.edits.container_config import put_back
from remediation.edits.container_file import (
    container_options,
    lxc_options,
    taken_away,
    takes_the_cure_away,
)
from remediation.edits.daemon_json import daemon_json, data_root
from remediation.engine.action import Consequence, Place, Step
from remediation.engine.journal import Journal
from remediation.engine.plan import Plan
from remediation.phoenix.description import described
from remediation.phoenix.scripts import install_script, setup_script

if TYPE_CHECKING:
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.transport import Transport
    from remediation.plan_file import PlanFile

#: All actions (with phoenix and a container), in the plan's order: id, title, and clause.
ACTIONS = table("remediation", "docker_in_lxc", dict[str, tuple[str, str]])
#: The actions that are about the shipped profile.
_OF_THE_PROFILE = frozenset(
    ("repository-profile", "apparmor-profile", "install-script", "container-description")
)
#: The clauses that have actions.
CLAUSES = tuple(sorted({clause for _, clause in ACTIONS.values()}))


def title(action: str, ctid: int) -> str:
    """Return an action's title, or the id itself if it is unknown."""
    return ACTIONS[action][0].format(ctid=ctid) if action in ACTIONS else action


def _named(action: str, ctid: int = 0) -> tuple[str, str, str]:
    """Return an action's id, title and clause, the first arguments of its constructor."""
    return action, title(action, ctid), ACTIONS[action][1]


def plan(
    runtime: Runtime,
    ctid: int,
    *,
    repository: str = phoenix.REPOSITORY,
    tell: Callable[[str], None],
    of_node: bool = False,
    wanted: PlanFile | None = None,
    every: bool = False,
) -> Plan:
    """Return the whole plan for one container.

    If it does not exist yet, the plan prepares the node and the repository. ``phoenix create`` does
    the rest, or ``create`` and the plan once more. Without phoenix's checkout on the node, the plan
    omits its steps. ``tell`` gets one line before each long operation.

    To roll back, ``of_node`` leaves out the container's steps, and ``every`` keeps those that the
    ``wanted`` plan (None: the default one) does not have, for what any plan did. Raises Elsewhere
    if the container is on another node, and ``of_node`` is not given.
    """
    node, state = runtime.node, None if of_node else runtime.state(ctid)
    wanted = wanted or plan_file.find()
    journal = Journal(node, ctid, plan=wanted.identity)
    steps = _apparmor(node)
    has_phoenix = node.ask(is_directory(repository))
    if has_phoenix:
        steps += _phoenix(node, repository, ctid)
    if state is not None:
        steps.append(_options(runtime, ctid, tell, wanted))
    steps.sort(key=lambda step: step.action.requirement)
    inside = _inside(runtime, ctid, tell, wanted) if state is not None else []
    if not every:
        steps = [step for step in steps if _is_of(step, wanted)]
        inside = [step for step in inside if _is_of(step, wanted)]
    create = f"phoenix create {ctid}" if has_phoenix else "docker-lxc-gate create, same --target"
    not_checked: tuple[str, ...] = ()
    if state is None:
        not_checked = (f"container {ctid} does not exist: {create}; pct list shows all containers",)
    elif state != "running":
        not_checked = (_why_not_checked(runtime, ctid, state),)
    return Plan(
        steps=[*steps, *inside] if state == "running" else steps,
        deferred=[] if state == "running" else inside,
        start_container=lambda: container_power.started(runtime, ctid, journal, tell),
        stopped_by_rollback=lambda: container_power.stopped_by_rollback(runtime, ctid, journal),
        journal=journal,
        tell=tell,
        not_checked=not_checked,
        container_exists=state is not None,
        whole=not of_node,
        exclusive=Lock.of(node).held,
    )


def _is_of(step: Step, wanted: PlanFile) -> bool:
    """Whether a plan has a step: its clause applies, and the plan names what the step is about."""
    ours = wanted.profile == desired.PROFILE
    of_driver = {"fuse-overlayfs-package"} if wanted.drivers[0] != desired.DRIVER else set()
    left_out = of_driver if ours else of_driver | _OF_THE_PROFILE
    return wanted.applies(step.action.requirement) and step.action.id not in left_out


def _why_not_checked(runtime: Runtime, ctid: int, state: str) -> str:
    """Return why nothing inside the container was checked, and what to do about it."""
    cause = startable.start_obstacle(runtime, ctid)
    if cause:
        how = startable.start_advice(runtime, ctid, cause)
        return (
            f"container {ctid} is {state}, and cannot start: {cause}; nothing inside it was "
            f"checked ({how})"
        )
    return f"container {ctid} is {state}: nothing inside it was checked (pct start {ctid})"


def _apparmor(node: Transport) -> list[Step]:
    """Steps 1.2, 1.3 and 2.2: AppArmor's files, and the kernel's policy."""
    deployed = AppArmorProfile(
        *_named("apparmor-profile"), desired.PROFILE, desired.PROFILE_PATH, desired.profile()
    )

    def reload(_: Mapping[str, Any]) -> None:
        argv = ["systemctl", "reload", "apparmor"]
        node.run(argv, timeout=180).require("journalctl -u apparmor -n 20")

    def reload_back(images: Mapping[str, Any]) -> None:
        policy = deployed.held(node)  # rolled back already, and may differ from its file
        reload(images)
        deployed.hold(node, policy)

    return [
        Step(
            FileEdit(*_named("nesting-tunable"), desired.TUNABLE_PATH, lambda _: desired.TUNABLE),
            node,
            (Consequence("reload-apparmor", "reload AppArmor", reload),),
            (Consequence("reload-apparmor", "reload AppArmor", reload_back),),
        ),
        Step(deployed, node),
    ]


def _phoenix(node: Transport, repository: str, ctid: int) -> list[Step]:
    """Steps 1.1, 2.1, 3.1 and 3.2: the files of phoenix's checkout."""
    edits: dict[str, tuple[str, Callable[[bytes | None], bytes]]] = {
        "setup-script": (phoenix.SETUP_SCRIPT, setup_script),
        "repository-profile": (phoenix.PROFILE, desired.profile),
        "install-script": (phoenix.INSTALL_SCRIPT, install_script),
        "container-description": (phoenix.CONTAINERS, partial(described, ctid=ctid)),
    }
    return [
        Step(FileEdit(*_named(action, ctid), f"{repository}/{path}", edit), node)
        for action, (path, edit) in edits.items()
    ]


def _options(runtime: Runtime, ctid: int, tell: Callable[[str], None], wanted: PlanFile) -> Step:
    """The container's features and the assignment of its profile, which the plan's text lacks."""
    pct, container = runtime.kind == "pct", runtime.inside(ctid)
    options = ContainerOptions(
        *_named("container-options", ctid),
        runtime,
        ctid,
        partial(container_options if pct else partial(lxc_options, runtime.node), plan=wanted),
        partial(put_back, keys=desired.OPTIONS if pct else desired.LXC_OPTIONS, fuse=not pct),
        partial(taken_away, ctid, wanted) if pct else lambda _: "",
        partial(_too_early, runtime, ctid, wanted),
        wanted.seccomp,
        "keyctl" in wanted.features,
    )

    def resume(images: Mapping[str, Any]) -> None:
        start_again(container, images[options.id].containers, tell)

    what = f"Docker's containers in {container.machine} as before"

    def due(images: Mapping[str, Any]) -> bool:  # the storage driver's action starts them itself
        return bool(images[options.id].containers) and "docker-storage-driver" not in images

    back = Consequence("resume-docker-containers", what, resume, due)
    return Step(
        options,
        runtime.node,
        (back,),
        machine_of=attrgetter("machine_id"),
        machine=lambda _: container.ask(MACHINE_ID),
    )


def _too_early(runtime: Runtime, ctid: int, wanted: PlanFile, text: str) -> str:
    """Return which LXC must come before a container is given the profile that LXC generates."""
    if not takes_the_cure_away(text, wanted, lxc=runtime.kind == "lxc"):
        return ""
    from docker_lxc_gate.doctor.guest_reads import RUNC  # noqa: PLC0415 - a seventh of the start
    from docker_lxc_gate.doctor.node_reads import VERSIONS  # noqa: PLC0415
    from docker_lxc_gate.doctor.runc_fix import first_upgrade  # noqa: PLC0415

    runc = ""
    with suppress(RemediationError):  # it may be stopped
        runc = runtime.inside(ctid).ask(RUNC)
    first = first_upgrade(runtime.node.ask(VERSIONS), runc)
    return first and (
        f"{first} first. Until then, the profile that LXC generates for container {ctid} refuses "
        f"what runc {runc or '1.3.3 and later'} opens, and no Docker container would start"
    )


def _inside(
    runtime: Runtime, ctid: int, tell: Callable[[str], None], wanted: PlanFile
) -> list[Step]:
    """Step 3 in a container that exists: the packages, and Docker's settings."""
    container = runtime.inside(ctid)
    storage = replace(_storage(wanted), tell=tell)
    if wanted.profile == desired.PROFILE:
        storage = replace(storage, elsewhere=partial(profile_elsewhere, runtime.node))
    fuse = (desired.DRIVER,) if wanted.drivers[0] == desired.DRIVER else ()
    docker = DockerPackage(
        *_named("docker-engine"),
        fuse,
        lambda on: data_root(on.read(desired.DAEMON_JSON)),
    )

    def resume(images: Mapping[str, Any]) -> None:
        if docker.id not in images:  # else there is no Docker any more
            storage.resume(container, images[storage.id])

    def restart(_: Mapping[str, Any]) -> None:
        if is_in_the_kernel(container):
            container_power.shutdown(runtime, ctid)
            tell(f"starting container {ctid}")
            start(runtime, ctid)

    back = Consequence("resume-docker", f"Docker in {container.machine} as before", resume)
    what = f"{container.machine} without anything of Docker's running"
    gone = Consequence("restart-container", what, restart)
    package = Package(*_named("fuse-overlayfs-package"), desired.DRIVER)
    directory = Directory(
        *_named("docker-settings-directory"),
        "/etc/docker",
        lambda on: storage.check(on) is not None,
    )
    return [
        Step(package, container, place=Place.CONTAINER),
        Step(directory, container, place=Place.CONTAINER),
        Step(storage, container, then_back=(back,), place=Place.CONTAINER),
        # Docker comes last, because its package starts it. Without the settings, its first start
        # would choose another driver, and create layers of that.
        Step(docker, container, then_back=(gone,), place=Place.CONTAINER),
    ]


def _storage(wanted: PlanFile) -> StorageDriver:
    driver, others = wanted.drivers[0], () if wanted == plan_file.find() else wanted.drivers
    action, title, clause = _named("docker-storage-driver")
    named = action, title.replace(desired.DRIVER, " or ".join(others or [driver])), clause
    edit = partial(daemon_json, driver=driver)
    return StorageDriver(*named, driver, desired.DAEMON_JSON, edit, data_root, others=others)
