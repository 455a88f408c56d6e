"""The lab below one home folder: start, snapshot, restore, destroy.

::

    lab = Lab.open(steps=progress.on(console))
    lab.up()                          # idempotent: finds, continues, boots or builds
    node = Ssh(docker_lxc_gate.lab.address, name="lab")
    lab.snapshot("provisioned")
    node.close()                      # a restore cuts every connection
    lab.restore("ready")              # the node as `up` left it: clock set, SSH answering
    lab.copy_to(Path("/tmp/second"))  # a second machine, with the same snapshots
    lab.down()                        # stopped; the next `up` continues from "ready"
    lab.destroy()                     # and its disk is gone; the images stay

Two snapshots are the lab's own: ``stocked``, the node with its container templates and its
registry, and ``ready``, the same with the guest's programs. When the files of
:mod:`docker_lxc_gate.lab.provision` change, the lab makes ``ready`` again from ``stocked``, and
drops the users' snapshots, because they are of another node.

Everything raises a :class:`docker_lxc_gate.errors.RemediationError`:
:class:`docker_lxc_gate.lab.errors.LabError` (exit code 3) when something could not be done,
``UsageError`` (2) for an unknown name.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.lab import progress, recipe
from docker_lxc_gate.lab.image import Images, NodeImage, require_space
from docker_lxc_gate.lab.lock import only_one
from docker_lxc_gate.lab.node import ANSWER_TIMEOUT, READY, STOCKED, Node, State
from docker_lxc_gate.lab.provision import Provisioning
from docker_lxc_gate.lab.qemu import hardware
from docker_lxc_gate.lab.sources import archives

if TYPE_CHECKING:
    from docker_lxc_gate.machines.ssh.address import SshAddress
    from docker_lxc_gate.machines.ssh.connection import Ssh

#: Not all digits: QEMU would take it for a snapshot's number.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,59}")
_RELEASE = re.compile(r"[a-z]+")
#: Lists, beside the images, the homes of a lab and of its copies, which share them.
_SHARING = "shared-by"


@dataclass(frozen=True)
class Lab:
    """One machine and its images."""

    home: Path
    steps: progress.Steps

    @classmethod
    def open(cls, home: Path | None = None, *, steps: progress.Steps = progress.silent) -> Self:
        """Return the lab below ``home`` (default: $LAB_HOME, then the user's cache folder).

        Nothing is started, built or written. ``steps`` reports long operations, for instance
        ``progress.on(rich.console.Console(stderr=True))``.
        """
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        chosen = home or Path(os.environ.get("LAB_HOME") or cache / "docker-lxc-gate")
        return cls(chosen.absolute(), steps)

    @property
    def _node(self) -> Node:
        return Node(self.home / "machine", self.home / "images", self.steps)

    @property
    def state(self) -> State:
        """The known state of the machine."""
        return self._node.state

    @property
    def running(self) -> bool:
        """Whether the machine's process runs."""
        return self._node.running

    @property
    def address(self) -> SshAddress:
        """The address of the node that runs, as :attr:`docker_lxc_gate.lab.node.Node.address`."""
        return self._node.address

    def snapshots(self) -> list[str]:
        """Return the names of the machine's snapshots, oldest first."""
        return self._node.qemu.snapshots()

    def images(self) -> Images:
        """Return the lab's images, built or not, from $LAB_MIRROR or this machine's archives."""
        found = archives(os.environ.get("LAB_MIRROR", ""))
        return Images(self.home / "images", found, self.steps)

    def up(
        self,
        release: str = recipe.DEFAULT_RELEASE,
        container_releases: Sequence[str] = (recipe.DEFAULT_RELEASE,),
        *,
        keep: bool = False,
    ) -> Self:
        """Bring the machine up and return self; a second call finds the first one's machine.

        A machine that runs from the same recipe stays as it is. One of another recipe is
        replaced; one that was provisioned otherwise is put back and provisioned anew.

        Args:
            release: Debian's release on the node.
            container_releases: releases whose templates the node must have. Missing ones are added
                to ``ready``; none are removed.
            keep: leave a running machine alone, even if it is outdated. A file ``keep`` below
                ``home`` has the same effect for every checkout that shares the lab; its text is
                shown.

        Raises:
            UsageError: a release's name is invalid.
            LabError: the machine could not be started; this call left nothing running.
        """
        require_releases(release, *container_releases)
        keep = keep or self._kept()
        if not (keep and self.running):
            self.images()  # NoSources, before anything is created
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with only_one(self.home / "lock", self.steps), self._images_alone():
            if not (keep and self.running):
                self._up(self.images(), release, container_releases)
        return self

    @contextmanager
    def _images_alone(self) -> Iterator[None]:
        """Hold the images, which a copy of a lab shares with it, and builds in, too."""
        folder = (self.home / "images").resolve()
        folder.mkdir(parents=True, exist_ok=True)
        with only_one(folder / "lock", self.steps):
            yield

    def _needed_elsewhere(self) -> set[str]:
        """Return the images of the machines that share ours: each disk is an overlay of one."""
        sharing = self.home / "images" / _SHARING
        homes = sharing.read_text().splitlines() if sharing.exists() else []
        return {replace(self, home=Path(home)).state.image for home in homes}

    def _kept(self) -> bool:
        try:
            reason = (self.home / "keep").read_text().strip()
        except FileNotFoundError:
            return False
        with self.steps(f"{self.home}/keep exists, so a running machine stays as it is: {reason}"):
            return True

    def _up(self, images: Images, release: str, container_releases: Sequence[str]) -> None:
        image = images.node(release)
        wanted = self._wanted(images, image.name, container_releases)
        try:
            self._start(image, release, wanted)
            self._provision(wanted)
        except BaseException:
            self._node.qemu.stop()
            raise
        images.prune(keep={image.name, *self._needed_elsewhere()})

    def _wanted(self, images: Images, image: str, releases: Sequence[str]) -> Provisioning:
        had = self.state.templates if self.state.image == image else ()
        templates: dict[str, Path] = {}
        for release in sorted({*releases, *had}):
            templates |= images.templates(release)
        return Provisioning(recipe.guest_tree(), templates)

    def _start(self, image: NodeImage, release: str, wanted: Provisioning) -> None:
        """Make a machine of this image run: keep it, start it from a snapshot, or boot it."""
        node, state = self._node, self.state
        ours = (state.image, state.hardware) == (image.name, hardware().fingerprint)
        if ours and node.answers(ANSWER_TIMEOUT):
            node.settle(ANSWER_TIMEOUT)
            return
        node.qemu.stop()
        useful = (READY, STOCKED) if state.provisioned == wanted.digest else (STOCKED,)
        there = self.snapshots() if ours else []
        for name in (name for name in useful if name in there):
            with self.steps(f"continuing from snapshot {name}"), node.loaded(name):
                return
        node.boot(image, release)

    def _provision(self, wanted: Provisioning) -> None:
        """Make ``ready`` again unless it is up to date."""
        node, there = self._node, self.snapshots()
        if self.state.provisioned == wanted.digest and READY in there:
            return
        node.remember(replace(self.state, provisioned=""))
        if STOCKED in there:
            with self.steps(f"restoring {STOCKED}"), node.loaded(STOCKED):
                pass
        for name in there:
            if name != STOCKED:
                node.qemu.monitor(f"delvm {name}")
        if STOCKED not in there or self.state.stock != wanted.stock:
            with node.connected() as connection:
                wanted.fill(connection, self.state.stock, self.steps)
            with self.steps(f"snapshot {STOCKED}"):
                node.save(STOCKED)
            node.remember(replace(self.state, stock=wanted.stock))
        with node.connected() as connection:
            wanted.install(connection, self.steps)
        with self.steps(f"snapshot {READY}"):
            node.save(READY)
        node.remember(replace(self.state, provisioned=wanted.digest))

    def snapshot(self, name: str) -> None:
        """Take a snapshot, which replaces an earlier one with that name.

        Raises UsageError if the name is the lab's own, or not a plain word.
        """
        if name in {STOCKED, READY} or not _NAME.fullmatch(name):
            raise UsageError(
                f"not a name for a snapshot: {name!r}\n"
                f"take letters, digits and hyphens, a letter first, not {STOCKED} or {READY}"
            )
        self._node.save(name)

    def restore(self, name: str = READY) -> None:
        """Restore a snapshot as :meth:`restored` does; on return the clock is right.

        This cuts every connection to the node: close it before, connect afterwards.
        """
        with self.restored(name):
            pass

    @contextmanager
    def restored(self, name: str = READY) -> Iterator[Ssh]:
        """Restore a snapshot, and yield its connection, because a new one takes a second.

        Raises:
            UsageError: there is no such snapshot.
        """
        names = self.snapshots()
        if name not in names:
            raise UsageError(f"no snapshot {name!r}; there are: {', '.join(names) or 'none'}")
        with self._node.loaded(name) as node:
            yield node

    def down(self) -> None:
        """Stop the machine in any state; its snapshots stay."""
        if self._node.folder.exists():
            self._node.qemu.stop()

    def copy_to(self, home: Path) -> Lab:
        """Stop the machine, and return another lab that starts from a copy of its snapshots.

        Two machines work side by side then, each on its own disk. The images are shared: the
        copy's ``images`` is a link. Stopped, because QEMU writes to the disk while it runs.

        Raises:
            UsageError: there is nothing to copy, or ``home`` has a machine.
            NoSpace: the copy does not fit.
        """
        node, other = self._node, Lab(home.absolute(), self.steps)
        if not self.snapshots():
            raise UsageError(f"{self.home} has no machine to copy: docker-lxc-gate lab up")
        if other._node.folder.exists():
            raise UsageError(f"{home} has a machine: LAB_HOME={home} docker-lxc-gate lab destroy")
        other.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with only_one(self.home / "lock", self.steps), self._images_alone():
            self.down()
            size = sum(path.stat().st_blocks * 512 for path in node.folder.iterdir())
            require_space(other.home, size)
            with self.steps(f"copying the machine to {home}"):
                node.copy_to(other._node.folder)
            ours, images = (self.home / "images").resolve(), other.home / "images"
            with (ours / _SHARING).open("a") as homes:
                homes.write(f"{self.home}\n{other.home}\n")
            if not images.exists():
                images.unlink(missing_ok=True)  # a link to images that are gone
                images.symlink_to(ours)
        return other

    def destroy(self, *, images: bool = False) -> None:
        """Stop the machine and remove its disk; with ``images``, all images, too."""
        self.down()
        shutil.rmtree(self._node.folder, ignore_errors=True)
        if images:
            shutil.rmtree(self.home / "images", ignore_errors=True)


def require_releases(*names: str) -> None:
    """Raise UsageError if one of these names is not a release of Debian."""
    for name in names:
        if not _RELEASE.fullmatch(name):
            raise UsageError(f"not a release of Debian: {name!r} (for instance trixie)")
