"""``/etc/pve/lxc/<ctid>.conf``: parsed, changed and written as Proxmox does. Pure.

A reader that skips or repairs what Proxmox would not is of no use to a gate: a line after a
snapshot's header and a key of LXC that Proxmox does not know each mean exactly one thing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

PENDING = "pve:pending"
#: Proxmox keeps these lines together, as its key ``env``.
ENVIRONMENT = "lxc.environment.runtime"

_HEADER = re.compile(r"(?ai)\[(pve:pending|[a-z][a-z0-9_-]+)\]\s*")
_RAW = re.compile(r"(?a)(lxc\.[a-z0-9_.-]+)(?::|\s*=)\s*(.*?)\s*")
_PLAIN = re.compile(r"(?a)([a-z][a-z_]*[0-9]*):\s*(.+?)\s*")
#: What Perl's ``\\s`` takes for a blank, in text that it has not decoded.
_BLANKS = " \t\n\r\f\v"
_BOOLEANS = frozenset({"console", "debug", "onboot", "protection", "template", "unprivileged"})
_INTEGERS = frozenset({"cores", "cpuunits", "memory", "snaptime", "swap", "tty"})
_TRUTHS = {
    **dict.fromkeys(("1", "on", "yes", "true"), "1"),
    **dict.fromkeys(("0", "off", "no", "false"), "0"),
}
_RAW_PREFIXES = ("lxc.cgroup.", "lxc.cgroup2.", "lxc.net.", "lxc.prlimit.")
#: Of the names from before LXC 3, only the one that the lab uses.
_RAW_KEYS = frozenset(
    "lxc." + name
    for name in """
    aa_profile apparmor.profile apparmor.allow_incomplete apparmor.allow_nesting apparmor.raw
    selinux.context include arch uts.name signal.halt signal.reboot signal.stop init.cmd pty.max
    init.cwd init.gid init.groups init.uid console.logfile console.path tty.max devtty.dir
    hook.autodev autodev kmsg mount.fstab mount.entry mount.auto rootfs.mount cap.drop cap.keep
    seccomp.profile seccomp.notify.proxy
    seccomp.notify.cookie idmap hook.pre-start hook.pre-mount hook.mount hook.start hook.stop
    hook.post-stop hook.clone hook.destroy hook.version log.level log.file start.auto start.delay
    start.order group environment environment.runtime environment.hooks sysctl.fs.mqueue
    sysctl.kernel.msgmax sysctl.kernel.msgmnb sysctl.kernel.msgmni sysctl.kernel.sem
    sysctl.kernel.shmall sysctl.kernel.shmmax sysctl.kernel.shmmni sysctl.kernel.shm_rmid_forced
    """.split()  # noqa: SIM905 - sixty quoted words are harder to read
)


@dataclass(frozen=True)
class Section:
    """One section: its keys, its raw ``lxc.*`` lines in order, its description."""

    keys: Mapping[str, str] = field(default_factory=dict)
    raw: tuple[tuple[str, str], ...] = ()
    description: str = ""

    def get(self, name: str, default: str = "") -> str:
        """A key's value."""
        return self.keys.get(name, default)

    def with_keys(self, **changes: str | None) -> Section:
        """A copy with keys set, or removed where the value is None."""
        merged = {**self.keys, **changes}
        return replace(self, keys={k: v for k, v in merged.items() if v is not None})

    def with_description(self, text: str) -> Section:
        """A copy with this description."""
        return replace(self, description=text and text.rstrip("\n") + "\n")

    def printed(self) -> str:
        """As ``pct config`` prints it: options sorted, the description encoded."""
        shown = dict(self.keys)
        if self.description:
            shown["description"] = encode(self.description)
        pairs = [*sorted(shown.items()), *self.raw]
        return "".join(f"{key}: {value}\n" for key, value in pairs if key != "delete")

    def environment(self) -> list[tuple[str, str]]:
        """The lines of the key ``env``, whose variables are separated by NUL."""
        return [(ENVIRONMENT, variable) for variable in self.get("env").split("\0") if variable]

    def written(self) -> str:
        """As it stands in the file."""
        about = self.description.rstrip("\n")
        comments = [f"#{encode(line)}\n" for line in about.split("\n")] if about else []
        keys = [pair for pair in sorted(self.keys.items()) if pair[0] != "env"]
        pairs = [*keys, *self.environment(), *self.raw]
        return "".join([*comments, *(f"{key}: {value}\n" for key, value in pairs)])


