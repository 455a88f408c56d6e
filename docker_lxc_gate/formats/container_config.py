"""A container's configuration file, with the line and section of each option.

Proxmox's ``/etc/pve/lxc/<ctid>.conf`` holds the current options first, then sections:
``[pve:pending]`` (in effect after the next stop) and one for each snapshot, whose options
are not in effect. :mod:`docker_lxc_gate.formats.proxmox` knows how strictly Proxmox reads it. LXC's
own ``config`` has no sections and uses ``=``. Source: pct.conf(5), lxc.container.conf(5).
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from urllib.parse import unquote

from docker_lxc_gate import patterns
from docker_lxc_gate.formats import pct_options, proxmox
from docker_lxc_gate.formats.proxmox import PENDING

#: A line as LXC itself reads it: blanks do not matter, and only ``=`` separates.
_LXC_OPTION = patterns.compile(r"\s*(?P<key>[A-Za-z][\w.\-]*)\s*=\s*(?P<value>.*?)\s*")
#: Keys of a container's disks and snapshots.
_POINT = patterns.compile(r"mp[0-9]+")
_VOLUME = patterns.compile(r"rootfs|mp[0-9]+|unused[0-9]+|parent|lxc\.rootfs\.path")
#: The keys of lines that are no option: a section's header, a comment, an unparsable line.
HEADER, _COMMENT, _NEITHER = "[", "#", ""
#: The required fields of a mount entry (fstab's first four).
MOUNT_ENTRY_FIELDS = ("source", "target", "type", "options")
#: The mount entry for /dev/fuse, as Proxmox writes it for ``fuse=1``.
FUSE_ENTRY = "/dev/fuse dev/fuse none bind,create=file 0 0"
#: LXC's own list of refused system calls; keyctl is not among them.
COMMON_SECCOMP = "/usr/share/lxc/config/common.seccomp"
#: The system calls that it refuses, as Proxmox's lists do. Source: LXC 3.0 to 7.0.
LXC_REFUSES = ["kexec_load", "open_by_handle_at", "init_module", "finit_module", "delete_module"]
#: What a list may say of a system call that is then made. Source: LXC's seccomp.c.
_LETS = ("allow", "notify", "log", "trace")
#: What is no profile of a file: LXC generates one, sets none, or keeps its own.
NO_PROFILE = frozenset({"", "generated", "unchanged", "unconfined"})
#: Where Docker asks whether there is AppArmor, below the container's root.
_SWITCH = "sys/module/apparmor/parameters/enabled"
#: LXC's profiles that refuse nested mounts, each unless ``allow_nesting`` is set.
_NOT_NESTING = patterns.compile(r"(generated|lxc-container-default(-cgns)?)?")


@dataclass(frozen=True)
class Option:
    """One ``key: value`` line; ``section`` is empty for the options in effect."""

    key: str
    value: str
    line: int
    section: str = ""


@dataclass(frozen=True)
class ContainerConfig:
    """All options of one container, in the file's order; ``plain`` if LXC itself reads the file."""

    path: str
    options: tuple[Option, ...]
    unreadable: tuple[tuple[int, str], ...] = ()
    plain: bool = False

    def __str__(self) -> str:
        """The options alone, a line each, as LXC writes them."""
        return "\n".join(f"{option.key} = {option.value}" for option in self.options)

    def current(self) -> dict[str, str]:
        """Return the options in effect; the last one wins, as for LXC and pct."""
        return {option.key: option.value for option in self.options if not option.section}

    def all(self, key: str) -> tuple[Option, ...]:
        """Return every line in effect with this key, in order."""
        return tuple(o for o in self.options if o.key == key and not o.section)

    def elsewhere(self, key: str) -> tuple[Option, ...]:
        """Return the lines with this key in a section, where they have no effect."""
        return tuple(o for o in self.options if o.key == key and o.section)


