"""The lock of a node: one run at a time.

A process on the node holds the lock on ``/run/docker-lxc-gate.lock`` while the run lasts. It reads
from this program over the connection. When the program exits, crashes or disconnects, the process
waits for the run's last commands on the node (apt in the middle of an installation), then releases
the lock. So the age of a lock means nothing: a held lock has a holder. Source: flock(2).

If the holder's machine lost power or its network, the node may not notice for hours, until TCP
gives up. The lock therefore names the reading process on the node: killing that process releases
the lock.
"""

from __future__ import annotations

import getpass
import os
import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

import msgspec

from docker_lxc_gate.errors import LockedError, TransportError
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.transport import RUN_ID, RUN_MARK, Transport

if TYPE_CHECKING:
    from docker_lxc_gate.machines.child import Hold

PATH = "/run/docker-lxc-gate.lock"
_TAKEN = 75
#: Printed by the process on the node when it holds the lock.
_HELD = "held"
_HOLD = program("docker_lxc_gate.machines", "lock.sh")
#: Prints the owner if the lock is held. Creates no file.
_ASK = 'test ! -e "$1" || flock -n -s "$1" true || cat "$1"'


class _Holder(msgspec.Struct):
    """The holder of the lock, as written into the file for other runs to read."""

    who: str = "somebody"
    at: str = "an unknown machine"
    pid: int = 0
    since: str = "an unknown time"
    doing: str = "something"
    reader: int = 0  #: pid of the reading process on the node, while it runs


class Lock:
    """The lock of one node; :meth:`of` returns the same object for the same node."""

    #: A class variable, because those that nest the lock have only the transport in common. An
    #: entry goes with its transport.
    _known: ClassVar[WeakKeyDictionary[Transport, Lock]] = WeakKeyDictionary()

    @classmethod
    def of(cls, node: Transport) -> Lock:
        """Return the lock of the node that this transport reaches."""
        return cls._known.setdefault(node, cls(node))

    def __init__(self, node: Transport, path: str = PATH) -> None:
        self._node, self._path = node, path
        self._hold: Hold | None = None

    @contextmanager
    def held(self, doing: str) -> Iterator[None]:
        """Hold the lock during the context; contexts may be nested.

        Other runs read what this one is ``doing``: ``apply to container 950``. Raises LockedError,
        which names the holder, its machine, its start and its purpose, if another run holds the
        lock, and TransportError if the node cannot be reached, or an outer context lost the lock.
        """
        if self._hold is not None:
            if not self._hold.alive():  # another run may have taken the lock since
                raise TransportError(
                    f"the connection that held the lock of {self._node.machine} was cut, so this "
                    "run ends: run it again"
                )
            yield
            return
        self._hold = self._take(doing)
        try:
            yield
        finally:
            hold, self._hold = self._hold, None
            hold.release()

    def owner(self) -> str:
        """Return a sentence about the holder of the lock; empty if the lock is free.

        This changes nothing.
        """
        asked = self._node.look(["sh", "-c", _ASK, "lock", self._path]).require()
        return _in_use(self._node.machine, asked.stdout) if asked.stdout else ""

    def _take(self, doing: str) -> Hold:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        owner = _Holder(_user(), socket.gethostname(), os.getpid(), since, doing)
        described = msgspec.json.encode(owner).decode()
        mark = f"{RUN_MARK}={RUN_ID}"
        try:
            return self._node.hold(["sh", "-c", _HOLD, "lock", self._path, described, mark], _HELD)
        except CommandFailed as error:
            if error.result.exit_code != _TAKEN:
                why = error.result.stderr.decode(errors="replace").strip().rpartition("\n")[2]
                raise TransportError(
                    f"on {self._node.machine}: the lock {self._path} cannot be taken, and nothing "
                    f"was changed: {why}. Is its file system full or read-only? findmnt -T "
                    f"{shlex.quote(str(PurePosixPath(self._path).parent))}"
                ) from None
            # Without the cause: a reader of this message need not read our script.
            raise LockedError(_in_use(self._node.machine, error.result.stderr)) from None


def _in_use(machine: str, content: bytes) -> str:
    try:
        owner = msgspec.json.decode(content, type=_Holder)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # ValueError: no UTF-8
        owner = _Holder()
    gone = ""
    if owner.reader:
        gone = (
            f". If {owner.at} is gone without a word (its power or its network is off), the node "
            f"may take hours to notice: as root on {machine}, kill {owner.reader}"
        )
    return (
        f"{machine} is in use: {owner.who} on {owner.at} (pid {owner.pid}) has had it since "
        f"{owner.since}, to {owner.doing}. Wait for its end: the lock goes with that run, or, if "
        f"the run is gone already, with the last command that it left there{gone}"
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