@dataclass(frozen=True)
class Config:
    """A whole file: what is in effect, what waits for the next start, the snapshots by name."""

    current: Section = field(default_factory=Section)
    pending: Section = field(default_factory=Section)
    snapshots: Mapping[str, Section] = field(default_factory=dict)

    def wanted(self) -> Section:
        """The section as it will be once everything pending is applied."""
        gone = dict.fromkeys(filter(None, self.pending.get("delete").split(",")))
        new = {name: value for name, value in self.pending.keys.items() if name != "delete"}
        return self.current.with_keys(**gone | new)

    def applied(self) -> Config:
        """A copy with everything pending applied."""
        return replace(self, current=self.wanted(), pending=Section())


def encode(text: str) -> str:
    """Control characters, bytes above 126, ``:`` and ``%`` as ``%XX``."""
    raw = text.encode("utf-8", "surrogateescape")
    return re.sub(rb"[^ -9;-~]|%", lambda match: b"%%%02X" % ord(match[0]), raw).decode()


def decode(text: str) -> str:
    """The reverse of `encode`, as Perl decodes; what is not an escape stays as it is."""
    raw = text.encode("utf-8", "surrogateescape")
    decoded = re.sub(rb"%([0-9a-fA-F]{2})", lambda match: bytes([int(match[1], 16)]), raw)
    return decoded.decode("utf-8", "replace")


def truth(word: str) -> str:
    """``1`` or ``0`` for a word that Proxmox takes for a boolean, else an empty string."""
    return _TRUTHS.get(word.lower(), "")


def parse(ctid: str, text: str) -> tuple[Config, str]:
    """The configuration, and the warnings Proxmox prints about the lines that it drops."""
    name, sections, complaints = "", {"": Section()}, ""
    for line in text.split("\n"):
        section = sections[name]
        if line.startswith("#"):
            sections[name] = replace(
                section, description=f"{section.description}{decode(line[1:])}\n"
            )
        elif header := _HEADER.fullmatch(line):
            name = PENDING if header[1].lower() == PENDING else header[1]
            sections[name] = Section()
        elif line.strip(_BLANKS):
            option = _RAW.fullmatch(line) or _PLAIN.fullmatch(line)
            key, value = option.groups() if option else ("", "")
            complaint = _dropped(key, line, name)
            if complaint:
                complaints += f"vm {ctid} - {complaint.rstrip()}\n"
            else:
                sections[name] = _with_line(section, key, value)
    current = sections.pop("").with_keys(snapstate=None)
    pending = sections.pop(PENDING, Section())
    return Config(current, pending, sections), complaints


def _dropped(key: str, line: str, section: str) -> str:
    """Proxmox's words about a line that it drops; empty if it keeps it."""
    if key == "lxc.rootfs.path":
        return f"{key}: {key} is auto generated from rootfs"
    if key == "delete" and section != PENDING:
        return f"property 'delete' is only allowed in [{PENDING}]"
    handed_on = key in _RAW_KEYS or key.startswith(_RAW_PREFIXES)
    if not key or (key.startswith("lxc.") and not handed_on):
        return f"unable to parse config: {line}"
    return ""


def _with_line(section: Section, key: str, value: str) -> Section:
    if key == "description":
        return replace(section, description=section.description + decode(value))
    if key == ENVIRONMENT:
        return section.with_keys(env="\0".join([*filter(None, [section.get("env")]), value]))
    if key.startswith("lxc."):
        return replace(section, raw=(*section.raw, (key, value)))
    if key in _INTEGERS and value.isascii() and value.isdecimal():
        value = str(int(value))
    elif key in _BOOLEANS:
        value = truth(value) or value
    return section.with_keys(**{key: value})


def serialise(config: Config) -> str:
    """The file's text: the current section, then what is pending, then the snapshots by name."""
    keys = config.current.keys
    used = [properties(keys[key]).get("volume") for key in keys if key.startswith(("rootfs", "mp"))]
    left = {key: None for key in keys if key.startswith("unused") and keys[key] in used}
    text = config.current.with_keys(**left).written()
    if config.pending.keys or config.pending.raw or config.pending.description:
        text += f"\n[{PENDING}]\n{config.pending.written()}"
    for name in sorted(config.snapshots):
        text += f"\n[{name}]\n{config.snapshots[name].written()}"
    return text


def properties(text: str) -> dict[str, str]:
    """A property string (``name=eth0,ip=dhcp``) as a mapping; a bare word is the volume."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    return {k if equals else "volume": v if equals else k for k, equals, v in pairs}


def network(text: str, hwaddr: str) -> str:
    """A ``netN`` value as Proxmox writes it: ``name`` first, the rest sorted, defaults added."""
    given = {"hwaddr": hwaddr, **properties(text), "type": "veth"}
    name = given.pop("name", "eth0")
    return ",".join([f"name={name}", *(f"{key}={given[key]}" for key in sorted(given))])
