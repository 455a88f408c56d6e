"""A container's configuration: lines without effect, lines that are lost, lines that stop a start.

What is wrong with a line, and what becomes of it, says
:mod:`docker_lxc_gate.formats.container_defects`. Here is what to do about it, and what is wrong
with lines together. Sources: PVE::LXC::Config (parse_pct_config, write_pct_config) of pve-container
6.1, pct.conf(5), lxc.container.conf(5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from docker_lxc_gate import patterns
from docker_lxc_gate.formats import container_config, pct_options, proxmox
from docker_lxc_gate.formats.container_config import (
    HEADER,
    MOUNT_ENTRY_FIELDS,
    ContainerConfig,
    Option,
    is_option,
    is_pending,
)
from docker_lxc_gate.formats.container_defects import MOST_UNREAD, Defect, defects
from docker_lxc_gate.lint.finding import Edit, Finding, Kind, Severity, Source

#: What Proxmox calls a container's file.
CONTAINER_FILE = patterns.compile(r"[1-9][0-9]{2,8}\.conf")
_CGROUP = patterns.compile(r"lxc\.cgroup\.(?P<key>[a-z]+\..+)")
#: A line that a reader takes for an option, whatever is around its key.
_MEANT = patterns.compile(r"[\s\x{feff}]*(?P<key>[a-z][a-z0-9_.-]*)\s*[:=]\s*(?P<value>\S.*?)\s*")
_MOST_FIELDS, _RAW = 6, "lxc."
#: What to do with a line that Proxmox can read, and whose key it does not let through.
_NOT_HANDED_ON = (
    "Write it into a file of its own as LXC reads it, 'key = value', and name that file here: "
    "lxc.include: FILE. A sysctl of the network can be set in the container, in /etc/sysctl.d."
)
#: A mount entry that can be nothing else: its options are some that everybody writes.
_ENTRY = patterns.compile(
    r"\S+ \S+ [a-z0-9_.]+ (?:bind|rbind|rw|ro|defaults|optional|create=(?:file|dir))(?:,\S+)?"
    r"(?: [0-9](?: [0-9])?)?"
)


def check(source: Source) -> Iterator[Finding]:
    """Yield what is wrong with how a container's configuration is written."""
    written = read(source)
    lines = [line.rstrip("\r\n") for line in container_config.split_lines(source.text)]
    wrong, taken = list(defects(written)), set[int]()
    yield from _mount_entries(source, written, lines, wrong, taken)
    yield from _keys(source, written, wrong)
    unreadable = [defect for defect in wrong if defect.option is None]
    if source.kind is Kind.LXC:
        for defect in unreadable:
            yield source.at(defect.problem, defect.line, defect.cause)
        return
    yield from _unread(source, written, unreadable, taken)
    of_lxc = [o.key.startswith("lxc.") for o in written.options]
    snippet = of_lxc and all(of_lxc)
    missing = container_config.missing_keys(written)
    if CONTAINER_FILE.fullmatch(source.name) and missing and not snippet:
        held = f"no line '{missing[0]}'" if written.options else "no option at all"
        kind = "container-rootfs-missing" if "rootfs" in missing else "container-arch-missing"
        yield source.at(kind, 0, f"there is {held}")
    if (more := len(written.unreadable) - MOST_UNREAD) > 0:
        cause = f"{more} more lines that cannot be read are not judged"
        yield source.at("not-checked", 0, cause)
    yield from _sections(source, written)
    yield from _twice(source, written)
    yield from _separators(source, written, lines)


@lru_cache(maxsize=64)  # several families of rules ask for the same file
def read(source: Source) -> ContainerConfig:
    """Return a container's configuration as Proxmox reads it, or as plain LXC does."""
    parse = container_config.parse_lxc if source.kind is Kind.LXC else container_config.parse
    return parse(source.path, source.text)


