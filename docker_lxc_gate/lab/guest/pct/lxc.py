"""A section of Proxmox's configuration turned into LXC's own, line for line as Proxmox does. Pure.

Three lines differ, since this is not Proxmox's LXC: the two includes name Debian's files, the
root file system is the volume's directory itself (Proxmox mounts it under /var/lib/lxc), and a
``link`` line does what Proxmox's ``lxcnetaddbr`` script does.
"""

from __future__ import annotations

import re

from .config import Section, properties, truth
from .errors import PctError

INCLUDES = "/usr/share/lxc/config"
ID_BASE, ID_COUNT = 100000, 65536
MIB = 1024 * 1024
#: The features, and the one of them that is no boolean.
_FEATURES = frozenset({"force_rw_sys", "fuse", "keyctl", "mknod", "mount", "nesting"})
_MOUNT = "mount"
_UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"
#: Rules that AppArmor knows since 4.0. Proxmox 9 writes them, since pve-container 6.0.3 and 6.0.5.
_SINCE_APPARMOR_4 = frozenset({"allow mqueue,", "allow userns,"})
#: What the lab's containers do not have.
_UNSUPPORTED_KEYS = re.compile(
    r"(mp|dev)[0-9]+|hookscript|cores|cpulimit|cpuunits|entrypoint|env|cmode|console|searchdomain"
    r"|timezone"
)
_ADDRESSES = ("dhcp", "manual")
_LOG_LINE = re.compile(r"lxc-start: [^:]+: (?P<source>[^:]+): (?P<message>.*)")


def seccomp(section: Section, common: str) -> str:
    """The system calls refused: Debian's common list, and keyctl as unknown unless it is wanted."""
    wanted = features(section).get("keyctl") == "1"
    rules = common.rstrip("\n") + "\n"
    return rules if wanted or not unprivileged(section) else f"{rules}keyctl errno 38\n"


def features(section: Section) -> dict[str, str]:
    """The features, booleans as ``1`` and ``0``; PctError if Proxmox does not know one."""
    given = {}
    for part in filter(None, section.get("features").split(",")):
        key, _, value = part.partition("=")
        given[key] = value if key == _MOUNT else truth(value)
    if wrong := sorted(given.keys() - _FEATURES):
        raise PctError("format error\n" + "".join(f"{key}: {_UNKNOWN}\n" for key in wrong))
    return given


def unprivileged(section: Section) -> bool:
    """Whether the container runs in a user namespace of its own."""
    return section.get("unprivileged") == "1"


