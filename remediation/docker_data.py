"""Whether a backup of a container holds Docker's data, which often has a mount point of its own.

Docker need not run: its settings say where its data is, and the container's mounts say on which
file system that is. If the container is stopped, its archive is read. Source: moby volume/local
(``opts.json``) and volume/service (``metadata.db``).
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import docker
from docker_lxc_gate.facts.backup_archives import LONGEST
from docker_lxc_gate.formats import mount_table
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.transport import Transport
from remediation import desired
from remediation.edits.daemon_json import data_root

if TYPE_CHECKING:
    from docker_lxc_gate.formats.mount_table import Mount
    from docker_lxc_gate.machines.runtime.base import Runtime

_PLACES = program("remediation", "docker_places.sh")
_IN_ARCHIVE = program("remediation", "docker_in_archive.sh")
_DEVICE = patterns.compile(r'"MountDevice":"(/[^"]*)"')
_CONTAINERD = "/var/lib/containerd"
#: The limit for directories of data, each of which is looked up in the table of mounts, and for
#: files of an archive that may name one; the exit code if an archive has more.
_MOST, _TOO_MANY = 100, 3
#: How long an archive may be searched for these files (seconds).
_PATIENCE = 1800.0


def judged(
    runtime: Runtime, ctid: int, left: Mapping[str, str], archive: str = ""
) -> tuple[str, str]:
    """Return what a backup lacks of Docker's data and what to do, and where that data is.

    ``left`` is what the backup leaves out (:func:`docker_lxc_gate.facts.backup_archives.left_out`).
    The archive is empty if it is on another machine. Of a container that is
    stopped, only Docker's usual directories are then judged. Raises RemediationError if the
    container or the archive does not say where Docker's data is.
    """
    if not left:
        return "", ""
    if runtime.state(ctid) == "running":
        lost, known = on_places(runtime.inside(ctid), left)
    elif archive:
        lost, known = in_archive(runtime.node, archive, left)
    else:
        lost, known = _usual(left)
    lacks = (
        f"does not hold {shown({place: left[place] for place in lost})}, where Docker's data or a "
        f"volume is ({known}). Give that mount point backup=1 (pct set), then back up again; what "
        "is not a volume of Proxmox's is in no backup of the container: back it up by itself"
    )
    return lacks if lost else "", known


def shown(left: Mapping[str, str]) -> str:
    """Return what a backup leaves out, and why, in words."""
    return ", ".join(f"{place} ({why})" for place, why in left.items())


def on_places(inside: Transport, places: Collection[str]) -> tuple[list[str], str]:
    """Return which of these places in a running container have data, and how that is known."""
    answer = inside.ask(docker.DRIVER_AND_ROOT)
    _, _, root = answer.text.strip().partition(" ")
    how = "as Docker says"
    if not (answer.ok and root.startswith("/")):
        if docker.is_absent(inside):
            return _usual(places)
        root, how = _by_settings(inside.read(desired.DAEMON_JSON))
        for option, value in inside.ask(docker.OPTIONS_ELSEWHERE):
            if option != "--userns-remap":  # which keeps the data below the same directory
                root, how = posixpath.normpath(value), f"by its option {option}"
    text = inside.look(["sh", "-c", _PLACES, "places", root, _CONTAINERD]).require().text
    paths, _, table = text.partition("\n\n")
    mounts = mount_table.parse(table, f"the mounts of {inside.machine}")
    data = dict.fromkeys(line for line in paths.splitlines() if line.startswith("/"))
    if len(data) > _MOST:
        raise _too_many(inside.machine, places)
    on = {path: mount_table.below(mounts, path) for path in (*data, *places)}
    disks = [_disk(on[path], path) for path in data]
    disks += [_disk(m, m.place) for m in mounts if any(_is_below(m.place, path) for path in data)]

    def is_lost(place: str) -> bool:
        here = _disk(on[place], place)
        return any(
            _is_below(place, path)
            or (_is_below(path, place) and _is_below(place, on[path].place))  # no mount in between
            for path in data
        ) or any(here and _is_below(disk, here) for disk in disks)

    return list(filter(is_lost, places)), _known(root, how)


def in_archive(node: Transport, archive: str, places: Collection[str]) -> tuple[list[str], str]:
    """Return which of these places have data by the settings in a container's archive."""
    argv = ["sh", "-c", _IN_ARCHIVE, "in", archive, str(_MOST)]
    told = node.look(argv, timeout=_PATIENCE, limit=LONGEST)
    if told.exit_code == _TOO_MANY:
        raise _too_many(f"on {node.machine}: {archive}", places)
    words = told.require().stdout.decode(errors="replace").split("\0")
    held = dict(zip(words[::2], words[1::2], strict=False))
    if not any(name.endswith("/dockerd") for name in held):
        return _usual(places)
    settings = held.get(f".{desired.DAEMON_JSON}")
    root, how = _by_settings(None if settings is None else settings.encode())
    options = "".join(held[name] for name in held if name.startswith(f".{root}/"))
    lost = _near((root, _CONTAINERD, *_DEVICE.findall(options)), places)
    fstab = [[*line.split(), "", ""][1] for line in held.get("./etc/fstab", "").splitlines()]
    bound = any(_is_below(root, target) for target in fstab if target.strip("/"))
    if not lost and (bound or f".{root}/volumes/metadata.db" not in held):
        raise FactError(
            f"on {node.machine}: Docker's data would be in {root}, {how}, and {archive} does not "
            f"hold it there, so whether it is in {', '.join(places)} is not known: start the "
            "container, then run this again"
        )
    return lost, _known(root, how)


def _too_many(machine: str, places: Collection[str]) -> FactError:
    return FactError(
        f"{machine} may have Docker's volumes in more than {_MOST} directories, so whether one is "
        f"in {', '.join(places)} is not known"
    )


def _by_settings(settings: bytes | None) -> tuple[str, str]:
    """Return the directory of Docker's data by its settings file, and how it is known."""
    root = data_root(settings)
    return root, "by default" if root == desired.DATA_ROOT else f"by {desired.DAEMON_JSON}"


def _known(root: str, how: str) -> str:
    return f"Docker's data is in {root}, {how}"


def _usual(places: Collection[str]) -> tuple[list[str], str]:
    """Judge by Docker's usual directories: a Docker that was removed may have left its data."""
    return _near((desired.DATA_ROOT, _CONTAINERD), places), _known(desired.DATA_ROOT, "by default")


def _near(data: Iterable[str], places: Iterable[str]) -> list[str]:
    """Return the places that are below one of the directories of data, or the other way round."""
    whole = tuple(data)
    return [p for p in places if any(_is_below(p, d) or _is_below(d, p) for d in whole)]


def _is_below(path: str, other: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{other.rstrip('/')}/")


def _disk(on: Mount, path: str) -> str:
    """Return the file system of a directory and the path there; empty for the root file system.

    Each backup holds the root file system, wherever else it is mounted.
    """
    inner = posixpath.normpath(f"{on.root}/{posixpath.relpath(path, on.place)}")
    return "" if on.place == "/" else f"{on.device}:{inner}"
