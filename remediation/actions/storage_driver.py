"""Docker in the container: what it runs with, what it holds, and its storage driver."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from typing_extensions import override

from docker_lxc_gate.errors import FactError, LimitExceeded, RemediationError
from docker_lxc_gate.facts import docker
from docker_lxc_gate.formats.archive import FileState  # noqa: TC001 - journals are read back by a state's types
from docker_lxc_gate.formats.daemon_json import readable
from docker_lxc_gate.machines import files
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.printable import Notice, cut
from remediation.actions.carry_over import KEPT, OF_A_DRIVER, TIMEOUT, CarryOver, driver_of
from remediation.actions.file_edit import FileEdit
from remediation.actions.package import is_unpacked
from remediation.engine.action import Action, Drift, SideEffect

_SERVICE_TIMEOUT = 180.0
#: Docker may have failed too often to be started again.
RESET = "systemctl reset-failed docker 2>/dev/null"
_UNITS = (docker.active("docker"), docker.active(docker.SOCKET))
_MOVE_ASIDE = program("remediation", "move_aside.sh")


@dataclass(frozen=True)
class DockerState:
    """Docker's settings, whether it is running and enabled, and whose layers it stores.

    ``unit`` is ``active`` or ``stopped``, the same of its socket, and systemd's word for what it
    does at boot (``not-found`` where there is no Docker yet); ``drivers`` are those with a
    directory; ``containers`` those that run, which may end by themselves; ``images`` the drivers
    of which Docker knows images, which a Docker that is gone leaves, too; ``carried`` is whether
    apply carries images and containers over, ``saved`` whether images alone, by ``docker save``;
    ``needing`` are the units that ran and are stopped when Docker is.

    Stored in journals: its fields are a schema (test_stored_states.py).
    """

    settings: FileState
    unit: str
    drivers: tuple[str, ...]
    containers: tuple[str, ...] = field(default=(), compare=False)
    images: tuple[str, ...] = field(default=(), compare=False)
    carried: bool = field(default=False, compare=False)
    saved: bool = field(default=False, compare=False)
    needing: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class StorageDriver(Action[DockerState]):
    """Docker's settings name a storage driver, and Docker, where it is installed, runs with it.

    The driver's name proves little (its start-up check is "the program exists"); the features
    look for its mounts. Rolled back, the directories which the new driver made are moved aside:
    dockerd refuses to start when it finds the layers of two drivers.
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

    @override
    def capture(self, on: Transport) -> DockerState:
        settings = on.read(self.path)
        cargo = self._over(settings).look(on, settings)
        saved, needing = bool(cargo) and cargo.saved, on.ask(docker.NEEDING)
        carried = bool(cargo) and not saved
        return replace(self.left(on), carried=carried, saved=saved, needing=needing)

    @override
    def left(self, on: Transport) -> DockerState:
        settings = self._file.capture(on)
        words = ["active" if on.ask(unit) else "stopped" for unit in _UNITS]
        unit = " ".join([*words, on.ask(docker.AT_BOOT)])
        drivers, images = on.ask(self._over(files.content(settings)).stored())
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
        goes_on = on.ask(docker.RUNNING) and self._over(settings).is_live(on, settings)
        if goes_on and driver not in {self.driver, *self.others}:
            raise FactError(
                f"Docker in {on.machine} keeps its containers running while it restarts "
                f"(live-restore). On {self.driver} it would not see them, and they would go on "
                'writing into their volumes: take "live-restore" out, then systemctl reload docker '
                "(restart, if it is on its command line)"
            )
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

    def _made(self, on: Transport, before: DockerState) -> list[str]:
        """Return what is below Docker's directory of drivers that came since."""
        return _came(before, *on.ask(self._over(files.content(before.settings)).stored()))

    @override
    def check(self, on: Transport) -> Drift | None:
        if self.others and (
            docker.is_absent(on) or driver_of(on.ask(docker.DRIVER_AND_ROOT)) in self.others
        ):
            return None
        if (drift := self._file.check(on)) is not None:
            return drift
        if docker.is_absent(on):
            return None
        answer = on.ask(docker.DRIVER_AND_ROOT)
        if answer.exit_code == docker.NOT_RUNNING:
            return Drift("Docker does not run")
        if not (driver := driver_of(answer)):
            stderr = answer.stderr.decode(errors="replace").strip()
            return Drift(f"Docker does not answer: {cut(stderr)}")
        return None if driver == self.driver else Drift(f"storage driver is {cut(driver)}")

    @override
    def apply(self, on: Transport, before: DockerState) -> None:
        over = self._over(on.read(self.path))  # the plan leaves Docker's directory alone
        if docker.is_absent(on):
            self._file.apply(on, before.settings)
            return
        if before.carried:  # first: one that systemd starts again would begin an empty store
            _stop(on)
        if before.saved:
            over.images(on, "save")
        self._file.apply(on, before.settings)
        if before.carried:
            over.link(on)
        start_docker(on, "restart docker")
        if before.saved:
            over.images(on, "load")
        start_again(on, before.containers, self.tell, before.needing)

    @override
    def rollback(self, on: Transport, before: DockerState) -> None:
        # Docker is left stopped where it had to be stopped: on its former driver it may only run
        # under its former profile. Starting it is a consequence: see `resume`.
        if self.restored(on, before):
            files.restore(on, self.path, before.settings)  # a cut-off run may have left traces
            return
        if before.unit.endswith(docker.NOT_FOUND) and not docker.is_absent(on):
            require_no_other(on)
        root = self.root(files.content(before.settings))  # the plan leaves that one key alone
        aside = f"{root}/rolled-back-{time.time_ns()}"  # the same file system: only a rename
        if not docker.is_absent(on) or any(map(on.ask, _UNITS)):
            _stop(on)
        self._file.rollback(on, before.settings)
        if made := self._made(on, before):  # also by a Docker that was started meanwhile
            move = ["sh", "-c", _MOVE_ASIDE, "aside", root, aside, *made]
            on.run(move, timeout=TIMEOUT).require()
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
        start_again(on, before.containers, self.tell, before.needing)

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
        stays = docker.objects(on, _SHARED)
        seen = (f"these stay, and are seen: {stays}",) if stays else ()
        known = before.needing if before else ()
        units = ", ".join(unit for unit in on.ask(docker.NEEDING) if unit not in known)
        what = "are restarted with it" if before is None else "stay stopped"
        loses = (f"units that need Docker {what}: {units}",) if units else ()
        if before is not None:
            moved = self._moved(on, before)
            restarted = f"Docker in {on.machine} is restarted on its former settings"
            loses += (*moved[:1], *(seen if moved else ()), *moved[1:])
            return [SideEffect("restart Docker on its former settings", restarted, loses)]
        settings = on.read(self.path)
        over = self._over(settings)
        cargo = over.look(on, settings)
        told = over.told(on, cargo)
        loses += (*told, *(seen if told else ()), *lost_when_ended(on))
        restarted = f"Docker in {on.machine} is restarted on {self.driver}"
        what = "carry over" if cargo else "restart"
        effects = [SideEffect(f"{what} Docker on {self.driver}", restarted, loses)]
        if lacking := self.elsewhere(over.root):
            effects.append(SideEffect(f"no rules for {over.root}", lacking))
        return effects

    def _moved(self, on: Transport, before: DockerState) -> list[str]:
        """Return what to say of what a rollback moves aside, and of what it brings back instead."""
        if not (made := self._made(on, before)):
            return []
        kept, root = KEPT in made, self.root(files.content(before.settings))
        new = dict.fromkeys(place.removeprefix("image/") for place in made if place != KEPT)
        where = f" on {', '.join(new)}" if new else ""
        lines = [f"what it has{where} is moved to {root}/rolled-back-*"]
        if kept or driver_of(on.ask(docker.DRIVER_AND_ROOT)) in new:
            held = docker.objects(on, OF_A_DRIVER)
            lines[0] += f": {held}" if held else ""
        if kept or before.saved:
            lines.append("images and containers from before apply come back as they were then")
        return lines

    def _over(self, settings: bytes | None) -> CarryOver:
        return CarryOver(self.driver, self.root(settings))

    @property
    def _file(self) -> FileEdit:
        return FileEdit(self.id, self.title, self.requirement, self.path, self.edit)


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


