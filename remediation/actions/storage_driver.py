"""Docker in the container: what it runs with, what it holds, and its storage driver."""

from __future__ import annotations

import posixpath
import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from remediation.actions.file_edit import FileEdit
from remediation.edits.json_files import parse
from remediation.engine.action import Action
from targets import files
from targets.batch import Ahead
from targets.drift import Drift
from targets.errors import FactError
from targets.files import FileState  # noqa: TC001 - msgspec reads the annotation
from targets.printable import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from targets.batch import Argv
    from targets.transport import Transport

_SERVICE_TIMEOUT = 180.0


@dataclass(frozen=True)
class DockerState:
    """Docker's settings, whether it is running and enabled, and whose layers it stores.

    ``unit`` is ``active`` or ``stopped``, the same of its socket, and systemd's word for what it
    does at boot (``not-found`` where there is no Docker yet); ``drivers`` are those with a
    directory; ``containers`` those that run, which may end by themselves; ``images`` the drivers
    of which Docker knows images, which a Docker that is gone leaves, too.

    Stored in journals: its fields are a schema
    (tests/unit/remediation/engine/test_stored_states.py).
    """

    settings: FileState
    unit: str
    drivers: tuple[str, ...]
    containers: tuple[str, ...] = field(default=(), compare=False)
    images: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class StorageDriver(Action[DockerState]):
    """Docker's settings name a storage driver, and Docker, where it is installed, runs with it.

    The driver's name proves little (its start-up check is "the program exists"); the features
    look for its mounts. Rolled back, the directories which the new driver made are moved aside:
    dockerd refuses to start when it finds the layers of two drivers.
    """

    driver: str
    path: str
    edit: Callable[[bytes | None], bytes] = field(compare=False)
    root: Callable[[bytes | None], str] = field(compare=False)
    #: What must be said of data at another place than the profile allows, empty if nothing.
    elsewhere: Callable[[str], str] = field(default=lambda _: "", compare=False)

    before: ClassVar[Any] = DockerState

    #: Directories of dockerd's graph drivers, by name. Source: moby daemon/graphdriver.
    DRIVERS: ClassVar = (
        "aufs",
        "btrfs",
        "devicemapper",
        "fuse-overlayfs",
        "overlay",
        "overlay2",
        "vfs",
        "zfs",
    )

    def capture(self, on: Transport) -> DockerState:
        """See :class:`remediation.engine.action.Action`."""
        settings = self._file.capture(on)
        units = [_is_active(name) for name in ("docker", _SOCKET)]
        wanted = [*units, _AT_BOOT, self._listing(settings), _RUNNING]
        asked = Ahead(on, wanted)  # one start of pct
        words = ["active" if asked.run(unit).ok else "stopped" for unit in units]
        unit = " ".join([*words, _at_boot(asked)])
        drivers, images = self._stored(asked, settings)
        return DockerState(settings, unit, drivers, running_containers(asked), images)

    def require_reversible(self, on: Transport) -> None:
        """See :class:`remediation.engine.action.Action`: Docker must run as its settings say."""
        settings = files.content(self._file.capture(on))
        asked = Ahead(on, [_IN_USE, _RUNNING, _TOLD])
        answer = asked.run(_IN_USE)
        driver, _, root = answer.text.strip().partition(" ")
        if not answer.ok or not root:  # it does not run: it will start as its settings say
            _require_told(asked, settings, self.root(settings))
            return
        asked.run(_RUNNING).require("which containers run could not be recorded")
        if (named := _named(settings, "storage-driver")) not in {"", driver}:
            raise FactError(
                f"Docker in {on.machine} runs on {driver}, and its settings ({self.path}) name "
                f"{named}: restart it first, since started anew it does not come back to {driver}"
            )
        wanted = self.root(settings)
        if root.startswith(f"{wanted}/"):
            raise FactError(
                f"Docker in {on.machine} keeps its data in {root}, for users of its own "
                "(userns-remap): what the plan changes there could not be rolled back"
            )
        if root != wanted:
            raise FactError(
                f"Docker in {on.machine} keeps its data in {root}, of which its settings "
                f'({self.path}) say nothing: name it there as "data-root" instead of on its '
                "command line or by a link, and restart it; what lies elsewhere could not be taken "
                "back"
            )

    def _listing(self, settings: FileState) -> Argv:
        root = self.root(files.content(settings))
        places = (root, f"{root}/image")
        return ("find", "-H", *places, "-mindepth", "1", "-maxdepth", "1", "-printf", "%p\\n")

    def _stored(
        self, on: Transport, settings: FileState
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the drivers that have a directory, and those of whose images Docker knows."""
        root = self.root(files.content(settings))
        found = set(on.run(self._listing(settings)).text.splitlines())
        drivers = tuple(name for name in self.DRIVERS if f"{root}/{name}" in found)
        return drivers, tuple(name for name in self.DRIVERS if f"{root}/image/{name}" in found)

    def _made(self, on: Transport, before: DockerState) -> list[str]:
        """Return what is below Docker's directory of drivers that came since."""
        return _came(before, *self._stored(on, before.settings))

    def check(self, on: Transport) -> Drift | None:
        """See :class:`remediation.engine.action.Action`."""
        if (drift := self._file.check(on)) is not None:
            return drift
        if without_docker(on):
            return None
        answer = on.run(DRIVER_IN_USE)
        if answer.exit_code == _DOWN:
            return Drift("Docker does not run")
        driver = answer.text.strip()  # `docker info` may exit 0 without a daemon, naming none
        if not driver:
            said = answer.stderr.decode(errors="replace").strip()
            return Drift(f"Docker does not answer: {cut(said)}")
        return None if driver == self.driver else Drift(f"storage driver is {cut(driver)}")

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.engine.action.Action`."""
        self._file.apply(on)
        if without_docker(on):
            return
        # On its former driver it may have failed too often under the new profile to be started.
        on.run(["systemctl", "reset-failed", "docker"])
        on.run(["systemctl", "restart", "docker"], timeout=_SERVICE_TIMEOUT).require(
            "journalctl -u docker -n 20 in the container says why"
        )

    def rollback(self, on: Transport, before: DockerState) -> None:
        """See :class:`remediation.engine.action.Action`.

        Docker is left stopped where it had to be stopped: on its former driver it may only run
        under its former profile. Starting it is a consequence: see :meth:`resume`.
        """
        if self.restored(on, before):
            files.restore(on, self.path, before.settings)  # a cut-off run may have left traces
            return
        _stop(on)
        self._file.rollback(on, before.settings)
        root = self.root(files.content(before.settings))  # the plan leaves that one key alone
        aside = f"{root}/taken-back-{time.time_ns()}"  # the same file system: only a rename
        if made := self._made(on, before):
            on.run(["mkdir", "-p", f"{aside}/image"]).require()
        for place in made:
            on.run(["mv", "-T", f"{root}/{place}", f"{aside}/{place}"]).require()

    def restored(self, on: Transport, before: DockerState) -> bool:
        """See :class:`remediation.engine.action.Action`.

        What it does at boot the plan never changed.
        """
        now = self.capture(on)
        came = _came(before, now.drivers, now.images)
        return _but_at_boot(now) == _but_at_boot(before) and not came

    def resume(self, on: Transport, before: DockerState) -> None:
        """Start Docker, its socket and its containers if they ran before, else stop it."""
        on.run(["systemctl", "reset-failed", "docker"])
        ran = dict(zip(("docker", _SOCKET), before.unit.split(), strict=False))
        if ran["docker"] != "active":
            _stop(on)
        for name in [name for name, was in ran.items() if was == "active"]:
            on.run(["systemctl", "start", name], timeout=_SERVICE_TIMEOUT).require(
                "journalctl -u docker -n 20 in the container says why; on its former driver it "
                "may only start when the whole plan is rolled back, without --only"
            )
        start_again(on, before.containers)

    def current(self, on: Transport) -> DockerState:
        """See :class:`remediation.engine.action.Action`.

        The settings; Docker itself may not answer.
        """
        return DockerState(self._file.capture(on), "", ())

    def changed_since(
        self, now: DockerState, before: DockerState, after: DockerState | None
    ) -> Drift | None:
        """See :class:`remediation.engine.action.Action`."""
        return self._file.changed_since(
            now.settings, before.settings, after.settings if after else None
        )

    def side_effects(self, on: Transport, before: DockerState | None) -> list[str]:
        """See :class:`remediation.engine.action.Action`."""
        if without_docker(on) or (before is not None and before.unit.endswith(_NOT_FOUND)):
            return []
        held, stays = docker_holds(on, _OF_A_DRIVER), docker_holds(on, ("volume", "network"))
        seen = f"; these stay, and are seen: {stays}" if stays else ""
        if before is None:
            hidden = f"; {held} stay on disk, unseen until a rollback{seen}" if held else ""
            gone = ", ".join(sorted(on.run(_FLEETING).text.split()))
            lost = f"; {gone}, started with --rm, goes for good" if gone else ""
            restarted = f"Docker in {on.machine} is restarted on {self.driver}{hidden}{lost}"
            return [restarted, *filter(None, [self.elsewhere(self._root(on))])]
        sentence = f"Docker in {on.machine} is restarted on its former settings"
        if made := self._made(on, before):
            root = self.root(files.content(before.settings))
            new = dict.fromkeys(place.removeprefix("image/") for place in made)
            sentence += f"; what it made on {', '.join(new)} is moved to {root}/taken-back-*"
            sentence += f": {held}" if held and on.run(DRIVER_IN_USE).text.strip() in new else ""
            sentence += seen
        return [sentence]

    def _root(self, on: Transport) -> str:
        return self.root(on.read(self.path))

    @property
    def _file(self) -> FileEdit:
        return FileEdit(self.id, self.title, self.requirement, self.path, self.edit)


_NOT_FOUND = "not-found"
_SOCKET = "docker.socket"


def _named(settings: bytes | None, key: str) -> str:
    """Return what Docker's settings name under a key, empty if nothing."""
    try:
        found = parse(settings or b"")
    except ValueError:
        return ""
    named = found.get(key) if isinstance(found, dict) else None
    return named if isinstance(named, str) else ""


def _came(before: DockerState, drivers: Sequence[str], images: Sequence[str]) -> list[str]:
    """Return what drivers that came since have below Docker's directory.

    Of an older before-image the images are not known: those of a driver that was there stay.
    """
    with_images = set(images) - {*before.images, *before.drivers}
    own = set(drivers) - set(before.drivers)
    return [*(f"image/{name}" for name in sorted(with_images)), *sorted(own)]


def _require_told(on: Transport, settings: bytes | None, root: str) -> None:
    """Raise FactError if a Docker that is stopped will keep its data where its settings do not say.

    Args:
        on: the container.
        settings: what its daemon.json says.
        root: where that keeps its data.
    """
    lines = [line for line in on.run(_TOLD).text.splitlines() if not line.lstrip().startswith("#")]
    told = [found for line in lines for found in _ELSEWHERE.findall(line)]
    elsewhere = [f"{option} {place}" for option, place in told if posixpath.normpath(place) != root]
    if users := _named(settings, "userns-remap"):
        elsewhere.append(f"userns-remap {users}")
    if elsewhere:
        raise FactError(
            f"Docker in {on.machine} does not run, and started it would keep its data elsewhere "
            f"({elsewhere[0]}): what the plan changes there could not be rolled back. Take that "
            'out; a place of its own is named in its settings, as "data-root"'
        )


def _but_at_boot(state: DockerState) -> DockerState:
    return replace(state, unit=" ".join(state.unit.split()[:2]))


_DOWN = 3
#: Of a Docker that does not run nothing is asked: its socket would start it.
_IF_IT_RUNS = f"systemctl is-active -q docker || exit {_DOWN}; "
#: One command, to be asked ahead.
DRIVER_IN_USE = ("sh", "-c", _IF_IT_RUNS + 'docker info -f "{{.Driver}}"')
_IN_USE = ("sh", "-c", _IF_IT_RUNS + 'docker info -f "{{.Driver}} {{.DockerRootDir}}"')
#: What is told to dockerd beside its settings: its unit's command line, and the file that Debian's
#: unit, which may be still to come, reads for it.
_TELLS = """
exec=$(systemctl show -p ExecStart --value docker); echo "$exec"
case $exec in ''|*DOCKER_OPTS*) cat /etc/default/docker 2>/dev/null;; esac; :
"""
_TOLD = ("sh", "-c", _TELLS)
_ELSEWHERE = re.compile(
    r"[\s\"'=](--data-root|--graph|-g|--userns-remap)(?:=|\s)\s*[\"']?([^\s\"';]+)"
)
_RUNNING = ("sh", "-c", _IF_IT_RUNS + "docker ps -q --no-trunc")
_ALL = ("sh", "-c", _IF_IT_RUNS + "docker ps -aq --no-trunc")
#: Those that run and that Docker removes when they end.
_FLEETING = (
    *("sh", "-c"),
    _IF_IT_RUNS
    + "docker ps -q --no-trunc | "
    + "xargs -r docker inspect -f '{{if .HostConfig.AutoRemove}}{{.Name}}{{end}}'",
)


def running_containers(on: Transport) -> tuple[str, ...]:
    """Return the ids of Docker's containers that run, the oldest first."""
    return tuple(reversed(on.run(_RUNNING).text.split()))


def start_again(on: Transport, containers: Sequence[str]) -> None:
    """Start Docker's containers that ran, as far as there are any more; that run, they may."""
    if not containers:
        return
    asked = on.run(_ALL).require("journalctl -u docker -n 20 in the container says why")
    there = set(asked.text.split())  # one with --rm is gone
    if again := [each for each in containers if each in there]:
        argv = ["docker", "start", *again]
        on.run(argv, timeout=_SERVICE_TIMEOUT).require("it ran before the plan")


def active(on: Transport, unit: str) -> bool:
    """Whether a unit is active."""
    return on.run(_is_active(unit)).ok


def _is_active(unit: str) -> Argv:
    return ("systemctl", "is-active", "-q", unit)


_AT_BOOT = ("systemctl", "is-enabled", "docker")


def _at_boot(on: Transport) -> str:
    """Return what systemd says that Docker does at boot; an older one says nothing of no unit."""
    return on.run(_AT_BOOT).text.strip() or _NOT_FOUND


def without_docker(on: Transport) -> bool:
    """Whether there is no Docker; a package that was removed, not purged, leaves a masked unit."""
    unit = _at_boot(on)
    return unit == _NOT_FOUND or (unit == "masked" and not docker_daemon(on))


def docker_daemon(on: Transport) -> str:
    """Return the path of Docker's daemon, empty if there is none."""
    return on.run(["sh", "-c", "command -v dockerd"]).text.strip()


#: What a Docker on another driver does not see; it keeps its volumes and networks.
_OF_A_DRIVER = ("container", "image")
#: Docker makes these itself.
_DOCKERS_OWN = frozenset({"bridge", "host", "none"})


def docker_holds(on: Transport, kinds: Sequence[str] = ("container", "image", "volume")) -> str:
    """Return Docker's containers, images, volumes or networks, each kind sorted by name.

    Docker lists images by the second they were made in, and those of one second in any order.
    Source: moby daemon/images (sorted by Created, taken from a map). A Docker that does not run is
    not asked: its socket would start it.
    """
    if not active(on, "docker"):
        return ""
    lists = {
        "container": ["docker", "ps", "-a", "--format", "{{.Names}}"],
        "image": ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"],
        "volume": ["docker", "volume", "ls", "-q"],
        "network": ["docker", "network", "ls", "--format", "{{.Name}}"],
    }
    return ", ".join(
        f"{what} {name}"
        for what in kinds
        for name in sorted(on.run(lists[what]).text.split())
        if what != "network" or name not in _DOCKERS_OWN
    )


#: systemctl's exit code for a unit that there is not: then nothing has to be stopped.
_NO_UNIT = 5


def _stop(on: Transport) -> None:
    argv = ["systemctl", "stop", "docker.socket", "docker"]
    if (stopped := on.run(argv, timeout=_SERVICE_TIMEOUT)).exit_code != _NO_UNIT:
        stopped.require()