def _mount_entries(
    source: Source,
    written: ContainerConfig,
    lines: Sequence[str],
    wrong: Sequence[Defect],
    taken: set[int],
) -> Iterator[Finding]:
    """Yield the entries that are cut; ``taken`` gets the lines that are the rest of one."""
    cut = [
        (defect, defect.option)
        for defect in wrong
        if defect.option and defect.problem == "container-mount-entry-cut"
    ]
    left = {line: text.split() for line, text in written.unreadable} if cut else {}
    left |= {entry.line: entry.value.split() for _, entry in cut}
    for defect, entry in cut:
        fields = entry.value.split()
        if entry.line in taken:
            continue
        rest, line = fields.copy(), entry.line + 1
        while len(rest) < _MOST_FIELDS and (piece := _piece(left.get(line, []), len(rest))):
            rest, line = [*rest, *piece], line + 1
        fix, edit = "", None
        if len(rest) > len(fields) and _ENTRY.fullmatch(" ".join(rest)):
            taken.update(range(entry.line + 1, line))
            separator = "=" if "=" in lines[entry.line - 1].partition(":")[0] else ":"
            joined = f"lxc.mount.entry{' =' if separator == '=' else ':'} {' '.join(rest)}"
            fix = f"It was split at its spaces. Write one line: {joined}"
            edit = Edit(entry.line, line - entry.line, joined)
        elif fields == ["/dev/fuse"]:
            fix = f"Write lxc.mount.entry: {container_config.FUSE_ENTRY}"
        yield source.at("container-mount-entry-cut", entry.line, defect.cause, fix=fix, edit=edit)


def _piece(words: list[str], place: int) -> list[str]:
    """Return a line's only word if it can be but a field of a mount entry, at this place."""
    if len(words) != 1 or _MEANT.fullmatch(words[0]) or words[0][0] in "#[":
        return []
    return words if place < len(MOUNT_ENTRY_FIELDS) or words[0] in {"0", "1", "2"} else []


def _unread(
    source: Source, written: ContainerConfig, unreadable: Sequence[Defect], taken: set[int]
) -> Iterator[Finding]:
    headers = (o.line for o in container_config.read_lines(source.text) if o.key == HEADER)
    end, known = next(headers, None), [o.key for o in written.options]
    texts = [text for _, text in written.unreadable[:MOST_UNREAD]]
    meant_by = [match["key"] for text in texts if (match := _MEANT.fullmatch(text))]
    known += [key for key, times in Counter(meant_by).items() if times > 1]
    taken_keys = frozenset(known)
    for (line, text), defect in zip(written.unreadable, unreadable, strict=False):
        if line in taken:
            continue
        if text.startswith("["):
            yield source.at("container-section-name", line, f"'{text}' is no section")
            continue
        # What stands in a section is another matter.
        meant = _corrected(text, taken_keys) if end is None or line < end else ""
        fix, edit = (f"Write '{meant}'.", Edit(line, 1, meant)) if meant else ("", None)
        if (read_as := proxmox.option(text)) and read_as[0].startswith("lxc."):
            fix = f"Did you mean '{defect.meant}'?" if defect.meant else _NOT_HANDED_ON
        yield source.at("container-line-dropped", line, defect.cause, fix=fix, edit=edit)


def _corrected(text: str, known: frozenset[str]) -> str:
    """Return a line as Proxmox reads it, where no more than blanks or the separator is wrong.

    Nor is a key corrected that is ``known``, from another line: the two cannot be told apart.
    """
    if text.lstrip().startswith("#"):
        return text.strip()
    match = _MEANT.fullmatch(text)
    if not match or match["key"] in known:
        return ""
    if not match["key"].startswith("lxc.") and not pct_options.known(match["key"]):
        return ""
    fixed = f"{match['key']}: {match['value']}"
    return fixed if proxmox.keeps(match["key"]) and proxmox.option(fixed) else ""


