"""One archive of a backup, and its defects.

An archive counts if it is recent. If it is to be read, it must be readable to its end, and have the
required members. One of vzdump's must also have a log that says it was finished. Source: vzdump(1),
tar(1), transcripts.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats import container_config, pct_options
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.transport import Transport

#: How long an archive may take to be written or read to its end (seconds).
PATIENCE = 6 * 3600.0
HOUR = 3600.0
#: What vzdump logs of a directory that its archive lacks. Source: PVE::VZDump::LXC (prepare) of
#: pve-container 6.1.10.
_EXCLUDED = patterns.compile(
    r"(?:\S+ \S+ )?INFO: excluding \w+ mount point (\w+) \('(/.*)'\) from backup \((.+)\)"
)
_ERROR = patterns.compile(r"(^|\s)ERROR: ")
#: The size that a backup server lists for an unfinished backup.
_NO_SIZE = 1
#: Limit for vzdump's output and log, and for tar's messages (bytes).
LONGEST = 64 << 20
_LIST = program("docker_lxc_gate.facts", "list_archive.sh")
_FILES = program("docker_lxc_gate.facts", "archived_files.sh")
#: What a container may have that its backup must hold, too, unless the backup is older: it is made
#: once, and lies where people exclude a whole directory.
_MEMBERS = (
    *("/usr/bin", "/usr/lib/os-release", "/usr/share", "/etc/hostname", "/etc/passwd"),
    *("/var/lib/dpkg/info", "/var/lib/rpm", "/lib/apk/db", "/var/lib/docker/volumes/metadata.db"),
    *("/var/lib/docker/fuse-overlayfs/l", "/var/lib/docker/overlay2/l"),
    "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db",
)
_AGED = patterns.compile(r"(/\S+) (-?[0-9]{1,15})")
_ARCHIVED = program("docker_lxc_gate.facts", "archived_file.sh")


@dataclass(frozen=True)
class Backup:
    """One archive.

    ``size`` is in bytes, ``age`` in seconds by the node's clock. ``holds`` are the required
    members; ``finished`` is a line that its log must have.
    """

    path: str
    size: int
    age: float
    holds: tuple[str, ...]
    finished: str = ""

    def __str__(self) -> str:
        """Return its path, age and size."""
        return f"{self.path} ({self.age / HOUR:.1f} h old, {self.size / (1 << 20):.1f} MiB)"


def expected(archives: Sequence[Backup], runtime: Runtime, ctid: int) -> tuple[Backup, ...]:
    """Return the archives of a container with what they must hold, as it says if it runs.

    One without a shell or its programs does not, as an application's. Raises FactError if another
    container does not say so.
    """
    if not archives or runtime.state(ctid) != "running":
        return tuple(archives)
    answer = runtime.inside(ctid).look(["sh", "-c", _FILES, "files", *_MEMBERS], timeout=180)
    if answer.exit_code == 127:  # noqa: PLR2004 - no such program
        return tuple(archives)
    matches = [_AGED.fullmatch(line) for line in answer.require().text.splitlines()]
    if not matches or None in matches:
        raise FactError(f"{answer.machine} does not say which files it has: {answer.text!r:.200}")
    ages = {match[1]: int(match[2]) for match in matches if match}

    def held(backup: Backup) -> list[str]:
        return [f".{path}" for path in _MEMBERS if path in ages and ages[path] > backup.age]

    return tuple(replace(b, holds=(*b.holds, *held(b))) for b in archives)


def defects(
    node: Transport, backup: Backup, hours: float, of: str = "", *, read: bool = True
) -> Iterator[str]:
    """Yield the defects of an archive; the slowest checks come last.

    It may be ``hours`` old, and must be of the container with the configuration ``of``, or of the
    node with that name. To ``read`` it to its end takes as long as the backup did. Raises FactError
    if it cannot be opened.
    """
    yield from listed_defects(backup, hours)
    if backup.finished:
        yield from _log_defects(node, backup)
    if of:
        yield from (_anothers if backup.finished else _another_nodes)(node, backup, of)
    if read:
        yield from _archive_defects(node, backup)


def listed_defects(backup: Backup, hours: float) -> Iterator[str]:
    """Yield the defects that its age (at most ``hours``) and its size show."""
    if backup.age > hours * HOUR:
        yield f"is {backup.age / HOUR:.1f} h old, and {hours:g} h are allowed"
    if backup.age < -HOUR:  # its name has the local time, which once a year goes back by this
        yield f"is dated {-backup.age / HOUR:.1f} h in the future: a clock is wrong"
    if backup.size <= _NO_SIZE:
        yield "is empty"


def left_out(written: str, node: Transport, backup: Backup | None = None) -> dict[str, str]:
    """Return each directory of a container that a backup does not hold, and why.

    The configuration, as ``written`` now, says it, since a mount point may be newer than the
    backup; so does the archive's log. Without a ``backup``, it is of one that the node cannot read.
    """
    config, reasons = container_config.parse("", written), dict[str, str]()
    for place, (key, given) in container_config.mount_points(config).items():
        if any(word.startswith("/") for word in (given.get("volume", ""), *given)):
            reasons[place] = f"{key}, not a volume"
        elif not pct_options.boolean(given.get("backup", "")):
            reasons[place] = f"{key}, disabled"
    for entry in config.all("lxc.mount.entry"):
        target = [*entry.value.split(), "", ""][1]
        place = posixpath.normpath(f"/{target}")
        ignored = not target or target.startswith("/")  # by LXC
        if not ignored and not f"{place}/".startswith(("/dev/", "/proc/", "/sys/")):
            reasons[place] = "lxc.mount.entry"
    for line in (_log(node, backup) or ()) if backup else ():
        if match := _EXCLUDED.fullmatch(line):
            reasons[posixpath.normpath(match[2])] = f"{match[1]}, {match[3]}"
    return reasons


def _log(node: Transport, backup: Backup) -> list[str] | None:
    content = node.read(_log_path(backup), limit=LONGEST)
    if content is None:
        return None
    return [line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()]


def _log_path(backup: Backup) -> str:
    return patterns.sub(r"\.tar(\.\w+)?$", ".log", backup.path)


def _log_defects(node: Transport, backup: Backup) -> Iterator[str]:
    lines = _log(node, backup)
    if lines is None:
        yield f"has no log beside it ({_log_path(backup)}): nothing says that it was finished"
        return
    yield from (f"has an error in its log: {line}" for line in lines if _ERROR.search(line))
    if not any(patterns.search(rf"{backup.finished}\b", line) for line in lines[-5:]):
        yield f"was not finished: its log ends with '{lines[-1] if lines else ''}'"


def _archive_defects(node: Transport, backup: Backup) -> Iterator[str]:
    argv = ["sh", "-c", _LIST, "list", backup.path, *backup.holds]
    listed = node.look(argv, timeout=PATIENCE, limit=LONGEST)
    lines = [line for line in listed.stderr.decode(errors="replace").splitlines() if line.strip()]
    if any(
        patterns.search("Cannot exec|Cannot open|Permission denied|: not found$", s) for s in lines
    ):
        raise FactError(f"on {node.machine}: {backup.path} cannot be opened: {lines[0]}")
    if not listed.ok:
        yield f"cannot be read to its end: {lines[0] if lines else listed.exit_code}"
        return
    *missing, members = listed.text.split() or [""]
    if not patterns.fullmatch("[0-9]{1,15}", members):
        raise FactError(
            f"on {node.machine}: what {backup.path} holds is not known: {members!r:.200}"
        )
    if missing:
        excluded = " (by an exclude-path of vzdump?)" if backup.finished else ""
        yield f"can be read to its end, but does not hold {', '.join(sorted(missing))}{excluded}"


def _anothers(node: Transport, backup: Backup, of: str) -> Iterator[str]:
    """Yield a defect if the archive's content is of another container than its file name says.

    The root file system of a former container with this id had the same name, but its addresses
    were others. Raises FactError if the host name was the same, too: new interfaces look like that.
    """
    kept = _identity(_kept(node, backup, "configuration", "./etc/vzdump/pct.conf"))
    ours = _identity(of)
    shared = {what for what, _ in kept & ours}
    told = ", ".join(f"{what} {value}" for what, value in sorted(kept))
    if all("address" in dict(identity) for identity in (kept, ours)):
        shared.discard("root file system")
        if shared == {"hostname"}:
            raise FactError(
                f"{backup.path} has none of the container's addresses ({told}): it may be of a "
                "former container with this id. Back up again"
            )
    if kept and ours and not shared:
        yield f"is of another container: {told}"


def _another_nodes(node: Transport, backup: Backup, of: str) -> Iterator[str]:
    """Yield a defect if the node whose /etc it has is not ``of``, by hostname(5).

    One without a name of its own gets it from the network: then nothing is known.
    """
    lines = _kept(node, backup, "name", "etc/hostname", "./etc/hostname").splitlines()
    names = [line.strip().partition(".")[0] for line in lines if not line.startswith("#")]
    named = [name for name in names if name not in {"", "localhost"}]
    if named and of not in named:
        yield f"is of another node: {named[0]:.64}"


def _kept(node: Transport, backup: Backup, what: str, *members: str) -> str:
    argv = ["sh", "-c", _ARCHIVED, what, backup.path, *members]
    return node.look(argv, timeout=PATIENCE).text


def _identity(text: str) -> frozenset[tuple[str, str]]:
    """Return the unique properties of a configuration: host name, root file system, addresses."""
    plain = container_config.parse_lxc("", text.partition("\n[")[0]).current()
    options = plain | container_config.parse("", text).current()
    named = {
        "hostname": options.get("hostname") or options.get("lxc.uts.name", ""),
        "root file system": options.get("lxc.rootfs.path")
        or options.get("rootfs", "").partition(",")[0],
    }
    properties = {(what, value) for what, value in named.items() if value}
    for key, value in options.items():
        if key.startswith("lxc.net.") and key.endswith(".hwaddr"):
            properties.add(("address", value.upper()))
        elif patterns.fullmatch(r"net[0-9]+", key):
            properties |= {
                ("address", mac.upper()) for mac in patterns.findall(r"hwaddr=([^,]+)", value)
            }
    return frozenset(properties)
