"""Proxmox's reading of a container's configuration, and the normal form in which it writes that.

Proxmox only warns of a line that it cannot read. The container starts without the line, and the
next stop (or ``pct set``) writes the file without it. At every stop Proxmox writes the normal form:
comments come first, percent-encoded, then the keys, sorted, then the environment (``env`` and
``lxc.environment.runtime``), then the other ``lxc.*`` lines in their order. It has no blank lines,
and no ``unusedN`` whose volume is in use. Source: PVE::LXC::Config (parse_pct_config,
is_valid_lxc_conf_key, write_pct_config) of pve-container 6.1, and PVE::Tools (encode_text).
:mod:`docker_lxc_gate.formats.pct_options` knows the keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from docker_lxc_gate import patterns
from docker_lxc_gate.formats import pct_options

if TYPE_CHECKING:
    from docker_lxc_gate.formats.archive import FileState

#: The section of the changes that are pending until the next stop or start.
PENDING = "pve:pending"
_HEADER = patterns.compile(rf"(?i)\[({PENDING}|[a-z][a-z0-9_-]+)\]\s*")
_RAW = patterns.compile(r"(?P<key>lxc\.[a-z0-9_.-]+)(?::|\s*=)\s*(?P<value>.*?)\s*")
_PLAIN = patterns.compile(r"(?P<key>[a-z][a-z_]*[0-9]*):\s*(?P<value>.+?)\s*")
#: Lines that look like an option to a reader, but not to Proxmox.
_BLANK_BEFORE_COLON = patterns.compile(r"[\w.-]+\s+:.*")
_EQUALS = patterns.compile(r"[\w-]+\s*=.*")


def header(line: str) -> str | None:
    """Return the name of the section that a line begins, or None."""
    match = _HEADER.fullmatch(line)
    return match[1] if match else None


def option(line: str) -> tuple[str, str] | None:
    """Return the key and value of a line, known or not; None if Proxmox cannot read it.

    >>> option("lxc.idmap = u 0 1 1"), option("arch = amd64"), option("arch : amd64")
    (('lxc.idmap', 'u 0 1 1'), None, None)
    """
    match = _RAW.fullmatch(line) or _PLAIN.fullmatch(line)
    return (match["key"], match["value"]) if match else None


def keeps(key: str) -> bool:
    """Whether Proxmox keeps a line with this key; of ``lxc.*`` keys it keeps those on its list."""
    return not key.startswith("lxc.") or pct_options.handed_on(key)


def today(key: str) -> str:
    """Return the present name of a key from before LXC 3; empty for any other key.

    >>> today("lxc.aa_profile"), today("lxc.network.link"), today("lxc.include")
    ('lxc.apparmor.profile', 'lxc.net.INDEX.link', '')
    """
    if key.startswith("lxc.limit."):
        return key.replace(".limit.", ".prlimit.")
    return pct_options.FORMER.get(key, "")


def unreadable(line: str) -> str:
    """Return why Proxmox does not read a line, and what will happen to it.

    >>> unreadable("arch : amd64")
    'no option: there is a blank before the colon; the next stop or pct set deletes it'
    """
    if line.startswith("["):
        return (
            "no section: a section's name begins with a letter, and the rest is letters, digits, "
            "'_' and '-'. The lines below it are in effect, the last assignment wins, and the next "
            "stop or pct set deletes this one"
        )
    return f"no option{_because(line)}; the next stop or pct set deletes it"


def _because(line: str) -> str:
    if pair := option(line):
        if pair[0] == "delete":
            return f": delete has a meaning in [{PENDING}] only"
        return f": {pair[0]} is none of the keys that Proxmox hands on to LXC"
    causes = {
        "a comment has its # in the first column": line.lstrip().startswith("#"),
        "a byte order mark is before it": line.startswith("\ufeff"),
        "there are blanks before it": line[:1].isspace(),
        "there is a blank before the colon": _BLANK_BEFORE_COLON.fullmatch(line),
        "only lxc.* keys may be followed by '='": _EQUALS.fullmatch(line),
    }
    return next((f": {cause}" for cause, is_so in causes.items() if is_so), "")


_BLANK = " \t\r\f\v"
#: Bytes that are escaped in a comment: all but printable ASCII without percent and colon.
_ESCAPED = patterns.compile(rb"[^ -9;-~]|%")
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
        environment = [(_ENVIRONMENT, variable) for variable in split]
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
    pending = sections.pop(PENDING, _Section())
    if pending.keys or pending.raw or pending.described or pending.environment:
        written += f"\n[{PENDING}]\n{pending}"
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
        pair = option(line)
        if (title := header(line)) is not None:
            name = title.lower() if title.lower() == PENDING else title
            section = sections[name] = _Section()
        elif line.startswith("#"):
            section.described.append(f"{_decoded(line[1:])}\n")
        elif pair and keeps(pair[0]) and (pair[0] != "delete" or name == PENDING):
            section.add(*pair)
        else:
            unread.add(line)
    return sections, frozenset(unread)


def _value(key: str, value: str) -> str:
    known = pct_options.known(key)
    form = known.form if known else ""
    if form == "boolean" and (truth := pct_options.boolean(value)) is not None:
        return str(int(truth))
    if form == "integer" and value.isascii() and value.isdecimal():
        return value.lstrip("0") or "0"
    return value


def _encoded(line: str) -> str:
    raw = line.encode("utf-8", "surrogateescape")
    return _ESCAPED.sub(lambda match: b"%%%02X" % ord(match[0]), raw).decode()


def _decoded(comment: str) -> str:
    return unquote_to_bytes(comment.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
