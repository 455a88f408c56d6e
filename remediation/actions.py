"""The kinds of action the plan is made of; what they are used for is in docker_in_lxc."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from remediation import apparmor, config, files
from remediation.ahead import Ahead
from remediation.errors import FactError, RemediationError
from remediation.files import FileState
from remediation.plan import Drift, Simple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from remediation.ahead import Argv
    from remediation.transport import CommandResult, Transport

#: apt under emulation or on a slow mirror (seconds).
APT_TIMEOUT = 1800.0
#: A run that was cut off may have left an apt that is still at work: it is waited for (seconds).
_APT = (
    *("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", "-q", "-y"),
    *("-o", "DPkg::Lock::Timeout=600"),
)
_SERVICE_TIMEOUT = 180.0


@dataclass(frozen=True)
class FileEdit(Simple):
    """A file's content is what ``edit`` makes of it; mode, owner and attributes stay.

    Args:
        name: what a reader calls it.
        requirement: the clause it implements.
        path: the file; where it is absent ``edit`` gets None and the file is made with mode 644.
        edit: returns the desired content; applied twice it changes nothing more.
    """

    name: str
    requirement: str
    path: str
    edit: Callable[[bytes | None], bytes] = field(compare=False)

    before: ClassVar[Any] = FileState

    def capture(self, on: Transport) -> FileState:
        """See :class:`remediation.plan.Action`."""
        return files.capture(on, self.path)

    def check(self, on: Transport) -> Drift | None:
        """See :class:`remediation.plan.Action`."""
        content = on.read(self.path)
        desired = self.edit(content)
        if content == desired:
            return None
        files.require_file(on, self.path, files.capture(on, self.path))  # before any change
        what = "is absent" if content is None else "differs"
        return Drift(f"{self.path} {what}", content or b"", desired)

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.plan.Action`."""
        state = files.capture(on, self.path)
        files.write(on, self.path, state, self.edit(_content(state)))

    def rollback(self, on: Transport, before: FileState) -> None:
        """See :class:`remediation.plan.Action`."""
        files.restore(on, self.path, before)

    def meddled(self, now: FileState, before: FileState, after: FileState | None) -> Drift | None:
        """See :class:`remediation.plan.Action`."""
        if files.same(now, before) or (after is not None and files.same(now, after)):
            return None
        left = after.content if after is not None else self.edit(_content(before))
        if after is None and now.kind == "file" and now.content == left:
            return None
        what = {"absent": "was removed", "file": "was changed"}.get(now.kind, f"is a {now.kind}")
        there = os.fsencode(now.link) if now.kind == "link" else now.content
        return Drift(f"{self.path} {what}", there, left)


def _content(state: FileState) -> bytes | None:
    return state.content if state.kind == "file" else None


