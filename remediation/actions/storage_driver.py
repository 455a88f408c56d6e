"""Docker in the container: what it runs with, what it holds, and its storage driver."""

from __future__ import annotations

import math
import posixpath
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, ClassVar

from typing_extensions import override

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError, LimitExceeded
from docker_lxc_gate.facts import docker
from docker_lxc_gate.formats.archive import FileState  # noqa: TC001 - journals are read back by a state's types
from docker_lxc_gate.machines import files
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.read import Read
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.printable import Notice, counted, cut
from remediation.actions.file_edit import FileEdit
from remediation.edits.daemon_json import readable
from remediation.engine.action import Action, Drift, Reads, SideEffect

_SERVICE_TIMEOUT = 180.0
#: Docker may have failed too often to be started again.
RESET = "systemctl reset-failed docker 2>/dev/null"
_UNITS = (docker.active("docker"), docker.active(docker.SOCKET))
_CARRY_OVER = program("remediation", "carry_over.pl")
_SAVE_IMAGES = program("remediation", "save_images.sh")
_MOVE_ASIDE = program("remediation", "move_aside.sh")
_CHANGED = program("remediation", "changed_containers.sh")
#: For each driver that apply can carry images and containers over to, the driver that has them.
_FORMER = {"fuse-overlayfs": "overlay2", "overlay2": "fuse-overlayfs"}
#: The directory below Docker's in which apply keeps what a rollback puts back.
_KEPT = "docker-lxc-gate"
#: To walk through all layers, and to copy some of them (seconds).
_LOOK_TIMEOUT, _CARRY_TIMEOUT = 600.0, 3600.0
_CARGO = patterns.compile(r"([0-9]{1,9}) ([0-9]{1,9}) ([0-9]{1,18})\n")


@dataclass(frozen=True)
class DockerState:
    """Docker's settings, whether it is running and enabled, and whose layers it stores.

    ``unit`` is ``active`` or ``stopped``, the same of its socket, and systemd's word for what it
    does at boot (``not-found`` where there is no Docker yet); ``drivers`` are those with a
    directory; ``containers`` those that run, which may end by themselves; ``images`` the drivers
    of which Docker knows images, which a Docker that is gone leaves, too; ``carried`` is whether
    apply carries images and containers over, ``saved`` whether images alone, by ``docker save``.

    Stored in journals: its fields are a schema (test_stored_states.py).
    """

    settings: FileState
    unit: str
    drivers: tuple[str, ...]
    containers: tuple[str, ...] = field(default=(), compare=False)
    images: tuple[str, ...] = field(default=(), compare=False)
    carried: bool = field(default=False, compare=False)
    saved: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Cargo:
    """What apply would carry over to the new driver, or why it carries nothing over.

    ``copied`` is in bytes; ``saved`` is whether it is by ``docker save``, which keeps no container.
    """

    images: int = 0
    containers: int = 0
    copied: int = 0
    obstacle: str = ""
    seconds: float = 0.0
    saved: bool = False

    def __bool__(self) -> bool:
        """Whether something is carried over."""
        return bool(self.images or self.containers)

    def __str__(self) -> str:
        """Return it in words."""
        images, containers = counted(self.images, "image"), counted(self.containers, "container")
        if self.saved:
            return (
                f"{images} of {self.copied / (1 << 20):.1f} MiB are carried over by docker save "
                "and docker load, some minutes for each GiB; they are missing while they are loaded"
            )
        return (
            f"{images} and {containers} are carried over: {self.copied / (1 << 20):.1f} MiB are "
            "copied, and image layers are linked. Docker is stopped for at least "
            f"{counted(math.ceil(self.seconds), 'second')}, as long as the look through all layers "
            "took, and while files are copied and linked, which cannot be known before"
        )


