"""The plan of "Docker in Unprivileged LXC", action by action, in the plan's order.

What the plan forgot and nothing works without (the container's features and its profile's
assignment) stands where it is needed, under the clause that it serves.
"""

from __future__ import annotations

import json
import posixpath
import re
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any

import msgspec

from facts import startable
from remediation.actions.apparmor_profile import Profile
from remediation.actions.container_options import ContainerOptions, OptionsState
from remediation.actions.docker_package import Engine, is_in_the_kernel
from remediation.actions.file_edit import Directory, FileEdit
from remediation.actions.package import Package
from remediation.actions.storage_driver import (
    DockerState,
    StorageDriver,
    running_containers,
    start_again,
)
from remediation.edits.json_files import as_json
from remediation.edits.json_files import parse as parse_settings
from remediation.engine.action import Consequence, Place, Step
from remediation.engine.journal import Journal
from remediation.engine.plan import Plan
from targets import files
from targets.errors import FactError
from targets.lock import Lock
from targets.runtime import container_config
from targets.runtime.base import Pct, wait_until_booted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from targets.runtime.base import Runtime
    from targets.transport import Transport

PROFILE = "lxc-phoenix-v2"
PROFILE_PATH = f"/etc/apparmor.d/{PROFILE}"
TUNABLE_PATH = "/etc/apparmor.d/tunables/nesting"
#: What a site adds to it.
PROFILE_LOCAL = f"/etc/apparmor.d/local/{PROFILE}"
#: Where Docker keeps its data if its settings do not say.
_ROOT = "/var/lib/docker"
_FIRST_RULE = f"mount fstype=fuse.fuse-overlayfs -> {_ROOT}/fuse-overlayfs/**,"
_PLAIN = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9._-]*){1,20}")
#: For sed: a rule of two lines is made one.
_JOINED = r"/^ *mount.*[^,]$/{N; s/\n */ /}"
#: Read by nothing: compiled policy is the same without it. Written because the plan says so.
TUNABLE = f"@{{apparmor_nesting_profiles}} = {PROFILE}\n".encode()
DRIVER = "fuse-overlayfs"
DAEMON_JSON = "/etc/docker/daemon.json"
#: What the container needs from its configuration: nested mounts, keyrings, ``/dev/fuse``.
FEATURES = {"nesting": "1", "keyctl": "1", "fuse": "1"}
#: The keys that the plan sets in a container's configuration, Proxmox's and plain LXC's.
OPTIONS = ("features", "lxc.apparmor.profile")
LXC_OPTIONS = ("lxc.apparmor.allow_nesting", "lxc.apparmor.profile", "lxc.seccomp.profile")
REPOSITORY = "/usr/local/phoenix_hypervisor"
SETUP_SCRIPT = "bin/hypervisor_setup/hypervisor_feature_setup_apparmor.sh"
INSTALL_SCRIPT = "bin/lxc_setup/phoenix_hypervisor_feature_install_docker.sh"
CONTAINERS = "etc/phoenix_lxc_configs.json"
#: Every action there is, with phoenix and a container, in the plan's order: its id, its title, and
#: the clause that it implements. A title may be reworded. An id may not, and is never used again
#: for something else: journals on nodes hold it, and by it a before-image finds its way back.
ACTIONS = {
    "setup-script": ("setup script carries the tunable", "STEP-1.1"),
    "nesting-tunable": ("nesting tunable", "STEP-1.2"),
    "repository-profile": ("repository's profile carries the rules", "STEP-2.1"),
    "apparmor-profile": ("profile is deployed and loaded", "STEP-2.2"),
    "container-options": ("container {ctid} has its features and its profile", "STEP-2.2"),
    "install-script": ("install script", "STEP-3.1"),
    "container-description": (
        "container {ctid} is described with its features and profile",
        "STEP-3.2",
    ),
    "fuse-overlayfs-package": ("fuse-overlayfs is installed", "STEP-3.1"),
    "docker-settings-directory": ("Docker's settings have a directory", "STEP-3.1"),
    "docker-storage-driver": (f"Docker uses {DRIVER}", "STEP-3.1"),
    "docker-engine": ("Docker is installed", "STEP-3.1"),
}
#: What there are actions for: known before anybody is asked.
CLAUSES = tuple(sorted({clause for _, clause in ACTIONS.values()}))


