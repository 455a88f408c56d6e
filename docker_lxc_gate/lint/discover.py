"""Which files are linted, and what kind of file each one is.

The files are somebody else's: nothing but regular files is opened, no link below a named directory
is followed, and neither a file's size nor their number is unlimited.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.formats.apparmor_profile import is_skipped
from docker_lxc_gate.lint import includes
from docker_lxc_gate.lint.finding import PROBLEMS, Finding, Kind, Source, not_text
from docker_lxc_gate.lint.rules import daemon_json
from docker_lxc_gate.lint.rules.container_config import CONTAINER_FILE
from docker_lxc_gate.machines.regular_file import limited, read

#: The most files below one directory, the most that is linted together (bytes), the deepest
#: directory.
MOST_FILES, MOST_BYTES, DEEPEST = 50_000, 64 << 20, 12
#: How standard input is named, and where it is.
PASTED, _STDIN = Path("-"), Path("/dev/stdin")
_LEFT_OUT = frozenset({"node_modules", "__pycache__", "venv"})
#: Parts of an apparmor.d that are no profiles.
PARTS = {
    "tunables": Kind.TUNABLES,
    **dict.fromkeys(("abstractions", "lxc", "local"), Kind.INCLUDED),
}
_OF_CONTAINER = patterns.compile(
    rb"(?m)^(?:rootfs|ostype|features|unprivileged)[ \t]*:|^lxc\.[a-z.]+[ \t]*[:=]"
)
#: Keys that a virtual machine's configuration has, and a container's has not.
_OF_MACHINE = patterns.compile(
    rb"(?m)^(?:(?:scsi|virtio|sata|ide|efidisk|tpmstate|hostpci)[0-9]+|scsihw|bios|vga|machine|boot"
    rb"|bootdisk|sockets|kvm|smbios1|vmgenid)[ \t]*:"
)
_OF_LXC = patterns.compile(rb"(?m)^[ \t]*lxc\.[a-z0-9_.]+[ \t]*=")
_OF_PROFILE = patterns.compile(
    rb"(?m)^[ \t]*(?:profile[ \t]+\S|abi[ \t]+<|#?include[ \t]+<tunables/)"
)
#: What a file may be called that is looked into.
_NAMES = patterns.compile(r"[^.]+|.*\.conf|daemon\.json|docker\.service")


@dataclass
class Found:
    """What is linted, and what could not be read; ``size`` is of what was taken in (bytes).

    ``refused`` says of each named path that cannot be linted why.
    """

    sources: list[Source] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, part: Found) -> None:
        """Take in what was found elsewhere, each file once; raises ValueError if it is too much."""
        known = {source.path for source in self.sources}
        new = [source for source in part.sources if source.path not in known]
        self._make_room(sum(len(source.content) for source in new))
        self.sources += new
        self.findings += part.findings

    def miss(self, problem: str, path: str, cause: str, fix: str = "") -> None:
        """Take in a finding about what was not looked at."""
        self.findings.append(PROBLEMS[problem].here(cause, path=path, fix=fix))

    def take(self, source: Source) -> None:
        """Take in a file that is not there yet; raises ValueError if it is too much."""
        self._make_room(len(source.content))
        self.sources.append(source)

    def _make_room(self, size: int) -> None:
        self.size += size
        if self.size > MOST_BYTES:
            raise ValueError(f"there is more than {MOST_BYTES >> 20} MiB to lint")


def under(*paths: Path, pasted: bytes = b"") -> Found:
    """Return the files at paths, or below them, that can be linted, each of them once.

    A path is refused that does not exist, cannot be read, is of no known kind, or is a directory
    with nothing in it that can be linted. If it is a link itself, what it leads to is meant. At the
    path ``-`` is what was ``pasted``. Raises UsageError if all are refused.
    """
    discovery, seen = Found(), set[Path]()
    for path in paths:
        part = Found(size=discovery.size)
        try:
            if path == PASTED:
                part.take(_named("standard input", _STDIN, limited(pasted)))
            else:
                _take(part, path, path.resolve(strict=True), seen)
            for source in includes.missing([*discovery.sources, *part.sources]):
                part.take(source)
        except (OSError, RuntimeError, ValueError, UsageError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            own = isinstance(error, UsageError)
            discovery.refused.append(why if own else f"{path} cannot be linted: {why}")
        else:
            discovery.add(part)
    if discovery.refused and not discovery.sources and not discovery.findings:
        raise UsageError("\n".join(discovery.refused))
    return discovery


def _take(discovery: Found, path: Path, real: Path, seen: set[Path]) -> None:
    """Take in what is at a path, or below it, and was not seen yet."""
    if not real.is_dir():
        if real not in seen:
            seen.add(real)
            discovery.take(_named(str(path), real, read(real)))
        return
    before, again = len(discovery.sources) + len(discovery.findings), False
    for name, place in _walk(real, real, [], discovery):
        again = again or place in seen
        if place not in seen:
            seen.add(place)
            _add(discovery, str(path / name), place, _base_of(place, real))
    if not again and len(discovery.sources) + len(discovery.findings) == before:
        raise UsageError(_NOTHING.format(path))


_NOTHING = (
    "there is nothing to lint in {}: neither a container's configuration, nor an AppArmor profile, "
    "nor a daemon.json"
)


def _named(shown: str, real: Path, content: bytes) -> Source:
    base = _base_of(real, real.parent)
    kind = kind_of(real.name, real.parent.name, content, in_base=bool(base))
    parts = [PARTS[name] for name in real.parts[-3:-1] if name in {"abstractions", "tunables"}]
    kind = next(iter(parts), kind) or _sniffed(real.name, content)
    if kind is None:
        cause = not_text(content) or ("" if content.strip() else "it is empty")
        if _OF_MACHINE.search(content):
            cause = cause or "it is the configuration of a virtual machine (qm), not of a container"
        cause = cause or "it is no " + ", ".join(Kind)
        raise UsageError(f"{shown} cannot be linted: {cause}")
    return Source(shown, content, kind, base, real.name if base else "", alone=True)


def _add(discovery: Found, shown: str, place: Path, base: str) -> None:
    if not base and not _NAMES.fullmatch(place.name):
        return
    folder, *below = place.relative_to(base).parts if base else ("",)
    if below and folder not in PARTS:
        return  # abi, cache, disable, force-complain
    try:
        content = read(place)
    except FileNotFoundError:
        return  # gone, or no regular file
    except (OSError, ValueError) as error:
        if base or CONTAINER_FILE.fullmatch(place.name):
            why = error.strerror if isinstance(error, OSError) else str(error)
            discovery.miss("file-unreadable", shown, why or "it could not be read")
        return
    kind = kind_of(place.name, place.parent.name, content, in_base=bool(base))
    if kind := PARTS[folder] if below else kind:
        inside = str(place.relative_to(base)) if base else ""
        discovery.take(Source(shown, content, kind, base, inside))


def kind_of(name: str, folder: str, content: bytes, *, in_base: bool = False) -> Kind | None:
    """Return what kind of file something is, by the names of it and its directory, and its content.

    None: of no known one. ``in_base`` says whether it is directly in an ``/etc/apparmor.d``.
    """
    if in_base:
        return None if is_skipped(name) else Kind.PROFILE
    by_name = {
        Kind.DAEMON: name == "daemon.json",
        Kind.UNIT: name == "docker.service"
        or (folder == "docker.service.d" and name.endswith(".conf")),
        Kind.CONTAINER: bool(CONTAINER_FILE.fullmatch(name))
        and (folder == "lxc" or (folder != "qemu-server" and _is_containers(content))),
        Kind.LXC: name == "config" and bool(_OF_LXC.search(content)),
        Kind.PROFILE: ("apparmor" in folder or name.startswith(("lxc-", "lxc_")))
        and "." not in name
        and bool(_OF_PROFILE.search(content)),
    }
    return next((kind for kind, fits in by_name.items() if fits), None)


def _is_containers(content: bytes) -> bool:
    """Whether a file is a container's configuration: a virtual machine's has some of its keys."""
    own = patterns.search(rb"(?m)^(?:rootfs|lxc\.[a-z.]+)[ \t]*[:=]", content)
    return bool(_OF_CONTAINER.search(content)) and bool(own or not _OF_MACHINE.search(content))


def _sniffed(name: str, content: bytes) -> Kind | None:
    """Return the kind of a file that a user named, whatever it is called."""
    if content.lstrip()[:1] in (b"{", b"["):
        return Kind.DAEMON if "daemon" in name or daemon_json.is_likely(content) else None
    if _OF_PROFILE.search(content):
        return Kind.PROFILE
    if _is_containers(content):
        plain = patterns.search(rb"(?m)^[a-z]+[0-9]*:", content)
        return Kind.CONTAINER if plain or not _OF_LXC.search(content) else Kind.LXC
    return None


def _base_of(place: Path, top: Path) -> str:
    """Return the apparmor.d that a file is in, looked for up to the directory that is linted."""
    for folder in place.parents:
        if (folder / "abstractions").is_dir() and (folder / "tunables").is_dir():
            return str(folder)
        if folder == top:
            return ""
    return ""


def _walk(
    top: Path, folder: Path, walked: list[Path], discovery: Found, depth: int = 0
) -> Iterator[tuple[str, Path]]:
    """Yield each regular file below a directory: its name from there, and where it is.

    A directory below it that cannot be read is a finding.
    """
    if depth > DEEPEST:
        cause = f"it is deeper than {DEEPEST} directories: nothing below it was linted"
        discovery.miss("not-checked", str(folder), cause, "Name it itself.")
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        if not depth:
            raise
        why = f"the directory cannot be read: {error.strerror}"
        discovery.miss("file-unreadable", str(folder), why)
        return
    for entry in entries:
        place = Path(entry.path)
        if entry.is_symlink() or entry.name in _LEFT_OUT or entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(top, place, walked, discovery, depth + 1)
        elif entry.is_file(follow_symlinks=False):
            walked.append(place)
            if len(walked) > MOST_FILES:
                raise ValueError(f"there are more than {MOST_FILES} files in it")
            yield str(place.relative_to(top)), place