def _keys(source: Source, written: ContainerConfig, wrong: Sequence[Defect]) -> Iterator[Finding]:
    current = [o for o in written.options if not o.section]
    keys = {o.key for o in current}
    colon = " =" if source.kind is Kind.LXC else ":"
    for defect in wrong:
        option, fix, edit = defect.option, "", None
        if option is None or defect.problem == "container-mount-entry-cut":
            continue
        if defect.problem == "container-key-former":
            sure = "INDEX" not in defect.meant and defect.meant not in keys
            new = f"{defect.meant}{colon} {option.value}"
            edit = Edit(option.line, 1, new) if sure else None
            fix = f"Write {defect.meant}."
        elif defect.problem == "container-mount-target-absolute":
            what, target, *how = option.value.split()
            entry = f"lxc.mount.entry{colon} {' '.join([what, target.lstrip('/'), *how])}"
            edit = Edit(option.line, 1, entry) if target.strip("/") else None
            fix = f"Write {entry}" if edit else ""
        elif defect.meant:
            blanks = "".join(defect.meant.split()) == "".join(option.value.split())
            new = f"{option.key}{colon} {defect.meant}"
            edit = Edit(option.line, 1, new) if blanks else None
            fix = f"Did you mean '{defect.meant}'?"
        made = source.at(defect.problem, option.line, defect.cause, fix=fix, edit=edit)
        severity = made.severity if defect.certain else Severity.ADVICE
        yield replace(made, severity=severity, why=f"{defect.effect}.")
    allowed = set(map(_of_kind, written.all("lxc.cgroup2.devices.allow")))
    for option in current:
        match = _CGROUP.fullmatch(option.key)
        is_place = option.key.startswith("lxc.cgroup.dir.")
        # Both hierarchies in one file are on purpose: for nodes with the one or the other.
        both = match and f"lxc.cgroup2.{match['key']}" in keys
        if both and option.key == "lxc.cgroup.devices.allow":
            kind = _of_kind(option)
            both = not allowed.isdisjoint({kind, "a", f"{kind[:1]} *"})
        if match and not is_place and not both:
            cause = f"'{option.key}{colon} {option.value}' has no effect on cgroup2"
            yield source.at("container-key-without-effect", option.line, cause)


def _of_kind(device: Option) -> str:
    """Return the type and major number of a device that is allowed, or all of it."""
    match = patterns.match(r"[abc]\s+([0-9]+|\*)", device.value)
    return " ".join(match[0].split()) if match else device.value


def _sections(source: Source, written: ContainerConfig) -> Iterator[Finding]:
    """Yield options that somebody appended to a section, by what Proxmox never writes."""
    current = {o.key for o in written.options if not o.section}
    snapshots = [o for o in written.options if o.section and not is_pending(o)]
    last = written.options[-1].section if written.options else ""
    elsewhere = current | {o.key for o in snapshots if o.section != last}
    seen: dict[str, set[str]] = {}
    for option in (o for o in written.options if o.section):
        before = seen.setdefault(option.section, set())
        raw = option.key.startswith(_RAW)
        if raw and is_pending(option):
            cause = f"'{option.key}: {option.value}' stands in section [{option.section}]"
            yield source.at("container-option-in-pending", option.line, cause)
        elif not is_pending(option) and (
            (raw and option.section == last and option.key not in elsewhere)
            or (not raw and before & {option.key, _RAW})
        ):
            cause = (
                f"'{option.key}: {option.value}' stands in section [{option.section}], where it "
                "has no effect"
            )
            yield source.at("container-option-in-snapshot", option.line, cause)
        # Proxmox writes each key once, and before all raw lines.
        before.add(_RAW if raw else option.key)


def _twice(source: Source, written: ContainerConfig) -> Iterator[Finding]:
    last: dict[str, Option] = {}
    for option in (o for o in written.options if not o.section):
        former = last.get(option.key)
        single = not option.key.startswith("lxc.") or option.key in pct_options.SINGLE
        if former and single and former.value != option.value and option.key != "description":
            cause = (
                f"'{option.key}: {former.value}' is overruled by line {option.line}, "
                f"'{option.key}: {option.value}'"
            )
            yield source.at("container-option-twice", former.line, cause)
        last[option.key] = option
    covered: dict[str, tuple[Option, str]] = {}
    for entry, (what, target, _, options, *_) in container_config.mount_entries(written):
        place = target.strip("/")
        former, before = covered.get(place, (entry, what))
        # An optional one may not be there, and a remount changes the one before it.
        if before != what and not {"optional", "remount"} & {*options.split(",")}:
            cause = f"what '{former.value}' mounts is hidden by line {entry.line}, '{entry.value}'"
            yield source.at("container-option-twice", former.line, cause)
        covered[place] = entry, what


def _separators(
    source: Source, written: ContainerConfig, lines: Sequence[str]
) -> Iterator[Finding]:
    raw = [o for o in written.options if not o.section and o.key.startswith("lxc.")]
    equals = [o for o in raw if not lines[o.line - 1].startswith(f"{o.key}:")]
    colons = {o.key for o in raw if lines[o.line - 1].startswith(f"{o.key}:")}
    for option in equals:
        if is_option(option) and option.key in colons:
            cause = f"{option.key} is written with '=' here, and with ':' in another line"
            edit = Edit(option.line, 1, f"{option.key}: {option.value}")
            yield source.at("container-separators-mixed", option.line, cause, edit=edit)
