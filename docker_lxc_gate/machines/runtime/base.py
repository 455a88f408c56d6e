"""The runtime of a node, and the parts that Proxmox's ``pct`` and LXC's own tools share.

A container is a transport wrapped in a transport: ``Pct(node).inside(950)`` only rewrites
argv to ``lxc-attach -n 950 -- …`` and hands it to the node's transport.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import ClassVar, Literal

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError, TransportError
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.machines.read import Read
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Inside, Transport
from docker_lxc_gate.printable import cut

#: ``lxc-attach`` sets no HOME, and takes over no locale, so both are set here.
ENVIRONMENT = ("env", "HOME=/root", "LC_ALL=C.UTF-8")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INCLUDE = patterns.compile(r"(?m)^[ \t]*lxc\.include[ \t]*=[ \t]*(\S+).*$")
#: LXC's words for a container none of whose processes runs, as long as a backup takes.
FROZEN_STATES = frozenset({"FROZEN", "FREEZING"})
_NESTED = 8  #: the limit for nested includes


class Runtime(ABC):
    """Manages the containers of one node; the shared part uses LXC's own tools, as Proxmox does."""

    #: The kind of containers: Proxmox's, or plain LXC's.
    kind: ClassVar[Literal["pct", "lxc"]]
    #: What starts a container, given its id, for a reader to type.
    start_command: ClassVar[str]
    _LXC_PATH = "/var/lib/lxc"

    def __init__(self, node: Transport) -> None:
        self.node = node

    def inside(self, ctid: int, *options: str) -> Transport:
        """Return a transport whose commands run in the container.

        By lxc-attach, which is all that ``pct exec`` becomes after half a second; ``options`` are
        more of its own. Source: pve-container, PVE::CLI::pct.
        """
        named = ("lxc-attach", "-P", self._LXC_PATH, "-n", str(ctid))
        attach = (*named, *options, "--clear-env", "-v", _PATH)
        examine = partial(self._examine_attach, ctid)
        return Inside(self.node, f"container {ctid}", [*attach, "--", *ENVIRONMENT], examine)

    def _examine_attach(self, ctid: int, result: CommandResult) -> None:
        """Raise for lxc-attach's own error, whose exit code 1 a command may have, too."""
        stderr = result.stderr.decode(errors="replace")
        if result.exit_code and patterns.search(rf"(?m)^lxc-attach: {ctid}: .*init pid", stderr):
            if self.node.read(self.config_path(ctid)) is None:
                raise TransportError(self._absent(ctid))
            raise TransportError(
                f"container {ctid} on {result.machine} is not running: {cut(stderr.strip())}\n"
                f"start it: {self.start_command} {ctid}"
            )

    @abstractmethod
    def _absent(self, ctid: int) -> str:
        """Return the message about a container that this node does not have."""

    @abstractmethod
    def configuration(self, ctid: int) -> container_config.ContainerConfig:
        """Return the configuration as written; raises FactError if there is no container."""

    def effective(self, ctid: int) -> container_config.ContainerConfig:
        """Return LXC's configuration file, with its includes resolved.

        Proxmox generates it at each start, each stop, and ``pct set``.
        """
        path = self.started_path(ctid)
        content = self.node.read(path)
        if content is None:
            raise FactError(f"{path} does not exist on {self.node.machine}")
        text = _resolved(self.node, path, content.decode(errors="replace"))
        return container_config.parse_lxc(path, text)

    @abstractmethod
    def started_with(self, ctid: int) -> str:
        """Return the known part of the configuration that a running container started with."""

    @abstractmethod
    def features(self, ctid: int) -> dict[str, str]:
        """Return the container's features, in the words of Proxmox's ``features``."""

    @abstractmethod
    def state(self, ctid: int) -> str | None:
        """Return ``running``, ``stopped`` …, or None if there is no such container."""

    def require_control(self, ctid: int) -> None:  # noqa: B027 - plain LXC has no such program
        """Raise Busy if the container cannot be changed, stopped and started by us now."""

    @abstractmethod
    def start(self, ctid: int) -> None:
        """Start the container; raises CommandFailed with what the runtime said."""

    @abstractmethod
    def shutdown(self, ctid: int) -> None:
        """Shut the container down cleanly; one that has not ended after a minute is killed."""

    @abstractmethod
    def destroy(self, ctid: int) -> None:
        """Destroy a stopped container and its root."""

    @classmethod
    def first_process(cls, ctid: int) -> Read[str]:
        """Read the pid of the first process, on the node; empty if the container does not run."""

        def parse(answer: CommandResult) -> str:
            pid = answer.text.strip()
            return pid if answer.ok and patterns.fullmatch("[0-9]{1,10}", pid) else ""

        return Read(cls._info(ctid, "-p"), parse)

    @classmethod
    def lxc_state(cls, ctid: int) -> Read[str]:
        """Read LXC's own word for the container's state, in capitals; empty if LXC has none."""
        return Read(cls._info(ctid, "-s"), _state)

    @classmethod
    def _info(cls, ctid: int, what: str) -> tuple[str, ...]:
        return ("lxc-info", "-P", cls._LXC_PATH, "-n", str(ctid), what, "-H")

    def init_pid(self, ctid: int) -> int:
        """Return the pid, on the node, of the first process; raises TransportError if stopped."""
        pid = self.node.ask(self.first_process(ctid))
        if not pid:
            raise TransportError(
                f"container {ctid} on {self.node.machine} is not running: "
                f"start it ({self.start_command} {ctid}), then run this again"
            )
        return int(pid)

    @abstractmethod
    def config_path(self, ctid: int) -> str:
        """Return the file in which the container's options are written."""

    @classmethod
    def started_path(cls, ctid: int) -> str:
        """Return LXC's own configuration file, which :meth:`effective` reads."""
        return f"{cls._LXC_PATH}/{ctid}/config"

    def seccomp_list(self, effective: container_config.ContainerConfig) -> str:
        """Return the text of a seccomp list; if the file is absent, LXC starts no container."""
        path = effective.current().get("lxc.seccomp.profile", "")
        return (self.node.read(path) or b"").decode(errors="replace") if path else ""