def content(name: str) -> str:
    """Return a text that the plan writes, by its name in ``remediation/content``."""
    return (package_files("remediation") / "content" / name).read_text()


def title(action: str, ctid: int) -> str:
    """Return what people call an action, by its id; of one that there is not, the id."""
    return ACTIONS[action][0].format(ctid=ctid) if action in ACTIONS else action


def _named(action: str, ctid: int = 0) -> tuple[str, str, str]:
    """Return an action's id, title and clause, with which each is made."""
    return action, title(action, ctid), ACTIONS[action][1]


def plan(
    runtime: Runtime,
    ctid: int,
    *,
    repository: str = REPOSITORY,
    tell: Callable[[str], None],
    of_node: bool = False,
) -> Plan:
    """Return the whole plan for one container.

    Args:
        runtime: manages the container on its node.
        ctid: the container; where it does not exist yet, the plan prepares the node and the
            repository. ``phoenix create`` does the rest, or ``create`` and the plan once more.
        repository: the checkout of phoenix on the node; absent, the plan works without it.
        tell: hears one line before anything that takes time.
        of_node: leave out what is the container's, wherever that is: to take back the rest.

    Raises:
        Elsewhere: the container is on another node, and not only the node's part is asked for.
    """
    node, state = runtime.node, None if of_node else runtime.state(ctid)
    journal = Journal(node, ctid)
    steps = _apparmor(node)
    phoenix = node.run(["test", "-d", repository]).ok
    if phoenix:
        steps += _repository(node, repository, ctid)
    if state is not None:
        steps.append(_options(runtime, ctid))
    steps.sort(key=lambda step: step.action.requirement)
    inside = _inside(runtime, ctid, tell) if state is not None else []
    create = f"phoenix create {ctid}" if phoenix else "python -m remediation create, same --target"
    unasked: tuple[str, ...] = ()
    if state is None:
        unasked = (f"container {ctid} is not there: {create}; pct list shows those that are",)
    elif state != "running":
        unasked = (_unasked(runtime, ctid, state),)
    return Plan(
        steps=[*steps, *inside] if state == "running" else steps,
        asleep=[] if state == "running" else inside,
        awake=lambda: _awake(runtime, ctid, journal, tell),
        stopped=lambda: _stopped(runtime, ctid, journal),
        journal=journal,
        tell=tell,
        unasked=unasked,
        there=state is not None,
        whole=not of_node,
        exclusive=Lock.of(node).held,
    )


def _unasked(runtime: Runtime, ctid: int, state: str) -> str:
    """Return why nothing inside the container was asked, and what to do about it."""
    cause = startable.hindrance(runtime, ctid)
    if cause:
        how = startable.how(runtime, ctid, cause)
        return (
            f"container {ctid} is {state}, and cannot start: {cause}; nothing inside it was asked "
            f"({how})"
        )
    return f"container {ctid} is {state}: nothing inside it was asked (pct start {ctid})"


def _repository(node: Transport, repository: str, ctid: int) -> list[Step]:
    """Steps 1.1, 2.1 and 3.1: what stands in the checkout."""

    def edit(action: str, path: str, how: Callable[[bytes | None], bytes]) -> Step:
        return Step(FileEdit(*_named(action, ctid), f"{repository}/{path}", how), node)

    return [
        edit("setup-script", SETUP_SCRIPT, setup_script),
        edit("repository-profile", f"etc/apparmor/{PROFILE}", profile),
        edit("install-script", INSTALL_SCRIPT, install_script),
        edit("container-description", CONTAINERS, lambda text: described(text, ctid)),
    ]


