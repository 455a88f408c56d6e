"""One QEMU process: start it, find it again, control it over QMP, end it.

A process is ours only if its command line names our pid file, because pids are reused. Sockets are
named relative to the machine's folder, because a socket's path may have only 108 bytes. No process
is ever ended by its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qemu.qmp import QMPClient, QMPError

from docker_lxc_gate.lab.errors import MachineFailed, require_programs
from docker_lxc_gate.machines.process import uninterrupted

if TYPE_CHECKING:
    from docker_lxc_gate.lab.image import NodeImage

PROGRAM = "qemu-system-x86_64"
#: The limit for a monitor command, such as a snapshot of a busy machine (seconds).
_QMP_TIMEOUT = 180.0
_STOP_TIMEOUT = 10.0
#: Mitigations are off: an emulated processor has no such faults, and the lab runs only trusted
#: programs.
_KERNEL_LINE = (
    "root=/dev/vda rw rootflags=noinit_itable console=ttyS0 net.ifnames=0 panic=-1 mitigations=off"
)
#: Under emulation, a plain processor is faster than ``max`` by a sixth, whose further features are
#: slow to emulate (five page levels, wide registers to save, byte-wise string copies).
_EMULATED = "Nehalem"


@dataclass(frozen=True)
class Hardware:
    """The emulated hardware. A snapshot fits only the hardware that it was taken on."""

    version: str
    accelerator: str
    memory: int  #: MiB
    cpus: int
    cpu: str
    kernel_line: str = _KERNEL_LINE

    @property
    def fingerprint(self) -> str:
        """All of it in one line."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def options(self) -> list[str]:
        """QEMU's options for it."""
        kvm = self.accelerator == "kvm"
        accel = "kvm" if kvm else "tcg,thread=multi,tb-size=1024"
        options = ["-machine", "q35", "-cpu", self.cpu, "-accel", accel]
        return [*options, "-m", str(self.memory), "-smp", str(self.cpus)]