def _state(answer: CommandResult) -> str:
    if not answer.ok and b"doesn't exist" in answer.stdout + answer.stderr:
        return ""  # Proxmox makes LXC's part of a container at its first start
    return answer.require().text.strip()[:20]


def _resolved(node: Transport, path: str, text: str) -> str:
    """Return a configuration with each ``lxc.include`` replaced by the included text."""
    for _ in range(_NESTED + 1):  # one look a level
        includes = list(dict.fromkeys(_INCLUDE.findall(text)))
        if not includes:
            return text
        if odd := [place for place in includes if not place.startswith("/")]:
            raise FactError(f"{path}: lxc.include = {odd[0]}: expected an absolute path")
        search = ("find", "-L", *includes, "-maxdepth", "1", "-type", "f")
        shown = node.look([*search, "-exec", "grep", "-aHZ", "", "{}", "+"])
        files: dict[str, str] = {}
        for line in shown.text.split("\n"):
            name, _, content = line.partition("\0")
            files[name] = f"{files[name]}\n{content}" if name in files else content
        text = _INCLUDE.sub(lambda line: _of(line[1], files), text)  # noqa: B023 - used at once
    raise FactError(f"{path}: lxc.include is nested more than {_NESTED} deep")


def _of(place: str, files: dict[str, str]) -> str:
    """Return the text of one include: a file, or a directory's ``*.conf`` in order of name."""
    inside = patterns.compile(patterns.escape(place.rstrip("/")) + r"/[^/]+\.conf")
    names = [name for name in sorted(files) if name == place or inside.fullmatch(name)]
    return "\n".join(files[name] for name in names)
