"""Backups of a container and of its node's ``/etc``: all of them, and the newest that counts.

:mod:`docker_lxc_gate.facts.backup_archives` decides whether one counts. Source: vzdump(1),
pvesm(1), tar(1), transcripts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.backup_archives import Backup
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.transport import Transport

#: The directory of Proxmox's storage ``local``; without Proxmox, the lab's go there.
DUMP = "/var/lib/vz/dump"

_STORAGES = program("docker_lxc_gate.facts", "backup_storages.sh")
_FIND = program("docker_lxc_gate.facts", "find_backups.sh")
#: What the archive of a container holds, whatever is in the container.
_HOLDS = ("./etc/vzdump/pct.conf", "./etc", "./usr")
#: A container's backup on a server, as pvesm lists it: the volume with its time in UTC, and the
#: size. Source: PVE::Storage::PBSPlugin.
_VOLUME = patterns.compile(r"- (\S+:backup/ct/[0-9]+/(\S+Z)) +pbs-ct +backup +([0-9]+) ")


@dataclass(frozen=True)
class Backups:
    """The backups, newest first, and the places that were searched.

    ``remote`` are the container's backups on a Proxmox Backup Server, which the node can list but
    not read. ``servers`` are such storages. ``unasked`` are the storages that gave no list.
    """

    host: str
    container: tuple[Backup, ...]
    etc: tuple[Backup, ...]
    places: tuple[str, ...]
    unasked: tuple[str, ...] = ()
    remote: tuple[Backup, ...] = ()
    servers: tuple[str, ...] = ()


@dataclass
class _Storages:
    """The output of ``pvesm``; each of ``volumes`` with its Unix time and its size."""

    places: list[str]
    unasked: list[str] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)
    volumes: list[tuple[str, float, int]] = field(default_factory=list)


def find(node: Transport, ctid: int, directory: str = "") -> Backups:
    """Return the backups of a container and of its node's ``/etc``, good and bad ones.

    Without a ``directory``, all of Proxmox's storages are searched. Raises FactError if the listing
    cannot be read.
    """
    where = _Storages([directory]) if directory else _storages(node, ctid)
    argv = ["sh", "-c", _FIND, "find", str(ctid), "/etc/pve", *where.places]
    answer = node.look(argv).require().text
    container: list[Backup] = []
    etc: list[Backup] = []
    try:
        (now, host, *pve), files = (part.splitlines() for part in answer.split("\n\n"))
        for size, made, path in (line.split(" ", 2) for line in files):
            common = (path, int(size), float(now) - float(made))
            if path.rpartition("/")[2].startswith("etc-"):
                etc.append(Backup(*common, ("etc", "etc/shadow", *pve)))
            else:
                finished = f"Finished Backup of VM {ctid}"
                container.append(Backup(*common, _HOLDS, finished))
    except ValueError as error:
        why = f"on {node.machine}: the list of backups cannot be read: {answer!r:.500}"
        raise FactError(why) from error
    remote = [Backup(path, size, float(now) - at, ()) for path, at, size in where.volumes]
    return Backups(
        host,
        _newest(container),
        _newest(etc),
        tuple(dict.fromkeys(where.places)),
        tuple(where.unasked),
        _newest(remote),
        tuple(where.servers),
    )


def _newest(backups: list[Backup]) -> tuple[Backup, ...]:
    return tuple(sorted(backups, key=lambda backup: (backup.age, backup.path)))


def _storages(node: Transport, ctid: int) -> _Storages:
    """Return where Proxmox keeps backups, and the directory of our own."""
    answer = node.look(["sh", "-c", _STORAGES, "storages", str(ctid), DUMP], timeout=180)
    storages = _Storages([])
    for line in filter(str.strip, answer.require().text.splitlines()):
        try:
            if line.startswith("- "):
                if volume := _VOLUME.match(line):
                    made = datetime.fromisoformat(volume[2]).timestamp()
                    storages.volumes.append((volume[1], made, int(volume[3])))
                continue
            name, kind, status, *place = line.split(None, 3)
        except (ValueError, OverflowError) as error:
            why = f"on {node.machine}: the list of storages cannot be read: {line!r:.200}"
            raise FactError(why) from error
        if place and place[0].startswith("/"):
            storages.places.append(place[0])
        elif (kind, status) == ("pbs", "active"):
            storages.servers.append(name)
        elif status != "disabled":
            storages.unasked.append(f"{name} ({', '.join((kind, status, *place))})")
    return storages


def newest_sound(
    archives: Sequence[Backup], defects_of: Callable[[Backup], Iterator[str]]
) -> tuple[Backup | None, tuple[str, ...]]:
    """Return the newest archive without a defect, and why each newer one does not count.

    ``archives`` has the newest first; ``defects_of`` is of
    :mod:`docker_lxc_gate.facts.backup_archives`.
    """
    defects: list[str] = []
    for backup in archives:
        if not (defect := next(defects_of(backup), "")):
            return backup, tuple(defects)
        defects.append(f"{backup.path} {defect}")
    return None, tuple(defects)
