"""Proxmox's reading of a container's configuration, and the lines that it drops.

Proxmox only warns of a line that it cannot read. The container starts without the line, and the
next stop (or ``pct set``) writes the file without it. Source: PVE::LXC::Config (parse_pct_config,
is_valid_lxc_conf_key) of pve-container 6.1. :mod:`docker_lxc_gate.formats.pct_options` knows the
keys.
"""

from __future__ import annotations

from docker_lxc_gate import patterns
from docker_lxc_gate.formats import pct_options

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
    found = _HEADER.fullmatch(line)
    return found[1] if found else None


def option(line: str) -> tuple[str, str] | None:
    """Return the key and value of a line, known or not; None if Proxmox cannot read it.

    >>> option("lxc.idmap = u 0 1 1"), option("arch = amd64"), option("arch : amd64")
    (('lxc.idmap', 'u 0 1 1'), None, None)
    """
    found = _RAW.fullmatch(line) or _PLAIN.fullmatch(line)
    return (found["key"], found["value"]) if found else None


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
    if said := option(line):
        if said[0] == "delete":
            return f": delete has a meaning in [{PENDING}] only"
        return f": {said[0]} is none of the keys that Proxmox hands on to LXC"
    causes = {
        "a comment has its # in the first column": line.lstrip().startswith("#"),
        "a byte order mark is before it": line.startswith("\ufeff"),
        "there are blanks before it": line[:1].isspace(),
        "there is a blank before the colon": _BLANK_BEFORE_COLON.fullmatch(line),
        "only lxc.* keys may be followed by '='": _EQUALS.fullmatch(line),
    }
    return next((f": {cause}" for cause, is_so in causes.items() if is_so), "")
