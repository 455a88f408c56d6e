"""The normal form of a container's file, in which Proxmox rewrites it at every stop.

Comments come first, percent-encoded, then the keys, sorted, then the environment (``env`` and
``lxc.environment.runtime``), then the other ``lxc.*`` lines in their order. Proxmox drops blank
lines, lines that it cannot read, and an ``unusedN`` whose volume is in use. Source:
PVE::LXC::Config (parse_pct_config, write_pct_config) of pve-container 6.1, and PVE::Tools
(encode_text).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from docker_lxc_gate import foreign, patterns
from docker_lxc_gate.formats import pct_options, proxmox

if TYPE_CHECKING:
    from docker_lxc_gate.formats.archive import FileState

_BLANK = " \t\r\f\v"
#: Bytes that are escaped in a comment: all but printable ASCII without percent and colon.
_PLAIN = patterns.compile(rb"[^ -9;-~]|%")
#: Proxmox keeps these lines together, as its key ``env``.
_ENVIRONMENT = "lxc.environment.runtime"


@dataclass
class _Section:
    """The content of one section; ``described`` are its comments, decoded, with line ends."""

    keys: dict[str, str] = field(default_factory=dict)
    environment: list[str] = field(default_factory=list)
    raw: list[tuple[str, str]] = field(default_factory=list)
    described: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        about = "".join(self.described).rstrip("\n")
        comments = [f"#{_encoded(line)}\n" for line in about.split("\n")] if about else []
        variables = "\0".join(self.environment).rstrip("\0")
        first, *more = variables.split("\0")
        split = [first, *filter(None, more)] if variables not in {"", "0"} else []  # as Perl does
        environment = [(_ENVIRONMENT, each) for each in split]
        pairs = [*sorted(self.keys.items()), *environment, *self.raw]
        return "".join([*comments, *(f"{key}: {value}\n" for key, value in pairs)])

    def add(self, key: str, value: str) -> None:
        """Take a line as Proxmox does."""
        if key == "env":
            self.environment = [value]
        elif key == _ENVIRONMENT:
            self.environment.append(value)
        elif key.startswith("lxc."):
            self.raw.append((key, value))
        elif key == "description":
            self.described.append(_decoded(value))
        else:
            self.keys[key] = _value(key, value)


@foreign.parser()
def normal_form(text: str) -> str:
    r"""Return a container's configuration as Proxmox writes it, pending changes included.

    >>> normal_form("swap: 0\n\n# Büro: a\narch : x\nlxc.idmap = u 0 1 1\narch: amd64\n")
    '# B%C3%BCro%3A a\narch: amd64\nswap: 0\nlxc.idmap: u 0 1 1\n'
    """
    sections, _ = _read(text)
    current = sections.pop("")
    current.keys.pop("snapstate", None)
    mounted = {key: value for key, value in current.keys.items() if not key.startswith("unused")}
    used = {pct_options.properties(*pair).get("volume") for pair in mounted.items()}
    for key in current.keys.keys() - mounted.keys():
        if current.keys[key] in used:
            del current.keys[key]
    written = str(current)
    pending = sections.pop(proxmox.PENDING, _Section())
    if pending.keys or pending.raw or pending.described or pending.environment:
        written += f"\n[{proxmox.PENDING}]\n{pending}"
    return written + "".join(f"\n[{name}]\n{sections[name]}" for name in sorted(sections))


def is_rewritten(now: FileState, before: FileState) -> bool:
    """Whether a file is what Proxmox makes of the former one at a stop or a backup."""
    if now == before or now.kind != "file":
        return False
    written = normal_form(before.content.decode(errors="surrogateescape"))
    return now.same(replace(before, content=written.encode(errors="surrogateescape")))


def dropped(text: str) -> frozenset[str]:
    """Return the lines that the normal form lacks, because Proxmox cannot read them."""
    return _read(text)[1]


def _read(text: str) -> tuple[dict[str, _Section], frozenset[str]]:
    section = _Section()
    name, sections, unread = "", {"": section}, set[str]()
    for line in text.split("\n"):
        if not line.strip(_BLANK):
            continue
        said = proxmox.option(line)
        if (header := proxmox.header(line)) is not None:
            name = header.lower() if header.lower() == proxmox.PENDING else header
            section = sections[name] = _Section()
        elif line.startswith("#"):
            section.described.append(f"{_decoded(line[1:])}\n")
        elif said and proxmox.keeps(said[0]) and (said[0] != "delete" or name == proxmox.PENDING):
            section.add(*said)
        else:
            unread.add(line)
    return sections, frozenset(unread)


def _value(key: str, value: str) -> str:
    option = pct_options.known(key)
    kind = option.kind if option else ""
    if kind == "boolean" and (truth := pct_options.boolean(value)) is not None:
        return str(int(truth))
    if kind == "integer" and value.isascii() and value.isdecimal():
        return value.lstrip("0") or "0"
    return value


def _encoded(line: str) -> str:
    raw = line.encode("utf-8", "surrogateescape")
    return _PLAIN.sub(lambda found: b"%%%02X" % ord(found[0]), raw).decode()


def _decoded(comment: str) -> str:
    return unquote_to_bytes(comment.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