@dataclass(frozen=True)
class Directory(Simple):
    """A directory exists (mode 755); taken back only if it was made here and is empty again."""

    name: str
    requirement: str
    path: str

    before: ClassVar[Any] = bool

    def capture(self, on: Transport) -> bool:
        """Return whether it exists."""
        return on.run(["test", "-d", self.path]).ok

    def check(self, on: Transport) -> Drift | None:
        """See :class:`remediation.plan.Action`."""
        return None if self.capture(on) else Drift(f"{self.path} is absent")

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.plan.Action`."""
        on.run(["mkdir", "-m", "755", "--", self.path]).require()

    def rollback(self, on: Transport, before: bool) -> None:
        """See :class:`remediation.plan.Action`."""
        if not before and self.capture(on):
            on.run(["rmdir", "--", self.path]).require("somebody else put something there")


@dataclass(frozen=True)
class PackageState:
    """``status`` as dpkg abbreviates it (``ii``), empty if the package is unknown.

    ``adds`` holds what installing it brings, each with its own status before.
    """

    status: str
    adds: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Package(Simple):
    """A Debian package is installed; taken back with just the packages that came with it.

    Args:
        name: what a reader calls it.
        requirement: the clause it implements.
        package: the package.
        beside: packages to be installed with it, of which a release may not have all.
        after: packages that the plan installs before it, if they are not there; what they need,
            too, is theirs to take back.
    """

    name: str
    requirement: str
    package: str
    beside: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    before: ClassVar[Any] = PackageState

    def capture(self, on: Transport) -> PackageState:
        """See :class:`remediation.plan.Action`.

        Raises:
            FactError: it is half-installed, or installing it would remove something.
        """
        status = _statuses(on, [self.package])[self.package]
        if _installed(status):
            return PackageState(status)
        if status not in {"", "rc", "un", "pn"}:
            raise FactError(
                f"on {on.machine}: package {self.package} is {status!r}, half-installed; "
                "mend that first: dpkg --configure -a"
            )
        _, plan = self._planned(on)
        if gone := re.findall(r"^Remv (\S+)", plan, re.MULTILINE):
            raise FactError(
                f"on {on.machine}: installing {self.package} would remove {', '.join(gone)}, which "
                "no rollback brings back: remove that yourself, or keep it and do without the plan"
            )
        # "Inst NAME (NEW" is an installation; "Inst NAME [OLD] (NEW" an upgrade, never purged.
        theirs = _simulate(on, *self.after).require().text if self.after else ""
        adds, shared = (set(re.findall(r"^Inst (\S+) \(", x, re.MULTILINE)) for x in (plan, theirs))
        return PackageState(status, _statuses(on, sorted(adds - shared)))

    def _planned(self, on: Transport) -> tuple[list[str], str]:
        """Return the packages to ask for, and what apt says would be done."""
        names, plan = self._simulated(on)
        if not plan.ok:  # the lists may be old or empty: the plan's own `apt-get update`
            on.run([*_APT, "update"], timeout=APT_TIMEOUT).require("no mirror answers")
            names, plan = self._simulated(on)
        return names, plan.require().text

    def _simulated(self, on: Transport) -> tuple[list[str], CommandResult]:
        names = [self.package, *self.beside]
        plan = _simulate(on, *names)
        if plan.ok or not self.beside or not _simulate(on, self.package).ok:
            return names, plan
        has = [each for each in self.beside if _simulate(on, self.package, each).ok]
        return [self.package, *has], _simulate(on, self.package, *has)

    def check(self, on: Transport) -> Drift | None:
        """See :class:`remediation.plan.Action`."""
        if _installed(_statuses(on, [self.package])[self.package]):
            return None
        return Drift(f"package {self.package} is not installed", b"", f"{self.package}\n".encode())

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.plan.Action`."""
        names = self._planned(on)[0] if self.beside else [self.package]
        install = [*_APT, "install", "--no-install-recommends", *names]
        if not (first := on.run(install, timeout=APT_TIMEOUT)).ok:
            on.run([*_APT, "update"], timeout=APT_TIMEOUT).require("no mirror answers")
            first = on.run(install, timeout=APT_TIMEOUT)
        first.require()

    def rollback(self, on: Transport, before: PackageState) -> None:
        """See :class:`remediation.plan.Action`.

        Raises:
            RemediationError: something that was installed since needs what is to go.
        """
        now = _statuses(on, before.adds)
        if now == before.adds:
            return
        if any(not _settled(status) for status in now.values()):  # apt was cut off at its work
            on.run(["dpkg", "--configure", "-a"], timeout=APT_TIMEOUT)
        for verb, was_configured in (("purge", False), ("remove", True)):
            gone = [
                name
                for name, status in before.adds.items()
                if now[name] != status and (status == "rc") == was_configured
            ]
            if gone:
                self._take_away(on, verb, gone, before.adds)

    def restored(self, on: Transport, before: PackageState) -> bool:
        """See :class:`remediation.plan.Action`: whatever installing it would bring by now."""
        return _statuses(on, before.adds) == before.adds

    def _take_away(self, on: Transport, verb: str, gone: list[str], ours: Iterable[str]) -> None:
        plan = on.run([*_APT, "-s", verb, *gone]).require().text
        others = set(re.findall(r"^(?:Purg|Remv) (\S+)", plan, re.MULTILINE)) - set(ours)
        if others:
            raise RemediationError(
                f"on {on.machine}: {', '.join(sorted(others))} came later and needs "
                f"{self.package}, which is to go; remove that first, or keep both"
            )
        on.run([*_APT, verb, *gone], timeout=APT_TIMEOUT).require()

    def price(self, on: Transport, before: PackageState | None) -> list[str]:
        """See :class:`remediation.plan.Action`."""
        if before is None:
            plan = on.run([*_APT, "-s", "install", "--no-install-recommends", self.package])
            newer = re.findall(r"^Inst (\S+) \[", plan.text, re.MULTILINE)
            said = f"{', '.join(newer)}: upgraded in {on.machine}, which is not taken back"
            return [said] if newer else []
        now = _statuses(on, before.adds)
        gone = [name for name, status in before.adds.items() if now[name] != status]
        return [f"{', '.join(gone)}: removed from {on.machine}"] if gone else []


def _simulate(on: Transport, *packages: str) -> CommandResult:
    return on.run([*_APT, "-s", "install", "--no-install-recommends", *packages])


def _statuses(on: Transport, packages: Iterable[str]) -> dict[str, str]:
    """Return each package's status, empty where dpkg does not know it."""
    found = dict.fromkeys(packages, "")
    # Never `dpkg -l | grep`: it is true for removed packages and for other names.
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\\n", *found]
    answer = on.run(query) if found else None
    if answer is not None and answer.exit_code != 1:  # 1: it does not know one of them
        answer.require()
    for line in answer.text.splitlines() if answer is not None else []:
        name, _, status = line.partition(" ")
        found[name] = status.strip()
    return {name: "" if status in {"un", "pn"} else status for name, status in found.items()}


