"""Reads below a container's root from the node; no link of the guest can lead out of that root.

The guest controls everything in that tree: names, links, devices, sockets. A path through
``/proc/PID/root`` is not safe, because an absolute link there is resolved with the *node's* root.
So ``openat2`` resolves each path with ``RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS``, as after a
chroot, and only the resulting handle is used. The program is the node's perl, which every Proxmox
host has; no program of the guest runs. Source: openat2(2), user_namespaces(7).
"""

from __future__ import annotations

from dataclasses import dataclass

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.transport import Transport

#: Limits of one answer: bytes and seconds.
MOST, PATIENCE = 1 << 19, 30
#: The program's exit code if the path is absent.
ABSENT = 4
_BEGINNING = program("docker_lxc_gate.machines", "guest_root.pl")
#: Looks for the first of some paths.
LOOK = program("docker_lxc_gate.machines", "look.pl")
_KINDS = {
    "100000": "a file",
    "120000": "a symbolic link",
    "40000": "a directory",
    "20000": "a character device",
    "60000": "a block device",
    "10000": "a pipe",
    "140000": "a socket",
}


@dataclass(frozen=True)
class Inode:
    """A file, by lstat(2): its kind in words, and a device's numbers."""

    kind: str
    major: int = 0
    minor: int = 0

    def __str__(self) -> str:
        """Return the kind and the numbers, for a message."""
        numbers = f" {self.major}:{self.minor}" if self.kind.endswith("device") else ""
        return f"{self.kind}{numbers}"


def command(program: str, pid: int | str, *words: str) -> tuple[str, ...]:
    """Return the command that runs a perl program after ``programs/guest_root.pl``.

    Its exit code is 0 or :data:`ABSENT`, unless it failed. The ``pid`` is that of the container's
    first process, on the node; the ``words`` are never unchecked text of the guest.
    """
    return ("perl", "-MErrno", "-e", _BEGINNING + program, str(pid), *words)


def run(
    node: Transport, pid: int, program: str, *words: str, what: str = "its root cannot be seen"
) -> CommandResult:
    """Run a :func:`command` on the node of a container.

    Raises TransportError if the node cannot be reached, and FactError if the program failed, for
    example because the node has no perl; it says ``what`` the consequence is.
    """
    result = node.look(command(program, pid, *words), timeout=PATIENCE + 15)
    if result.exit_code in {0, ABSENT} and len(result.stdout) <= 2 * MOST:
        return result
    # Not with the command: a reader of the verdict need not read our program.
    message = result.stderr.decode(errors="replace").strip()[:500]
    raise FactError(
        f"on {node.machine}, for the container with process {pid}: {what}: "
        f"{message or f'perl ended with {result.exit_code}'}"
    )


def look(runtime: Runtime, ctid: int, path: str) -> Inode | None:
    """Return the kind of file at an absolute path below a container's root; None if it is absent.

    Its last link is not followed. Raises FactError if the path could not be read, TransportError if
    the container does not run or the node cannot be reached.
    """
    what = f"{path} cannot be seen"
    result = run(runtime.node, runtime.init_pid(ctid), LOOK, path, what=what)
    if result.exit_code == ABSENT:
        return None
    match = patterns.fullmatch(r"([0-7]{5,6}) ([0-9]{1,9}) ([0-9]{1,9})\n", result.text)
    if match is None:
        raise FactError(
            f"{runtime.node.machine}: the type of {path} cannot be read: {result.text[:80]!r}"
        )
    return Inode(_KINDS.get(match[1], "of an unknown kind"), int(match[2]), int(match[3]))
