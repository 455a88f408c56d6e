"""The kinds of action the plan is made of; what they are used for is in docker_in_lxc."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from remediation import apparmor, files
from remediation.errors import RemediationError
from remediation.files import FileState
from remediation.plan import Drift

if TYPE_CHECKING:
    from collections.abc import Callable

    from remediation.transport import Transport

#: apt under emulation or on a slow mirror (seconds).
APT_TIMEOUT = 1800.0
_APT = ("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", "-q", "-y")


@dataclass(frozen=True)
class FileEdit:
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
        what = "is absent" if content is None else "differs"
        return Drift(f"{self.path} {what}", content or b"", desired)

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.plan.Action`."""
        state = files.capture(on, self.path)
        content = state.content if state.kind == "file" else None
        files.write(on, self.path, state, self.edit(content))

    def rollback(self, on: Transport, before: FileState) -> None:
        """See :class:`remediation.plan.Action`."""
        files.restore(on, self.path, before)


@dataclass(frozen=True)
class Directory:
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
    """``status`` as dpkg gives it (``ii``), empty if unknown; ``adds`` what installing brings."""

    status: str
    adds: tuple[str, ...]


@dataclass(frozen=True)
class Package:
    """A Debian package is installed; taken back with just the packages that came with it."""

    name: str
    requirement: str
    package: str

    before: ClassVar[Any] = PackageState

    def _status(self, on: Transport) -> str:
        # Never `dpkg -l | grep`: it is true for removed packages and for other names.
        answer = on.run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}", self.package])
        return answer.text.strip() if answer.ok else ""

    def capture(self, on: Transport) -> PackageState:
        """See :class:`remediation.plan.Action`."""
        status = self._status(on)
        if status.startswith("ii"):
            return PackageState(status, ())
        plan = on.run([*_APT, "-s", "install", "--no-install-recommends", self.package])
        if not plan.ok:  # the lists may be old or empty: the plan's own `apt-get update`
            on.run([*_APT, "update"], timeout=APT_TIMEOUT).require("no mirror answers")
            plan = on.run([*_APT, "-s", "install", "--no-install-recommends", self.package])
        # "Inst NAME (NEW" is an installation; "Inst NAME [OLD] (NEW" an upgrade, never purged.
        adds = re.findall(r"^Inst (\S+) \(", plan.require().text, re.MULTILINE)
        return PackageState(status, tuple(sorted(adds)))

    def check(self, on: Transport) -> Drift | None:
        """See :class:`remediation.plan.Action`."""
        status = self._status(on)
        if status.startswith("ii"):
            return None
        return Drift(f"package {self.package} is not installed", b"", f"{self.package}\n".encode())

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.plan.Action`."""
        install = [*_APT, "install", "--no-install-recommends", self.package]
        if not (first := on.run(install, timeout=APT_TIMEOUT)).ok:
            on.run([*_APT, "update"], timeout=APT_TIMEOUT).require("no mirror answers")
            first = on.run(install, timeout=APT_TIMEOUT)
        first.require()

    def rollback(self, on: Transport, before: PackageState) -> None:
        """See :class:`remediation.plan.Action`."""
        if before.adds and self._status(on).startswith("ii"):
            on.run([*_APT, "purge", *before.adds], timeout=APT_TIMEOUT).require()


@dataclass(frozen=True)
class ProfileState:
    """A profile's file, and the hash of the policy that the kernel holds (empty: not loaded)."""

    file: FileState
    policy: str


@dataclass(frozen=True)
class Profile:
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
        return ProfileState(files.capture(on, self.path), apparmor.loaded_policy(on, self.profile))

    def check(self, on: Transport) -> Drift | None:
        """See :class:`remediation.plan.Action`."""
        content = on.read(self.path)
        if content != self.content:
            what = "is absent" if content is None else "differs"
            return Drift(f"{self.path} {what}", content or b"", self.content)
        loaded = apparmor.loaded_policy(on, self.profile)
        if not loaded:
            return Drift(f"profile {self.profile} is not loaded")
        if loaded != apparmor.compiled_policy(on, self.path):
            return Drift(f"the kernel's {self.profile} is not what {self.path} says")
        return None

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.plan.Action`."""
        files.write(on, self.path, files.capture(on, self.path), self.content)
        apparmor.load(on, self.path)

    def rollback(self, on: Transport, before: ProfileState) -> None:
        """See :class:`remediation.plan.Action`."""
        if not before.policy and apparmor.loaded_policy(on, self.profile):
            self._unload(on)
        files.restore(on, self.path, before.file)
        if before.policy and apparmor.loaded_policy(on, self.profile) != before.policy:
            apparmor.load(on, self.path)

    def _unload(self, on: Transport) -> None:
        if users := apparmor.processes_under(on, self.profile):
            raise RemediationError(
                f"profile {self.profile} stays loaded: processes {users[:8]} run under it. "
                "Stop their containers, then roll back again"
            )
        apparmor.unload(on, self.profile)


@dataclass(frozen=True)
class ContainerOptions:
    """A container's options are written, and in effect: where it runs, it is restarted.

    The restart is part of it, and no consequence, so that on the way back the container has
    left its profile before the profile is taken from the kernel.
    """

    name: str
    requirement: str
    path: str
    edit: Callable[[bytes | None], bytes] = field(compare=False)
    restart: Callable[[], None] = field(compare=False)

    before: ClassVar[Any] = FileState

    def capture(self, on: Transport) -> FileState:
        """See :class:`remediation.plan.Action`."""
        return files.capture(on, self.path)

    def check(self, on: Transport) -> Drift | None:
        """See :class:`remediation.plan.Action`."""
        return self._file.check(on)

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.plan.Action`."""
        self._file.apply(on)
        self.restart()

    def rollback(self, on: Transport, before: FileState) -> None:
        """See :class:`remediation.plan.Action`."""
        self._file.rollback(on, before)
        self.restart()

    @property
    def _file(self) -> FileEdit:
        return FileEdit(self.name, self.requirement, self.path, self.edit)