def _apparmor(node: Transport) -> list[Step]:
    """Steps 1.2, 1.3 and 2.2: what AppArmor reads, and what the kernel holds."""
    deployed = Profile(*_named("apparmor-profile"), PROFILE, PROFILE_PATH, profile(None))

    def reload() -> None:
        _require(node, ["systemctl", "reload", "apparmor"], "journalctl -u apparmor -n 20")

    def reload_back() -> None:
        policy = deployed.held(node)  # taken back by now, and maybe not what its file says
        reload()
        deployed.hold(node, policy)

    return [
        Step(
            FileEdit(*_named("nesting-tunable"), TUNABLE_PATH, lambda _: TUNABLE),
            node,
            (Consequence("reload-apparmor", "reload AppArmor", reload),),
            (Consequence("reload-apparmor", "reload AppArmor", reload_back),),
        ),
        Step(deployed, node),
    ]


def _options(runtime: Runtime, ctid: int) -> Step:
    """What the plan forgot: the container's features, and the profile's assignment to it."""
    pct, container = isinstance(runtime, Pct), runtime.inside(ctid)
    options = ContainerOptions(
        *_named("container-options", ctid),
        runtime.config_path(ctid),
        container_options if pct else partial(lxc_options, runtime.node),
        partial(container_config.put_back, keys=OPTIONS if pct else LXC_OPTIONS, fuse=not pct),
        running=lambda: runtime.state(ctid) == "running",
        effective=lambda: runtime.started_with(ctid),
        start=lambda: _start(runtime, ctid, lambda _: None),
        shutdown=lambda: runtime.shutdown(ctid),
        containers=lambda: running_containers(container),
        require_ours=lambda: runtime.require_ours(ctid),
        pending=partial(_undone, ctid) if pct else lambda _: "",
        normalised=pct,
    )

    def resume(undone: Mapping[str, Any]) -> None:
        start_again(container, undone[options.id].containers)

    what = f"Docker's containers in {container.machine} as before"
    back = Consequence("resume-docker-containers", what, back=resume)
    return Step(options, runtime.node, then_back=(back,))


def _options_before(journal: Journal) -> OptionsState | None:
    before: OptionsState | None = journal.before("container-options", ContainerOptions.before)
    return before


def _stopped(runtime: Runtime, ctid: int, journal: Journal) -> bool:
    """Whether the container does not run, since it did not before the plan."""
    before = _options_before(journal)
    return before is not None and not before.running and runtime.state(ctid) == "stopped"


@contextmanager
def _awake(
    runtime: Runtime, ctid: int, journal: Journal, tell: Callable[[str], None]
) -> Iterator[None]:
    """Start a container that is stopped, and stop it again, unless it ran before the plan."""
    before = _options_before(journal)
    try:
        _start(runtime, ctid, tell)
        yield
    finally:
        if (before is None or not before.running) and runtime.state(ctid) == "running":
            tell(f"stopping container {ctid} again")
            _shutdown(runtime, ctid)


def _start(runtime: Runtime, ctid: int, tell: Callable[[str], None]) -> None:
    tell(f"starting container {ctid}")
    startable.start(runtime, ctid)
    wait_until_booted(runtime.inside(ctid))


def _shutdown(runtime: Runtime, ctid: int) -> None:
    """Let a container end, and leave its file as it was: Proxmox writes it anew at every stop."""
    path = runtime.config_path(ctid)
    written = files.capture(runtime.node, path)
    runtime.shutdown(ctid)
    files.restore(runtime.node, path, written)


