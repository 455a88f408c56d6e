"""A real sshd on loopback, as the current user, with its own host key and configuration."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from docker_lxc_gate.lab.node import free_port
from tests.doubles.programs.processes import children
from tests.doubles.samples import sample

ME = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()

_CONFIG = sample("programs/sshd_config")


@dataclass(frozen=True)
class Sshd:
    """A running server; ``host_key`` is the private key's file."""

    port: int
    pid: int
    host_key: Path

    @property
    def known_as(self) -> str:
        """The line of a known_hosts file."""
        kind, key = self.host_key.with_suffix(".pub").read_text().split()[:2]
        return f"[127.0.0.1]:{self.port} {kind} {key}\n"

    @property
    def fingerprint(self) -> str:
        """Its host key's, as ssh-keygen says it."""
        argv = ["ssh-keygen", "-lf", str(self.host_key)]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()[1]

    def sessions(self) -> list[int]:
        """The processes that serve one connection each."""
        return children(self.pid)

    def drop(self) -> None:
        """Cut every connection, as a network does: what runs over it is left alone."""
        for session in self.sessions():
            for pid in (session, *children(session)):  # the second holds the socket
                if "sshd" in Path(f"/proc/{pid}/comm").read_text():
                    os.kill(pid, signal.SIGKILL)


def new_key(path: Path) -> Path:
    """Make a key pair and return the private key's file."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return path


@contextmanager
def running(folder: Path, authorized: Path, more: str = "") -> Iterator[Sshd]:
    """Run a server until the context ends.

    Args:
        folder: for its configuration and its host key, which is made if it is not there.
        authorized: the public keys that may log in.
        more: lines of its configuration.
    """
    folder.mkdir(exist_ok=True)
    host_key = folder / "host"
    if not host_key.exists():
        new_key(host_key)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # root's sshd does not start without
    port = free_port()
    config = folder / "config"
    config.write_text(_CONFIG.format(port=port, folder=folder, authorized=authorized) + more)
    argv = ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(argv, stderr=log)
    try:
        _await_listening(server, folder / "log")
        yield Sshd(port, server.pid, host_key)
    finally:
        server.terminate()
        server.wait(300)


def _await_listening(server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 300
    while b"Server listening" not in log.read_bytes():
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.01)
