"""One line of ``/etc/pve/lxc/<ctid>.conf``, as Proxmox's parser takes it. No imports.

A reader that skips or repairs what Proxmox would not is of no use to a gate: a mount entry cut
short, a line after a snapshot's header, a blank before a colon each mean exactly one thing. All
but two of LXC's own keys are handed on, even those that Proxmox drops: LXC refuses what it does
not know.
"""

from .formats import truth
from .options import BOOLEAN, CONFIG, INTEGER, STRING

SECTION, TEXT, KEY, RAW, DROPPED = "section", "text", "key", "raw", "dropped"
PENDING = "pve:pending"

_LOWER, _DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
#: What Perl's ``\\s`` takes for a blank, in text that it has not decoded.
_BLANKS = " \t\n\r\f\v"
_KINDS = {
    **CONFIG,
    **dict.fromkeys(("console", "debug", "template"), BOOLEAN),
    **dict.fromkeys(("cpuunits", "snaptime"), INTEGER),
    **dict.fromkeys(("cmode", "delete", "entrypoint", "env", "hookscript"), STRING),
    **dict.fromkeys(("parent", "searchdomain", "snapstate", "timezone"), STRING),
    **{f"{stem}{index}": STRING for stem in ("mp", "unused", "dev") for index in range(256)},
    **{f"net{index}": STRING for index in range(32)},
}
_GENERATED = frozenset({"lxc.rootfs.path", "lxc.rootfs.options"})


def read(line: str, section: str) -> tuple[str, str, str, str]:
    """What one line says: its kind, its name, its value, and Proxmox's complaint about it.

    Args:
        line: without its line end.
        section: the section it stands in; ``""`` before the first header.
    """
    if not line.strip(_BLANKS):
        return DROPPED, "", "", ""
    if line.startswith("#"):
        return TEXT, "", f"{line[1:]}\n", ""
    if header := _header(line):
        return SECTION, header, "", ""
    name, value = _raw_key(line)
    if name in _GENERATED:
        return DROPPED, "", "", f"{name}: {name} is auto generated from rootfs"
    return (RAW, name, value, "") if name else _plain(line, section)


def warnings(ctid: str, text: str) -> str:
    """Everything Proxmox prints about a file when it reads it."""
    section, complaints = "", []
    for line in text.split("\n"):
        kind, name, _value, complaint = read(line, section)
        if kind == SECTION:
            section = name
        if complaint:
            complaints.append(f"vm {ctid} - {complaint.rstrip()}\n")
    return "".join(complaints)


def _plain(line: str, section: str) -> tuple[str, str, str, str]:
    name, colon, value = line.partition(":")
    # Of blanks alone, the last one is the value: Proxmox wants one character, whatever it is.
    value = value.strip(_BLANKS) or value[-1:]
    if not (colon and value and _is_name(name)):
        return DROPPED, "", "", f"unable to parse config: {line}"
    if name == "description":
        return TEXT, "", value, ""
    if name == "delete" and section != PENDING:
        return DROPPED, "", "", f"property 'delete' is only allowed in [{PENDING}]"
    return KEY, name, *_checked(name, value)


def _header(line: str) -> str:
    """The section's name, if the line is a header; anything else in brackets does not parse."""
    inner = line.rstrip(_BLANKS)
    if not (inner.startswith("[") and inner.endswith("]")):
        return ""
    name = inner[1:-1]
    if name.lower() == PENDING:
        return PENDING
    fits = len(name) > 1 and name.isascii() and name[0].lower() in _LOWER
    return name if fits and not name.lower().strip(_LOWER + _DIGITS + "_-") else ""


def _raw_key(line: str) -> tuple[str, str]:
    """The name and value of an ``lxc.`` line: after a colon, or after ``=`` with spaces."""
    end = len(line) - len(line.lstrip(_LOWER + _DIGITS + "_-."))
    name, rest = line[:end], line[end:]
    if not name.startswith("lxc.") or name == "lxc.":
        return "", ""
    if not rest.startswith(":"):
        rest = rest.lstrip(_BLANKS)
        if not rest.startswith("="):
            return "", ""
    return name, rest[1:].strip(_BLANKS)


def _is_name(name: str) -> bool:
    stem = name.rstrip(_DIGITS)
    return bool(stem) and stem[0] in _LOWER and not stem.strip(_LOWER + "_")


def _checked(name: str, value: str) -> tuple[str, str]:
    """The value in Proxmox's form, and a complaint about a key that is kept all the same."""
    kind = _KINDS.get(name)
    if kind is None:
        return value, f"unable to parse value of '{name}' - unknown setting '{name}'"
    if kind == INTEGER and value.isascii() and value.isdecimal():
        return str(int(value)), ""
    return (kind == BOOLEAN and truth(value)) or value, ""
