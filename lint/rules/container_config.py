"""A container's configuration: lines without effect, lines that are lost, lines that stop a start.

Sources: PVE::LXC::Config (parse_pct_config, write_pct_config) of pve-container 6.1, pct.conf(5),
lxc.container.conf(5). How a line is read says :mod:`targets.runtime.proxmox`.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from lint.finding import Fix, Problem, Severity
from lint.source import Kind
from targets import patterns
from targets.runtime import container_config, proxmox
from targets.runtime.container_config import (
    HEADER,
    MOUNT_ENTRY_FIELDS,
    is_option,
    is_pending,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lint.finding import Finding
    from lint.source import Source
    from targets.runtime.container_config import ContainerConfig, Option

OPTION_IN_SNAPSHOT = Problem(
    "container-option-in-snapshot",
    Severity.WARNING,
    "an option stands only below a snapshot's header",
    "Lines below a snapshot's header are that snapshot's own. They are not in effect now, and a "
    "rollback to the snapshot brings them to life.",
    "Move the line before the first line that starts with '['.",
)
OPTION_IN_PENDING = Problem(
    "container-option-in-pending",
    Severity.ERROR,
    "a raw lxc.* line stands below [pve:pending]",
    "Proxmox writes no lxc.* lines there. At the next stop they replace all lxc.* lines that are "
    "in effect.",
    "Move the line before the first line that starts with '['.",
)
MOUNT_ENTRY_CUT = Problem(
    "container-mount-entry-cut",
    Severity.ERROR,
    "a mount entry has too few fields",
    "LXC needs source, target, type and options. It starts no container on a shorter entry, and "
    'its message names the device: Failed to mount "/dev/fuse".',
    "Write all fields in one line, as in fstab: source, target, type, options, 0, 0.",
)
LINE_DROPPED = Problem(
    "container-line-dropped",
    Severity.ERROR,
    "Proxmox cannot read a line",
    "The container starts without the line, with a warning only. The next stop or pct set writes "
    "the file without it.",
    "Write it as 'key: value', with nothing before the key and no blank before the colon.",
)
SECTION_NAME = Problem(
    "container-section-name",
    Severity.ERROR,
    "a line in brackets is no section",
    "A section's name begins with a letter and holds letters, digits, '_' and '-'. Proxmox skips "
    "another header, so the lines below it are in effect, and overrule those above.",
    "Delete the line, and the lines below it that are a copy.",
)
LXC_LINE = Problem(
    "container-lxc-line",
    Severity.ERROR,
    "LXC cannot read a line",
    "LXC starts no container on it.",
    "Write it as 'key = value'.",
)
FEATURES = Problem(
    "container-features-invalid",
    Severity.ERROR,
    "Proxmox cannot parse the value of 'features'",
    "The container does not start.",
    "Correct the value: names are force_rw_sys, fuse, keyctl, mknod, mount and nesting.",
)
KEY_FORMER = Problem(
    "container-key-former",
    Severity.ERROR,
    "a key has a name of before LXC 3",
    "Proxmox keeps the line with a warning. LXC starts no container on it.",
    "Write today's name.",
)
KEY_WITHOUT_EFFECT = Problem(
    "container-key-without-effect",
    Severity.WARNING,
    "a key of the first cgroup hierarchy has no effect",
    "Proxmox VE 7 and later, and LXC 7, use cgroup2 only. A limit or a device that lxc.cgroup.* "
    "sets is neither set nor given there.",
    "Write lxc.cgroup2.* instead. Devices have the same syntax; other controllers have other keys.",
)
OPTION_TWICE = Problem(
    "container-option-twice",
    Severity.WARNING,
    "an option is set twice, to different values",
    "Only the last line is in effect.",
    "Delete the line that is not meant.",
)
SEPARATORS = Problem(
    "container-separators-mixed",
    Severity.ADVICE,
    "a key is written with '=' and with ':'",
    "Both lines are in effect. A program that searches for one of the two spellings misses the "
    "other line.",
    "Write ':' in both, as Proxmox does.",
)
RULES = (
    *(OPTION_IN_SNAPSHOT, OPTION_IN_PENDING, MOUNT_ENTRY_CUT, LINE_DROPPED, SECTION_NAME),
    *(LXC_LINE, FEATURES, KEY_FORMER, KEY_WITHOUT_EFFECT, OPTION_TWICE, SEPARATORS),
)

#: Keys of which LXC knows one value: a later line replaces an earlier one.
_SINGLE = frozenset(
    f"lxc.{name}"
    for names in (
        "apparmor.profile apparmor.allow_nesting apparmor.allow_incomplete seccomp.profile arch",
        "selinux.context uts.name init.cmd init.cwd tty.max pty.max console.path log.level autodev",
        "log.file signal.halt signal.reboot signal.stop mount.fstab rootfs.mount hook.version",
    )
    for name in names.split()
)
_CGROUP = patterns.compile(r"lxc\.cgroup\.(?P<key>[a-z]+\..+)")
#: A line that a reader takes for an option, whatever is around its key.
_MEANT = patterns.compile(r"\s*(?P<key>[a-z][a-z0-9_.-]*)\s*[:=]\s*(?P<value>\S.*?)\s*")
_KNOWN = patterns.compile(
    "arch|cmode|console|cores|cpulimit|cpuunits|debug|features|hookscript|hostname|memory|"
    "nameserver|onboot|ostype|protection|rootfs|searchdomain|startup|swap|tags|timezone|tty|"
    r"unprivileged|(?:net|mp|dev)[0-9]{1,3}|lxc\..*"
)
_MOST_FIELDS = 6
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
    """Yield what is wrong with how a container's configuration is written.

    Args:
        source: of the kind CONTAINER or LXC.
    """
    written = read(source)
    lines = [line.rstrip("\r\n") for line in container_config.split_lines(source.text)]
    taken: set[int] = set()
    yield from _mount_entries(source, written, lines, taken)
    yield from _keys(source, written)
    if source.kind is Kind.LXC:
        for line, text in written.unreadable:
            yield LXC_LINE.at(source.path, line, f"'{text}' is no option")
        return
    yield from _unread(source, written, taken)
    yield from _sections(source, written)
    yield from _twice(source, written)
    yield from _separators(source, written, lines)
    for option in written.all("features")[-1:]:
        if said := proxmox.features_error(option.value):
            yield FEATURES.at(source.path, option.line, said)


@lru_cache(maxsize=64)  # several families of rules ask for the same file
def read(source: Source) -> ContainerConfig:
    """Return a container's configuration as Proxmox reads it, or as plain LXC does."""
    parse = container_config.parse_lxc if source.kind is Kind.LXC else container_config.parse
    return parse(source.path, source.text)


