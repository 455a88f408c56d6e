"""Backups of a container and of its node's ``/etc``: all of them, and the newest that counts.

:mod:`facts.backup_archives` decides whether one counts. Source: vzdump(1), pvesm(1), tar(1),
transcripts.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from facts import backup_archives
from facts.backup_archives import Backup
from targets.errors import FactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.transport import Transport

#: The directory of Proxmox's storage ``local``; without Proxmox, our own backups go there.
DUMP = "/var/lib/vz/dump"

#: Prints one line a storage: name, type, status, directory. pvesm derives the directory from the
#: name of a backup that need not exist. A backup server has no directory: its backups follow, each
#: line after a dash, or its error stands in place of the directory. The last line is our own place.
_STORAGES = """
set -e
[ -z "$(command -v pvesm)" ] || listing=$(pvesm status --content backup)
printf '%s\\n' "$listing" | while read -r name type status _; do
    [ "$name" != Name ] && [ -n "$name" ] || continue
    place= volumes=
    if [ "$status" = active ] && [ "$type" = pbs ]; then
        volumes=$(pvesm list "$name" --content backup --vmid "$1" 2>&1 </dev/null) || {
            status=unlisted place=$(printf %s "$volumes" | head -n 1) volumes=
        }
    elif [ "$status" = active ]; then
        place=$(pvesm path "$name:backup/vzdump-lxc-$1-2000_01_01-00_00_00.tar.zst" </dev/null)
        place=${place%/*}
    fi
    echo "$name $type $status $place"
    printf '%s\\n' "$volumes" | sed 's/^/- /'
done
echo "local dir active $2"
"""
#: Prints the node's time and name, the member that a Proxmox backup of /etc must hold (absent while
#: pmxcfs is not mounted), the archives, and the times in their names.
_FIND = """
set -e
ctid=$1 pve=$2 host=$(uname -n) host=${host%%.*}; shift 2
for place; do
    shift
    [ ! -d "$place" ] || set -- "$@" "$place"
done
date +%s; echo "$host"; [ ! -d "$pve" ] || echo etc/pve/lxc; echo
[ $# -gt 0 ] || exit 0
files=$(find -L "$@" -maxdepth 1 -type f -regextype posix-extended \
    -regex '.*\\.tar(\\.(zst|gz|lzo|xz|bz2))?' \
    \\( -name "vzdump-lxc-$ctid-*" -o -name "etc-$host-*" \\) -printf '%s %T@ %p\\n')
d='([0-9][0-9])'
printf '%s\\n\\n' "$files"
printf '%s\\n' "$files" | sed -nE "s/^.*-([0-9]{4})_${d}_$d-${d}_${d}_$d\\.tar(\\.[a-z0-9]+)?$/\
\\1-\\2-\\3 \\4:\\5:\\6/p" | date -f - +%s
"""
#: A container's backup on a server, as pvesm lists it: the volume with its time in UTC, and the
#: size. Source: PVE::Storage::PBSPlugin.
_VOLUME = re.compile(r"- (\S+:backup/ct/[0-9]+/(\S+Z)) +pbs-ct +backup +([0-9]+) ")
_STAMPED = re.compile(r"-\d{4}(_\d\d){2}-\d\d(_\d\d){2}\.tar(\.[a-z0-9]+)?$", re.ASCII)


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

    Args:
        node: the node to search.
        ctid: the container.
        directory: the only directory to search; empty: all of Proxmox's storages.

    Raises:
        FactError: the listing cannot be read.
    """
    where = _Storages([directory]) if directory else _storages(node, ctid)
    argv = ["sh", "-c", _FIND, "find", str(ctid), "/etc/pve", *where.places]
    answer = node.look(argv).require().text
    container: list[Backup] = []
    etc: list[Backup] = []
    try:
        (now, host, *pve), files, times = (part.splitlines() for part in _three(answer))
        stamps = iter(times)
        for size, changed, path in (line.split(" ", 2) for line in files):
            made = next(stamps) if _STAMPED.search(path) else changed
            common = (path, int(size), float(now) - float(made))
            if path.rpartition("/")[2].startswith("etc-"):
                etc.append(Backup(*common, ("etc", *pve)))
            else:
                finished = f"Finished Backup of VM {ctid}"
                container.append(Backup(*common, ("./etc/vzdump/pct.conf", "./etc"), finished))
    except (ValueError, OverflowError, StopIteration) as error:
        why = f"on {node.machine}: the list of backups cannot be read: {answer!r:.500}"
        raise FactError(why) from error
    if not all(math.isfinite(each.age) for each in (*container, *etc)):  # NaN is never too old
        raise FactError(
            f"on {node.machine}: the list of backups has an invalid time: {answer!r:.500}"
        )
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


def _three(answer: str) -> Sequence[str]:
    return [*answer.split("\n\n", 2), "", ""][:3]


def _newest(found: list[Backup]) -> tuple[Backup, ...]:
    return tuple(sorted(found, key=lambda backup: (backup.age, backup.path)))


def _storages(node: Transport, ctid: int) -> _Storages:
    """Return where Proxmox keeps backups, and the directory of our own."""
    answer = node.look(["sh", "-c", _STORAGES, "storages", str(ctid), DUMP], timeout=180)
    found = _Storages([])
    for line in filter(str.strip, answer.require().text.splitlines()):
        try:
            if line.startswith("- "):
                if volume := _VOLUME.match(line):
                    made = datetime.fromisoformat(volume[2]).timestamp()
                    found.volumes.append((volume[1], made, int(volume[3])))
                continue
            name, kind, status, *place = line.split(None, 3)
        except (ValueError, OverflowError) as error:
            why = f"on {node.machine}: the list of storages cannot be read: {line!r:.200}"
            raise FactError(why) from error
        if place and place[0].startswith("/"):
            found.places.append(place[0])
        elif (kind, status) == ("pbs", "active"):
            found.servers.append(name)
        elif status != "disabled":
            found.unasked.append(f"{name} ({', '.join((kind, status, *place))})")
    return found


def newest_sound(
    node: Transport, found: Sequence[Backup], hours: float, of: str = ""
) -> tuple[Backup | None, tuple[str, ...]]:
    """Return the newest archive that counts, and why each newer one does not.

    Args:
        node: the machine that has them.
        found: newest first.
        hours: the greatest age allowed.
        of: the configuration of the container that they must belong to; empty for the node's /etc.
    """
    defects: list[str] = []
    for backup in found:
        defect = next(backup_archives.defects(node, backup, hours, of), "")
        if not defect:
            return backup, tuple(defects)
        defects.append(f"{backup.path} {defect}")
    return None, tuple(defects)


def newest_listed(found: Sequence[Backup], hours: float) -> tuple[Backup | None, tuple[str, ...]]:
    """Return the newest archive with a good age and size, and why each newer one does not count."""
    defects: list[str] = []
    for backup in found:
        defect = next(backup_archives.listed_defects(backup, hours), "")
        if not defect:
            return backup, tuple(defects)
        defects.append(f"{backup.path} {defect}")
    return None, tuple(defects)
