"""The lab below one home folder: start, snapshot, restore, destroy.

::

    lab = Lab.open(steps=progress.on(console))
    lab.up()                          # idempotent: finds, continues, boots or builds
    node = Ssh(lab.node.address, name="lab")
    lab.snapshot("provisioned")
    node.close()                      # a restore cuts every connection
    lab.restore("ready")              # the node as `up` left it: clock set, SSH answering
    lab.down()                        # stopped; the next `up` continues from "ready"
    lab.destroy()                     # and its disk is gone; the images stay

The snapshot ``ready`` is the lab's own: the node with its container templates, its registry and the
guest's programs. When one of these changes, the lab boots a new node and makes ``ready`` again. The
users' snapshots are then gone, because they are of another node.

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
from docker_lxc_gate.lab.image import Images
from docker_lxc_gate.lab.lock import only_one, require_unused, use
from docker_lxc_gate.lab.node import ANSWER_TIMEOUT, READY, Node
from docker_lxc_gate.lab.provision import Provisioning
from docker_lxc_gate.lab.qemu import hardware
from docker_lxc_gate.lab.sources import archives

if TYPE_CHECKING:
    from docker_lxc_gate.machines.ssh.connection import Ssh

#: Not all digits: QEMU would take it for a snapshot's number.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,59}")
_RELEASE = re.compile(r"[a-z]+")


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
    def node(self) -> Node:
        """Its node, running or not."""
        return Node(self.home / "machine", self.home / "images", self.steps)

    @property
    def _used(self) -> Path:
        return self.home / "used"

    def snapshots(self) -> list[str]:
        """Return the names of the machine's snapshots, oldest first."""
        return self.node.qemu.snapshots()

    def images(self) -> Images:
        """Return the lab's images, built or not, from $LAB_MIRROR or this machine's archives."""
        source = archives(os.environ.get("LAB_MIRROR", ""))
        return Images(self.home / "images", source, self.steps)

    def up(
        self,
        release: str = recipe.DEFAULT_RELEASE,
        container_releases: Sequence[str] = (recipe.DEFAULT_RELEASE,),
        *,
        keep: bool = False,
    ) -> Self:
        """Bring the machine up and return self; a second call finds the first one's machine.

        A machine that runs from the same recipe stays as it is. One of another recipe is replaced,
        with its snapshots, unless another process uses it.

        Args:
            release: Debian's release on the node.
            container_releases: releases whose templates the node must have, besides those that it
                has.
            keep: leave a running machine alone, even if it is outdated.

        Raises:
            UsageError: a release's name is invalid.
            LabError: the machine could not be started, and this call left nothing running; or one
                of another recipe runs, and is in use.
        """
        require_releases(release, *container_releases)
        if keep and self.node.running:
            use(self._used)
            return self
        images = self.images()  # raises without sources, before anything is created
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with only_one(self.home / "lock", self.steps):
            if not (keep and self.node.running):
                self._up(images, release, container_releases)
            use(self._used)
        return self

    def _up(self, images: Images, release: str, container_releases: Sequence[str]) -> None:
        image, node = images.node(release), self.node
        had = node.state.templates if node.state.image == image.name else ()
        releases = sorted({*container_releases, *had})
        templates: dict[str, Path] = {}
        for name in releases:
            templates |= images.templates(name)
        wanted = Provisioning(recipe.guest_tree(), templates)
        state = node.state
        recorded = (state.image, state.hardware, state.provisioned)
        ours = recorded == (image.name, hardware().fingerprint, wanted.digest)
        answers = ours and node.answers(ANSWER_TIMEOUT)
        if node.running and not answers:
            require_unused(self._used)
        try:
            if answers:
                node.settle(ANSWER_TIMEOUT)
            elif not (ours and self._continued()):
                node.qemu.stop()
                node.boot(image, release)
                self._provision(wanted, releases)
        except BaseException:
            node.qemu.stop()
            raise
        images.prune({image.folder, *(path.parent for path in templates.values())})

    def _continued(self) -> bool:
        """Whether ``ready`` was restored, so that the machine of this recipe runs now."""
        node = self.node
        node.qemu.stop()
        if READY not in self.snapshots():
            return False
        with self.steps(f"continuing from snapshot {READY}"), node.loaded(READY):
            return True

    def _provision(self, wanted: Provisioning, releases: Sequence[str]) -> None:
        node = self.node
        with node.connected() as connection:
            wanted.install(connection, self.steps)
        with self.steps(f"snapshot {READY}"):
            node.save(READY)
        node.remember(replace(node.state, provisioned=wanted.digest, templates=releases))

    def snapshot(self, name: str) -> None:
        """Take a snapshot, which replaces an earlier one with that name.

        Raises UsageError if the name is the lab's own, or not a plain word.
        """
        if name == READY or not _NAME.fullmatch(name):
            raise UsageError(
                f"not a name for a snapshot: {name!r}\n"
                f"take letters, digits and hyphens, a letter first, not {READY}"
            )
        self.node.save(name)

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
        with self.node.loaded(name) as node:
            yield node

    def down(self) -> None:
        """Stop the machine in any state; its snapshots stay."""
        if self.node.folder.exists():
            self.node.qemu.stop()

    def destroy(self, *, images: bool = False) -> None:
        """Stop the machine and remove its disk; with ``images``, all images, too."""
        self.down()
        shutil.rmtree(self.node.folder, ignore_errors=True)
        if images:
            shutil.rmtree(self.home / "images", ignore_errors=True)


def require_releases(*names: str) -> None:
    """Raise UsageError if one of these names is not a release of Debian."""
    for name in names:
        if not _RELEASE.fullmatch(name):
            raise UsageError(f"not a release of Debian: {name!r} (for instance trixie)")