def _installed(status: str) -> bool:
    return status[1:2] == "i" and len(status) == 2  # noqa: PLR2004 - a third letter is an error


def _settled(status: str) -> bool:
    return status in {"", "rc"} or _installed(status)


@dataclass(frozen=True)
class ProfileState:
    """A profile's file, and the binary policy that the kernel holds for it (empty: none)."""

    file: FileState
    policy: bytes


@dataclass(frozen=True)
class Profile(Simple):
    """An AppArmor profile stands in its file, and the kernel's policy is what the file says.

    It is replaced in place, and never removed while something runs under it: removed and added
    again, it would leave what runs unconfined until its restart.
    """

    name: str
    requirement: str
    profile: str
    path: str
    content: bytes

    before: ClassVar[Any] = ProfileState

    def capture(self, on: Transport) -> ProfileState:
        """See :class:`remediation.plan.Action`."""
        policy = apparmor.loaded_binary(on, self.profile)
        return ProfileState(files.capture(on, self.path), policy)

    def check(self, on: Transport) -> Drift | None:
        """See :class:`remediation.plan.Action`."""
        if (drift := self._file.check(on)) is not None:
            return drift
        loaded = apparmor.loaded_policy(on, self.profile)
        if not loaded:
            return Drift(f"profile {self.profile} is not loaded")
        if loaded != apparmor.compiled_policy(on, self.path):
            return Drift(f"the kernel's {self.profile} is not what {self.path} says")
        return None

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.plan.Action`."""
        self._file.apply(on)
        apparmor.load(on, self.path)

    def rollback(self, on: Transport, before: ProfileState) -> None:
        """See :class:`remediation.plan.Action`."""
        loaded = apparmor.loaded_binary(on, self.profile)
        if loaded and not before.policy:
            self._unload(on)
        self._file.rollback(on, before.file)
        apparmor.renew_cache(on, self.path)
        if before.policy and loaded != before.policy:
            apparmor.load_binary(on, before.policy)

    def meddled(
        self, now: ProfileState, before: ProfileState, after: ProfileState | None
    ) -> Drift | None:
        """See :class:`remediation.plan.Action`."""
        return self._file.meddled(now.file, before.file, after.file if after else None)

    @property
    def _file(self) -> FileEdit:
        return FileEdit(self.name, self.requirement, self.path, lambda _: self.content)

    def _unload(self, on: Transport) -> None:
        if users := apparmor.processes_under(on, self.profile):
            raise RemediationError(
                f"profile {self.profile} stays loaded: processes {users[:8]} run under it. "
                "Stop their containers, then roll back again"
            )
        apparmor.unload(on, self.profile)


@dataclass(frozen=True)
class OptionsState:
    """A container's configuration, whether it runs, and the configuration that it runs with.

    The last one tells whether a restart is due; it is no part of what must be equal, since a
    configuration that was replaced before the plan without a restart comes back to nobody.
    """

    file: FileState
    running: bool
    effective: str = field(compare=False)


@dataclass(frozen=True)
class ContainerOptions(Simple):
    """A container's options are written, and in effect: where it runs, it is restarted.

    The restart is part of it, and no consequence, so that on the way back the container has
    left its profile before the profile is taken from the kernel.

    Args:
        name: what a reader calls it.
        requirement: the clause it implements.
        path: the container's configuration.
        edit: returns the desired configuration; applied twice it changes nothing more.
        running: whether the container runs.
        effective: what it was last started with, as the runtime wrote it down.
        start: starts it and waits until it has booted.
        shutdown: lets it end.
    """

    name: str
    requirement: str
    path: str
    edit: Callable[[bytes | None], bytes] = field(compare=False)
    running: Callable[[], bool] = field(compare=False)
    effective: Callable[[], str] = field(compare=False)
    start: Callable[[], None] = field(compare=False)
    shutdown: Callable[[], None] = field(compare=False)

    before: ClassVar[Any] = OptionsState

    def capture(self, on: Transport) -> OptionsState:
        """See :class:`remediation.plan.Action`."""
        running = self.running()
        return OptionsState(self._file.capture(on), running, self.effective() if running else "")

    def check(self, on: Transport) -> Drift | None:
        """See :class:`remediation.plan.Action`."""
        return self._file.check(on)

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.plan.Action`."""
        running = self.running()
        self._file.apply(on)
        if running:
            self.shutdown()
            self.start()

    def rollback(self, on: Transport, before: OptionsState) -> None:
        """See :class:`remediation.plan.Action`.

        Raises:
            RemediationError: disks or snapshots came or went since, and would be lost.
        """
        now = self._file.capture(on)
        if _volumes(now) != _volumes(before.file):
            raise RemediationError(
                f"{self.path} names other disks or snapshots than before the plan, and putting it "
                "back would lose them: take out by hand what the plan had put in"
            )
        self._file.rollback(on, before.file)
        running = self.running()
        if running and not (before.running and self.effective() == before.effective):
            self.shutdown()
            running = False
        if before.running and not running:
            self.start()

    def meddled(
        self, now: OptionsState, before: OptionsState, after: OptionsState | None
    ) -> Drift | None:
        """See :class:`remediation.plan.Action`."""
        return self._file.meddled(now.file, before.file, after.file if after else None)

    def price(self, on: Transport, before: OptionsState | None) -> list[str]:  # noqa: ARG002
        """See :class:`remediation.plan.Action`."""
        running = self.running()
        if before is None:
            return [f"{self.name}: it is restarted"] if running else []
        if running and not (before.running and self.effective() == before.effective):
            return [f"{self.name}: it is restarted"]
        return []

    @property
    def _file(self) -> FileEdit:
        return FileEdit(self.name, self.requirement, self.path, self.edit)


def _volumes(state: FileState) -> tuple[str, ...]:
    return config.volumes(state.content.decode(errors="replace"))


@dataclass(frozen=True)
class DockerState:
    """Docker's settings, whether it is running and enabled, and whose layers it stores.

    ``unit`` is ``active`` or ``stopped``, the same of its socket, and systemd's word for what it
    does at boot (``not-found`` where there is no Docker yet); ``drivers`` are those with a
    directory.
    """

    settings: FileState
    unit: str
    drivers: tuple[str, ...]


@dataclass(frozen=True)
class StorageDriver(Simple):
    """Docker's settings name a storage driver, and Docker, where it is installed, runs with it.

    The driver's name proves little (its start-up check is "the program exists"); the features
    look for its mounts. Taken back, the directories which the new driver made are moved aside:
    dockerd refuses to start when it finds the layers of two drivers.
    """

    name: str
    requirement: str
    driver: str
    path: str
    edit: Callable[[bytes | None], bytes] = field(compare=False)
    root: Callable[[bytes | None], str] = field(compare=False)

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
        """See :class:`remediation.plan.Action`."""
        settings = self._file.capture(on)
        units = [_is_active(name) for name in ("docker", _SOCKET)]
        asked = Ahead(on, [*units, _AT_BOOT, self._listing(settings)])  # one start of pct
        words = ["active" if asked.run(unit).ok else "stopped" for unit in units]
        unit = " ".join([*words, _at_boot(asked)])
        return DockerState(settings, unit, self._drivers(asked, settings))

    def _listing(self, settings: FileState) -> Argv:
        root = self.root(_content(settings))
        return ("find", root, "-mindepth", "1", "-maxdepth", "1", "-printf", "%f\\n")

    def _drivers(self, on: Transport, settings: FileState) -> tuple[str, ...]:
        listing = on.run(self._listing(settings))
        return tuple(sorted(set(listing.text.split()) & set(self.DRIVERS)))

    def check(self, on: Transport) -> Drift | None:
        """See :class:`remediation.plan.Action`."""
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
            return Drift(f"Docker does not answer: {said}")
        return None if driver == self.driver else Drift(f"storage driver is {driver}")

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.plan.Action`."""
        self._file.apply(on)
        if without_docker(on):
            return
        # On its former driver it may have failed too often under the new profile to be started.
        on.run(["systemctl", "reset-failed", "docker"])
        on.run(["systemctl", "restart", "docker"], timeout=_SERVICE_TIMEOUT).require(
            "journalctl -u docker -n 20 in the container says why"
        )

    def rollback(self, on: Transport, before: DockerState) -> None:
        """See :class:`remediation.plan.Action`.

        Docker is left stopped where it had to be stopped: on its former driver it may only run
        under its former profile. Starting it is a consequence: see :meth:`resume`.
        """
        if self.capture(on) == before:
            files.restore(on, self.path, before.settings)  # a cut-off run may have left traces
            return
        _stop(on)
        self._file.rollback(on, before.settings)
        root = self.root(_content(before.settings))  # the plan leaves that one key alone
        aside = f"{root}/taken-back-{time.time_ns()}"  # the same file system: only a rename
        for driver in sorted(set(self._drivers(on, before.settings)) - set(before.drivers)):
            on.run(["mkdir", "-p", f"{aside}/image"]).require()
            # The driver's own directory last: it is what tells that there is something to move.
            for place in (f"image/{driver}", driver):
                if on.run(["test", "-d", f"{root}/{place}"]).ok:
                    on.run(["mv", "-T", f"{root}/{place}", f"{aside}/{place}"]).require()

    def resume(self, on: Transport, before: DockerState) -> None:
        """Start Docker and its socket if they ran before, else stop them."""
        on.run(["systemctl", "reset-failed", "docker"])
        ran = dict(zip(("docker", _SOCKET), before.unit.split(), strict=False))
        if ran["docker"] != "active":
            _stop(on)
        for name in [name for name, was in ran.items() if was == "active"]:
            on.run(["systemctl", "start", name], timeout=_SERVICE_TIMEOUT).require(
                "journalctl -u docker -n 20 in the container says why"
            )

    def meddled(
        self, now: DockerState, before: DockerState, after: DockerState | None
    ) -> Drift | None:
        """See :class:`remediation.plan.Action`."""
        return self._file.meddled(now.settings, before.settings, after.settings if after else None)

    def price(self, on: Transport, before: DockerState | None) -> list[str]:
        """See :class:`remediation.plan.Action`."""
        if without_docker(on) or (before is not None and before.unit.endswith(_NOT_FOUND)):
            return []
        held = docker_holds(on)
        if before is None:
            hidden = f"; {held} stay on disk, unseen until a rollback" if held else ""
            return [f"Docker in {on.machine} is restarted on {self.driver}{hidden}"]
        sentence = f"Docker in {on.machine} is restarted on its former settings"
        if new := sorted(set(self._drivers(on, before.settings)) - set(before.drivers)):
            root = self.root(_content(before.settings))
            sentence += f"; what it made on {', '.join(new)} is moved to {root}/taken-back-*"
            sentence += f": {held}" if held else ""
        return [sentence]

    @property
    def _file(self) -> FileEdit:
        return FileEdit(self.name, self.requirement, self.path, self.edit)


_NOT_FOUND = "not-found"
_SOCKET = "docker.socket"


_DOWN = 3
#: One command, to be asked ahead: of a Docker that does not run, its socket would start it.
DRIVER_IN_USE = (
    *("sh", "-c"),
    f'systemctl is-active -q docker || exit {_DOWN}; docker info -f "{{{{.Driver}}}}"',
)


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


def docker_holds(on: Transport) -> str:
    """Return Docker's containers, images and volumes, as a reader would list them.

    A Docker that does not run is not asked: its socket would start it.
    """
    if not active(on, "docker"):
        return ""
    lists = {
        "container": ["docker", "ps", "-a", "--format", "{{.Names}}"],
        "image": ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"],
        "volume": ["docker", "volume", "ls", "-q"],
    }
    found = [f"{what} {name}" for what, argv in lists.items() for name in on.run(argv).text.split()]
    return ", ".join(found)


#: systemctl's exit code for a unit that there is not: then nothing has to be stopped.
_NO_UNIT = 5


def _stop(on: Transport) -> None:
    argv = ["systemctl", "stop", "docker.socket", "docker"]
    if (stopped := on.run(argv, timeout=_SERVICE_TIMEOUT)).exit_code != _NO_UNIT:
        stopped.require()