def _inside(runtime: Runtime, ctid: int, tell: Callable[[str], None]) -> list[Step]:
    """Step 3 in a container that exists: the packages, and Docker's settings."""
    container = runtime.inside(ctid)
    storage = replace(_storage(), elsewhere=partial(profile_elsewhere, runtime.node))
    engine = Engine(*_named("docker-engine"), (DRIVER,), lambda on: data_root(on.read(DAEMON_JSON)))

    def resume(undone: Mapping[str, Any]) -> None:
        storage.resume(container, undone[storage.id])

    def restart() -> None:
        if is_in_the_kernel(container):
            _shutdown(runtime, ctid)
            _start(runtime, ctid, tell)

    back = Consequence("resume-docker", f"Docker in {container.machine} as before", back=resume)
    what = f"{container.machine} without anything of Docker's running"
    gone = Consequence("restart-container", what, restart)
    package = Package(*_named("fuse-overlayfs-package"), DRIVER)
    directory = Directory(*_named("docker-settings-directory"), "/etc/docker")
    return [
        Step(package, container, place=Place.CONTAINER),
        Step(directory, container, place=Place.CONTAINER),
        Step(storage, container, then_back=(back,), place=Place.CONTAINER),
        # Docker itself comes last: its package starts it, and on its first start it would take
        # another driver, whose layers it then does not leave. It finds its settings instead.
        Step(engine, container, then_back=(gone,), place=Place.CONTAINER),
    ]


def profile_elsewhere(node: Transport, root: str) -> str:
    """Return what the profile lacks for Docker's data at another place, empty if nothing.

    Args:
        node: where the profile and what a site adds to it lie.
        root: where Docker keeps its data.
    """
    if root == _ROOT:
        return ""
    only = f"and the profile {PROFILE} allows its mounts below {_ROOT} only"
    if not _PLAIN.fullmatch(root):  # a guest's text, and no command for a node's root to paste
        return f"Docker keeps its data in {root!r:.200} (data-root), {only}: choose a plain path"
    added = (node.read(PROFILE_LOCAL) or b"").decode(errors="replace")
    if any(_mounts(rule, root) for rule in added.splitlines()):
        return ""
    rule = _FIRST_RULE.replace(_ROOT, root)
    return (
        f"Docker keeps its data in {root} (data-root), {only}: no Docker container starts there. "
        f"Each of the profile's rules for that place is needed for {root}, too, first of all "
        f"'{rule}'. On the node: "
        f"sed -n '{_JOINED}; s|{_ROOT}/|{root}/|gp' {PROFILE_PATH} >>{PROFILE_LOCAL}; "
        f"apparmor_parser -r {PROFILE_PATH}"
    )


def _mounts(rule: str, root: str) -> bool:
    """Whether a line of a profile is a rule that allows a mount of fuse-overlayfs below a place."""
    allowed = rf"\s*(allow )?mount\b[^#]*-> {re.escape(root)}/"
    return re.match(allowed, rule) is not None


def _storage() -> StorageDriver:
    named = _named("docker-storage-driver")
    return StorageDriver(*named, DRIVER, DAEMON_JSON, daemon_json, data_root)


def settings_before_and_after(node: Transport, ctid: int) -> tuple[bytes, bytes | None] | None:
    """Return Docker's settings as ``apply`` found and as it left them, empty where there were none.

    What it left is None where it did not come to its end; all is None where it changed nothing.

    Raises:
        FactError: the journal cannot be read.
    """
    journal = Journal(node, ctid)
    for entry in journal.entries():
        if entry.action == _storage().id:
            before, after = entry.before, entry.images[-1].after
            return (
                journal.image(before, DockerState).settings.content,
                None if after is None else journal.image(after, DockerState).settings.content,
            )
    return None