@dataclass(frozen=True)
class StorageDriver(Action[DockerState]):
    """Docker's settings name a storage driver, and Docker, where it is installed, runs with it.

    The driver's name proves little (its start-up check is "the program exists"); the features
    look for its mounts. Rolled back, the directories which the new driver made are moved aside:
    dockerd refuses to start when it finds the layers of two drivers. Between overlay2 and
    fuse-overlayfs, images and containers are carried over, see ``carry_over.pl``; from vfs, from
    containerd's image store, or another driver, images alone, see ``save_images.sh``.
    """

    driver: str
    path: str = field()
    edit: Callable[[bytes | None], bytes] = field(compare=False)
    root: Callable[[bytes | None], str] = field(compare=False)
    #: What must be said of data at another place than the profile allows, empty if nothing.
    elsewhere: Callable[[str], str] = field(default=lambda _: "", compare=False)
    #: Other drivers that will do: Docker stays on one of these, and a new Docker chooses.
    others: tuple[str, ...] = ()
    #: Called with what somebody should know of a change that succeeded.
    tell: Callable[[str], None] = field(default=lambda _: None, compare=False)

    before: ClassVar[Any] = DockerState

    #: Directories of dockerd's graph drivers, by name. Source: moby daemon/graphdriver.
    DRIVERS: ClassVar = (
        *("aufs", "btrfs", "devicemapper", "fuse-overlayfs"),
        *("overlay", "overlay2", "vfs", "zfs"),
    )

    @override
    def reads(self) -> Reads:
        of_file = self._file.reads()
        check = (*of_file.check, docker.AT_BOOT, docker.DRIVER_AND_ROOT)
        stored = self._stored(self.root(None))  # where its data lies is a guess
        return Reads(
            check=check,
            capture=[*of_file.capture, *_UNITS, docker.AT_BOOT, stored, docker.RUNNING],
            consent=[
                *(*check, docker.OPTIONS_ELSEWHERE),
                *(docker.BOOTING, docker.REMOVED_WHEN_ENDED),
            ],
            side_effects=[docker.DRIVER_AND_ROOT, *docker.lists((*_OF_A_DRIVER, *_SHARED))],
        )

    @override
    def capture(self, on: Transport) -> DockerState:
        cargo = self._cargo(on)
        carried, saved = (bool(cargo) and cargo.saved is way for way in (False, True))
        return replace(self.left(on), carried=carried, saved=saved)

    @override
    def left(self, on: Transport) -> DockerState:
        settings = self._file.capture(on)
        words = ["active" if on.ask(unit) else "stopped" for unit in _UNITS]
        unit = " ".join([*words, on.ask(docker.AT_BOOT)])
        drivers, images = on.ask(self._stored(self.root(files.content(settings))))
        return DockerState(settings, unit, drivers, on.ask(docker.RUNNING), images)

    def require_reversible(self, on: Transport) -> None:
        """See :class:`remediation.engine.action.Action`: Docker must run as its settings say."""
        self._file.require_reversible(on)
        settings = files.content(self._file.capture(on))
        answer = on.ask(docker.DRIVER_AND_ROOT)
        driver, _, root = answer.text.strip().partition(" ")
        if not answer.ok or not root:  # it does not run: it will start as its settings say
            if on.ask(docker.BOOTING):
                raise FactError(
                    f"{on.machine} is still booting, and Docker in it has yet to start, so which "
                    "of Docker's containers run cannot be recorded: wait until it has booted "
                    "(systemctl is-system-running --wait, inside), and run it again"
                )
            _require_told(on, settings, self.root(settings))
            return
        on.look(docker.RUNNING.argv).require("which containers run could not be recorded")
        if (named := _named(settings, "storage-driver")) not in {"", driver}:
            raise FactError(
                f"Docker in {on.machine} runs on {driver}, and its settings ({self.path}) name "
                f"{named}: restart it first: after its next start it does not run on {driver}"
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
                "command line or by a link, and restart it; what lies elsewhere could not be "
                "rolled back"
            )

    def _stored(self, root: str) -> Read[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Read which drivers have a directory, and of whose images Docker knows."""

        def parse(result: CommandResult) -> tuple[tuple[str, ...], tuple[str, ...]]:
            found = set(result.text.splitlines())
            drivers = tuple(name for name in names if f"{root}/{name}" in found)
            return drivers, tuple(name for name in self.DRIVERS if f"{root}/image/{name}" in found)

        names = (*self.DRIVERS, _KEPT)
        depth = ("-mindepth", "1", "-maxdepth", "1", "-printf", "%p\\n")
        return Read(("find", "-H", root, f"{root}/image", *depth), parse)

    def _made(self, on: Transport, before: DockerState) -> list[str]:
        """Return what is below Docker's directory of drivers that came since."""
        root = self.root(files.content(before.settings))
        return _came(before, *on.ask(self._stored(root)))

    def _look(self, root: str, verb: str = "look") -> Read[Cargo]:
        """Read what would be carried over; as a command with another verb, it is done."""
        former = _FORMER.get(self.driver, "")
        argv = ("perl", "-e", _CARRY_OVER, verb, root, former, self.driver, "/proc")
        return Read(argv, _cargo, _LOOK_TIMEOUT)

    def _saving(self, verb: str, root: str) -> tuple[str, ...]:
        return ("sh", "-c", _SAVE_IMAGES, "save", verb, root, self.driver)

    def _cargo(self, on: Transport) -> Cargo:
        settings = on.read(self.path)
        root, driver = self.root(settings), _driver(on.ask(docker.DRIVER_AND_ROOT))
        if docker.is_absent(on) or driver == self.driver:
            return Cargo()
        saves = driver not in {"", _FORMER.get(self.driver)}
        there = set(chain(*on.ask(self._stored(root)))) & {self.driver, _KEPT} if saves else ()
        obstacle = ""
        if readable(settings).get("live-restore") is True or on.ask(docker.LIVE_RESTORE):
            obstacle = "they go on running while Docker restarts (live-restore)"
        elif not (saves or self.driver in _FORMER):
            obstacle = "Docker does not run"
        elif there:  # a rollback could not tell what was saved from it
            obstacle = f"{root} has data of {' and '.join(sorted(there))} already"
        if obstacle:
            return Cargo(obstacle=obstacle)
        look = Read(self._saving("look", root), _cargo_of_images, _LOOK_TIMEOUT)
        try:
            return on.ask(look if saves else self._look(root))
        except LimitExceeded as error:
            late = f"it took longer than {_LOOK_TIMEOUT / 60:g} minutes to look through"
            return Cargo(obstacle=late if error.late else f"the look {error.passed}")

    @override
    def check(self, on: Transport) -> Drift | None:
        if self.others and (
            docker.is_absent(on) or _driver(on.ask(docker.DRIVER_AND_ROOT)) in self.others
        ):
            return None
        if (drift := self._file.check(on)) is not None:
            return drift
        if docker.is_absent(on):
            return None
        answer = on.ask(docker.DRIVER_AND_ROOT)
        if answer.exit_code == docker.NOT_RUNNING:
            return Drift("Docker does not run")
        if not (driver := _driver(answer)):
            said = answer.stderr.decode(errors="replace").strip()
            return Drift(f"Docker does not answer: {cut(said)}")
        return None if driver == self.driver else Drift(f"storage driver is {cut(driver)}")

    @override
    def apply(self, on: Transport) -> None:
        self.apply_from(on, self.capture(on))

    @override
    def apply_from(self, on: Transport, before: DockerState) -> None:
        if before.carried:  # first: one that systemd starts again would begin an empty store
            _stop(on)
        if before.saved:
            on.run(self._saving("save", self._root(on)), timeout=_CARRY_TIMEOUT).require()
        self._file.apply(on)
        if docker.is_absent(on):
            return
        if before.carried:
            carry = self._look(self._root(on), "carry").argv
            on.run(carry, timeout=_CARRY_TIMEOUT).require("nothing was lost: see docs/rollback.md")
        start_docker(on, "restart docker")
        if before.saved:
            on.run(self._saving("load", self._root(on)), timeout=_CARRY_TIMEOUT).require()
        if before.carried:
            try:
                start_again(on, before.containers)
            except (CommandFailed, LimitExceeded) as error:  # they are not lost
                self.tell(Notice(f"not all of Docker's containers run again: {error}"))

    @override
    def rollback(self, on: Transport, before: DockerState) -> None:
        # Docker is left stopped where it had to be stopped: on its former driver it may only run
        # under its former profile. Starting it is a consequence: see `resume`.
        if self.restored(on, before):
            files.restore(on, self.path, before.settings)  # a cut-off run may have left traces
            return
        if not docker.is_absent(on) or any(map(on.ask, _UNITS)):
            _stop(on)
        self._file.rollback(on, before.settings)
        root = self.root(files.content(before.settings))  # the plan leaves that one key alone
        aside = f"{root}/taken-back-{time.time_ns()}"  # the same file system: only a rename
        if made := self._made(on, before):
            move = ["sh", "-c", _MOVE_ASIDE, "aside", root, aside, *made]
            on.run(move, timeout=_CARRY_TIMEOUT).require()
            # A data-root may be a file system of its own, which rollback does not know.
            on.run(["sync", "-f", root], timeout=_SERVICE_TIMEOUT).require()

    @override
    def restored(self, on: Transport, before: DockerState) -> bool:
        """What it does at boot the plan never changed."""
        now = self.left(on)
        came = _came(before, now.drivers, now.images)
        return _but_at_boot(now) == _but_at_boot(before) and not came

    def resume(self, on: Transport, before: DockerState) -> None:
        """Start Docker, its socket and its containers if they ran before, else stop it."""
        ran = dict(zip(("docker", docker.SOCKET), before.unit.split(), strict=False))
        if ran["docker"] != "active":
            _stop(on)
        if units := [name for name, was in ran.items() if was == "active"]:
            hint = "on its former driver it may only start when the whole plan is rolled back"
            start_docker(on, " ".join(["start", *units]), f"; {hint}, without --only")
        start_again(on, before.containers)

    @override
    def current(self, on: Transport) -> DockerState:
        """The settings; Docker itself may not answer."""
        return DockerState(self._file.capture(on), "", ())

    @override
    def changed_since(
        self, now: DockerState, before: DockerState, after: DockerState | None
    ) -> Drift | None:
        return self._file.changed_since(
            now.settings, before.settings, after.settings if after else None
        )

    @override
    def side_effects(self, on: Transport, before: DockerState | None) -> list[SideEffect]:
        if docker.is_absent(on) or (before is not None and before.unit.endswith(docker.NOT_FOUND)):
            return []
        held, stays = docker.objects(on, _OF_A_DRIVER), docker.objects(on, _SHARED)
        seen = (f"these stay, and are seen: {stays}",) if stays else ()
        loses: tuple[str, ...] = ()
        if before is None:
            cargo = self._cargo(on)
            if said := self._told(on, cargo):
                loses = (*said, *seen)
            loses += lost_when_ended(on)
            restarted = f"Docker in {on.machine} is restarted on {self.driver}"
            what = "carry over" if cargo else "restart"
            found = [SideEffect(f"{what} Docker on {self.driver}", restarted, loses)]
            root = self._root(on)
            if lacking := self.elsewhere(root):
                found.append(SideEffect(f"no rules for {root}", lacking))
            return found
        if made := self._made(on, before):
            root = self.root(files.content(before.settings))
            kept = _KEPT in made
            new = dict.fromkeys(place.removeprefix("image/") for place in made if place != _KEPT)
            moved = f"what it has on {', '.join(new)}" if new else "what it has"
            moved += f" is moved to {root}/taken-back-*"
            if held and (kept or _driver(on.ask(docker.DRIVER_AND_ROOT)) in new):
                moved += f": {held}"
            loses = (moved, *seen) if new or (kept and held) else seen
            if kept or before.saved:
                loses += ("images and containers from before apply come back as they were then",)
            if kept and not before.saved:
                loses += self._changed(on, root)
        restarted = f"Docker in {on.machine} is restarted on its former settings"
        return [SideEffect("restart Docker on its former settings", restarted, loses)]

    def _told(self, on: Transport, cargo: Cargo) -> tuple[str, ...]:
        """Return what to say of what is carried over to the new driver, and of what is not."""
        told = (str(cargo),) if cargo else ()
        held = docker.objects(on, ("container",) if cargo.saved else _OF_A_DRIVER)
        seen = _driver(on.ask(docker.DRIVER_AND_ROOT)) == self.driver
        if seen or not held or (cargo and not cargo.saved):
            return told
        why = cargo.obstacle or "Docker does not keep them in its classic image store"
        if cargo.saved:
            why = "docker save keeps no containers; create them again, on the same volumes"
        hidden = f"{held} stay on disk, unseen until a rollback, and are not carried over: {why}"
        return (*told, hidden)

    def _changed(self, on: Transport, root: str) -> tuple[str, ...]:
        """Return what to say of the containers that apply carried over and that changed files."""
        unknown = "which containers changed files of their own since is not known: "
        try:
            result = on.look(("sh", "-c", _CHANGED, "changed", root), timeout=_LOOK_TIMEOUT)
        except LimitExceeded as error:
            return (f"{unknown}the look {error.passed}",)
        if not result.ok:
            stopped = result.exit_code == docker.NOT_RUNNING
            return (f"{unknown}Docker does not {'run' if stopped else 'answer'}",)
        names = sorted(result.text.split())
        own = "its own" if len(names) == 1 else "their own"
        moved = f"what {', '.join(names)} changed in files of {own} since is moved, too"
        return (moved,) if names else ()

    def _root(self, on: Transport) -> str:
        return self.root(on.read(self.path))

    @property
    def _file(self) -> FileEdit:
        return FileEdit(self.id, self.title, self.requirement, self.path, self.edit)


def _driver(answer: CommandResult) -> str:
    """Return the driver that Docker names: without a daemon, it may exit with 0 and name none."""
    return answer.text.strip().partition(" ")[0]


def _cargo_of_images(result: CommandResult) -> Cargo:
    cargo = _cargo(result)
    return replace(cargo, saved=not cargo.obstacle)


def _cargo(result: CommandResult) -> Cargo:
    """Return what ``carry_over.pl`` says before a change."""
    if numbers := _CARGO.fullmatch(result.text):
        images, containers, copied = map(int, numbers.groups())
        return Cargo(images, containers, copied, seconds=result.seconds)
    if result.ok and not result.text:
        return Cargo()
    said = result.text.removeprefix("no ") if result.ok else result.stderr.decode(errors="replace")
    return Cargo(obstacle=cut(said.strip(), 300) or f"the look ended with {result.exit_code}")


def _named(settings: bytes | None, key: str) -> str:
    """Return what Docker's settings name under a key, empty if nothing."""
    named = readable(settings).get(key)
    return named if isinstance(named, str) else ""


def _came(before: DockerState, drivers: Sequence[str], images: Sequence[str]) -> list[str]:
    """Return what drivers that came since have below Docker's directory.

    Of an older before-image the images are not known: those of a driver that was there stay.
    """
    with_images = set(images) - {*before.images, *before.drivers}
    own = set(drivers) - set(before.drivers)
    return [*(f"image/{name}" for name in sorted(with_images)), *sorted(own)]


def _require_told(on: Transport, settings: bytes | None, root: str) -> None:
    """Raise FactError if a stopped Docker will keep its data where its settings do not say."""
    told = on.ask(docker.OPTIONS_ELSEWHERE)
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


def lost_when_ended(on: Transport) -> tuple[str, ...]:
    """Return what is lost when Docker's running containers end, as :class:`SideEffect` has it."""
    names = ", ".join(on.ask(docker.REMOVED_WHEN_ENDED))
    return (f"{names}, started with --rm, goes for good",) if names else ()


def start_docker(
    on: Transport, how: str = "start docker", hint: str = "", timeout: float = _SERVICE_TIMEOUT
) -> None:
    """Start Docker, also where it failed too often (under another profile) to be started."""
    script = f"{RESET}; exec systemctl {how}"
    on.run(["sh", "-c", script], timeout=timeout).require(
        f"journalctl -u docker -n 20 in the container says why{hint}"
    )


def start_again(on: Transport, containers: Sequence[str]) -> None:
    """Start Docker's containers that ran, as far as there are any more; that run, they may."""
    if not containers:
        return
    asked = on.ask(docker.CONTAINERS)
    if not asked.ok and docker.is_absent(on):
        return  # somebody removed Docker, and its containers with it
    asked.require("journalctl -u docker -n 20 in the container says why")
    there = set(asked.text.split())  # one with --rm is gone
    if again := [each for each in containers if each in there]:
        argv = ["docker", "start", *again]
        on.run(argv, timeout=_SERVICE_TIMEOUT).require("it ran before the plan")


#: What a Docker on another driver does not see, and what it sees as before.
_OF_A_DRIVER, _SHARED = ("container", "image"), ("volume", "network")
#: systemctl's exit code for a unit that there is not: then nothing has to be stopped.
_NO_UNIT = 5


def _stop(on: Transport) -> None:
    argv = ["sh", "-c", f"{RESET}; exec systemctl stop docker.socket docker"]
    if (stopped := on.run(argv, timeout=_SERVICE_TIMEOUT)).exit_code != _NO_UNIT:
        stopped.require()
