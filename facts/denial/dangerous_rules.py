"""Whether a rule that would allow what was denied opens more than it looks: a warning for a reader.

That nothing is said of a rule does not make it harmless. Sources: apparmor.d(5), capabilities(7),
mount_namespaces(7); kernel Documentation/admin-guide/sysctl/kernel.rst (core_pattern, modprobe).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from facts.audit.audit_records import kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NODE = "a privileged container rules the node with it"
#: Those that rule the kernel itself. The root of an unprivileged container has them over its own
#: namespaces alone, where the kernel refuses the rest.
_CAPABILITIES = {
    "mac_admin": "it may replace AppArmor's policy of its namespace, also the profile itself",
    "mac_override": "it overrides mandatory access control",
    **dict.fromkeys(
        (
            *("sys_admin", "sys_module", "sys_rawio", "sys_ptrace", "sys_boot", "sys_time"),
            *("syslog", "bpf", "perfmon", "dac_read_search", "net_admin", "checkpoint_restore"),
        ),
        _NODE,
    ),
}
_WRITES = frozenset("wacdl")
#: Files by which a process that may write them rules the kernel, or reads its memory.
_FILES = (
    (r"/proc/sysrq-trigger", _WRITES, "it restarts or halts the node"),
    (r"/proc/sys/kernel/(core_pattern|modprobe|hotplug)", _WRITES, "the node runs what it names"),
    (r"/proc/sys/.*|/sys/net/.*", _WRITES, "settings of the kernel, some of them the node's"),
    (r"/sys/kernel/security/.*", _WRITES, "AppArmor's own policy"),
    (r"/sys/kernel/(debug|tracing)/.*", frozenset("rwacdlx"), "the kernel's insides"),
    (r"/sys/.*/uevent_helper|.*/release_agent", _WRITES, "the node runs what it names"),
    (r"/sys/firmware/.*", _WRITES, "the node's firmware"),
    (r"/sys/.*", _WRITES, "settings of the node's devices and kernel"),
    (r"/proc/(kcore|kmem|keys|kallsyms)", frozenset("rwacdl"), "the kernel's memory or addresses"),
    (r"/proc/[0-9]+/mem", frozenset("rwacdl"), "the memory of another process"),
    (r"/dev/(mem|kmem|port)", frozenset("rwacdl"), "the node's memory"),
    (
        r"/dev/(sd|nvme|vd|xvd|dm-|mapper/|md|zd|zvol/|rbd|loop-control).*",
        frozenset("rwacdl"),
        "a disk of the node, below every file's permissions",
    ),
)
#: What a file system that the kernel keeps shows and takes, wherever it is mounted.
_KERNELS = re.compile(
    "proc|sysfs|securityfs|debugfs|tracefs|configfs|bpf|binfmt_misc|cgroup2?|devtmpfs"
)
#: A file system of a device: the guest chooses what the kernel's driver reads.
_DRIVERS = re.compile("ext[234]|xfs|btrfs|f2fs|vfat|exfat|ntfs3?|iso9660|udf|zfs")
_WATCHED = re.compile(r"/(proc|sys|dev)(/|$)|/$")
#: The families that Docker, systemd and iproute2 use.
_FAMILIES = frozenset({"unix", "inet", "inet6", "netlink", "packet"})
_STARTS_UNITS = re.compile(r"org\.freedesktop\.(systemd1|login1|PolicyKit1|machine1)")


def danger(fields: Mapping[str, str]) -> str:
    """Return why a rule that allows what was denied is dangerous; empty: nothing is known."""
    return _BY_KIND.get(kind(fields), _file)(fields)


def _change(fields: Mapping[str, str]) -> str:
    target = fields.get("target") or fields.get("name", "")
    return f"it leaves this profile for {target or 'another one'}, whose rules hold from then on"


def _peer(fields: Mapping[str, str]) -> str:
    peer = fields.get("peer", "")
    if peer in {"", fields.get("profile")} or fields.get("denied_mask") in {"receive", "readby"}:
        return ""
    if fields.get("operation") == "signal" and fields.get("signal") == "exists":
        return ""
    does = "end" if fields.get("operation") == "signal" else "look into or steer"
    whom = "every unconfined process" if peer == "unconfined" else f"every process under {peer}"
    return f"it may {does} {whom}, as far as its user and namespaces let it"


def _dbus(fields: Mapping[str, str]) -> str:
    said = " ".join(fields.get(key, "") for key in ("name", "interface"))
    if _STARTS_UNITS.search(said):
        return "by this service programs are started outside the profile"
    return "it hears what others say" if fields.get("mask") == "eavesdrop" else ""


def _mount(fields: Mapping[str, str]) -> str:
    flags = set(re.split(r"[ ,]+", fields.get("flags", "")))
    name, source, fstype = (fields.get(key, "") for key in ("name", "srcname", "fstype"))
    if fields.get("operation") == "umount":
        covered = re.match(r"/(proc|sys|dev)/.", name)
        return "what this mount covers is seen again" if covered else ""
    if flags & {"bind", "rbind"} and not flags & {"remount"}:
        elsewhere = _WATCHED.match(source) and name != source
        return (
            f"at {name} the files of {source} have names that the profile's rules do not know"
            if elsewhere
            else ""
        )
    if flags & {"move"} and not source:
        return "of the new mount calls: the rule cannot say which type of file system"
    if _KERNELS.fullmatch(fstype):
        return f"at {name} the files of {fstype} have names that the profile's rules do not know"
    if _DRIVERS.fullmatch(fstype):
        return f"the kernel's driver of {fstype} reads what the container has written"
    return ""


def _file(fields: Mapping[str, str]) -> str:
    letters = set(re.sub(r"[^a-z]", "", fields.get("denied_mask", "")))
    for pattern, access, why in _FILES:
        if letters & access and re.fullmatch(pattern, fields.get("name", "")):
            return why
    return ""


def _family(fields: Mapping[str, str]) -> str:
    known = fields.get("family") in _FAMILIES
    return "" if known else "kernel code that neither systemd nor Docker needs"


_BY_KIND: dict[str, Callable[[Mapping[str, str]], str]] = {
    "mqueue": lambda _: "",
    "io_uring": lambda _: "what io_uring does passes by seccomp's filter of system calls",
    "dbus": _dbus,
    "network": _family,
    "policy": lambda _: "it may replace AppArmor's policy, also the profile itself",
    "mount": _mount,
    "remount": _mount,
    "umount": _mount,
    "ptrace": _peer,
    "signal": _peer,
    "capable": lambda said: _CAPABILITIES.get(said.get("capname", ""), ""),
    "change_profile": _change,
    "change_onexec": _change,
    "change_hat": _change,
    "userns_create": lambda _: (
        "in a user namespace of its own a process has all capabilities, and reaches kernel code "
        "that is closed to it otherwise"
    ),
}