def template_of(text: bytes | None, ctid: int) -> str:
    """Return the template from which phoenix makes a container, by its descriptions; or nothing."""
    try:
        template = json.loads(text or b"{}")["lxc_configs"][str(ctid)]["template"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return template if isinstance(template, str) else ""


def is_on(node: Transport) -> bool:
    """Whether the node's own part of the plan, or of it the profile, is there already."""
    tunable, deployed = node.read(TUNABLE_PATH), node.read(PROFILE_PATH)
    return tunable == TUNABLE or deployed == profile(None)


def _require(on: Transport, argv: list[str], hint: str) -> None:
    on.run(argv, timeout=180).require(hint)


def profile(_: bytes | None) -> bytes:
    """Return the profile we ship; a former one is replaced whole, and kept in the journal."""
    return content(PROFILE).encode()


def setup_script(text: bytes | None) -> bytes:
    """Return the setup script with the plan's two lines before AppArmor is reloaded."""
    block = content("setup_apparmor_block.sh")
    return _inserted(
        text, block, r"^echo 'Reloading|^[ \t]*systemctl reload apparmor", SETUP_SCRIPT
    )


#: What stands where our block does, by the two headings.
_FORMER_BLOCK = re.compile(
    rb"^# --- Storage driver ---\n.*?(?=^# --- Docker ---)", re.MULTILINE | re.DOTALL
)


def install_script(text: bytes | None) -> bytes:
    """Return the install script with ``set -e`` and fuse-overlayfs, before Docker itself.

    The script runs on the node: pasted literally, the plan's lines would install
    fuse-overlayfs on the hypervisor. The block enters the container as the script does.
    """
    block = content("install_docker_block.sh")
    if text is not None and block.encode() not in text:
        text = _FORMER_BLOCK.sub(b"", text)  # of an earlier version
    inserted = _inserted(text, block, r"^# --- Docker ---", INSTALL_SCRIPT)
    changed = inserted.decode(errors="surrogateescape")
    for function in ("inside", "installed", "fail"):
        if not re.search(rf"^{function}\(\)", changed, re.MULTILINE):
            raise FactError(f"{INSTALL_SCRIPT} has no function {function}(): edit it by hand")
    if not re.search(r"^set -\w*e", changed, re.MULTILINE):
        changed = re.sub(r"\A((?:#.*\n)*\n?)", r"\1set -e\n\n", changed, count=1)
    return changed.encode(errors="surrogateescape")


def _inserted(text: bytes | None, block: str, before: str, path: str) -> bytes:
    """Return the text with the block before the first line that matches; once.

    A byte that is no UTF-8, a name in a comment for instance, is kept as it is.
    """
    if text is None:
        raise FactError(f"{path} is not in the repository")
    script = text.decode(errors="surrogateescape")
    if block in script:
        return text
    anchor = re.search(before, script, re.MULTILINE)
    if anchor is None:
        raise FactError(f"{path}: no line matches {before!r}, so there is no place for:\n{block}")
    edited = script[: anchor.start()] + block + script[anchor.start() :]
    return edited.encode(errors="surrogateescape")


class _Described(msgspec.Struct):
    lxc_configs: dict[str, Any] = {}


class _Container(msgspec.Struct):
    pct_features: list[str] = []


def described(text: bytes | None, ctid: int) -> bytes:
    """Return phoenix's descriptions with the container's features and profile."""
    if text is None:
        raise FactError(f"{CONTAINERS} is not in the repository")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FactError(f"{CONTAINERS} is not JSON ({error}); mend it") from error
    try:
        configs = msgspec.convert(document, _Described).lxc_configs
        known = msgspec.convert(configs.get(str(ctid)), _Container | None)
    except msgspec.ValidationError as error:
        raise FactError(f"{CONTAINERS} is not as phoenix writes it ({error}); mend it") from error
    if known is None:
        return text
    entry = document["lxc_configs"][str(ctid)]
    entry["pct_features"] = container_config.with_features(
        ",".join(known.pct_features), FEATURES
    ).split(",")
    entry["apparmor_profile"] = PROFILE
    return text if document == json.loads(text) else as_json(document, text)


def container_options(text: bytes | None) -> bytes:
    """Return the container's configuration with its features and profile in effect.

    Raises:
        FactError: changes wait for the container's next start. The plan's restart would bring
            them into effect, and Proxmox would take them out of the file, which then could never
            be as before.
    """
    written = _whole(text)
    for option, why in startable.refused(container_config.parse("", written)):
        raise FactError(
            f"line {option.line} of the container's configuration, '{option.key}: {option.value}': "
            f"{why}, and no container starts on it; mend it, it is left as it is"
        )
    changed = container_config.with_options(written, FEATURES, {"lxc.apparmor.profile": PROFILE})
    if changed != written and (waiting := container_config.waiting(written)):
        raise FactError(
            f"changes to the container wait for its next start ({'; '.join(waiting)}), and a "
            "restart by the plan would bring them into effect. pct pending CTID shows them; "
            "restart the container first, or take them back: pct set CTID --revert OPTION"
        )
    return changed.encode(errors="surrogateescape")


def _undone(ctid: int, text: str) -> str:
    """Return what a pending change would take away of what the plan set, at the next stop."""
    written = container_config.parse(f"/etc/pve/lxc/{ctid}.conf", text)
    if lost := container_config.lost_at_next_stop(written, FEATURES):
        taken = ", ".join(lost)
        return f"the next stop takes away {taken}: {container_config.letting_go(written, ctid)}"
    return ""


def lxc_options(node: Transport, text: bytes | None) -> bytes:
    """Return the same of plain LXC's configuration, which has no features but what they mean.

    Keyrings are allowed unless the container has a list of system calls of its own, on ``node``,
    that refuses them: then LXC's list takes its place.
    """
    written = _whole(text)
    wanted = {"lxc.apparmor.allow_nesting": "1", "lxc.apparmor.profile": PROFILE}
    own = container_config.parse_lxc("", written).current().get("lxc.seccomp.profile")
    if own and container_config.refuses_keyrings((node.read(own) or b"").decode(errors="replace")):
        wanted["lxc.seccomp.profile"] = container_config.COMMON_SECCOMP
    return container_config.with_lxc_options(written, wanted).encode(errors="surrogateescape")


def _whole(text: bytes | None) -> str:
    """Return the text of a configuration; raises FactError if no container can start on it."""
    if text is None:
        raise FactError("the container has no configuration")
    written = text.decode(errors="surrogateescape")
    for entry in container_config.cut_entries(container_config.parse("", written)):
        raise FactError(
            f"line {entry.line} of the container's configuration: the mount entry '{entry.value}' "
            f"lacks {', '.join(container_config.missing_fields(entry.value))}, and LXC starts no "
            "container on it; mend it, it is left as it is"
        )
    return written


def data_root(text: bytes | None) -> str:
    """Return where Docker keeps its data, by its settings.

    Raises:
        FactError: they name what can be no path.
    """
    try:
        settings = parse_settings(text or b"")
    except ValueError:
        settings = None
    found = settings.get("data-root") if isinstance(settings, dict) else None
    if isinstance(found, str) and re.search("[\0\ud800-\udfff]", found):
        raise FactError(f"{DAEMON_JSON}: data-root is {found!r:.200}, which is no path; mend it")
    return posixpath.normpath(found) if isinstance(found, str) else _ROOT


def daemon_json(text: bytes | None) -> bytes:
    """Return Docker's settings with the storage driver; every other key survives."""
    try:
        settings = parse_settings(text or b"")
    except ValueError as error:
        raise FactError(
            f"{DAEMON_JSON} is not JSON ({error}); mend it, it is left as it is"
        ) from error
    if not isinstance(settings, dict):
        raise FactError(f"{DAEMON_JSON} holds no JSON object; it is left as it is")
    if text and settings.get("storage-driver") == DRIVER:
        return text
    return as_json(settings | {"storage-driver": DRIVER}, text or b"{\n  \n}")
