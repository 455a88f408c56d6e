"""``python -m tests.measure_fleet [CONTAINERS [SHARDS [NODES]]]``: what a fleet costs the gate.

Twelve nodes, or NODES, speak SSH on loopback, served by this process. Each has so many containers,
and answers as the double of a healthy node does. Each start of ``pct`` takes half a second. The
gate runs once, read-only, or in so many shards at a time, which are merged. The figures are printed
as JSON. They are the gate's own but for those of the servers.
"""

import json
import os
import resource
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import paramiko
from paramiko.common import AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from tests.doubles.nodes import healthy
from tests.doubles.nodes.behind_shell import PCT
from tests.doubles.programs.processes import children
from tests.doubles.programs.sshd import new_key

ROOT = Path(__file__).parents[1]
PCT_SECONDS, SAMPLE_SECONDS = 0.5, 0.25


class Node(healthy.Several, paramiko.ServerInterface):
    """A healthy node with several containers, which an SSH server asks."""

    def __init__(self, containers: int, key: paramiko.PKey) -> None:
        super().__init__(containers)
        self.key, self.connections = key, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            stream = self.listener.accept()[0]
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as sshd does
            one = paramiko.Transport(stream)
            self.connections += 1
            one.add_server_key(self.key)
            one.start_server(server=self)

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._exec, args=(channel, command), daemon=True).start()
        return True

    def _exec(self, channel: paramiko.Channel, command: bytes) -> None:
        time.sleep(PCT_SECONDS * len(PCT.findall(command.decode())))
        answer = self.run(shlex.split(command.decode()))
        channel.sendall(answer.stdout)
        channel.sendall_stderr(answer.stderr)
        channel.makefile("rb").read()  # a command that is held runs until its input ends
        channel.send_exit_status(answer.exit_code)
        channel.close()


def pss(pid: int) -> int:
    """Return the proportional memory of a process and all below it (KiB)."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(text.split("Pss:")[1].split()[0]) + sum(map(pss, children(pid)))
    return 0


def main(containers: int = 1, shards: int = 1, count: int = 12) -> None:
    """Serve, run the gate, and print what it cost; raises unless the verdict is compliant."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / ".ssh").mkdir()
        own = new_key(home / ".ssh/id_ed25519")  # the user's, and each node's
        key = paramiko.Ed25519Key.from_private_key_file(str(own))
        nodes = [Node(containers, key) for _ in range(count)]
        for at, node in enumerate(nodes, 1):
            with (home / ".ssh/config").open("a") as config:
                config.write(f"Host pve{at}\n HostName 127.0.0.1\n Port {node.port}\n")
            with (home / ".ssh/known_hosts").open("a") as known:
                known.write(f"[127.0.0.1]:{node.port} ssh-ed25519 {key.get_base64()}\n")
        os.environ["HOME"] = folder
        os.environ.pop("SSH_AUTH_SOCK", None)
        # An installed gate has no Hypothesis, whose summary loads all of it.
        os.environ["PYTEST_ADDOPTS"] = "-p no:hypothesispytest"
        began = time.monotonic()
        every = [str(home / str(at)) for at in range(1, 1 + shards)]
        gate = ["gate", "--no-report", *(f"--target=pve{at}/all" for at in range(1, 1 + count))]
        most = watched(
            [
                *gate,
                f"--shard={at}/{shards}",
                f"--alluredir={each}",
                f"--junit-xml={each}/junit.xml",
            ]
            for at, each in enumerate(every, 1)
        )
        most = max(most, watched([["merge", *every, f"--output={home}/whole"]]))
        used, served = map(resource.getrusage, (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF))
        figures = {
            "containers": count * containers,
            "shards": shards,
            "seconds": round(time.monotonic() - began),
            "processor seconds": round(used.ru_utime + used.ru_stime),
            "of the servers": round(served.ru_utime + served.ru_stime),
            "PSS, MiB": most >> 10,
            "connections a node": max(node.connections for node in nodes),
            "round trips a container": sum(len(n.trips) for n in nodes) / count / containers,
            "starts of pct a container": sum(n.starts for n in nodes) / count / containers,
        }
        print(json.dumps(figures))


def watched(argvs: Iterable[list[str]]) -> int:
    """Run commands at the same time, each of which must find all compliant.

    Returns:
        The most memory that they had together (KiB).
    """
    program = [sys.executable, "-m", "docker_lxc_gate"]
    jobs = [
        subprocess.Popen([*program, *argv], cwd=ROOT, stdout=subprocess.DEVNULL) for argv in argvs
    ]
    most = 0
    while any(job.poll() is None for job in jobs):
        most = max(most, sum(pss(job.pid) for job in jobs))
        time.sleep(SAMPLE_SECONDS)
    assert {job.returncode for job in jobs} == {0}
    return most


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
