"""A node, a container and testinfra's hosts that know what they were told, and fail on the rest."""

import hashlib
import shlex
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from docker_lxc_gate.facts.backup_archives import _MEMBERS
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.runtime.waiting import _BOOTED
from docker_lxc_gate.machines.transport import Command, Transport
from remediation.desired import DAEMON_JSON
from tests.doubles.scripted import Untold, by_name

#: What a command answers: its standard output, or exit code, standard output and error.
Answer = str | tuple[int, str, str]
#: What waits until a container has booted.
BOOTED = shlex.join(["sh", "-c", _BOOTED])
#: What asks for the first process of container 950, which is 7.
PID = "lxc-info -P /var/lib/lxc -n 950 -p -H"
FIRST_PROCESS: dict[str, Answer] = {PID: "7\n"}
_CAT = ("cat", "--")


#: What asks a container for the files that its backup must hold.
HELD = shlex.join(["sh", "files", *_MEMBERS])


class Machine(Transport):
    """Files by path (None: absent); answers by command line, or as ``by_name`` shortens it."""

    def __init__(
        self,
        files: dict[str, str | None] | None = None,
        answers: dict[str, Answer] | None = None,
        machine: str = "pve1",
    ) -> None:
        self.files, self.answers, self.machine = files or {}, answers or {}, machine
        self.ran: list[str] = []

    def execute(self, command: Command) -> CommandResult:
        words, line = command.words, shlex.join(command.words)
        self.ran.append(line)
        short = by_name(words)
        named, path = shlex.join(short), words[2] if words[:2] == _CAT else ""
        if short[:2] == ("sh", "owner") and len(short) > 5:  # of a checkout's file
            path = f"{short[2]}/{short[3]}"
        if path in self.files:
            content = self.files[path]
            answer: Answer = (1, "", "No such file or directory") if content is None else content
        elif line in self.answers:
            answer = self.answers[line]
        elif named in self.answers:
            answer = self.answers[named]
        else:
            raise Untold(f"nobody said what {line} answers")
        code, out, err = (0, answer, "") if isinstance(answer, str) else answer
        outputs = (each.encode(errors="surrogateescape") for each in (out, err))
        return CommandResult(words, code, *outputs, self.machine, 0.0, 0.0)


#: Docker's usual directory; and a disk that is mounted elsewhere.
DATA, SRV = "/var/lib/docker", "31 30 8:2 / /srv rw - ext4 /dev/b rw\n"


def guest(
    root: str = DATA, *devices: str, mounts: str = SRV, settings: str | None = None, up: bool = True
) -> Machine:
    """Return a container whose Docker keeps its data here, and volumes in these directories."""
    places = "\n".join([root, f"{root}/volumes", "/var/lib/containerd", *devices])
    table = f"30 1 8:1 / / rw - ext4 /dev/a rw\n{mounts}"
    return Machine(
        {DAEMON_JSON: settings},
        {
            "sh": f"overlay2 {root}" if up else (3, "", ""),
            f"sh places {root} /var/lib/containerd": f"{places}\n\n{table}",
            "systemctl is-enabled docker": "enabled",
            HELD: "/etc/hostname 9\n",
        },
    )


class Runtime(Pct):
    """Proxmox's, with the inside of a container as another machine."""

    def __init__(self, node: Transport, inside: Transport | None = None) -> None:
        super().__init__(node)
        self._inside = inside

    def inside(self, ctid: int) -> Transport:
        assert ctid == 950
        assert self._inside is not None
        return self._inside


@dataclass
class Host:
    """testinfra's host: files, installed packages with their version, services, programs."""

    files: dict[str, str | None] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    running: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()

    def file(self, path: str) -> Any:
        content = self.files[path]
        found = SimpleNamespace(path=path, exists=content is not None)
        if content is not None:
            found.content_string = content
            found.content = content.encode(errors="surrogateescape")
            # An empty one stands for one that cannot be read: sha256sum says nothing then.
            found.sha256sum = content and hashlib.sha256(found.content).hexdigest()
        return found

    def package(self, name: str) -> Any:
        version = self.packages.get(name)
        return SimpleNamespace(name=name, is_installed=version is not None, version=version)

    def service(self, name: str) -> Any:
        return SimpleNamespace(is_running=name in self.running)

    def run(self, line: str) -> Any:
        return SimpleNamespace(stdout=self.answers[line])

    def exists(self, program: str) -> bool:
        return program in self.programs
