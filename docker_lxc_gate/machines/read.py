"""A question to a machine, as a value: what is run, and what its answer means.

A read only looks. So it can be answered in a test without a machine, and asked once more if its
shell has ended: cut off, it leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from docker_lxc_gate.machines.result import CommandResult

#: What a program says of a file that does not exist: root's commands have English messages.
ABSENT = b"No such file or directory"

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Read(Generic[T_co]):
    """A command that changes nothing, and the parser of its answer.

    ``parse`` turns the result, whatever its exit code, into the fact; it raises RemediationError.
    The command is ended after ``timeout`` seconds. Each output may be ``limit`` bytes long; None:
    as in :meth:`docker_lxc_gate.machines.transport.Transport.run`.
    """

    argv: tuple[str, ...]
    parse: Callable[[CommandResult], T_co] = field(compare=False)
    timeout: float = 60
    limit: int | None = None


def unparsed(*argv: str, timeout: float = 60) -> Read[CommandResult]:
    """Return the read whose fact is the whole result."""
    return Read(argv, lambda result: result, timeout)


def is_directory(path: str) -> Read[bool]:
    """Read whether there is a directory, or a link to one."""
    return Read(("test", "-d", path), lambda result: result.ok)


def content_of(path: str, limit: int | None = None) -> Read[bytes | None]:
    """Read a file's content: None if it is absent; unreadable raises CommandFailed."""

    def parse(result: CommandResult) -> bytes | None:
        if result.exit_code == 1 and ABSENT in result.stderr:
            return None
        return result.require().stdout

    return Read(("cat", "--", path), parse, limit=limit)
