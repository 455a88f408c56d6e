"""What Docker holds, on its way to another storage driver: what is carried over, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import LimitExceeded
from docker_lxc_gate.facts import docker
from docker_lxc_gate.formats.daemon_json import readable
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.read import Read
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.printable import counted, cut

#: To copy, save or load (seconds).
TIMEOUT = 3600.0
#: The directory below Docker's in which apply keeps what a rollback puts back.
KEPT = "docker-lxc-gate"
#: What a Docker on another driver does not see.
OF_A_DRIVER = ("container", "image")
#: Directories of dockerd's graph drivers, by name. Source: moby daemon/graphdriver.
DRIVERS = (
    *("aufs", "btrfs", "devicemapper", "fuse-overlayfs"),
    *("overlay", "overlay2", "vfs", "zfs"),
)
_CARRY_OVER = program("remediation", "carry_over.pl")
_SAVE_IMAGES = program("remediation", "save_images.sh")
#: For each driver that layers can be linked for, the driver that has them.
_FORMER = {"fuse-overlayfs": "overlay2", "overlay2": "fuse-overlayfs"}
#: Those that run under the plan's profile, which "docker save" needs: vfs, and containerd's own.
_SAVED = {"vfs", "overlayfs"}
#: To walk through all layers (seconds).
_LOOK_TIMEOUT = 600.0
_CARGO = patterns.compile(r"([0-9]{1,9}) ([0-9]{1,9}) ([0-9]{1,18})\n")


@dataclass(frozen=True)
class Cargo:
    """What apply would carry over to the new driver, and why it does not carry over the rest.

    ``copied`` is in bytes; ``saved`` is whether it is by ``docker save``, which keeps no container.
    """

    images: int = 0
    containers: int = 0
    copied: int = 0
    saved: bool = False
    obstacle: str = "Docker does not keep them in its classic image store"

    def __bool__(self) -> bool:
        """Whether something is carried over."""
        return bool(self.images or self.containers)

    def __str__(self) -> str:
        """Return it in words."""
        images, size = counted(self.images, "image"), f"{self.copied / (1 << 20):.1f} MiB"
        if self.saved:
            return (
                f"{images} of {size} are carried over by docker save and docker load, some "
                "minutes for each GiB; they are missing while they are loaded"
            )
        return (
            f"{images} and {counted(self.containers, 'container')} are carried over: {size} are "
            "copied, and image layers are linked; Docker is stopped until that is done"
        )


@dataclass(frozen=True)
class CarryOver:
    """A change of Docker's driver; ``root`` is Docker's directory.

    Between overlay2 and fuse-overlayfs, images and containers are carried over, see
    ``carry_over.pl``; from vfs and containerd's image store, images alone, see ``save_images.sh``.
    """

    driver: str
    root: str

    def stored(self) -> Read[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Read which drivers have a directory, and of whose images Docker knows."""

        def parse(result: CommandResult) -> tuple[tuple[str, ...], tuple[str, ...]]:
            paths = set(result.text.splitlines())
            drivers = tuple(name for name in names if f"{self.root}/{name}" in paths)
            return drivers, tuple(name for name in DRIVERS if f"{self.root}/image/{name}" in paths)

        names = (*DRIVERS, KEPT)
        depth = ("-mindepth", "1", "-maxdepth", "1", "-printf", "%p\\n")
        return Read(("find", "-H", self.root, f"{self.root}/image", *depth), parse)

    def look(self, on: Transport, settings: bytes | None) -> Cargo:
        """Return what would be carried over; ``settings`` are Docker's."""
        driver = driver_of(on.ask(docker.DRIVER_AND_ROOT))
        if docker.is_absent(on) or driver == self.driver:
            return Cargo()
        saves, former = driver in _SAVED, _FORMER.get(self.driver)
        there = set(chain(*on.ask(self.stored()))) & {self.driver, KEPT} if saves else ()
        obstacle = ""
        if self.is_live(on, settings):
            obstacle = "they go on running while Docker restarts (live-restore)"
        elif not saves and (former is None or driver not in {"", former}):
            obstacle = f"that is not possible from {cut(driver) or 'a Docker that does not run'}"
        elif there:  # a rollback could not tell what was saved from it
            obstacle = f"{self.root} has data of {' and '.join(sorted(there))} already"
        if obstacle:
            return Cargo(obstacle=obstacle)
        argv = self._saving("look") if saves else self._linking("look")
        try:
            cargo = on.ask(Read(argv, _cargo, _LOOK_TIMEOUT))
        except LimitExceeded as error:
            late = f"it took longer than {_LOOK_TIMEOUT / 60:g} minutes to look through"
            return Cargo(obstacle=late if error.late else f"the look {error.passed}")
        if saves and cargo:
            keeps = "docker save keeps no containers; create them again, on the same volumes"
            return replace(cargo, saved=True, obstacle=keeps)
        return cargo

    def is_live(self, on: Transport, settings: bytes | None) -> bool:
        """Whether containers go on running while Docker restarts."""
        return readable(settings).get("live-restore") is True or on.ask(docker.LIVE_RESTORE)

    def link(self, on: Transport) -> None:
        """Make the new driver's directories, with Docker stopped."""
        carried = on.run(self._linking("carry"), timeout=TIMEOUT)
        carried.require("nothing was lost: see docs/rollback.md")

    def images(self, on: Transport, verb: Literal["save", "load"]) -> None:
        """Save all images, with Docker on its former driver; or load them on the new one."""
        on.run(self._saving(verb), timeout=TIMEOUT).require()

    def _linking(self, verb: str) -> tuple[str, ...]:
        former = _FORMER.get(self.driver, "")
        return ("perl", "-e", _CARRY_OVER, verb, self.root, former, self.driver, "/proc")

    def _saving(self, verb: str) -> tuple[str, ...]:
        return ("sh", "-c", _SAVE_IMAGES, "save", verb, self.root, self.driver)

    def told(self, on: Transport, cargo: Cargo) -> tuple[str, ...]:
        """Return what to say of what is carried over to the new driver, and of what is not."""
        told = (str(cargo),) if cargo else ()
        if driver_of(on.ask(docker.DRIVER_AND_ROOT)) == self.driver or (cargo and not cargo.saved):
            return told
        if not (left := docker.objects(on, ("container",) if cargo.saved else OF_A_DRIVER)):
            return told
        stay = "stay on disk, unseen until a rollback, and are not carried over"
        return (*told, f"{left} {stay}: {cargo.obstacle}")


def driver_of(answer: CommandResult) -> str:
    """Return the driver that Docker names: without a daemon, it may exit with 0 and name none."""
    return answer.text.strip().partition(" ")[0]


def _cargo(result: CommandResult) -> Cargo:
    """Return what a program says before a change."""
    if numbers := _CARGO.fullmatch(result.text):
        images, containers, copied = map(int, numbers.groups())
        return Cargo(images, containers, copied)
    if result.ok and not result.text:
        return Cargo()
    words = result.text.removeprefix("no ") if result.ok else result.stderr.decode(errors="replace")
    return Cargo(obstacle=cut(words.strip(), 300) or f"the look ended with {result.exit_code}")
