"""Backups of a container and of its node's ``/etc``: found and judged.

An archive counts if it is recent, can be read to its end, holds what it is for, and (vzdump's)
has a log that says it was finished. Source: vzdump(1), pvesm(1), tar(1), and transcripts.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from targets.errors import FactError
from targets.runtime import container_config
from targets.transport import at_most

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from targets.transport import Transport

#: Where Proxmox's storage ``local`` keeps its backups, and we do where there is no Proxmox.
DUMP = "/var/lib/vz/dump"
#: How long an archive may take to be written or read to its end (seconds).
PATIENCE = 6 * 3600.0
#: An archive is named by the node's local time, which once a year goes back by this (seconds).
_CLOCK_GOES_BACK = 3600.0
HOUR = 3600.0

#: One line a storage: name, type, status, directory. vzdump's name decides the directory; no
#: such file need exist. A backup server's storage has none: what it lists follows, each line after
#: a dash, or in the directory's place what it said instead. Last, where we put backups ourselves.
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
#: The node's time and name, what a Proxmox keeps in /etc (not there while pmxcfs is not mounted),
#: the archives, and the times in their names.
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
_ERROR = re.compile(r"(^|\s)ERROR: ")
#: A container's backup on a server, as pvesm lists it: its volume with the time in UTC, and its
#: size. Source: PVE::Storage::PBSPlugin.
_VOLUME = re.compile(r"- (\S+:backup/ct/[0-9]+/(\S+Z)) +pbs-ct +backup +([0-9]+) ")
#: What is listed as the size of a backup that the server has no size of: it was not finished.
_NO_SIZE = 1
_STAMPED = re.compile(r"-\d{4}(_\d\d){2}-\d\d(_\d\d){2}\.tar(\.[a-z0-9]+)?$", re.ASCII)
#: What vzdump may print and log while it works, and tar complain of (bytes).
LONGEST = 64 << 20
#: Lists the members asked for, and so reads to the end. Of an uncompressed archive tar takes any
#: end for the end: there the last two blocks must be zero, as every tar writes them.
_LIST = """
case $1 in *.tar)
    [ "$(tail -c 1024 -- "$1" | tr -d '\\0' | wc -c)" -eq 0 ] || {
        echo "it is cut off: no end of archive" >&2
        exit 2
    }
esac
file=$1; shift
LC_ALL=C exec nice -n 19 tar --list --no-recursion --force-local --file="$file" -- "$@"
"""
#: Prints the container's configuration in an archive, of which it stands at the beginning.
_CONFIGURATION = """
LC_ALL=C nice -n 19 tar --extract --to-stdout --occurrence=1 --force-local --file="$1" -- \\
    ./etc/vzdump/pct.conf 2>/dev/null | head -c 100000
"""


@dataclass(frozen=True)
class Backup:
    """One archive.

    ``size`` is in bytes, ``age`` in seconds by the node's clock. ``holds`` are the members
    without which it is not what its name says; ``finished`` is what its log must say.
    """

    path: str
    size: int
    age: float
    holds: tuple[str, ...]
    finished: str = ""

    def __str__(self) -> str:
        """Its path, age and size, for a reader."""
        return f"{self.path} ({self.age / HOUR:.1f} h old, {self.size / (1 << 20):.1f} MiB)"


@dataclass(frozen=True)
class Backups:
    """What was found, newest first, and where.

    ``remote`` are the container's on a Proxmox Backup Server: listed, but not to be read from the
    node. ``servers`` are those storages, ``unasked`` the ones that said nothing.
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
    """What ``pvesm`` says; ``volumes`` with the second each was made in, and its size."""

    places: list[str]
    unasked: list[str] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)
    volumes: list[tuple[str, float, int]] = field(default_factory=list)


