"""One run at a time on a node.

``/run/docker-lxc-gate.lock`` is locked by a process on the node for as long as the run lasts.
That process reads from this program over its connection: killed, cut off or powered down, the
reading ends, and the lock with it. Before it goes it waits for the run's last commands, which
live on without us (apt in the middle of an installation). So a lock that is held has an owner,
however old it is, and one without an owner is not held. Source: flock(2).

A machine that vanishes without closing its connection (its power is cut, its cable is pulled) is
missed by the node only when TCP gives up, which may take hours. Until then the lock names the
process on the node that reads from it: ended by hand, it is as if the connection had ended.
"""

from __future__ import annotations

import getpass
import os
import shlex
import socket
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

import msgspec

from targets.errors import CommandFailed, LockedError, TransportError
from targets.transport import RUN_ID, RUN_MARK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from targets.transport import Hold, Transport

PATH = "/run/docker-lxc-gate.lock"
_TAKEN = 75
#: Waits a little for an owner that is just going (seconds).
_WAIT = 3
#: Said when the lock is held, and by nobody before.
_HELD = "held"
#: Reads to the end, under the process id that it adds to the owner.
_READ = f"""printf '%s,"reader":%d}}\\n' "${{2%?}}" $$ >"$1"; echo {_HELD}; exec cat >/dev/null"""
_HOLD = f"""
umask 077
exec 9<>"$1" || exit 1
flock -w {_WAIT} -E {_TAKEN} 9 || {{ code=$?; cat "$1" >&2; exit $code; }}
sh -c {shlex.quote(_READ)} read "$1" "$2"
printf '%s\\n' "$2" >"$1"
while pgrep -f "^timeout .* $3 " >/dev/null; do sleep 0.2; done
: >"$1"
"""
#: A lock's file that nobody holds is left over, and a file that is not there is not made.
_ASK = 'test ! -e "$1" || flock -n -s "$1" true || cat "$1"'


class Owner(msgspec.Struct):
    """Who holds the lock; written into it for the one who finds it taken."""

    who: str = "somebody"
    at: str = "an unknown machine"
    pid: int = 0
    since: str = "an unknown time"
    doing: str = "something"
    reader: int = 0  #: the process id on the node of what reads from it, as long as that runs


class Lock:
    """The lock of one node; :meth:`of` a node it is the same one for all that is done there."""

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
        """Hold the lock for as long as the context; inside another it is held already.

        Args:
            doing: what for, for others to read: ``apply to container 950``.

        Raises:
            LockedError: another run holds it; says who, from where, since when and for what.
            TransportError: the node cannot be reached, or the lock was lost inside another.
        """
        if self._hold is not None:
            if not self._hold.alive():  # somebody else may have been here since
                raise TransportError(
                    f"the connection that held {self._node.machine} for us was cut: this run ends"
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
        """Return who holds the lock now, in a sentence; empty if nobody does.

        Changes nothing, and takes the lock for no longer than it looks.
        """
        asked = self._node.look(["sh", "-c", _ASK, "lock", self._path]).require()
        return _in_use(self._node.machine, asked.stdout) if asked.stdout else ""

    def _take(self, doing: str) -> Hold:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        owner = Owner(_user(), socket.gethostname(), os.getpid(), since, doing)
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
            # Not from the error: who is told by whom the node is used need not read our script.
            raise LockedError(_in_use(self._node.machine, error.result.stderr)) from None


def _in_use(machine: str, content: bytes) -> str:
    try:
        owner = msgspec.json.decode(content, type=Owner)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # ValueError: no UTF-8
        owner = Owner()
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
