"""The machine: one VM a lab home, brought up, snapshotted, restored, thrown away.

::

    lab = Lab.open(steps=progress.on(console))
    lab.up()                          # idempotent: finds, continues, boots or builds
    node = Ssh(lab.address, name="lab")
    lab.snapshot("provisioned")
    node.close()                      # a restore cuts every connection
    lab.restore("ready")              # the node as `up` left it: clock set, SSH answering
    lab.down()                        # stopped; the next `up` continues from "ready"
    lab.destroy()                     # and its disk is gone; the images stay

Two snapshots are the lab's own: ``booted``, the node's first boot, and ``ready``, the same
with everything that :mod:`lab.provision` puts on it. When that changes, ``ready`` is made
anew from ``booted``, and the snapshots that users took are dropped, being of another node.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lab import progress, provision, qemu, recipe
from lab.errors import MachineFailed
from lab.image import Images, NodeImage, require_space
from lab.lock import only_one
from lab.sources import archives
from remediation.errors import TransportError, UsageError
from remediation.ssh import Ssh, SshAddress, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.progress import Steps
    from lab.provision import Provisioning

BOOTED, READY = "booted", "ready"
#: How long a boot may take, images of other releases and slow machines included (seconds).
BOOT_TIMEOUT = 300.0
#: How long a machine that was up may take to answer again (seconds).
_ANSWER_TIMEOUT = 30.0


@dataclass(frozen=True)
class State:
    """What is known of the machine on disk; written only when it is so."""

    image: str = ""
    release: str = ""
    port: int = 0
    hardware: str = ""
    provisioned: str = ""
    templates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lab:
    """The lab below one home folder."""

    home: Path
    steps: Steps
    mirror: str = ""

    @classmethod
    def open(
        cls, home: Path | None = None, *, mirror: str = "", steps: Steps | None = None
    ) -> Self:
        """Return the lab below ``home`` (default: $LAB_HOME, then the user's cache folder).

        Nothing is started, built or written. ``mirror`` (default: $LAB_MIRROR) is a Debian
        archive to use instead of this machine's own apt sources.
        """
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        chosen = home or Path(os.environ.get("LAB_HOME") or cache / "docker-lxc-gate")
        named = mirror or os.environ.get("LAB_MIRROR", "")
        return cls(chosen.absolute(), steps or progress.silent, named)

    # -- what is there -----------------------------------------------------------------

    @property
    def _folder(self) -> Path:
        return self.home / "machine"

    @property
    def _qemu(self) -> qemu.Qemu:
        return qemu.Qemu(self._folder)

    @property
    def state(self) -> State:
        """What is known of the machine."""
        try:
            known = json.loads((self._folder / "machine.json").read_text())
            return State(**{**known, "templates": tuple(known["templates"])})
        except (OSError, ValueError, TypeError, KeyError):
            return State()

    @property
    def running(self) -> bool:
        """Whether the machine's process runs."""
        return self._qemu.pid() is not None

    @property
    def address(self) -> SshAddress:
        """Where the node answers: loopback, root, the image's own key, the pinned host key.

        Raises:
            MachineFailed: no machine is running.
        """
        state = self.state
        if not self.running or not state.port:
            raise MachineFailed(f"no machine is running in {self._folder}: python -m lab up")
        return SshAddress(
            "127.0.0.1",
            state.port,
            identity=self._image(state).identity,
            known_hosts=self._folder / "known_hosts",
            only_known=True,
        )

    def snapshots(self) -> list[str]:
        """Return the names of the machine's snapshots, oldest first."""
        return self._qemu.snapshots()

    def console_tail(self, lines: int = 25) -> str:
        """Return the last lines that the machine wrote to its serial console."""
        return self._qemu.console_tail(lines)

    def _image(self, state: State) -> NodeImage:
        return NodeImage(self.home / "images" / state.image)

    def _remember(self, state: State) -> None:
        new = self._folder / "machine.json.new"
        new.write_text(json.dumps(asdict(state), indent=2) + "\n")
        new.replace(self._folder / "machine.json")

    # -- up ----------------------------------------------------------------------------

    def up(
        self,
        release: str = recipe.DEFAULT_RELEASE,
        container_releases: Sequence[str] = (recipe.DEFAULT_RELEASE,),
        *,
        keep: bool = False,
    ) -> Self:
        """Bring the machine up and return self; a second call finds the first one's machine.

        Args:
            release: Debian's release on the node.
            container_releases: releases whose templates the node must have. More than it
                already has are added to ``ready``; none are taken away.
            keep: if a machine is running, leave it alone, whatever it was made from.

        Raises:
            LabError: with nothing left running that this call started.
        """
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with only_one(self.home / "lock", self.steps):
            if keep and self.running:
                return self
            images = Images(self.home / "images", archives(self.mirror), self.steps)
            image = images.node(release)
            wanted = self._wanted(images, image, container_releases)
            try:
                self._started(image, release, wanted)
                self._provisioned(wanted)
            except BaseException:
                self._qemu.stop()
                raise
            images.prune(keep=[image.name])
        return self

    def _wanted(self, images: Images, image: NodeImage, releases: Sequence[str]) -> Provisioning:
        state = self.state
        had = state.templates if state.image == image.name else ()
        names: dict[str, Path] = {}
        for release in sorted({*releases, *had}):
            names |= images.templates(release)
        return provision.from_here(names)

    def _started(self, image: NodeImage, release: str, wanted: Provisioning) -> None:
        """Leave a machine of this image running: as found, from a snapshot, or booted."""
        state, hard = self.state, json.dumps(asdict(qemu.hardware()), sort_keys=True)
        fits = state.image == image.name and state.hardware == hard
        if fits and self.running and self._answers(_ANSWER_TIMEOUT):
            return
        self._qemu.stop()
        names = self.snapshots() if fits else []
        current = state.provisioned == wanted.digest
        for name in (READY, BOOTED) if current else (BOOTED,):
            if name in names:
                with self.steps(f"continuing from snapshot {name}"):
                    self._start(image, state, name)
                    self._settle(_ANSWER_TIMEOUT)
                return
        self._boot(image, State(image.name, release, state.port, hard))

    def _boot(self, image: NodeImage, state: State) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700)
        require_space(self._folder)
        self._qemu.create_disk(image)
        with self.steps(f"booting ({qemu.hardware().accelerator})"):
            self._start(image, state)
            self._settle(BOOT_TIMEOUT)
            self._until_running(BOOT_TIMEOUT)
        with self.steps(f"snapshot {BOOTED}"):
            self._save(BOOTED)

    def _start(self, image: NodeImage, state: State, snapshot: str = "") -> None:
        for port in (state.port or free_port(), free_port(), free_port()):
            try:
                self._qemu.start(image, qemu.hardware(), port, snapshot)
            except qemu.PortTaken as error:
                taken = error
                continue
            known = self._folder / "known_hosts"
            known.write_text(f"[127.0.0.1]:{port} {image.host_key}\n")
            return self._remember(replace(state, port=port))
        raise taken

    def _provisioned(self, wanted: Provisioning) -> None:
        state = self.state
        if state.provisioned == wanted.digest and READY in self.snapshots():
            return
        releases = sorted({name.split("-")[1] for name in wanted.templates})
        self._remember(replace(state, provisioned=""))
        self._load(BOOTED)
        for name in self.snapshots():
            if name != BOOTED:
                self._qemu.monitor(f"delvm {name}")
        node = Ssh(self.address, name="lab")
        try:
            wanted.apply(node, self.steps)
        finally:
            node.close()
        with self.steps(f"snapshot {READY}"):
            self._save(READY)
        self._remember(replace(self.state, provisioned=wanted.digest, templates=tuple(releases)))

    # -- snapshots ---------------------------------------------------------------------

    def snapshot(self, name: str) -> None:
        """Keep the machine as it is now, under a name of the caller's; replaces that name's.

        Raises:
            UsageError: the name is the lab's own, or not a plain word.
        """
        if name in {BOOTED, READY} or not name.replace("-", "").isalnum() or name.isdigit():
            raise UsageError(f"not a name for a snapshot: {name!r} (letters, digits, hyphens)")
        self._save(name)

    def restore(self, name: str = READY) -> None:
        """Put the machine back; on return its clock is right and SSH answers.

        Every connection to the node is dead afterwards: close it before, connect after.

        Raises:
            UsageError: there is no such snapshot.
        """
        names = self.snapshots()
        if name not in names:
            raise UsageError(f"no snapshot {name!r}; there are: {', '.join(names) or 'none'}")
        self._load(name)

    def _save(self, name: str) -> None:
        self._qemu.monitor(f"savevm {name}")
        self._settle(_ANSWER_TIMEOUT)

    def _load(self, name: str) -> None:
        self._qemu.monitor(f"loadvm {name}")
        self._settle(_ANSWER_TIMEOUT)

    # -- answering ---------------------------------------------------------------------

    def _settle(self, within: float) -> None:
        """Wait until SSH answers and set the clock, which stood still in the snapshot."""
        if not self._answers(within):
            raise MachineFailed(
                f"the machine did not answer within {within:g} s; its console's last lines:\n"
                + self.console_tail()
            )
        node = Ssh(self.address, name="lab")
        try:
            node.run(["date", "-u", "-s", f"@{time.time():.3f}"]).require()
        finally:
            node.close()

    def _answers(self, within: float) -> bool:
        """Wait for SSH's greeting; QEMU accepts the connection long before the node does."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and self.running:
            if _greets(self.state.port):
                return True
            time.sleep(0.2)
        return False

    def _until_running(self, within: float) -> None:
        """Wait until systemd has started everything, so that a snapshot holds a quiet node."""
        node = Ssh(self.address, name="lab")
        try:
            said = node.run(["systemctl", "is-system-running", "--wait"], timeout=within)
            if said.text.strip() != "running":
                failed = node.run(["systemctl", "--failed", "--plain", "--no-legend"]).text
                raise MachineFailed(f"the node is {said.text.strip()} after its boot:\n{failed}")
        except TransportError as error:
            raise MachineFailed(f"{error}\n{self.console_tail()}") from error
        finally:
            node.close()

    # -- the end -----------------------------------------------------------------------

    def down(self) -> None:
        """Stop the machine, whatever state the harness left it in; its snapshots stay."""
        if self._folder.exists():
            self._qemu.stop()

    def destroy(self, *, images: bool = False) -> None:
        """Stop the machine and remove its disk; with ``images`` all that was built as well."""
        self.down()
        shutil.rmtree(self._folder, ignore_errors=True)
        if images:
            shutil.rmtree(self.home / "images", ignore_errors=True)


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