def find(node: Transport, ctid: int, directory: str = "") -> Backups:
    """Return the backups of a container and of its node's ``/etc``; nothing is judged yet.

    Args:
        node: where they are looked for.
        ctid: the container.
        directory: where backups are kept; empty: wherever Proxmox's storages keep them.

    Raises:
        FactError: the listing cannot be read.
    """
    where = _Storages([directory]) if directory else _storages(node, ctid)
    argv = ["sh", "-c", _FIND, "find", str(ctid), "/etc/pve", *where.places]
    answer = node.run(argv).require().text
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
    if not all(math.isfinite(each.age) for each in (*container, *etc)):  # all of them would count
        raise FactError(
            f"on {node.machine}: a time in the list of backups is none: {answer!r:.500}"
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
    """Return where Proxmox keeps backups; ours have a place beside them, or instead."""
    answer = node.run(["sh", "-c", _STORAGES, "storages", str(ctid), DUMP], timeout=180)
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


def sound(
    node: Transport, found: Sequence[Backup], hours: float, of: str = ""
) -> tuple[Backup | None, tuple[str, ...]]:
    """Return the newest archive that counts, and why each newer one does not.

    Args:
        node: where they are.
        found: newest first.
        hours: how old one may be.
        of: the configuration of the container that they have to be of; empty: of the node.
    """
    defects: list[str] = []
    for backup in found:
        defect = next(_defects(node, backup, hours, of), "")
        if not defect:
            return backup, tuple(defects)
        defects.append(f"{backup.path} {defect}")
    return None, tuple(defects)


def listed(found: Sequence[Backup], hours: float) -> tuple[Backup | None, tuple[str, ...]]:
    """Return the newest that counts by its age and size alone, and why each newer one does not."""
    defects: list[str] = []
    for backup in found:
        defect = next(_listed_defects(backup, hours), "")
        if not defect:
            return backup, tuple(defects)
        defects.append(f"{backup.path} {defect}")
    return None, tuple(defects)


def _defects(node: Transport, backup: Backup, hours: float, of: str = "") -> Iterator[str]:
    """Yield what is wrong with an archive; what is asked last takes longest."""
    yield from _listed_defects(backup, hours)
    if backup.finished:
        yield from _log_defects(node, backup)
    yield from _archive_defects(node, backup)
    if of:
        yield from _anothers(node, backup, of)


def _anothers(node: Transport, backup: Backup, of: str) -> Iterator[str]:
    """Yield that an archive is of another container: a name of a file can be given to any."""
    told = node.run(["sh", "-c", _CONFIGURATION, "configuration", backup.path], timeout=PATIENCE)
    kept, ours = _identity(told.text), _identity(of)
    if kept and ours and not kept & ours:
        yield f"is of another container: {', '.join(sorted(kept))}"


def _identity(text: str) -> frozenset[str]:
    """Return what no two containers share, as far as a configuration has it."""
    plain = container_config.parse_lxc("", text.partition("\n[")[0]).current()
    options = plain | container_config.parse("", text).current()
    named = {
        "hostname": options.get("hostname") or options.get("lxc.uts.name", ""),
        "root file system": options.get("lxc.rootfs.path")
        or options.get("rootfs", "").partition(",")[0],
    }
    found = {f"{what} {value}" for what, value in named.items() if value}
    for key, value in options.items():
        if key.startswith("lxc.net.") and key.endswith(".hwaddr"):
            found.add(f"address {value.upper()}")
        elif re.fullmatch(r"net[0-9]+", key):
            found |= {f"address {each.upper()}" for each in re.findall(r"hwaddr=([^,]+)", value)}
    return frozenset(found)


def _listed_defects(backup: Backup, hours: float) -> Iterator[str]:
    if backup.age > hours * HOUR:
        yield f"is {backup.age / HOUR:.1f} h old, and {hours:g} h are allowed"
    if backup.age < -_CLOCK_GOES_BACK:
        yield f"is dated {-backup.age / HOUR:.1f} h in the future: a clock is wrong"
    if backup.size <= _NO_SIZE:
        yield "is empty"


def _log_defects(node: Transport, backup: Backup) -> Iterator[str]:
    path = re.sub(r"\.tar(\.\w+)?$", ".log", backup.path)
    with at_most(LONGEST):
        content = node.read(path)
    if content is None:
        yield f"has no log beside it ({path}): nothing says that it was finished"
        return
    lines = [line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()]
    yield from (f"has an error in its log: {line}" for line in lines if _ERROR.search(line))
    if not any(re.search(rf"{backup.finished}\b", line) for line in lines[-5:]):
        yield f"was not finished: its log ends with '{lines[-1] if lines else ''}'"


def _archive_defects(node: Transport, backup: Backup) -> Iterator[str]:
    argv = ["sh", "-c", _LIST, "list", backup.path, *backup.holds]
    with at_most(LONGEST):
        listed = node.run(argv, timeout=PATIENCE)
    said = [line for line in listed.stderr.decode(errors="replace").splitlines() if line.strip()]
    if any(re.search("Cannot exec|Cannot open|Permission denied|: not found$", s) for s in said):
        raise FactError(f"on {node.machine}: {backup.path} cannot be opened: {said[0]}")
    if missing := [m[1] for s in said if (m := re.match(r"tar: (.+): Not found in archive", s))]:
        yield f"can be read to its end, but does not hold {', '.join(missing)}"
    elif not listed.ok:
        yield f"cannot be read to its end: {said[0] if said else listed.exit_code}"
