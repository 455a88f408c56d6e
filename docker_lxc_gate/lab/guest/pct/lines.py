"""One line of ``/etc/pve/lxc/<ctid>.conf``, as Proxmox's parser takes it. No imports.

A reader that skips or repairs what Proxmox would not is of no use to a gate: a mount entry cut
short, a line after a snapshot's header, an unknown key each mean exactly one thing.
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
_RAW_PREFIXES = ("lxc.cgroup.", "lxc.cgroup2.", "lxc.net.", "lxc.prlimit.")
_RAW_KEYS = frozenset(
    "lxc." + name
    for name in """
    apparmor.profile apparmor.allow_incomplete apparmor.allow_nesting apparmor.raw
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
#: Names of before LXC 3: kept with a warning, and LXC refuses them at the start.
_RENAMED = {
    f"lxc.{old}": f"lxc.{new}"
    for old, new in (
        pair.split("=")
        for pair in """
        aa_profile=apparmor.profile aa_allow_incomplete=apparmor.allow_incomplete
        console=console.path devttydir=tty.dir haltsignal=signal.halt rebootsignal=signal.reboot
        stopsignal=signal.stop id_map=idmap init_cmd=init.cmd loglevel=log.level logfile=log.file
        mount=mount.fstab network.type=net.INDEX.type network.flags=net.INDEX.flags
        network.link=net.INDEX.link network.mtu=net.INDEX.mtu network.name=net.INDEX.name
        network.hwaddr=net.INDEX.hwaddr network.ipv4=net.INDEX.ipv4.address
        network.ipv4.gateway=net.INDEX.ipv4.gateway network.ipv6=net.INDEX.ipv6.address
        network.ipv6.gateway=net.INDEX.ipv6.gateway network.script.up=net.INDEX.script.up
        network.script.down=net.INDEX.script.down pts=pty.max se_context=selinux.context
        seccomp=seccomp.profile tty=tty.max utsname=uts.name
        """.split()  # noqa: SIM905 - as above
    )
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
    return _raw(name, value, line) if name else _plain(line, section)


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


def _raw(name: str, value: str, line: str) -> tuple[str, str, str, str]:
    if name in _GENERATED:
        return DROPPED, "", "", f"{name}: {name} is auto generated from rootfs"
    if name in _RENAMED:
        return RAW, name, value, f"{name} is deprecated and was renamed to {_RENAMED[name]}"
    if name not in _RAW_KEYS and not name.startswith(_RAW_PREFIXES):
        return DROPPED, "", "", f"unable to parse config: {line}"
    return RAW, name, value, ""


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
