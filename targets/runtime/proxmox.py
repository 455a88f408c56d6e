"""Proxmox's reading of a container's configuration, and the lines that it drops.

Proxmox only warns of a line that it cannot read. The container starts without the line, and the
next stop (or ``pct set``) writes the file without it. Source: PVE::LXC::Config (parse_pct_config,
is_valid_lxc_conf_key, check_type) of pve-container 6.1, and PVE::JSONSchema
(parse_property_string, check_object) of pve-common.
"""

from __future__ import annotations

from targets import patterns

#: The section of the changes that are pending until the next stop or start.
PENDING = "pve:pending"
_HEADER = patterns.compile(rf"(?i)\[({PENDING}|[a-z][a-z0-9_-]+)\]\s*")
_RAW = patterns.compile(r"(?P<key>lxc\.[a-z0-9_.-]+)(?::|\s*=)\s*(?P<value>.*?)\s*")
_PLAIN = patterns.compile(r"(?P<key>[a-z][a-z_]*[0-9]*):\s*(?P<value>.+?)\s*")
#: Lines that look like an option to a reader, but not to Proxmox.
_BLANK_BEFORE_COLON = patterns.compile(r"[\w.-]+\s+:.*")
_EQUALS = patterns.compile(r"[\w-]+\s*=.*")
_BOOLEANS = {
    **dict.fromkeys(("1", "on", "yes", "true"), True),
    **dict.fromkeys(("0", "off", "no", "false"), False),
}
#: The boolean keys of ``features``; ``mount`` takes a list of file systems.
_FEATURES = frozenset({"force_rw_sys", "fuse", "keyctl", "mknod", "nesting"})
_MOUNT = patterns.compile(r"[a-zA-Z0-9_; ]+")
_RAW_KEYS = frozenset(
    f"lxc.{name}"
    for names in (
        "apparmor.profile apparmor.allow_incomplete apparmor.allow_nesting apparmor.raw",
        "selinux.context include arch uts.name signal.halt signal.reboot signal.stop init.cmd",
        "init.cwd pty.max console.logfile console.path tty.max devtty.dir hook.autodev autodev",
        "kmsg mount.fstab mount.entry mount.auto rootfs.mount cap.drop cap.keep seccomp.profile",
        "seccomp.notify.proxy seccomp.notify.cookie idmap hook.pre-start hook.pre-mount hook.mount",
        "hook.start hook.stop hook.post-stop hook.clone hook.destroy hook.version log.level",
        "log.file start.auto start.delay start.order group environment environment.runtime",
        "environment.hooks sysctl.fs.mqueue sysctl.kernel.msgmax sysctl.kernel.msgmnb",
        "sysctl.kernel.msgmni sysctl.kernel.sem sysctl.kernel.shmall sysctl.kernel.shmmax",
        "sysctl.kernel.shmmni sysctl.kernel.shm_rmid_forced",
    )
    for name in names.split()
)
_RAW_FAMILIES = ("lxc.cgroup.", "lxc.cgroup2.", "lxc.prlimit.", "lxc.net.")
#: Keys from before LXC 3: Proxmox keeps these lines, but LXC starts no container with them.
_FORMER = {
    "lxc.aa_profile": "lxc.apparmor.profile",
    "lxc.aa_allow_incomplete": "lxc.apparmor.allow_incomplete",
    "lxc.console": "lxc.console.path",
    "lxc.devttydir": "lxc.tty.dir",
    "lxc.haltsignal": "lxc.signal.halt",
    "lxc.rebootsignal": "lxc.signal.reboot",
    "lxc.stopsignal": "lxc.signal.stop",
    "lxc.id_map": "lxc.idmap",
    "lxc.init_cmd": "lxc.init.cmd",
    "lxc.loglevel": "lxc.log.level",
    "lxc.logfile": "lxc.log.file",
    "lxc.mount": "lxc.mount.fstab",
    "lxc.pts": "lxc.pty.max",
    "lxc.se_context": "lxc.selinux.context",
    "lxc.seccomp": "lxc.seccomp.profile",
    "lxc.tty": "lxc.tty.max",
    "lxc.utsname": "lxc.uts.name",
}
_FORMER_NETWORK = patterns.compile(
    r"lxc\.network\.(type|flags|link|mtu|name|hwaddr|ipv[46](\.gateway)?|script\.(up|down))"
)


def boolean(value: str) -> bool | None:
    """Return a value as a boolean, as Proxmox reads it; None if it is none.

    >>> boolean("Yes"), boolean("off"), boolean("2")
    (True, False, None)
    """
    return _BOOLEANS.get(value.lower())


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
    if not key.startswith("lxc."):
        return True
    return (
        key in _RAW_KEYS
        or key.startswith((*_RAW_FAMILIES, "lxc.limit."))
        or key in _FORMER
        or bool(_FORMER_NETWORK.fullmatch(key))
    )


def today(key: str) -> str:
    """Return the present name of a key from before LXC 3; empty for any other key.

    >>> today("lxc.aa_profile"), today("lxc.network.link"), today("lxc.include")
    ('lxc.apparmor.profile', 'lxc.net.INDEX.link', '')
    """
    if key.startswith("lxc.limit."):
        return key.replace(".limit.", ".prlimit.")
    if _FORMER_NETWORK.fullmatch(key):
        address = patterns.sub("ipv[46]$", lambda found: f"{found[0]}.address", key)
        return address.replace(".network.", ".net.INDEX.")
    return _FORMER.get(key, "")


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
        "there are blanks before it": line[:1].isspace(),
        "there is a blank before the colon": _BLANK_BEFORE_COLON.fullmatch(line),
        "only lxc.* keys may be followed by '='": _EQUALS.fullmatch(line),
    }
    return next((f": {cause}" for cause, is_so in causes.items() if is_so), "")


def features_error(value: str) -> str:
    """Return pct's error about a value of ``features``; empty if pct can parse it.

    No container starts with a value that pct cannot parse.

    >>> features_error("nesting=maybe")
    "unable to parse value of 'features' - format error: nesting: type check ('boolean') failed - got 'maybe'"
    """  # noqa: E501 - pct's own words, in one line
    wrong = _wrong_property(value)
    return f"unable to parse value of 'features' - {wrong}" if wrong else ""


def _wrong_property(value: str) -> str:
    found: dict[str, str] = {}
    for part in value.split(","):
        key, equals, setting = part.partition("=")
        if not part.strip():
            continue
        if not equals:
            return "value without key, but schema does not define a default key"
        if not key or not setting:
            return "missing key in comma-separated list property"
        if key in found:
            return f"duplicate key in comma-separated list property: {key}"
        found[key] = _wrong_setting(key, setting)
    wrong = [f"{key}: {why}" for key, why in sorted(found.items()) if why]
    return f"format error: {'; '.join(wrong)}" if wrong else ""


def _wrong_setting(key: str, setting: str) -> str:
    if key == "mount":
        return "" if _MOUNT.fullmatch(setting) else "value does not match the regex pattern"
    if key not in _FEATURES:
        return (
            "property is not defined in schema and the schema does not allow additional properties"
        )
    if boolean(setting) is None:
        return f"type check ('boolean') failed - got '{setting}'"
    return ""