def _mount_entries(
    source: Source, written: ContainerConfig, lines: Sequence[str], taken: set[int]
) -> Iterator[Finding]:
    """Yield the entries that are cut; ``taken`` gets the lines that are the rest of one."""
    left = {line: text.split() for line, text in written.unreadable}
    cut = container_config.cut_entries(written)
    left |= {entry.line: entry.value.split() for entry in cut}
    for entry in cut:
        fields = entry.value.split()
        if not fields or entry.line in taken:  # an empty value clears the list
            continue
        rest, line = fields.copy(), entry.line + 1
        while len(rest) < _MOST_FIELDS and (piece := _piece(left.get(line, []), len(rest))):
            rest, line = [*rest, *piece], line + 1
        mend, fix = "", None
        if len(rest) > len(fields) and _ENTRY.fullmatch(" ".join(rest)):
            taken.update(range(entry.line + 1, line))
            separator = "=" if "=" in lines[entry.line - 1].partition(":")[0] else ":"
            joined = f"lxc.mount.entry{' =' if separator == '=' else ':'} {' '.join(rest)}"
            mend = f"It was split at its spaces. Write one line: {joined}"
            fix = Fix(entry.line, line - entry.line, (joined,))
        elif fields == ["/dev/fuse"]:
            mend = f"Write lxc.mount.entry: {container_config.FUSE_ENTRY}"
        missing = ", ".join(container_config.missing_fields(entry.value))
        said = f"the mount entry '{entry.value}' lacks {missing}"
        yield MOUNT_ENTRY_CUT.at(source.path, entry.line, said, mend=mend, fix=fix)


def _piece(words: list[str], place: int) -> list[str]:
    """Return a line's only word if it can be but a field of a mount entry, at this place."""
    if len(words) != 1 or _MEANT.fullmatch(words[0]) or words[0][0] in "#[":
        return []
    return words if place < len(MOUNT_ENTRY_FIELDS) or words[0] in {"0", "1", "2"} else []


def _unread(source: Source, written: ContainerConfig, taken: set[int]) -> Iterator[Finding]:
    headers = (o.line for o in container_config.read_lines(source.text) if o.key == HEADER)
    end, known = next(headers, None), [o.key for o in written.options]
    meant_by = [found["key"] for _, text in written.unreadable if (found := _MEANT.fullmatch(text))]
    known += [key for key, times in Counter(meant_by).items() if times > 1]
    taken_keys = frozenset(known)
    for line, text in written.unreadable:
        if line in taken:
            continue
        if text.startswith("["):
            yield SECTION_NAME.at(source.path, line, f"'{text}' is no section")
            continue
        # What stands in a section is another matter.
        meant = _mended(text, taken_keys) if end is None or line < end else ""
        said = f"'{text}' is {proxmox.unreadable(text)}"
        mend, fix = (f"Write '{meant}'.", Fix(line, 1, (meant,))) if meant else ("", None)
        if (read_as := proxmox.option(text)) and read_as[0].startswith("lxc."):
            mend = _NOT_HANDED_ON
        yield LINE_DROPPED.at(source.path, line, said, mend=mend, fix=fix)


