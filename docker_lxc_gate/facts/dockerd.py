"""A container's dockerd, queried from the node: a witness without any program of the container.

The gate finds the daemon among the container's processes. Its command line names its socket and
settings. :mod:`docker_lxc_gate.machines.runtime.guest_root` resolves the socket's path. The gate
sends a query only if one of the container's own processes listens there. It does not trust the
answer, which is the guest's: it decodes it into typed values, and checks each part that goes into
the next query. The limit: root in the container can run any program as dockerd. Source: unix(7),
Docker's Engine API, moby's daemon/command.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.runtime import guest_root
from docker_lxc_gate.machines.runtime.base import Runtime

SOCKET, SETTINGS = "/run/docker.sock", "/etc/docker/daemon.json"
_DOCKERD = program("docker_lxc_gate.facts", "dockerd.pl")
_FOUND = patterns.compile(r"([0-9]{1,10}) ([0-9]{1,10}) ([01]) (\[.*\])")
_LISTENER = patterns.compile(rb"([0-9]{1,10}) ((?:[0-9a-f]{2}){1,64})\n")
_STATUS = patterns.compile(rb"HTTP/1\.[01] ([0-9]{3})\b")
#: The processes that may listen: dockerd itself, or the init that passes it the socket.
_LISTENS = ("dockerd", "systemd", "init")
_IMAGE = patterns.compile(r"sha256:[0-9a-f]{64}")
_GONE = 404

T = TypeVar("T")
#: A driver's name, a version, an id; Docker has no longer ones.
Word = Annotated[str, msgspec.Meta(max_length=256)]


class Info(msgspec.Struct, frozen=True, rename="pascal"):
    """An engine's own information. Source: Engine API, ``GET /info``."""

    driver: Word = ""
    driver_status: list[list[Word]] | None = None
    server_version: Word = ""
    id: Word = msgspec.field(default="", name="ID")

    @property
    def snapshotter(self) -> str:
        """The containerd image store's type; empty where a graph driver keeps the layers."""
        types = [row[1] for row in self.driver_status or () if row[:1] == ["driver-type"]]
        return next((name for name in types if "snapshotter" in name), "")


class ContainerState(msgspec.Struct, frozen=True, rename="pascal"):
    """The state of a Docker container, with its exit code if it has ended."""

    status: Word = ""
    exit_code: int = -1
    error: str = ""


class ContainerRecord(msgspec.Struct, frozen=True, rename="pascal"):
    """Docker's record of one container. Source: ``GET /containers/{name}/json``."""

    image: str
    state: ContainerState


class Image(msgspec.Struct, frozen=True, rename="pascal"):
    """An image: its id, and its digests in registries."""

    id: str
    repo_digests: list[str] | None = None


def read(answer: bytes, kind: type[T], of: str) -> T:
    """Decode untrusted JSON into a value of a type.

    Raises FactError, which names its source ``of``, if it is not JSON, or not of that type.
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
        """The path of its settings file."""
        return posixpath.normpath([SETTINGS, *_options(self.argv, "--config-file")][-1] or SETTINGS)

    @property
    def socket(self) -> str:
        """The path of the socket for queries; raises FactError if the node can reach none."""
        hosts = _options(self.argv, "--host", "-H")
        paths = [host.removeprefix("unix://") for host in hosts if host.startswith("unix://")]
        if not hosts or any(host.startswith("fd:") for host in hosts):
            paths.append(SOCKET)  # the socket of docker.socket
        if not paths or not paths[0].startswith("/") or not paths[0].isprintable():
            raise FactError(
                f"dockerd in container {self.ctid} listens on {', '.join(hosts)[:200]!r}, and the "
                f"node can query none of these: add -H unix://{SOCKET}, or -H fd://"
            )
        return paths[0]

    def info(self) -> Info:
        """Return its own information.

        Raises FactError if the query failed or the answer cannot be read, TransportError if the
        container does not run or the node cannot be reached.
        """
        return self._asked("/info", Info) or Info()

    def record(self, name: str) -> ContainerRecord | None:
        """Return its record of a Docker container of ours, or None; raises as :meth:`info`."""
        container = self._asked(f"/containers/{name}/json", ContainerRecord)
        if container is not None and not _IMAGE.fullmatch(container.image):
            raise FactError(f"dockerd's answer has the image {container.image[:80]!r}, no valid id")
        return container

    def image(self, id: str) -> Image | None:  # noqa: A002 - the field's name
        """Return an image by the id in a :meth:`record`, or None; raises as :meth:`info`."""
        image = self._asked(f"/images/{id}/json", Image)
        if image is not None and image.id != id:
            raise FactError(f"dockerd was queried for image {id}, and sent {image.id[:80]!r}")
        return image

    def _asked(self, question: str, kind: type[T]) -> T | None:
        node, pid = self.runtime.node, self.runtime.init_pid(self.ctid)
        what = "dockerd's socket cannot be queried"
        result = guest_root.run(node, pid, _DOCKERD, "ask", self.socket, question, what=what)
        if result.exit_code == guest_root.ABSENT:
            raise FactError(
                f"dockerd's socket cannot be queried: {self.socket} is not in container {self.ctid}"
            )
        listener = _LISTENER.match(result.stdout)
        name = bytes.fromhex(listener[2].decode()).decode(errors="replace") if listener else ""
        if listener is None or name.strip() not in _LISTENS:
            raise FactError(
                f"dockerd's socket cannot be queried: the process that listens on {self.socket} in "
                f"container {self.ctid} is {name.strip()!r}, neither dockerd nor systemd"
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

    Raises FactError if the search failed or found several, TransportError if no container runs.
    """
    what = "cannot find out whether dockerd runs"
    result = guest_root.run(runtime.node, runtime.init_pid(ctid), _DOCKERD, "find", what=what)
    lines = [_FOUND.fullmatch(line) for line in result.text.splitlines()]
    processes = [(line[1], line[2], line[3] == "1", line[4]) for line in lines if line]
    if len(processes) != len(lines) or result.exit_code:
        raise FactError(
            f"{runtime.node.machine}: the list of dockerd processes cannot be read: "
            f"{result.stdout!r:.200}"
        )
    pids = {pid for pid, *_ in processes}
    # A dockerd that starts a program is two processes for a moment. If docker.service runs one, any
    # dockerd that was started by hand does not count.
    mains = [(pid, unit, line) for pid, parent, unit, line in processes if parent not in pids]
    mains = [main for main in mains if main[1]] or mains
    if len(mains) > 1:
        raise FactError(
            f"{len(mains)} processes called dockerd run in container {ctid}, and docker.service "
            f"does not tell which is Docker: stop the others (on the node: ps -fp "
            f"{','.join(pid for pid, *_ in mains)})"
        )
    for pid, _, line in mains:
        words = read(line.encode(), list[str], "dockerd's command line")
        argv = (word.encode("latin-1", "replace").decode(errors="replace") for word in words)
        return Daemon(runtime, ctid, int(pid), tuple(argv))
    return None


def _options(argv: Sequence[str], name: str, short: str = "") -> list[str]:
    """Return an option's values on a command line, as Go's pflag reads it."""
    values = []
    words = iter(argv[1:])
    for word in words:
        if word == "--":
            break
        if word in {name, short}:
            values += [next(words, "")]
        elif word.startswith(f"{name}="):
            values += [word.partition("=")[2]]
        elif short and word.startswith(short):
            values += [word.removeprefix(short).removeprefix("=")]
    return values