def parse(path: str, text: str) -> ContainerConfig:
    """Read a container's configuration as Proxmox does.

    ``unreadable`` then holds the lines that Proxmox cannot read:
    :func:`docker_lxc_gate.formats.proxmox.unreadable` says why.
    """
    lines, options = split_lines(text), list(read_lines(text))
    read = [o for o in options if is_option(o) and _is_kept(o)]
    left = [o.line for o in options if o.key == _NEITHER or (is_option(o) and not _is_kept(o))]
    unreadable = tuple((line, lines[line - 1].rstrip("\r\n")) for line in left)
    return ContainerConfig(path, tuple(read), unreadable)


def parse_lxc(path: str, text: str) -> ContainerConfig:
    """Read a container's configuration as LXC itself does, which refuses unreadable lines."""
    options = list(read_lines(text, lxc=True))
    return ContainerConfig(
        path,
        tuple(o for o in options if is_option(o)),
        tuple((o.line, o.value) for o in options if o.key == _NEITHER),
        plain=True,
    )


def read_lines(text: str, *, lxc: bool = False) -> Iterator[Option]:
    """Yield one Option per non-blank line, as Proxmox or LXC itself reads it.

    Comments, section headers and unparsable lines get the keys ``#``, ``[`` and the empty string,
    which no option can have.
    """
    section = ""
    for number, line in enumerate(split_lines(text), 1):
        bare = line.removesuffix("\n")
        if not bare.strip(" \t\r\f\v"):
            continue
        if (bare.lstrip() if lxc else bare).startswith("#"):
            yield Option(_COMMENT, line.strip()[1:], number, section)
        elif not lxc and (header := proxmox.header(bare)) is not None:
            section = header
            yield Option(HEADER, section, number, section)
        elif option := (_lxc_option if lxc else proxmox.option)(bare):
            key, value = option
            yield Option(
                key, _unquoted(value) if key.startswith("lxc.") else value, number, section
            )
        else:
            yield Option(_NEITHER, line.rstrip("\r\n"), number, section)


def _unquoted(value: str) -> str:
    """Return a value as LXC takes it: without quotes around it. Source: confile.c, parse_line."""
    quoted = len(value) > 1 and value[0] in "\"'" and value[0] == value[-1]
    return value[1:-1] if quoted else value


def _lxc_option(line: str) -> tuple[str, str] | None:
    match = _LXC_OPTION.fullmatch(line)
    return (match["key"], match["value"]) if match else None


def split_lines(text: str) -> list[str]:
    """Split at line feeds only, as Proxmox and LXC do; the lines keep their ends."""
    return list(io.StringIO(text))


def is_option(line: Option) -> bool:
    """Whether a line is an option: no comment, no header, not unparsable."""
    return line.key not in {_COMMENT, HEADER, _NEITHER}


def _is_kept(option: Option) -> bool:
    if option.key == "delete" and not is_pending(option):
        return False
    return proxmox.keeps(option.key)


def is_pending(option: Option) -> bool:
    """Whether a line is pending until the container's next start."""
    return option.section.lower() == PENDING


def waiting(text: str) -> tuple[str, ...]:
    r"""Return the pending changes, including the options to be deleted.

    >>> waiting("arch: amd64\n[pve:pending]\ndelete: net0\nmemory: 1024\n")
    ('delete: net0', 'memory: 1024')
    """
    pending = [o for o in read_lines(text) if is_option(o) and is_pending(o)]
    return tuple(f"{option.key}: {option.value}" for option in pending)


def at_next_stop(written: ContainerConfig) -> ContainerConfig:
    """Return the configuration after the next stop, when Proxmox applies pending changes.

    Source: PVE::LXC::Config, vmconfig_apply_pending; raw ``lxc.*`` lines are replaced together.
    """
    pending = [o for o in written.options if is_pending(o)]
    gone = {
        name.removeprefix("!")
        for option in pending
        if option.key == "delete"
        for name in patterns.split(r"[,;\s]+", option.value)
    }
    new = [replace(o, section="") for o in pending if o.key != "delete"]
    replaced = gone | {pending_name(o) for o in new}
    kept = [o for o in written.options if o.section or pending_name(o) not in replaced]
    options = [o for o in kept if not is_pending(o)] + new
    return replace(written, options=tuple(options))