def _mended(text: str, known: frozenset[str]) -> str:
    """Return a line as Proxmox reads it, where no more than blanks or the separator is wrong.

    Args:
        text: the line.
        known: the keys that another line has, too: which of the two is meant, nobody knows.
    """
    if text.lstrip().startswith("#"):
        return text.strip()
    found = _MEANT.fullmatch(text)
    if not found or not _KNOWN.fullmatch(found["key"]) or found["key"] in known:
        return ""
    mended = f"{found['key']}: {found['value']}"
    return mended if proxmox.keeps(found["key"]) and proxmox.option(mended) else ""


def _keys(source: Source, written: ContainerConfig) -> Iterator[Finding]:
    current = [o for o in written.options if not o.section]
    keys = {o.key for o in current}
    colon = " =" if source.kind is Kind.LXC else ":"
    for option in current:
        if name := proxmox.today(option.key):
            sure = "INDEX" not in name and name not in keys
            fix = Fix(option.line, 1, (f"{name}{colon} {option.value}",)) if sure else None
            said = f"{option.key} is a name of before LXC 3"
            mend = f"Write {name}."
            yield KEY_FORMER.at(source.path, option.line, said, mend=mend, fix=fix)
        is_place = option.key.startswith("lxc.cgroup.dir.")
        found = None if is_place else _CGROUP.fullmatch(option.key)
        # Both hierarchies in one file are on purpose: for nodes with the one or the other.
        if (
            found
            and not found["key"].startswith("dir.")
            and f"lxc.cgroup2.{found['key']}" not in keys
        ):
            said = f"'{option.key}{colon} {option.value}' has no effect on cgroup2"
            yield KEY_WITHOUT_EFFECT.at(source.path, option.line, said)


def _sections(source: Source, written: ContainerConfig) -> Iterator[Finding]:
    """Yield options that somebody appended to a section, by what Proxmox never writes."""
    current = {o.key for o in written.options if not o.section}
    snapshots = [o for o in written.options if o.section and not is_pending(o)]
    last = written.options[-1].section if written.options else ""
    elsewhere = {o.key for o in snapshots if o.section != last}
    seen: dict[str, set[str]] = {}
    for option in (o for o in written.options if o.section):
        before = seen.setdefault(option.section, set())
        raw = option.key.startswith("lxc.")
        if raw and is_pending(option):
            said = f"'{option.key}: {option.value}' stands in section [{option.section}]"
            yield OPTION_IN_PENDING.at(source.path, option.line, said)
        elif not is_pending(option) and (
            (raw and option.section == last and option.key not in current | elsewhere)
            or (not raw and _appended(option, before))
        ):
            said = (
                f"'{option.key}: {option.value}' stands in section [{option.section}], where it "
                "has no effect"
            )
            yield OPTION_IN_SNAPSHOT.at(source.path, option.line, said)
        before.add(option.key)


def _appended(option: Option, before: set[str]) -> bool:
    """Whether a key is none that Proxmox wrote there: it writes each once, before all raw lines."""
    return option.key in before or any(key.startswith("lxc.") for key in before)


def _twice(source: Source, written: ContainerConfig) -> Iterator[Finding]:
    last: dict[str, Option] = {}
    for option in (o for o in written.options if not o.section):
        former = last.get(option.key)
        single = not option.key.startswith("lxc.") or option.key in _SINGLE
        if former and single and former.value != option.value and option.key != "description":
            said = (
                f"'{option.key}: {former.value}' is overruled by line {option.line}, "
                f"'{option.key}: {option.value}'"
            )
            yield OPTION_TWICE.at(source.path, former.line, said)
        last[option.key] = option


def _separators(
    source: Source, written: ContainerConfig, lines: Sequence[str]
) -> Iterator[Finding]:
    raw = [o for o in written.options if not o.section and o.key.startswith("lxc.")]
    equals = [o for o in raw if not lines[o.line - 1].startswith(f"{o.key}:")]
    colons = {o.key for o in raw if lines[o.line - 1].startswith(f"{o.key}:")}
    for option in equals:
        if is_option(option) and option.key in colons:
            said = f"{option.key} is written with '=' here, and with ':' in another line"
            fix = Fix(option.line, 1, (f"{option.key}: {option.value}",))
            yield SEPARATORS.at(source.path, option.line, said, fix=fix)
