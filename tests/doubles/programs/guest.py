"""A process in namespaces and a root of its own: as much of a container as is needed here."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.transport import Local
from tests.doubles.programs.processes import children
from tests.doubles.samples import sample

#: Enters the root, says so, and waits until its input ends.
_FIRST = 'chroot $ARGV[0] or die; chdir "/"; $| = 1; print "up\\n"; <STDIN>'
_UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child")
#: Takes a path, the name it has among the processes, and the answer: "" hangs.
_SERVER = sample("programs/answering_socket")


class Guest(Pct):
    """A runtime whose container 950 is a process that has ``root`` for its root."""

    def __init__(self, root: Path, first: int) -> None:
        super().__init__(Local())
        self.root, self._first = root, first

    def init_pid(self, ctid: int) -> int:
        assert ctid == 950
        return self._first

    @contextmanager
    def serving(self, path: str, answer: str, *, name: str = "dockerd") -> Iterator[int]:
        """Have a process of the container's own answer on a socket; yield its pid on the node."""
        enter = (
            "nsenter",
            "--target",
            str(self._first),
            "--user",
            "--pid",
            "--preserve-credentials",
        )
        argv = [*enter, sys.executable, "-c", _SERVER, f"{self.root}{path}", name, answer]
        with _up(argv) as process:
            yield child(process.pid)


@contextmanager
def guest(root: Path) -> Iterator[Guest]:
    """Start one; skip where this machine gives nobody namespaces of their own."""
    argv = [*_UNSHARE, "perl", "-e", _FIRST, str(root)]
    with _up(argv) as process:
        yield Guest(root, child(process.pid))


@contextmanager
def _up(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if process.stdout.readline() != b"up\n":
            process.kill()
            pytest.skip(f"{argv[0]}: {process.stderr.read().decode()}")
        try:
            yield process
        finally:
            for pid in (*children(process.pid), process.pid):
                os.kill(pid, 9)
            process.wait()


def child(pid: int) -> int:
    """Return a process's only child."""
    (found,) = children(pid)
    return found
