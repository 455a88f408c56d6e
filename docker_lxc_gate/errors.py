"""All errors, by their meaning for the reader.

::

    RemediationError
    ├── UsageError         bad option, bad target
    ├── TransportError     could not run: connect, host key, timeout, no exit status
    │   ├── LimitExceeded  stopped by us: it took too long, or printed too much
    │   ├── Unreachable    no connection, and waiting does not help
    │   ├── Dropped        the connection was cut while a command ran
    │   └── Elsewhere      the container is on another node of the cluster
    ├── FactError          ran, but the answer cannot be read
    │   └── Busy           the container cannot be changed now
    └── LockedError        another run holds the lock of the node

A command that ran and failed is a :class:`docker_lxc_gate.machines.result.CommandFailed`. Errors of
a plan and its rollback are in :mod:`remediation.engine.errors`, and those of the lab in
:mod:`docker_lxc_gate.lab.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence

from docker_lxc_gate.printable import command


class RemediationError(Exception):
    """Base of all errors of this package; ``exit_code`` is what a command line ends with."""

    exit_code = 3


class UsageError(RemediationError):
    """The command line or the target file is wrong: an unknown target, option or container."""

    exit_code = 2


class TransportError(RemediationError):
    """A command could not be run, or it is not known how it ended."""


class LimitExceeded(TransportError):
    """A command passed its deadline or its limit of output, and was stopped.

    Args:
        machine: where it ran.
        argv: the command.
        passed: the limit that it passed, in words that follow the command.
        late: whether it took too long.
    """

    def __init__(self, machine: str, argv: Sequence[str], passed: str, *, late: bool) -> None:
        self.passed, self.late = passed, late
        super().__init__(f"on {machine}: {command(argv)} {passed}")


class Unreachable(TransportError):
    """There is no connection to the machine, and none could be made; waiting does not help."""


class Dropped(TransportError):
    """The connection was cut while a command ran; with it, the node's lock may be lost."""


class Elsewhere(TransportError):
    """The container is on another node of the cluster, called ``node``."""

    def __init__(self, text: str, node: str) -> None:
        self.node = node
        super().__init__(text)


class FactError(RemediationError):
    """A command ran, but its answer cannot be read, or what it says rules out the next step."""


class Busy(FactError):
    """Another program works on the container, or its cluster has no quorum; nothing was changed."""


class LockedError(RemediationError):
    """Another run holds the lock of the node."""


def too_late(machine: str, argv: Sequence[str], timeout: float) -> LimitExceeded:
    """Return what to raise of a command that did not end within so many seconds."""
    return LimitExceeded(machine, argv, f"did not end within {timeout:g} s", late=True)


def too_much(machine: str, argv: Sequence[str], size: int) -> LimitExceeded:
    """Return what to raise of a command that printed more than so many bytes."""
    shown = f"{size >> 20} MiB" if not size % (1 << 20) else f"{size} bytes"
    return LimitExceeded(machine, argv, f"printed more than {shown} and was ended", late=False)


def misheard(
    machine: str, argv: Sequence[str], word: str, seconds: float, line: bytes | None = None
) -> TransportError:
    """Return what to raise of a held command whose first line is not its word.

    Args:
        machine: where it was started.
        argv: what was started, which has been ended.
        word: what it was to say.
        seconds: how long it was listened to.
        line: what it said instead; None: nothing in time.
    """
    said = f"said nothing for {seconds:g} s" if line is None else f"said {line[:200]!r}"
    return TransportError(
        f"on {machine}: {argv[0]}, which was to say {word!r} and keep running, {said}; it was ended"
    )
