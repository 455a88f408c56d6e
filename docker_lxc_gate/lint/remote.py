"""The files of a target: those of its node, and Docker's settings in its containers.

The node and above all the container may be hostile: names and contents are foreign bytes, files
are of a limited size and number, and no link is followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from docker_lxc_gate.errors import FactError, RemediationError
from docker_lxc_gate.lint.discover import MOST_BYTES, MOST_FILES, PARTS, Found, as_source
from docker_lxc_gate.lint.finding import Kind, Source
from docker_lxc_gate.machines.read import ABSENT
from docker_lxc_gate.machines.regular_file import LARGEST
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.printable import cut

_BASE = "/etc/apparmor.d"
#: Where the files of a node are: the place, how deep below it, and the names (find's patterns).
_APPARMOR = (_BASE, 3, "*")
_DOCKER = (
    ("/etc/docker", 1, "daemon.json"),
    ("/lib/systemd/system", 1, "docker.service"),
    ("/etc/systemd/system", 1, "docker.service"),
    ("/etc/systemd/system/docker.service.d", 1, "*.conf"),
)
#: A list of names may be so long (bytes).
_LONGEST = 8 << 20
#: A guest has no more files of Docker's than that, unless it wants to keep us busy.
_MOST_IN_GUEST = 100


def of_container(runtime: Runtime, ctid: int, repository: str) -> Found:
    """Return what is linted of one container: its configuration, its node's profiles, its Docker.

    Phoenix's ``repository`` on the node may hold profiles, too, and may be absent. Raises FactError
    if there is no such container on the node, or a file cannot be read.
    """
    path = runtime.config_path(ctid)
    content = runtime.node.read(path)
    if content is None:
        raise FactError(f"there is no container {ctid} on {runtime.node.machine}: no {path}")
    kind = Kind.CONTAINER if runtime.kind == "pct" else Kind.LXC
    found = Found([Source(path, content, kind)])
    found.add(_of_node(runtime.node, repository))
    _add_docker(found, runtime, ctid)
    return found


def of_node(runtime: Runtime, repository: str) -> Found:
    """Return what is linted of a node: the configurations of all containers, and the profiles."""
    pct = runtime.kind == "pct"
    place = ("/etc/pve/lxc", 1, "*.conf") if pct else ("/var/lib/lxc", 2, "config")
    found = Found(list(_sources(runtime.node, [place])))
    found.add(_of_node(runtime.node, repository))
    if not found.sources:
        raise FactError(
            f"there is nothing to lint on {runtime.node.machine}: is it a Proxmox host?"
        )
    return found


def _of_node(node: Transport, repository: str) -> Found:
    return Found(list(_sources(node, [_APPARMOR, (f"{repository}/etc", 2, "*")])))


def _add_docker(found: Found, runtime: Runtime, ctid: int) -> None:
    path, what = runtime.config_path(ctid), "Docker's settings in it were not linted"
    if runtime.state(ctid) != "running":
        cause = f"container {ctid} does not run: {what}"
        found.miss("not-checked", path, cause, "Start it, and lint again.")
        return
    try:
        for source in [*_sources(runtime.inside(ctid), _DOCKER, most=_MOST_IN_GUEST)]:
            if source.kind in {Kind.UNIT, Kind.DAEMON}:
                found.take(replace(source, path=f"container {ctid}:{source.path}"))
    except RemediationError as error:
        cause = f"container {ctid}: {what}: {error}"
        found.miss("not-checked", path, cause, "Lint in the container.")


def _sources(
    on: Transport, places: Iterable[tuple[str, int, str]], *, most: int = MOST_FILES
) -> Iterator[Source]:
    listed = [path for place in places for path in _listed(on, *place)]
    if len(listed) > most:
        raise FactError(f"on {on.machine}: there are more than {most} files to lint")
    size = 0
    for path in filter(_wanted, dict.fromkeys(listed)):
        if (content := on.read(path)) is None:
            continue
        base = _BASE if path.startswith(f"{_BASE}/") else ""
        size += len(content)
        if size > MOST_BYTES:
            raise FactError(f"on {on.machine}: there is more than {MOST_BYTES >> 20} MiB to lint")
        source = as_source(path, PurePosixPath(path), base, content)
        if source and len(content) <= LARGEST:
            yield source


def _wanted(path: str) -> bool:
    """Whether a file is one that is linted; of AppArmor's abstractions those of LXC are."""
    place = PurePosixPath(path)
    if any(part.startswith(".") for part in place.parts):
        return False
    if not path.startswith(f"{_BASE}/"):
        return True
    parts = place.relative_to(_BASE).parts
    return len(parts) == 1 or (
        parts[0] in PARTS and (parts[0] != "abstractions" or parts[1] == "lxc")
    )


def _listed(on: Transport, place: str, depth: int, names: str) -> list[str]:
    """Return the path of each regular file below a place; none if it is absent."""
    argv = ["find", "-H", place, "-maxdepth", str(depth), "-type", "f", "-name", names]
    argv += ["-size", f"-{LARGEST // 512}", "-print0"]
    told = on.run(["env", "LC_ALL=C", *argv], limit=_LONGEST)
    if not told.ok and ABSENT not in told.stderr:
        cause = cut(told.stderr.decode(errors="replace").strip(), 200)
        raise FactError(f"on {on.machine}: the files below {place} cannot be listed: {cause}")
    paths = told.stdout.decode("utf-8", "surrogateescape").split("\0")
    return [path for path in paths if path.startswith("/")]
