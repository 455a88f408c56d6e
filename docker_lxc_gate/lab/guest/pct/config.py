"""``/etc/pve/lxc/<ctid>.conf``: parsed, changed and written as Proxmox does. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from . import lines

#: Proxmox keeps these lines together, as its key ``env``.
ENVIRONMENT = "lxc.environment.runtime"


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

    def with_option(self, name: str, value: str | None) -> Section:
        """A copy with one option set or removed; the description is one, too."""
        if name == "description":
            text = (value or "").rstrip("\n")
            return replace(self, description=text and f"{text}\n")
        return self.with_keys(**{name: value})

    def printed(self) -> str:
        """As ``pct config`` prints it: options sorted, the description encoded."""
        shown = dict(self.keys)
        if self.description:
            shown["description"] = encode(self.description)
        pairs = [*sorted(shown.items()), *self.raw]
        return "".join(f"{key}: {value}\n" for key, value in pairs if key != "delete")

    def environment(self) -> list[tuple[str, str]]:
        """The lines of the key ``env``, whose variables are separated by NUL."""
        return [(ENVIRONMENT, each) for each in self.get("env").split("\0") if each]

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
        section = self.current
        for name in filter(None, self.pending.get("delete").split(",")):
            section = section.with_option(name, None)
        for name in self.pending.keys:
            if name != "delete":
                section = section.with_option(name, self.pending.get(name))
        return section

    def applied(self) -> Config:
        """A copy with everything pending applied."""
        return replace(self, current=self.wanted(), pending=Section())


def encode(text: str) -> str:
    """Control characters, bytes above 126, ``:`` and ``%`` as ``%XX``."""
    raw = text.encode("utf-8", "surrogateescape")
    return re.sub(rb"[^ -9;-~]|%", lambda found: b"%%%02X" % ord(found[0]), raw).decode()


def decode(text: str) -> str:
    """The reverse of `encode`, as Perl decodes; what is not an escape stays as it is."""
    raw = text.encode("utf-8", "surrogateescape")
    decoded = re.sub(rb"%([0-9a-fA-F]{2})", lambda found: bytes([int(found[1], 16)]), raw)
    return decoded.decode("utf-8", "replace")


def parse(ctid: str, text: str) -> tuple[Config, str]:
    """The configuration, and the warnings Proxmox prints while it reads it."""
    name, sections = "", {"": Section()}
    for line in text.split("\n"):
        kind, key, value, _complaint = lines.read(line, name)
        section = sections[name]
        if kind == lines.SECTION:
            name, section = key, Section()
        elif kind == lines.TEXT:
            section = replace(section, description=section.description + decode(value))
        elif kind == lines.RAW and key == ENVIRONMENT:
            section = section.with_keys(env="\0".join([*filter(None, [section.get("env")]), value]))
        elif kind == lines.RAW:
            section = replace(section, raw=(*section.raw, (key, value)))
        elif kind == lines.KEY:
            section = section.with_keys(**{key: value})
        sections[name] = section
    current = sections.pop("").with_keys(snapstate=None)
    pending = sections.pop(lines.PENDING, Section())
    return Config(current, pending, sections), lines.warnings(ctid, text)


def serialise(config: Config) -> str:
    """The file's text: the current section, then what is pending, then the snapshots by name."""
    keys = config.current.keys
    used = [properties(keys[key]).get("volume") for key in keys if key.startswith(("rootfs", "mp"))]
    left = {key: None for key in keys if key.startswith("unused") and keys[key] in used}
    text = config.current.with_keys(**left).written()
    if config.pending.keys or config.pending.raw or config.pending.description:
        text += f"\n[{lines.PENDING}]\n{config.pending.written()}"
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