@dataclass(frozen=True)
class StorageDriver:
    """Docker stores its layers with a given driver, and is running.

    The driver's name proves little (its start-up check is "the program exists"); the features
    look for its mounts. Taken back, the directories which the new driver made are moved aside:
    dockerd refuses to start when it finds the layers of two drivers.
    """

    name: str
    requirement: str
    driver: str
    root: str = "/var/lib/docker"

    before: ClassVar[Any] = tuple[str, ...]

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

    def capture(self, on: Transport) -> tuple[str, ...]:
        """Return the drivers that have layers here."""
        listing = on.run(
            ["find", self.root, "-mindepth", "1", "-maxdepth", "1", "-printf", "%f\\n"]
        )
        return tuple(sorted(set(listing.text.split()) & set(self.DRIVERS)))

    def check(self, on: Transport) -> Drift | None:
        """See :class:`remediation.plan.Action`."""
        answer = on.run(["docker", "info", "-f", "{{.Driver}}"])
        driver = answer.text.strip()  # `docker info` may exit 0 without a daemon, naming none
        if not driver:
            said = answer.stderr.decode(errors="replace").strip()
            return Drift(f"Docker does not answer: {said}")
        return None if driver == self.driver else Drift(f"storage driver is {driver}")

    def apply(self, on: Transport) -> None:
        """See :class:`remediation.plan.Action`."""
        # On its former driver it may have failed too often under the new profile to be started.
        on.run(["systemctl", "reset-failed", "docker"])
        on.run(["systemctl", "restart", "docker"], timeout=180).require(
            "journalctl -u docker -n 20 in the container says why"
        )

    def rollback(self, on: Transport, before: tuple[str, ...]) -> None:
        """See :class:`remediation.plan.Action`.

        Docker is left stopped: it starts on its former driver when daemon.json is back.
        """
        on.run(["systemctl", "stop", "docker.socket", "docker"], timeout=180).require()
        aside = f"{self.root}/taken-back-{time.time_ns()}"  # the same file system: only a rename
        for driver in set(self.capture(on)) - set(before):
            on.run(["mkdir", "-p", f"{aside}/image"]).require()
            for place in (driver, f"image/{driver}"):
                if on.run(["test", "-d", f"{self.root}/{place}"]).ok:
                    on.run(["mv", "-T", f"{self.root}/{place}", f"{aside}/{place}"]).require()