@cache
def hardware() -> Hardware:
    """Return the hardware for this machine: half its memory up to 6 GiB, and up to 4 cores."""
    require_programs(PROGRAM, "qemu-img")
    answer = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=False)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    kvm = _kvm_works()
    return Hardware(
        version=answer.stdout.partition("\n")[0],
        accelerator="kvm" if kvm else "tcg",
        memory=min(total // 2, 6 << 30) >> 20,
        cpus=min(len(os.sched_getaffinity(0)), 4),
        cpu="host" if kvm else _EMULATED,
    )


def _kvm_works() -> bool:
    """Whether the processor virtualises, and this user may have it do so.

    A kernel may offer /dev/kvm without such a processor (kvm_pvm). QEMU starts there, and the
    guest's kernel stops before its first message.
    """
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return virtualises(Path("/proc/cpuinfo").read_text())


def virtualises(cpuinfo: str) -> bool:
    """Whether a processor has VT-x or AMD-V, by the text of /proc/cpuinfo. Source: proc(5)."""
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return flags is not None and not {"vmx", "svm"}.isdisjoint(flags[1].split())


class Qemu:
    """The QEMU process whose files are in ``folder``, running or not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        #: The machine's own disk, over the image's.
        self.disk = folder / "disk.qcow2"
        #: The output of the machine's serial console since its start.
        self.console = folder / "console.log"
        self._log = folder / "qemu.log"
        self._pid_file, self._socket = folder / "qemu.pid", folder / "qmp.sock"

    def pid(self) -> int | None:
        """Return the process's id, or None if it does not run."""
        try:
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self._pid_file) in command.split(b"\0") else None

    def create_disk(self, image: NodeImage) -> None:
        """Create the machine's disk, an empty overlay of the image's.

        It names that by a relative path, so that the lab's home can be copied.
        """
        base = ["-F", "raw", "-b", os.path.relpath(image.folder / "disk.raw", self.folder)]
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", *base, str(self.disk)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MachineFailed(f"qemu-img cannot create {self.disk}: {done.stderr.strip()}")

    def start(self, image: NodeImage, hard: Hardware, port: int, snapshot: str = "") -> None:
        """Start the process in a session of its own, so that it outlives this one.

        The loopback ``port`` leads to the machine's SSH. With a ``snapshot`` the machine continues
        from that one instead of booting.

        Raises MachineFailed with QEMU's message if it failed to start.
        """
        self._socket.unlink(missing_ok=True)
        self._pid_file.unlink(missing_ok=True)
        self._log.unlink(missing_ok=True)
        argv = [PROGRAM, "-name", "docker-lxc-gate", "-nodefaults", "-display", "none"]
        argv += [*hard.options, *self._devices(port), "-append", hard.kernel_line]
        argv += ["-kernel", f"{image.folder}/vmlinuz", "-initrd", f"{image.folder}/initrd.img"]
        argv += ["-pidfile", str(self._pid_file), "-daemonize", "-D", str(self._log)]
        argv += ["-qmp", f"unix:{self._socket.name},server=on,wait=off"]
        argv += ["-loadvm", snapshot] if snapshot else []
        with uninterrupted():  # in the middle, there would be a process without a pid file
            done = subprocess.run(
                argv, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, check=False
            )
        if done.returncode:
            # With -D and -daemonize, QEMU writes its messages there, not to stderr.
            message = done.stderr.decode(errors="replace").strip() or self.last_words()
            raise MachineFailed(f"{PROGRAM} ended with {done.returncode}: {message}")

    def _devices(self, port: int) -> list[str]:
        drive = f"if=virtio,format=qcow2,cache=unsafe,discard=unmap,file={self.disk}"
        net = f"user,id=net0,hostfwd=tcp:127.0.0.1:{port}-:22"
        return [
            *("-drive", drive, "-netdev", net, "-device", "virtio-net-pci,netdev=net0"),
            *("-object", "rng-random,filename=/dev/urandom,id=rng0"),
            *("-device", "virtio-rng-pci,rng=rng0"),
            *("-serial", f"file:{self.console}", "-rtc", "base=utc"),
        ]

    def stop(self) -> None:
        """End the process over QMP, then by signals; MachineFailed if it outlives SIGKILL."""
        with contextlib.suppress(MachineFailed):
            self.execute("quit", timeout=5.0)
        for sent in (0, signal.SIGTERM, signal.SIGKILL):
            pid = self.pid()
            if pid is not None and sent:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sent)
            if self._gone(_STOP_TIMEOUT):
                self._socket.unlink(missing_ok=True)
                self._pid_file.unlink(missing_ok=True)
                return
        raise MachineFailed(f"QEMU (pid {self.pid()}) does not end, not even by SIGKILL")

    def _gone(self, within: float) -> bool:
        deadline = time.monotonic() + within
        while self.pid() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        timeout: float = _QMP_TIMEOUT,
    ) -> Any:
        """Run one QMP command on a new connection, and return its answer.

        Raises MachineFailed without one within ``timeout`` seconds, and for an error.
        """
        if self.pid() is None:
            raise MachineFailed(f"no machine is running in {self.folder}")
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            short = f"/proc/self/fd/{folder}/{self._socket.name}"
            return asyncio.run(asyncio.wait_for(_converse(short, command, arguments), timeout))
        except TimeoutError as error:
            raise MachineFailed(f"QMP {command} did not end within {timeout:g} s") from error
        except (QMPError, OSError) as error:
            raise MachineFailed(f"QMP {command} failed: {error}") from error
        finally:
            os.close(folder)

    def status(self) -> str:
        """Return QEMU's word for what the machine does; ``unknown`` if it does not answer."""
        try:
            return str(self.execute("query-status")["status"])
        except MachineFailed:
            return "unknown"

    def monitor(self, line: str) -> None:
        """Run one command of the human monitor; raises MachineFailed if it says something."""
        message = self.execute("human-monitor-command", {"command-line": line})
        if message:
            raise MachineFailed(f"{line}: {message.strip()}")

    def snapshots(self) -> list[str]:
        """Return the names of the disk's snapshots, running or not."""
        if not self.disk.exists():
            return []
        require_programs("qemu-img")
        argv = ["qemu-img", "info", "-U", "--output=json", str(self.disk)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MachineFailed(f"cannot read the snapshots of {self.disk}: {done.stderr.strip()}")
        return [snapshot["name"] for snapshot in json.loads(done.stdout).get("snapshots", ())]

    def console_tail(self) -> str:
        """Return the last lines of the console."""
        return _tail(self.console)

    def last_words(self) -> str:
        """Return QEMU's own last messages, such as the signal that ended it; often none."""
        return _tail(self._log)


def _tail(path: Path) -> str:
    if not path.exists():
        return ""
    text = path.read_text(errors="replace").replace("\r", "")
    return "\n".join(text.splitlines()[-25:])


async def _converse(socket: str, command: str, arguments: Mapping[str, object] | None) -> object:
    client = QMPClient("lab")
    try:
        await client.connect(socket)
        return await client.execute(command, arguments)
    finally:
        with contextlib.suppress(Exception):
            await client.disconnect()
