"""A container's dockerd, asked from the node: a witness without any program of the container.

The daemon is found among the container's processes, and tells by its command line where its socket
and its settings are. The socket is reached as :mod:`targets.guest_root` reaches all that is the
guest's, and is asked only if one of the container's own processes listens on it. What comes back is
the guest's word: it is read into typed values, and no part of it becomes part of a question before
it was checked. Who is root in the container can have any program answer there. Source: unix(7),
Docker's Engine API, moby's daemon/command.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec

from targets import guest_root
from targets.errors import FactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.runtime.base import Runtime

SOCKET, SETTINGS = "/run/docker.sock", "/etc/docker/daemon.json"
#: More processes of that name than any honest container has.
_MANY = 8
#: The most that is read of a command line (bytes).
_LINE = 1 << 14
#: The container's own processes called dockerd: pid, parent, whether docker.service is theirs, and
#: the command line. A dockerd in a Docker container, and a rootless one, are in namespaces of their
#: own.
_FIND = (
    guest_root.PRELUDE
    + rf"""
opendir my $all, "/proc" or refuse("/proc: $!");
my $found = 0;
for my $each (grep /^[0-9]+$/, readdir $all) {{
    open my $comm, "<", "/proc/$each/comm" or next;
    next unless (<$comm> // "") eq "dockerd\n" and own($each);
    open my $stat, "<", "/proc/$each/stat" or next;
    my ($parent) = (<$stat> // "") =~ /.*\) \S ([0-9]+) /s or next;
    open my $group, "<", "/proc/$each/cgroup" or next;
    my $unit = grep(m{{/docker\.service$}}, <$group>) ? 1 : 0;
    open my $line, "<", "/proc/$each/cmdline" or next;
    sysread $line, my $words, {_LINE};
    print join(" ", $each, $parent, $unit, unpack "H*", $words // ""), "\n";
    last if ++$found > {_MANY};
}}
"""
)
#: Asks one question, once it is known who listens: "PID NAME", then the answer as it came.
_ASK = (
    guest_root.PRELUDE
    + rf"""
my ($path, $question) = @ARGV;
my $found = below($path);
my $mode = (stat "/proc/self/fd/$found")[2];
refuse("$path in the container is no socket") unless ($mode & 0170000) == 0140000;
socket(my $docker, 1, 1, 0) or refuse("a socket: $!");
connect($docker, pack "Sa*", 1, "/proc/self/fd/$found\0") or refuse("$path: $!");
my ($listener) = unpack "L", getsockopt($docker, 1, 17) || "\0" x 4;  # SOL_SOCKET, SO_PEERCRED
refuse("process $listener, which listens on $path, is not the container's own")
    unless own($listener);
open my $comm, "<", "/proc/$listener/comm" or refuse("who listens on $path has ended");
print "$listener ", unpack("H*", <$comm> // ""), "\n";
$SIG{{PIPE}} = "IGNORE";
my $asked = "GET $question HTTP/1.0\r\nHost: docker\r\nConnection: close\r\n\r\n";
(syswrite($docker, $asked) // 0) == length $asked or refuse("$path: $!");
my $room = {guest_root.MOST};
while (1) {{
    my $count = sysread $docker, my $part, 65536;
    refuse("$path: $!") unless defined $count;
    last unless $count;
    refuse("$path: more than {guest_root.MOST} bytes came back") if ($room -= $count) < 0;
    print $part;
}}
"""
)
_FOUND = re.compile(r"([0-9]{1,10}) ([0-9]{1,10}) ([01]) ((?:[0-9a-f]{2})*)")
_LISTENER = re.compile(rb"([0-9]{1,10}) ((?:[0-9a-f]{2}){1,64})\n")
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})\b")
#: Who may listen: dockerd itself, or what hands it the socket.
_LISTENS = ("dockerd", "systemd", "init")
_ID = re.compile(r"[0-9a-f]{64}")
_IMAGE = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
_GONE = 404

T = TypeVar("T")
#: A word of Docker's: a driver's name, a version, an id. Longer ones are a stranger's.
Word = Annotated[str, msgspec.Meta(max_length=256)]


class Info(msgspec.Struct, frozen=True, rename="pascal"):
    """What an engine says of itself. Source: Engine API, ``GET /info``."""

    driver: Word = ""
    driver_status: list[list[Word]] | None = None
    server_version: Word = ""
    id: Word = msgspec.field(default="", name="ID")

    @property
    def snapshotter(self) -> str:
        """The containerd image store's type; empty where a graph driver keeps the layers."""
        found = [each[1] for each in self.driver_status or () if each[:1] == ["driver-type"]]
        return next((each for each in found if "snapshotter" in each), "")


class State(msgspec.Struct, frozen=True, rename="pascal"):
    """How a Docker container ended, if it has."""

    status: Word = ""
    exit_code: int = -1
    error: str = ""


class Record(msgspec.Struct, frozen=True, rename="pascal"):
    """Docker's record of one container. Source: ``GET /containers/{name}/json``."""

    id: str
    image: str
    state: State


class Image(msgspec.Struct, frozen=True, rename="pascal"):
    """An image: its id, and under which digests registries had it."""

    id: str
    repo_digests: list[str] | None = None


def read(answer: bytes, kind: type[T], of: str) -> T:
    """Read foreign JSON into a value of a type.

    Args:
        answer: the bytes.
        kind: what it must be.
        of: whose word it is, for the reader of the error.

    Raises:
        FactError: it is no JSON, or something else.
    """
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise FactError(f"{of} cannot be read ({error}): {answer[:80]!r}") from error


@dataclass(frozen=True)
class Daemon:
    """The dockerd that runs in a container: its pid on the node, and its command line."""

    runtime: Runtime
    ctid: int
    pid: int
    argv: tuple[str, ...]

    @property
    def settings(self) -> str:
        """The file that it reads its settings from."""
        return posixpath.normpath(_option(self.argv, "--config-file") or SETTINGS)

    @property
    def socket(self) -> str:
        """The path of the socket on which it is asked.

        Raises:
            FactError: its command line names none that can be reached from here.
        """
        hosts = _options(self.argv, "--host", "-H")
        paths = [host.removeprefix("unix://") for host in hosts if host.startswith("unix://")]
        if not hosts or any(host.startswith("fd:") for host in hosts):
            paths.append(SOCKET)  # as docker.socket has it, too
        if not paths or not paths[0].startswith("/") or not paths[0].isprintable():
            raise FactError(
                f"dockerd in container {self.ctid} listens on {', '.join(hosts)[:200]!r}, on none "
                f"of which the node can ask it: add -H unix://{SOCKET}, or -H fd://"
            )
        return paths[0]

    def info(self) -> Info:
        """Return what it says of itself.

        Raises:
            FactError: it cannot be asked, or its answer cannot be read.
            TransportError: the container does not run, or the node cannot be reached.
        """
        return self._asked("/info", Info) or Info()

    def record(self, name: str) -> Record | None:
        """Return its record of a container of Docker's, None if it has none; see :meth:`info`."""
        found = self._asked(f"/containers/{_checked(_NAME, name)}/json", Record)
        if found is not None:
            _checked(_ID, found.id)
            _checked(_IMAGE, found.image)
        return found

    def image(self, id: str) -> Image | None:  # noqa: A002 - the field's name
        """Return an image by its id, None if there is none; see :meth:`info`."""
        found = self._asked(f"/images/{_checked(_IMAGE, id)}/json", Image)
        if found is not None and found.id != id:
            raise FactError(f"dockerd was asked for image {id} and told of {found.id[:80]!r}")
        return found

    def _asked(self, question: str, kind: type[T]) -> T | None:
        node, pid = self.runtime.node, self.runtime.init_pid(self.ctid)
        what = "dockerd's socket cannot be asked"
        result = guest_root.run(node, pid, _ASK, self.socket, question, what=what)
        if result.exit_code == guest_root.ABSENT:
            raise FactError(
                f"dockerd's socket cannot be asked: {self.socket} is not in container {self.ctid}"
            )
        listener = _LISTENER.match(result.stdout)
        name = bytes.fromhex(listener[2].decode()).decode(errors="replace") if listener else ""
        if listener is None or name.strip() not in _LISTENS:
            raise FactError(
                f"dockerd's socket cannot be asked: on {self.socket} in container {self.ctid} "
                f"listens {name.strip()!r}, neither dockerd nor systemd"
            )
        head, _, body = result.stdout[listener.end() :].partition(b"\r\n\r\n")
        status = _STATUS.match(head)
        if status is not None and int(status[1]) == _GONE:
            return None
        if status is None or status[1] != b"200":
            raise FactError(f"dockerd answered {question} with {(head or body)[:120]!r}")
        return read(body, kind, f"dockerd's answer to {question}")


def find(runtime: Runtime, ctid: int) -> Daemon | None:
    """Return a container's dockerd, found from the node; None if none runs.

    Raises:
        FactError: it cannot be told which one it is.
        TransportError: the container does not run, or the node cannot be reached.
    """
    what = "whether dockerd runs cannot be told"
    result = guest_root.run(runtime.node, runtime.init_pid(ctid), _FIND, what=what)
    lines = [_FOUND.fullmatch(line) for line in result.text.splitlines()]
    found = [(line[1], line[2], line[3] == "1", line[4]) for line in lines if line]
    if len(found) != len(lines) or result.exit_code:
        raise FactError(
            f"{runtime.node.machine} did not say which dockerd runs: {result.stdout!r:.200}"
        )
    pids = {pid for pid, *_ in found}
    # A dockerd that starts a program is two for a moment; one that somebody started by hand is not
    # the one that is judged.
    mains = [(pid, unit, line) for pid, parent, unit, line in found if parent not in pids]
    mains = [each for each in mains if each[1]] or mains
    if len(mains) > 1:
        raise FactError(
            f"{len(mains)} processes called dockerd run in container {ctid}: which of them is "
            f"Docker cannot be told (on the node: ps -fp {','.join(pid for pid, *_ in mains)})"
        )
    for pid, _, line in mains:
        words = bytes.fromhex(line).rstrip(b"\0").split(b"\0")
        return Daemon(
            runtime, ctid, int(pid), tuple(word.decode(errors="replace") for word in words)
        )
    return None


def _checked(form: re.Pattern[str], text: str) -> str:
    """Return what has the form that it must have before it becomes part of a question."""
    if not form.fullmatch(text):
        raise FactError(f"dockerd's answer names {text[:80]!r}, which is no id or name of Docker's")
    return text


def _option(argv: Sequence[str], name: str) -> str:
    """Return the last value of an option, empty if it has none."""
    return next(reversed(_options(argv, name)), "")


def _options(argv: Sequence[str], name: str, short: str = "") -> list[str]:
    """Return an option's values on a command line, as Go's pflag reads it."""
    found = []
    words = iter(argv[1:])
    for word in words:
        if word == "--":
            break
        if word in {name, short}:
            found += [next(words, "")]
        elif word.startswith(f"{name}="):
            found += [word.partition("=")[2]]
        elif short and word.startswith(short):
            found += [word.removeprefix(short).removeprefix("=")]
    return found
