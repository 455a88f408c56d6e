"""One line of ``/etc/pve/lxc/<ctid>.conf``, as Proxmox's parser takes it. No imports.

A reader that skips or repairs what Proxmox would not is of no use to a gate: a mount entry cut
short, a line after a snapshot's header, an unknown key each mean exactly one thing.
"""

from .options import BOOLEAN, CONFIG, FALSE, INTEGER, TRUE

SECTION, TEXT, KEY, RAW, DROPPED = "section", "text", "key", "raw", "dropped"
PENDING = "pve:pending"

_PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte not in b":%")
_LOWER, _DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
_KINDS = {
    **CONFIG,
    **dict.fromkeys(("console", "debug", "template"), BOOLEAN),
    **dict.fromkeys(("cpuunits", "snaptime"), INTEGER),
    **dict.fromkeys(("cmode", "entrypoint", "env", "hookscript", "parent"), "string"),
    **dict.fromkeys(("searchdomain", "snapstate", "timezone"), "string"),
    **{f"{stem}{index}": "string" for stem in ("mp", "unused", "dev") for index in range(256)},
}
_RAW_PREFIXES = ("lxc.cgroup.", "lxc.cgroup2.", "lxc.net.", "lxc.prlimit.", "lxc.sysctl.")
_RAW_KEYS = frozenset(
    "lxc." + name
    for name in """
    apparmor.profile apparmor.allow_incomplete apparmor.allow_nesting apparmor.raw
    selinux.context include arch uts.name signal.halt signal.reboot signal.stop init.cmd pty.max
    console.logfile console.path tty.max devtty.dir hook.autodev autodev kmsg mount.fstab
    mount.entry mount.auto rootfs.mount cap.drop cap.keep seccomp.profile seccomp.notify.proxy
    seccomp.notify.cookie idmap hook.pre-start hook.pre-mount hook.mount hook.start hook.stop
    hook.post-stop hook.clone hook.destroy hook.version log.level log.file start.auto start.delay
    start.order group environment
    """.split()  # noqa: SIM905 - forty quoted words are harder to read
)
_RAW_REFUSED = {
    "lxc.rootfs.path": "lxc.rootfs.path is auto generated from rootfs",
    "lxc.rootfs.options": "lxc.rootfs.options is not supported, please use mount point options"
    ' in the "rootfs" key',
}


def read(line: str, section: str) -> tuple[str, str, str, str]:
    """What one line says: its kind, its name, its value, and Proxmox's complaint about it.

    Args:
        line: without its line end.
        section: the section it stands in; ``""`` before the first header.
    """
    if line.startswith("#"):
        return TEXT, "", decode(line[1:]) + "\n", ""
    if header := _header(line):
        return SECTION, header, "", ""
    name, value = _raw_key(line)
    return _raw(name, value, line) if name else _plain(line, section)


def warnings(ctid: str, text: str) -> str:
    """Everything Proxmox prints about a file when it reads it."""
    section, complaints = "", []
    for line in text.split("\n"):
        kind, name, _value, complaint = read(line, section)
        if kind == SECTION:
            section = name
        if complaint:
            complaints.append(f"vm {ctid} - {complaint}\n")
    return "".join(complaints)


def encode(text: str) -> str:
    """Control characters, bytes above 126, ``:`` and ``%`` as ``%XX``."""
    return "".join(
        chr(byte) if byte in _PLAIN else f"%{byte:02X}"
        for byte in text.encode("utf-8", "surrogateescape")
    )


def decode(text: str) -> str:
    """The reverse of `encode`; what is not an escape stays as it is."""
    head, *parts = text.encode("utf-8", "surrogateescape").split(b"%")
    for part in parts:
        digits = part[:2]
        if len(digits) == 2 and not digits.strip(b"0123456789abcdefABCDEF"):  # noqa: PLR2004 - %XX
            head += bytes([int(digits, 16)]) + part[2:]
        else:
            head += b"%" + part
    return head.decode("utf-8", "surrogateescape")


def _plain(line: str, section: str) -> tuple[str, str, str, str]:
    name, colon, value = line.partition(":")
    value = value.strip()
    if not (colon and value and _is_name(name)):
        return (DROPPED, "", "", f"unable to parse config: {line}" if line.strip() else "")
    if name == "description":
        return TEXT, "", decode(value), ""
    if name == "delete" and section != PENDING:
        return DROPPED, "", "", f"property 'delete' is only allowed in [{PENDING}]"
    return KEY, name, *_checked(name, value)


def _header(line: str) -> str:
    """The section's name, if the line is a header; anything else in brackets does not parse."""
    inner = line.rstrip()
    if not (inner.startswith("[") and inner.endswith("]")):
        return ""
    name = inner[1:-1]
    if name.lower() == PENDING:
        return PENDING
    fits = len(name) > 1 and name[0].lower() in _LOWER
    return name if fits and not name.lower().strip(_LOWER + _DIGITS + "_-") else ""


def _raw_key(line: str) -> tuple[str, str]:
    """The name and value of an ``lxc.`` line: after a colon, or after ``=`` with spaces."""
    end = len(line) - len(line.lstrip(_LOWER + _DIGITS + "_-."))
    name, rest = line[:end], line[end:]
    if not name.startswith("lxc.") or name == "lxc.":
        return "", ""
    if not rest.startswith(":"):
        rest = rest.lstrip()
        if not rest.startswith("="):
            return "", ""
    return name, rest[1:].strip()


def _raw(name: str, value: str, line: str) -> tuple[str, str, str, str]:
    if name in _RAW_KEYS or name.startswith(_RAW_PREFIXES):
        return RAW, name, value, ""
    if name in _RAW_REFUSED:
        return DROPPED, "", "", f"{name}: {_RAW_REFUSED[name]}"
    return DROPPED, "", "", f"unable to parse config: {line}"


def _is_name(name: str) -> bool:
    stem = name.rstrip(_DIGITS)
    return bool(stem) and stem[0] in _LOWER and not stem.strip(_LOWER + "_")


def _checked(name: str, value: str) -> tuple[str, str]:
    """The value and what is wrong with it; Proxmox keeps a wrong value all the same."""
    problem = f"unable to parse value of '{name}' - "
    kind = _KINDS.get(name)
    if kind is None and name != "delete":
        return value, f"{problem}unknown setting '{name}'"
    if kind == INTEGER:
        if value.isdecimal():
            return str(int(value)), ""
        return value, f"{problem}type check ('integer') failed - got '{value}'"
    if kind == BOOLEAN:
        if value.lower() in (*TRUE, *FALSE):
            return str(int(value.lower() in TRUE)), ""
        return value, f"{problem}type check ('boolean') failed - got '{value}'"
    return value, ""
