"""The node as a machine: its disk, its recorded state, its snapshots, its SSH server."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.lab.errors import MachineFailed
from docker_lxc_gate.lab.image import NodeImage, require_space
from docker_lxc_gate.lab.qemu import Qemu, hardware
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.ssh.connection import Ssh

if TYPE_CHECKING:
    from docker_lxc_gate.lab.progress import Steps

#: The snapshot of the node with its templates, its registry and the guest's programs.
READY = "ready"
#: The limit for a boot, even on slow machines (seconds).
BOOT_TIMEOUT = 300.0
#: The limit for a restored machine to answer again (seconds).
ANSWER_TIMEOUT = 60.0
#: QEMU's word for a machine whose processor it could not run on: it never answers.
_STOPPED = "internal-error"
#: QEMU's word for one that waits because a write to its disk failed. Source: qapi/run-state.json.
_NO_DISK = "io-error"


@dataclass(frozen=True)
class State:
    """The recorded state of the machine.

    ``hardware`` is that of its snapshots, ``provisioned`` the digest of ``ready``,
    ``templates`` the releases whose container templates it has.
    """

    image: str = ""
    release: str = ""
    port: int = 0
    hardware: str = ""
    provisioned: str = ""
    templates: Sequence[str] = ()


@dataclass(frozen=True)
class Node:
    """The machine whose files are in ``folder``, running or not."""

    folder: Path
    images: Path
    steps: Steps

    @property
    def qemu(self) -> Qemu:
        """Its process."""
        return Qemu(self.folder)

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.qemu.pid() is not None

    @property
    def state(self) -> State:
        """Its recorded state; empty if the record is missing or unreadable."""
        try:
            state = json.loads((self.folder / "machine.json").read_text())
            return State(**{key: state[key] for key in state if key in State.__dataclass_fields__})
        except (OSError, ValueError, TypeError):
            return State()

    def remember(self, state: State) -> None:
        """Replace its recorded state, atomically."""
        new = self.folder / "machine.json.new"
        new.write_text(json.dumps(asdict(state), indent=2) + "\n")
        new.replace(self.folder / "machine.json")

    @property
    def address(self) -> SshAddress:
        """Loopback, root, the image's own key, the pinned host key; MachineFailed if it is down."""
        state = self.state
        if not self.running or not state.port:
            raise MachineFailed(f"no machine is running in {self.folder}: docker-lxc-gate lab up")
        return SshAddress(
            "127.0.0.1",
            state.port,
            "root",
            identity=self.images / state.image / "id_ed25519",
            known_hosts=self.folder / "known_hosts",
            only_known=True,
        )

    def connected(self) -> closing[Ssh]:
        """Return a connection for the duration of a context."""
        return closing(Ssh(self.address, name="lab"))

    def boot(self, image: NodeImage, release: str) -> None:
        """Boot from the image with a new disk; MachineFailed has the console's last lines."""
        port = self.state.port
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        require_space(self.folder)
        self.qemu.create_disk(image)
        with self.steps(f"booting the node ({hardware().accelerator})"):
            state = State(image.name, release, port, hardware().fingerprint)
            self.start(image, state)
            try:
                self.settle(BOOT_TIMEOUT)
            except MachineFailed as error:
                if self.running:
                    raise
                with self.steps(f"{error}\nQEMU failed, not the node: booting once more"):
                    self.start(image, state)
                    self.settle(BOOT_TIMEOUT)
            self._until_running(BOOT_TIMEOUT)

    def start(self, image: NodeImage, state: State, snapshot: str = "") -> None:
        """Start the process on its former port if that is free, from a snapshot if one is named.

        A copied machine has the same former port: another process may take it in between.
        """
        port = free_port(state.port)
        try:
            self.qemu.start(image, hardware(), port, snapshot)
        except MachineFailed as error:
            if _PORT_TAKEN not in str(error):
                raise
            port = free_port()
            self.qemu.start(image, hardware(), port, snapshot)
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {image.host_key}\n")
        self.remember(replace(state, port=port))

    def save(self, name: str) -> None:
        """Take a snapshot. It stops the machine for a while, so the clock is set afterwards."""
        self.qemu.monitor(f"savevm {name}")
        self.settle(ANSWER_TIMEOUT)

    @contextmanager
    def loaded(self, name: str) -> Iterator[Ssh]:
        """Restore a snapshot; yields the connection that set the clock.

        A new process does it. Within one, the emulated processor's time-stamp counter never goes
        back (QEMU, cpu_get_ticks), so the restored guest's clock would leap by as long as the
        process ran: after some minutes timers fire at once, and after an hour watchdogs kill.
        """
        self.qemu.stop()
        self.start(NodeImage(self.images / self.state.image), self.state, name)
        with self.connected() as node:
            try:
                _set_clock(node)  # without probing first, which would take as long again
            except TransportError:
                node.close()  # it has waited for a greeting as long as it does
                self.settle(ANSWER_TIMEOUT)
            yield node

    def settle(self, within: float) -> None:
        """Wait until SSH answers, and set the clock, which a snapshot stops.

        Without an answer in so many seconds, MachineFailed has the console's last lines.
        """
        if not self.answers(within):
            raise MachineFailed(
                f"the machine did not answer ({self._said()}, limit {within:g} s); "
                f"its console's last lines:\n{self.qemu.console_tail()}"
            )
        with self.connected() as node:
            _set_clock(node)

    def _said(self) -> str:
        if not self.running:
            return f"its process ended {self.qemu.last_words()}".rstrip()
        status = self.qemu.status()
        full = f", so its disk cannot be written: is there space? df -h {self.folder}"
        return f"QEMU says: {status}{full if status == _NO_DISK else ''}"

    def answers(self, within: float) -> bool:
        """Wait for SSH's greeting; QEMU accepts the connection long before the node does."""
        deadline, port = time.monotonic() + within, self.state.port
        while time.monotonic() < deadline and self.running:
            if _greets(port):
                return True
            if self.qemu.status() in {_STOPPED, _NO_DISK}:
                return False
            time.sleep(0.2)
        return False

    def _until_running(self, within: float) -> None:
        """Wait until systemd has finished booting, so that the snapshot is of a quiet node."""
        with self.connected() as node:
            try:
                answer = node.run(["systemctl", "is-system-running", "--wait"], timeout=within)
            except TransportError as error:
                raise MachineFailed(f"{error}\n{self.qemu.console_tail()}") from error
            if answer.text.strip() != "running":
                failed = node.run(
                    ["systemctl", "--failed", "--full", "--plain", "--no-legend"]
                ).text
                raise MachineFailed(f"the node is {answer.text.strip()} after its boot:\n{failed}")


_PORT_TAKEN = "Could not set up host forwarding rule"  #: QEMU's words
#: Sets the node's clock, but not back by what the way here took: a container that was started just
#: before would seem to be older than its files.
_SET_CLOCK = """
behind=$((${1%.*} - $(date +%s)))
[ $behind -lt 2 ] && [ $behind -gt -300 ] || date -u -s "@$1"
"""


def _set_clock(node: Ssh) -> None:
    node.run(["sh", "-c", _SET_CLOCK, "clock", f"{time.time():.3f}"]).require()


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def free_port(wanted: int = 0) -> int:
    """Return a loopback TCP port that is free now: the wanted one, or else any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as QEMU's
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
