"""The seam to LXC and to the programs of the node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import lxc
from .errors import PctError

POLL = 0.1
START_TIMEOUT = 120.0
STOP_TIMEOUT = 60.0
#: What Proxmox sets for all that it starts.
_PATH = "/sbin:/bin:/usr/sbin:/usr/bin"
_TAR = ("--totals", "--numeric-owner", "--xattrs", "--xattrs-include=security.capability")


class Host:
    """Debian's LXC on this machine, and its programs."""

    def __init__(self, root: str = "", name: str = "") -> None:
        self.root = root
        self.name = name or os.uname().nodename.partition(".")[0]

    def running(self, ctid: str) -> bool:
        """Whether the container's monitor lives: it listens on an abstract socket of this name.

        Proxmox asks in the same way; it costs no process.
        """
        sockets = Path("/proc/net/unix").read_bytes()
        return f"@/var/lib/lxc/{ctid}/command\n".encode() in sockets

    def become(self, argv: list[str]) -> None:
        """Turn into lxc-attach, with the caller's own environment and signals.

        Python has changed both by now: it adds LC_CTYPE where the locale is C, and ignores
        SIGPIPE. The command inside must see neither.
        """
        given = {name: value for name, value in os.environ.items() if name != "LC_CTYPE"}
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execve("/usr/bin/lxc-attach", argv, {**given, "PATH": _PATH})  # noqa: S606 - no shell

    def start(self, ctid: str, *log: str) -> tuple[bool, str]:
        """Start a container from /var/lib/lxc/<ctid>/config; whether it runs, and LXC's words.

        In the foreground, as Proxmox's unit does: with ``-d`` LXC closes standard error, and what
        is left to show of a failure is another text.
        """
        words = Path(f"/run/pct/ct-{ctid}.stderr")
        words.parent.mkdir(exist_ok=True)
        with words.open("w") as stderr:
            child = subprocess.Popen(
                ["/usr/bin/lxc-start", "-F", "-n", ctid, *log],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,  # it must outlive the session that called us
                cwd="/",
            )
        deadline = time.monotonic() + START_TIMEOUT
        while child.poll() is None:
            if self._info(ctid, "-s") == "RUNNING":
                break
            if time.monotonic() > deadline:
                child.kill()
            time.sleep(POLL)
        return child.poll() is None, words.read_text(errors="replace")

    def kill(self, ctid: str) -> None:
        """Stop it hard; wait until it is gone, and its post-stop hook has run."""
        monitor = self._monitor(ctid)
        self.run(["lxc-stop", "-n", ctid, "--kill"])
        if not self._gone(ctid, monitor):
            raise PctError(f"container '{ctid}' did not stop\n")

    def shutdown(self, ctid: str, timeout: float) -> bool:
        """Ask its init to halt; whether it was gone within ``timeout`` seconds."""
        monitor = self._monitor(ctid)
        argv = ["lxc-stop", "-n", ctid, "--nokill", "--timeout", str(int(timeout))]
        return subprocess.run(argv, check=False).returncode == 0 and self._gone(ctid, monitor)

    def _monitor(self, ctid: str) -> int | None:
        """The monitor, as the parent of the container's init; None if one of them has ended."""
        try:
            status = Path(f"/proc/{self._info(ctid, '-p')}/status").read_text(encoding="utf-8")
        except OSError:
            return None
        (parent,) = [line.split()[1] for line in status.splitlines() if line.startswith("PPid:")]
        return int(parent) if parent != "1" else None

    def _gone(self, ctid: str, monitor: int | None) -> bool:
        """Wait until a container's monitor has ended; whether it did.

        Only then has the post-stop hook run, and can the container start again: its command
        socket is closed before.
        """
        deadline = time.monotonic() + STOP_TIMEOUT
        while self.running(ctid) or (monitor and Path(f"/proc/{monitor}").exists()):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        return True

    def _info(self, ctid: str, what: str) -> str:
        argv = ["lxc-info", "-n", ctid, what, "-H"]
        return subprocess.run(argv, check=False, capture_output=True, text=True).stdout.strip()

    def enter(self, ctid: str, *, user: bool) -> None:
        """Move this very process into its mount namespace, and its user namespace as root.

        The user namespace comes last: from inside it nothing opens.
        """
        pid = self._info(ctid, "-p")
        mounts = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
        users = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY) if user else None
        os.setns(mounts, os.CLONE_NEWNS)
        os.chdir("/")
        if users is not None:
            os.setns(users, os.CLONE_NEWUSER)
            os.setgid(0)
            os.setuid(0)

    def unpack(self, archive: Path, rootfs: Path, *, mapped: bool) -> None:
        """Create a root file system from a template, with owners mapped if ``mapped``.

        The archive is standard input: the map may not reach it.
        """
        rootfs.mkdir(parents=True)
        wrapper: list[str] = []
        if mapped:
            os.chown(rootfs, lxc.ID_BASE, lxc.ID_BASE)
            maps = [f"{kind}:0:{lxc.ID_BASE}:{lxc.ID_COUNT}" for kind in "ug"]
            wrapper = ["lxc-usernsexec", "-m", maps[0], "-m", maps[1], "--"]
        tar = ["tar", "-x", "-p", "-f", "-", "--zstd", "-C", str(rootfs), *_TAR]
        with archive.open("rb") as stream:
            self.run([*wrapper, *tar, "--anchored", "--exclude=./dev/*"], stream.fileno())

    def run(self, argv: Sequence[str], stdin: int = subprocess.DEVNULL) -> None:
        """Run a program of the node; its output is ours."""
        sys.stdout.flush()
        # Proxmox's task has one output for both streams
        ended = subprocess.run(argv, check=False, stdin=stdin, stderr=subprocess.STDOUT)
        if ended.returncode:
            raise PctError(f"command '{' '.join(argv)}' failed: exit code {ended.returncode}\n")