def pending_name(option: Option) -> str:
    """Return the name of an option's pending change; all raw lines share one."""
    return "lxc" if option.key.startswith("lxc.") else option.key


def lost_at_next_stop(written: ContainerConfig, wanted: Collection[str]) -> tuple[str, ...]:
    """Return which of some features and raw keys a pending change takes away; the profile, too."""
    now, later = written.current(), at_next_stop(written).current()
    before, after = (given(options.get("features", "")) for options in (now, later))
    lost = [name for name in wanted if name in before - after]
    raw = ["lxc.apparmor.profile", *(name for name in wanted if name.startswith("lxc."))]
    return (*lost, *(key for key in raw if key in now and now[key] != later.get(key)))


def mount_points(written: ContainerConfig) -> dict[str, tuple[str, dict[str, str]]]:
    """Return key and properties of each of Proxmox's mount points in effect, by its directory."""
    pairs = ((key, features(value)) for key, value in written.current().items())
    return {
        "/" + posixpath.normpath(given["mp"]).lstrip("/"): (key, given)
        for key, given in pairs
        if _POINT.fullmatch(key) and given.get("mp", "").startswith("/")
    }


def volumes(text: str) -> frozenset[tuple[str, str, str]]:
    r"""Return the lines about disks and snapshots, which a configuration must never lose.

    These are the disks and the parent snapshot in effect, and every line of a snapshot. Pending
    lines do not count. Each is its section, key and value: pct rewrites and sorts the file.

    >>> sorted(volumes("arch: amd64\nmp0: local:x,mp=/x\n[pve:pending]\nmp1: y\n[before]\n"))
    [('', 'mp0', 'local:x,mp=/x'), ('before', '[', 'before')]
    """
    return frozenset(
        (o.section, o.key, _meant(o))
        for o in read_lines(text)
        if _of_volumes(o) and o.key != _NEITHER
    )


def _of_volumes(option: Option) -> bool:
    if option.section:
        return not is_pending(option)
    return bool(_VOLUME.fullmatch(option.key))


def _meant(option: Option) -> str:
    """Return an option's value, or a comment without Proxmox's escapes."""
    return unquote(option.value) if option.key == _COMMENT else option.value


def same_beside_volumes(one: str, other: str) -> bool:
    """Whether a present text equals a former one except for disks and snapshots.

    When pct takes a snapshot or resizes a disk, it rewrites the file: options sorted, ``lxc.*``
    lines and comments in their order, without blank lines and without the lines that it cannot
    read. Source: PVE::LXC::Config, write_pct_config.
    """
    return _beside_volumes(one) == _beside_volumes(other) and _unread(one) <= _unread(other)


def _beside_volumes(text: str) -> tuple[object, ...]:
    options = [o for o in read_lines(text) if not _of_volumes(o)]
    comments = [(o.section, _meant(o)) for o in options if o.key == _COMMENT and o.value.strip()]
    raw = [(o.section, o.key, o.value) for o in options if o.key.startswith("lxc.")]
    return comments, raw, {(o.section, o.key): o.value for o in options if is_option(o)}


def _unread(text: str) -> set[str]:
    return {o.value for o in read_lines(text) if o.key == _NEITHER}


def missing_keys(written: ContainerConfig) -> tuple[str, ...]:
    """Return the keys without which Proxmox starts no container. Source: update_lxc_config."""
    current = written.current()
    is_template = pct_options.boolean(current.get("template", ""))
    wanted = ("rootfs",) if is_template else ("rootfs", "arch", "ostype")
    return tuple(key for key in wanted if not current.get(key))


def mount_entries(written: ContainerConfig) -> list[tuple[Option, list[str]]]:
    """Return the whole mount entries in effect, each with its fields; an empty one clears them."""
    entries = [(entry, entry.value.split()) for entry in written.all("lxc.mount.entry")]
    begin = max((number for number, (_, fields) in enumerate(entries) if not fields), default=-1)
    return [entry for entry in entries[begin + 1 :] if len(entry[1]) >= len(MOUNT_ENTRY_FIELDS)]


