"""Docker itself, where a container has none: Debian's packages, and what they leave behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, ClassVar

from typing_extensions import override

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import docker
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.transport import Transport
from remediation.actions.package import Package, PackageState
from remediation.actions.storage_driver import RESET, require_no_other, start_docker
from remediation.engine.action import Action, Drift, SideEffect

#: Where Docker keeps what its user made; of all else, nothing is lost with it.
DATA = ("/var/lib/docker", "/var/lib/containerd")
#: What Docker, containerd and their packages make, and purging them leaves. Source: Debian's
#: packages of 12 and 13, purged (containerd makes /etc/cni when it starts). The group, and what
#: is in the kernel and /run, come beside.
KEY = "/etc/docker/key.json"
#: What the packages' scripts make, and take away only if they recognise it: where the power was
#: cut before it came to the disk, purging leaves an empty file, and links to units that are gone.
#: Source: netbase's postrm (a checksum), deb-systemd-helper (its list of links).
_BOOT = "/etc/systemd/system"
CUT = (
    "/etc/networks",
    f"{_BOOT}/multi-user.target.wants/containerd.service",
    f"{_BOOT}/multi-user.target.wants/docker.service",
    f"{_BOOT}/sockets.target.wants/docker.socket",
)
LEFT = (*DATA, KEY, "/etc/cni", "/opt/containerd", *CUT)
GROUP = "docker"
#: What groupadd and groupdel write, and then rename: first the one file, then the other. Where the
#: power is cut in between, only one of them knows the group. Source: shadow's lib/commonio.c.
_WRITTEN = ("/etc/group+", "/etc/gshadow+")
_TRACES = program("remediation", "group_traces.sh")
#: Debian's docker.io puts it here; docker-ce and static binaries are elsewhere.
_DEBIANS = frozenset({"/usr/sbin/dockerd", "/sbin/dockerd"})
#: Purging docker.io deletes all of /var/lib/docker, also what lay there before, with this script,
#: which its removal puts there. Source: docker.io's prerm and postrm.
_NUKE = "nuke-graph-directory.sh"
_NUKES = f"/usr/share/docker.io/contrib/{_NUKE}"

_LIST = program("remediation", "listed.sh")
_CLEAR = program("remediation", "clear.sh")
#: Docker's directory of temporary files. Source: moby daemon (prepareTempDir).
_TEMPORARY = "tmp"
#: Moves what is in a directory into a new one of its mode and owner. The first one stays: a file
#: system may be mounted there.
_SPARE = (
    'set -e; mkdir -m 700 -- "$2"; chown --reference="$1" -- "$2"; chmod --reference="$1" -- "$2"; '
    'find "$1" -mindepth 1 -maxdepth 1 -exec mv -t "$2" -- {} +'
)
_PUT_BACK = program("remediation", "put_back.sh")
_SOMEBODYS = 3
_HELD = program("remediation", "docker_held.sh")
#: Where Docker keeps what it holds, below its directory.
_FOLDERS = {"container": "containers", "image": "image", "volume": "volumes"}
#: What only a restart takes from a container: Docker's bridge (and with it its packet filter),
#: and the files of its run.
_RUNNING = ("/sys/class/net/docker0", "/run/docker", "/run/docker.sock", "/run/containerd")
_RUNS = docker.active("docker")
#: A few packages, over a slow disk (seconds).
_PATIENCE = 600.0


@dataclass(frozen=True)
class EngineState:
    """What installing Docker brings, what of it was there, and whether its group was.

    ``there`` holds those of :data:`LEFT` that are there, and what is directly in them.

    Stored in journals: its fields are a schema (test_stored_states.py).
    """

    packages: PackageState
    there: tuple[str, ...]
    group: bool


@dataclass(frozen=True)
class DockerPackage(Action[EngineState]):
    """Docker is installed: Debian's package where there is none, any other as it is.

    Rolled back, the packages are purged, and what was absent is absent again; what Docker holds of
    its user's (images, containers, volumes) is never deleted but moved aside. ``root`` returns
    where Docker will keep its data, by the settings that are there.
    """

    after: tuple[str, ...] = ()
    root: Callable[[Transport], str] = field(default=lambda _: DATA[0], compare=False)

    before: ClassVar[Any] = EngineState
    purges: ClassVar[bool] = True

    @override
    def capture(self, on: Transport) -> EngineState:
        known = _traces(on) - set(_WRITTEN)
        if known == {"gshadow"}:
            raise FactError(
                f"in {on.machine} the group {GROUP} is in /etc/gshadow and not in /etc/group: its "
                f"removal was cut off; there, end it: groupadd {GROUP}; groupdel {GROUP}"
            )
        packages, there = self._packages.capture(on), self._there(on)
        if f"{DATA[0]}/{_NUKE}" in there and not packages.status:
            raise FactError(
                f"{DATA[0]}/{_NUKE} in {on.machine} would delete all that lies beside it when a "
                "rollback purges Docker: take that script away, or install Docker yourself"
            )
        return EngineState(packages, there, "group" in known)

    @override
    def require_reversible(self, on: Transport) -> None:
        """What comes must lie where it is looked for."""
        if (root := self.root(on)) != DATA[0]:
            raise FactError(
                f"Docker's settings in {on.machine} name {root} for its data, and there is no "
                "Docker: install it yourself, or take that out; what it would bring there could "
                "not be rolled back"
            )

    @override
    def check(self, on: Transport) -> Drift | None:
        drift = self._packages.check(on)
        return drift if drift and on.ask(docker.DAEMON) in {"", *_DEBIANS} else None

    @override
    def apply(self, on: Transport, before: EngineState) -> None:
        if _in_tmp(on):
            aside = f"{_tmp()}.rolled-back-{time.time_ns()}-by-apply"
            on.run(["sh", "-c", _SPARE, "aside", _tmp(), aside]).require()
        self._packages.apply(on, before.packages)
        if not on.ask(_RUNS):  # its package starts it, unless a policy forbids that
            start_docker(on, timeout=_PATIENCE)

    @override
    def rollback(self, on: Transport, before: EngineState) -> str | None:
        nukes = {_NUKES, f"{DATA[0]}/{_NUKE}"} - set(before.there)
        first = f"{RESET}; rm -f -- {' '.join(sorted(nukes))}"
        require_no_other(on)  # to purge docker.io removes the links that start another one at boot
        replace(self._packages, first=first).rollback(on, before.packages)
        require_no_other(on)
        came = _outermost(set(self._there(on)) - set(before.there))
        held = on.look(["sh", "-c", _HELD, "held", *DATA]).require().text
        traces = _traces(on)
        if came:
            self._clear(on, came, held=bool(held))
        if not before.group:
            self._remove_group(on, traces)
        if _tmp() not in before.there:
            return None
        left = on.run(["sh", "-c", _PUT_BACK, "put_back", _tmp()]).require().text.splitlines()
        what = f"what has a newer file in its place in {_tmp()} in {on.machine} stays"
        return f"{what} in {', '.join(left)}" if left else None

    @override
    def restored(self, on: Transport, before: EngineState) -> bool:
        traces = _traces(on)
        group = "group" in traces if before.group else not traces
        there = self._there(on) == before.there
        return group and there and self._packages.restored(on, before.packages)

    def _there(self, on: Transport) -> tuple[str, ...]:
        return tuple(
            sorted(on.look(["sh", "-c", _LIST, "list", *LEFT]).require().text.splitlines())
        )

    @staticmethod
    def _clear(on: Transport, came: Sequence[str], *, held: bool) -> None:
        """Take away what was not there, or move it aside where it is the user's."""
        data = [path for path in came if path.startswith(DATA)]
        others = [path for path in came if path not in data]
        aside = f"rolled-back-{time.time_ns()}"  # beside it, the same file system: only a rename
        pairs = [("delete" if path == KEY else "empty", path) for path in others]
        pairs += [(aside if held else "delete", path) for path in data]
        words = ["sh", "-c", _CLEAR, "clear", *chain(*pairs)]
        done = on.run(words, timeout=_PATIENCE)
        theirs = "Docker brought it, and somebody put this there since: take it away first"
        done.require(theirs if done.exit_code == _SOMEBODYS else "")

    @staticmethod
    def _remove_group(on: Transport, traces: set[str]) -> None:
        if written := traces & set(_WRITTEN):
            on.run(["rm", "-f", "--", *sorted(written)]).require()
        known = traces - written
        if known == {"gshadow"}:  # half removed, and groupdel would know of no such group
            on.run(["groupadd", "--system", GROUP]).require()
        if known:
            on.run(["groupdel", GROUP]).require()

    @override
    def current(self, on: Transport) -> Any:
        return self._packages.current(on)

    @override
    def changed_since(self, now: Any, before: EngineState, after: Any) -> Drift | None:
        return self._packages.changed_since(now, before.packages, after)

    @override
    def side_effects(self, on: Transport, before: EngineState | None) -> list[SideEffect]:
        if before is None:
            moved = (
                f"what lies in {_tmp()} in {on.machine}, which Docker empties when it starts, is "
                f"moved to {_tmp()}.rolled-back-* until rollback"
            )
            theirs = [SideEffect("move what Docker would delete", moved)] if _in_tmp(on) else []
            return [*self._packages.side_effects(on, None), *theirs]
        goes = f"Docker goes from {on.machine}, which is restarted if Docker left something running"
        side_effects = [
            *self._packages.side_effects(on, before.packages),
            SideEffect("remove Docker", goes),
        ]
        # What lies in a directory that was there before stays in it.
        there = {place.removeprefix(f"{DATA[0]}/") for place in before.there}
        kinds = [kind for kind, folder in _FOLDERS.items() if folder not in there]
        if kinds and (held := docker.objects(on, kinds)):
            moved = (
                f"what Docker holds in {on.machine} is moved to {DATA[0]}.rolled-back-*, where no "
                f"Docker shows it: {held}"
            )
            side_effects.append(SideEffect("move what Docker holds", moved))
        return side_effects

    @property
    def _packages(self) -> Package:
        # Recommended packages are left out, so what is needed is named: since Debian 13 the
        # client is a package of its own, and no image is pulled without certificates.
        beside = ("docker-cli", "ca-certificates")
        return Package(self.id, self.title, self.requirement, "docker.io", beside, self.after)


def _tmp() -> str:
    return f"{DATA[0]}/{_TEMPORARY}"


def _in_tmp(on: Transport) -> bool:
    """Whether something lies where Docker keeps temporary files, and there is no Docker."""
    result = on.look(["find", _tmp(), "-mindepth", "1", "-print", "-quit"])
    return not on.ask(docker.DAEMON) and bool(result.text)


def is_in_the_kernel(on: Transport) -> bool:
    """Whether a Docker that was removed left its bridge, or files of its run."""
    left = ["sh", "-c", " || ".join(f"test -e {path}" for path in _RUNNING)]
    return not on.ask(docker.DAEMON) and on.look(left).ok


def _traces(on: Transport) -> set[str]:
    """Return what there is of Docker's group: which of its files know it, what is half written."""
    return set(on.look(["sh", "-c", _TRACES, "traces", GROUP, *_WRITTEN]).require().text.split())


def _outermost(paths: Iterable[str]) -> list[str]:
    """Return those that are in no other one; what tells of the user's data comes last."""
    unique = set(paths)
    outer = (path for path in unique if path.rpartition("/")[0] not in unique)
    telling = ("/containers", "/volumes", "/image")
    return sorted(outer, key=lambda path: (path.endswith(telling), path))