def generate(
    ctid: str, section: Section, rootfs: str, *, apparmor_4: bool = True
) -> tuple[str, str]:
    """LXC's configuration and the warning about what an explicit profile switches off.

    Without ``apparmor_4`` it is that of Proxmox 8, whose AppArmor knows fewer rules.

    Raises PctError if Proxmox cannot parse a value of the section.
    """
    wanted = features(section)
    memory, swap = (int(section.get(name, "512")) * MIB for name in ("memory", "swap"))
    pairs = [
        ("lxc.cgroup.relative", "0"),
        ("lxc.cgroup.dir.monitor", f"lxc.monitor/{ctid}"),
        ("lxc.cgroup.dir.container", f"lxc/{ctid}"),
        ("lxc.cgroup.dir.container.inner", "ns"),
        ("lxc.arch", section.get("arch", "amd64")),
        ("lxc.include", f"{INCLUDES}/common.conf"),
        *([("lxc.include", f"{INCLUDES}/userns.conf")] if unprivileged(section) else []),
        ("lxc.seccomp.profile", f"/var/lib/lxc/{ctid}/rules.seccomp"),
        *([] if _explicit(section) else _confinement(wanted, apparmor_4=apparmor_4)),
        *_feature_mounts(wanted),
        *_user_namespace(section, wanted),
        ("lxc.tty.max", section.get("tty", "2")),
        ("lxc.environment", "TERM=linux"),
        ("lxc.uts.name", section.get("hostname", f"CT{ctid}")),
        ("lxc.cgroup2.memory.max", str(memory)),
        ("lxc.cgroup2.memory.high", str(memory - memory // 128)),  # slowed before it is killed
        ("lxc.cgroup2.memory.swap.max", str(swap)),
        ("lxc.rootfs.path", rootfs),
        *_networks(ctid, section),
        *section.raw,
    ]
    text = "".join(f"{key} = {value}\n" for key, value in pairs)
    off = [name for name in ("fuse", "nesting", "mount") if wanted.get(name, "0") != "0"]
    if not (off and _explicit(section)):
        return text, ""
    names = ", ".join(f"features:{name}" for name in off)
    warning = "explicitly configured lxc.apparmor.profile overrides the following settings: "
    return text, f"{warning}{names}\n"


def require_supported(section: Section) -> None:
    """Raise PctError if the section asks for something that this front end does not do."""
    mknod = features(section).get("mknod") == "1"
    refused = [
        key
        for key, value in section.keys.items()
        if _UNSUPPORTED_KEYS.fullmatch(key)
        or (key.startswith("net") and properties(value).get("ip", "dhcp") not in _ADDRESSES)
    ]
    if refused or mknod:
        names = ", ".join(["features:mknod"] * mknod + sorted(refused))
        raise PctError(f"not supported on this node: {names}\n")


def _explicit(section: Section) -> bool:
    return any(key == "lxc.apparmor.profile" for key, _value in section.raw)


def _confinement(wanted: dict[str, str], *, apparmor_4: bool) -> list[tuple[str, str]]:
    """What Proxmox puts into the generated profile, and leaves out for an explicit one."""
    lines = [("lxc.apparmor.profile", "generated"), ("lxc.apparmor.raw", "allow mqueue,")]
    if wanted.get("nesting") == "1":
        lines += [("lxc.apparmor.allow_nesting", "1"), ("lxc.apparmor.raw", "allow userns,")]
    else:
        denied = ("deny mount -> /proc/,", "deny mount -> /sys/,")
        lines += [("lxc.apparmor.raw", rule) for rule in denied]
    return [(key, value) for key, value in lines if apparmor_4 or value not in _SINCE_APPARMOR_4]


def _feature_mounts(wanted: dict[str, str]) -> list[tuple[str, str]]:
    lines = [
        ("lxc.apparmor.raw", f"mount fstype={kind},")
        for kind in wanted.get("mount", "").split(";")
        if kind
    ]
    if wanted.get("fuse") == "1":
        lines += [
            ("lxc.apparmor.raw", "mount fstype=fuse,"),
            ("lxc.mount.entry", "/dev/fuse dev/fuse none bind,create=file 0 0"),
        ]
    return lines


def _user_namespace(section: Section, wanted: dict[str, str]) -> list[tuple[str, str]]:
    if not unprivileged(section):
        return []
    sys_mode = "rw" if wanted.get("force_rw_sys") == "1" else "mixed"
    own_map = any(key == "lxc.idmap" for key, _value in section.raw)
    maps = [("lxc.idmap", f"{kind} 0 {ID_BASE} {ID_COUNT}") for kind in "ug"]
    lines = [("lxc.mount.auto", f"sys:{sys_mode}"), ("lxc.monitor.unshare", "1")]
    return lines + ([] if own_map else maps)


def _networks(ctid: str, section: Section) -> list[tuple[str, str]]:
    lines = []
    for key in sorted(section.keys):
        if not re.fullmatch("net[0-9]+", key):
            continue
        index, net = key.removeprefix("net"), properties(section.get(key))
        values = {
            "type": "veth",
            "veth.pair": f"veth{ctid}i{index}",
            "hwaddr": net.get("hwaddr", ""),
            "name": net.get("name", f"eth{index}"),
            "mtu": net.get("mtu", "1500"),
            "link": net.get("bridge", "lxcbr0"),
        }
        lines += [(f"lxc.net.{index}.{name}", value) for name, value in values.items()]
    return lines


def failure_lines(stderr: str) -> str:
    """What Proxmox shows of LXC's words when a start fails.

    Proxmox strips the program, the container and the source file, and leaves out what lxc-start's
    own ``main`` adds.
    """
    shown = []
    for line in stderr.splitlines():
        matched = _LOG_LINE.fullmatch(line)
        if matched is None:
            shown.append(f"{line}\n")
        elif "tools/lxc_start.c" not in matched["source"]:
            shown.append(f"{matched['message']}\n")
    return "".join(shown)