def missing_fields(entry: str) -> tuple[str, ...]:
    """Return the names of the fields that a mount entry lacks.

    >>> missing_fields("/dev/fuse")
    ('target', 'type', 'options')
    >>> missing_fields("/dev/fuse dev/fuse none bind,create=file 0 0")
    ()
    """
    return MOUNT_ENTRY_FIELDS[len(entry.split()) :]


def refuses(seccomp: str, call: str = "keyctl") -> bool:
    r"""Whether a seccomp list refuses a system call: keyctl, as Proxmox's without ``keyctl=1``.

    >>> refuses("2\ndenylist\n[all]\nkeyctl errno 38\n")
    True
    """
    section, rules, listed = "[all]", list[tuple[str, list[str]]](), False
    for line in seccomp.splitlines():
        words = line.split()
        if words[:1] == [call]:
            rules.append((section, words[1:]))
        elif line.startswith("["):
            section = line.strip()
        listed = listed or words[:1] in (["allowlist"], ["whitelist"])
    if listed:
        return all(words and words[0] not in _LETS for _, words in rules)
    return any(
        where == "[all]"
        and not (words and words[0] in _LETS)
        and not any(word.startswith("[") for word in words)  # it refuses some arguments alone
        for where, words in rules
    )


def granted(effective: ContainerConfig, seccomp: str) -> dict[str, str]:
    """Return the features of plain LXC's configuration, in the words of Proxmox's ``features``.

    ``allow_nesting`` gives nesting. So does a named profile, whose rules then decide. Includes are
    resolved, and ``seccomp`` is the text of its list; empty if it names none.
    """
    options = effective.current()
    nesting = options.get("lxc.apparmor.allow_nesting") == "1" or not _NOT_NESTING.fullmatch(
        options.get("lxc.apparmor.profile", "")
    )
    given = {
        "nesting": nesting,
        "keyctl": not refuses(seccomp),
        "fuse": any(map(gives_fuse, effective.all("lxc.mount.entry"))),
    }
    return {name: "1" for name, is_given in given.items() if is_given}


def hides_apparmor(entry: Option) -> bool:
    """Whether a mount entry lays another file over the one by which Docker finds AppArmor."""
    return entry.value.split()[1:2] == [_SWITCH]


def hiding_apparmor(written: ContainerConfig) -> tuple[Option, ...]:
    """Return the mount entries that keep Docker from profiles of its own.

    Under a named profile the container has no AppArmor namespace, so that Docker can load none
    anyway, and an entry takes nothing away.
    """
    if written.current().get("lxc.apparmor.profile", "") not in NO_PROFILE:
        return ()
    return tuple(filter(hides_apparmor, written.all("lxc.mount.entry")))


def gives_fuse(entry: Option) -> bool:
    """Whether a mount entry is whole and mounts ``/dev/fuse``: LXC ignores an absolute target."""
    fields = entry.value.split()
    return not missing_fields(entry.value) and fields[1] == "dev/fuse"


def features(value: str) -> dict[str, str]:
    """Read the value of ``features``.

    >>> features("nesting=1,keyctl=1")
    {'nesting': '1', 'keyctl': '1'}
    """
    pairs = (item.partition("=") for item in value.split(",") if item.strip())
    return {key: setting for key, _, setting in pairs}


def given(value: str) -> frozenset[str]:
    """Return the features that a value turns on; none if Proxmox cannot parse it.

    >>> sorted(given("nesting=yes,keyctl=0,mount=nfs"))
    ['nesting']
    """
    settings = pct_options.properties("features", value)
    return frozenset(key for key, setting in settings.items() if pct_options.boolean(setting))


def may_freeze(written: str) -> bool:
    """Whether a backup may freeze a running container forever, as its configuration says.

    Modes snapshot and suspend freeze it. If a process in it waits for a fuse daemon that is frozen
    already, the freezer waits forever. Source: pct(1) of ``fuse``.
    """
    config = parse("", written)
    features = given(config.current().get("features", ""))
    return "fuse" in features or any(map(gives_fuse, config.all("lxc.mount.entry")))