def start_again(
    on: Transport,
    containers: Sequence[str],
    tell: Callable[[str], None],
    units: Sequence[str] = (),
) -> None:
    """Start Docker's containers that ran, as far as there are any more, and units that need it.

    What does not start is told, and is no error: nothing of it is the plan's.
    """
    for start, former in ((("docker", "start"), containers), (("systemctl", "start", "--"), units)):
        try:
            if names := _existing(on, former) if start[0] == "docker" else former:
                patience = _SERVICE_TIMEOUT + 10 * min(len(names), 100)
                on.run([*start, *names], timeout=patience).require()
        except (CommandFailed, LimitExceeded) as error:
            tell(Notice(f"in {on.machine}, not all that ran before runs again: {error}"))


def _existing(on: Transport, containers: Sequence[str]) -> list[str]:
    """Return those that exist: one with --rm is gone, and all are if Docker was removed."""
    if not containers:
        return []
    asked = on.ask(docker.CONTAINERS)
    if not asked.ok and docker.is_absent(on):
        return []
    there = asked.require("journalctl -u docker -n 20 in the container says why").text.split()
    return [name for name in containers if name in there]


def require_no_other(on: Transport) -> None:
    """Raise RemediationError if there is a Docker that is not Debian's, so not the plan's."""
    if (other := on.ask(docker.DAEMON)) and not is_unpacked(on, "docker.io"):
        raise RemediationError(
            f"another Docker ({other}) was installed in {on.machine} since: what is there is "
            "its own now, and stays; remove it first, then this can be rolled back"
        )


#: What a Docker on another driver sees as before.
_SHARED = ("volume", "network")
#: systemctl's exit code for a unit that there is not: then nothing has to be stopped.
_NO_UNIT = 5


def _stop(on: Transport) -> None:
    argv = ["sh", "-c", f"{RESET}; exec systemctl stop docker.socket docker"]
    if (stopped := on.run(argv, timeout=_SERVICE_TIMEOUT)).exit_code != _NO_UNIT:
        stopped.require()
