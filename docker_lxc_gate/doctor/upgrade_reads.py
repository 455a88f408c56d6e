"""What the doctor asks before an upgrade, and under which conditions a pair of versions breaks.

It asks for apt's plan, for what is installed, and for the age of apt's lists.

Every read only looks: ``apt-get -s`` as :data:`docker_lxc_gate.facts.apt.LOOKING` says, without a
network. The container's answers are the guest's own: names are those of the table, versions are
short and of dpkg's characters, and none becomes part of a command. Sources: apt-get(8),
dpkg-query(1), apt-secure(8) on Valid-Until, proc_locks(5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from docker_lxc_gate import patterns
from docker_lxc_gate.doctor import guest_reads, node_reads
from docker_lxc_gate.doctor.case import Case, Reads, script, told
from docker_lxc_gate.doctor.examinations import confinement, storage
from docker_lxc_gate.doctor.examinations.ownership import points
from docker_lxc_gate.doctor.upgrade_pairs import DOCKERS, KERNEL, KNOWN
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.apt import LOOKING
from docker_lxc_gate.formats import daemon_json
from docker_lxc_gate.formats.container_config import given
from docker_lxc_gate.machines.read import Read
from docker_lxc_gate.machines.result import CommandResult

#: The packages that the table speaks of.
WATCHED = tuple(sorted(KNOWN.keys() - {KERNEL}))
#: How the packages of a kernel are called: the rest of the name is its release.
_KERNELS = ("proxmox-kernel-", "pve-kernel-", "linux-image-")
#: apt's lists are old after so long (seconds): Proxmox fetches them daily.
_OLD = 7 * 86400.0
_DAY = 86400.0
#: A simulation on a slow machine, without its caches (seconds).
_PATIENCE = 300.0
#: Of the lines that a machine answers, so many are read, and of each so many characters.
_MOST, _LONGEST = 400, 400
_NAMES = "|".join(map(patterns.escape, WATCHED)) + f"|({'|'.join(_KERNELS)})[0-9][^ ]*"
RAW = "iptable_raw"
_VERSION = "[0-9A-Za-z.+:~-]{1,80}"
_NAME = "[a-z0-9][a-z0-9.+~-]{1,100}"
#: ``Inst NAME [OLD] (NEW SUITES [ARCH]) …`` and ``Remv NAME [OLD] …``; a foreign architecture is
#: part of the name.
_STEP = patterns.compile(
    rf"(?:Inst ({_NAME})(?::[a-z0-9]+)?(?: \[[^]]*\])? \(({_VERSION})[ )].*"
    rf"|(?:Remv|Purg) ({_NAME})(?::[a-z0-9]+)?(?: .*)?)"
)
_VERBS = ("Inst ", "Remv ", "Purg ")
_COUNT = patterns.compile(r"[0-9]+ upgraded, ")
#: A package is there whose script failed, or that waits for one: docker-ce's script fails if Docker
#: does not start. One that left its configuration files only is not.
_INSTALLED = patterns.compile(rf"({_NAME}) [a-z][iUFHWt][ R]? ({_VERSION})")
_LINE = patterns.compile("(now|asked|lists) ([0-9]{1,12})")


def release(package: str) -> str:
    """Return the release of a package's kernel; empty if it is the package of no kernel.

    >>> release("proxmox-kernel-6.17.4-1-pve-signed"), release("linux-image-amd64")
    ('6.17.4-1-pve', '')
    """
    for prefix in _KERNELS:
        rest = package.removeprefix(prefix)
        if (
            rest != package
            and not rest.endswith("-dbg")
            and patterns.fullmatch(r"[0-9][\w.+~]*-[\w.+~-]+", rest)
        ):
            return patterns.sub("-(un)?signed$", "", rest)
    return ""


def _plan(result: CommandResult) -> dict[str, str]:
    lines = told(result).text.splitlines()[: _MOST + 1]
    matches = [_STEP.fullmatch(line) for line in lines if line.startswith(_VERBS)]
    if None in matches or not any(_COUNT.match(line) for line in lines):
        raise FactError(f"apt's plan cannot be read on {result.machine}")
    versions = {match[1] or match[3]: match[2] or "" for match in matches if match}
    return {name: version for name, version in versions.items() if name in WATCHED or release(name)}


def _installed(result: CommandResult) -> dict[str, str]:
    if result.exit_code != 1:  # 1: it does not know one of them
        told(result)
    matches = [_INSTALLED.fullmatch(line) for line in result.text.splitlines()[:_MOST]]
    return {m[1]: m[2] for m in matches if m and (m[1] in WATCHED or release(m[1]))}


def _doubt(result: CommandResult) -> str:
    """Return why apt may not do what it plans, by its clock; empty: no reason is seen.

    A mirror was ``asked`` last, and the first of the lists was valid ``until``; 0: never.
    """
    lines = told(result).text.splitlines()[: 2 * _MOST]
    values = {match[1]: match[2] for match in map(_LINE.fullmatch, lines) if match}
    if set(values) != {"now", "asked", "lists"}:
        raise FactError(f"the age of apt's lists cannot be read on {result.machine}")
    valid = [_seconds(line.partition(": ")[2]) for line in lines if line.startswith("Valid-Until")]
    until = min(filter(None, valid), default=0.0)
    now, asked, count = (int(values[name]) for name in ("now", "asked", "lists"))
    if not count:
        return "apt has no lists there: apt-get update first"
    if until and until < now:
        days = (now - until) / _DAY
        return f"apt's lists there expired {days:.0f} days ago: apt-get update first"
    if now - asked > _OLD:
        return f"apt's lists there are {(now - asked) / _DAY:.0f} days old: apt-get update first"
    return ""


def _seconds(text: str) -> float:
    """Return a date of a mirror's as seconds since 1970; 0 for what is no date."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, OSError, IndexError):
        return 0.0


#: By package that ``apt-get dist-upgrade`` would change, as far as the table speaks of it: its
#: version afterwards; empty if it would be removed.
PLAN = Read(
    script("upgrade_plan", str(_MOST), str(_LONGEST), _NAMES, *LOOKING), _plan, timeout=_PATIENCE
)
#: By package, the version that is installed.
INSTALLED = Read(
    (
        *("dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev} ${Version}\\n"),
        *(*WATCHED, *(f"{name}[0-9]*" for name in _KERNELS)),
    ),
    _installed,
)
#: Why what apt plans may not be what it would do, as far as its lists tell.
LISTS = Read(script("apt_lists", str(_MOST)), _doubt)
#: Whether the node's running kernel has that module.
KERNEL_HAS = Read(
    script("kernel_has", RAW),
    lambda result: frozenset(told(result).text.split()) & {RAW},
)
#: Which iptables the container has: ``legacy``, ``nf_tables``, or another word.
IPTABLES = Read(
    ("iptables", "--version"),
    lambda result: told(result).text.partition("(")[2].partition(")")[0][:40],
)


#: Runtimes that know time namespaces.
_KNOW_TIME = frozenset({"runc", "io.containerd.runc.v2", "crun"})
_SOCKET = frozenset({"/var/run/docker.sock", "/run/docker.sock"})
#: What the conditions ask, the node about a container, and in the container.
GUEST: Reads = (
    guest_reads.INFO,
    guest_reads.SETTINGS,
    guest_reads.CONTAINERS,
    guest_reads.OWN_APPARMOR,
    IPTABLES,
)
NODE = (node_reads.confined, node_reads.VERSIONS, KERNEL_HAS)


def _confined(case: Case) -> node_reads.Confined:
    return case.node.of(node_reads.confined(case.ctid))


def _own_profiles_refused(case: Case) -> bool:
    options = case.config.current()
    if options.get("unprivileged") != "1" and "lxc.idmap" not in options:
        return False  # root of the node's own user namespace may load profiles
    unconfined = options.get("lxc.apparmor.profile") == "unconfined"
    return unconfined and not case.guest.of(guest_reads.OWN_APPARMOR)


def _fresh_without_driver(case: Case) -> bool:
    if {*DOCKERS} & case.before.get("container", {}).keys():
        return False
    return "storage-driver" not in _settings(case) and not storage.allows_overlay(_confined(case))


def _settings(case: Case) -> dict[str, Any]:
    return daemon_json.readable(case.guest.of(guest_reads.SETTINGS))


def _socket_given(case: Case) -> bool:
    return any(
        mount.source in _SOCKET
        for container in case.guest.of(guest_reads.CONTAINERS)
        for mount in container.mounts or ()
    )


def _first_cgroup_keys(case: Case) -> bool:
    keys = [key for key in case.config.current() if key.startswith("lxc.cgroup.")]
    return any(key.split(".")[2] not in {"dir", "relative"} for key in keys)  # of both versions


def _legacy(case: Case) -> bool:
    return case.guest.of(IPTABLES) == "legacy"


#: By the name that a row of the table gives; ``upgrades.toml`` says each in words.
CONDITIONS: Mapping[str, Callable[[Case], bool]] = {
    "generated-profile": lambda case: _confined(case).is_generated,
    "container-base": lambda case: (
        not _confined(case).is_generated and confinement.denies(_confined(case))
    ),
    "own-profiles": lambda case: confinement.has(case, "apparmor"),
    "own-profiles-refused": _own_profiles_refused,
    "no-raw-table": lambda case: _legacy(case) and RAW not in case.node.of(KERNEL_HAS),
    "iptables-legacy": _legacy,
    "fresh-without-driver": _fresh_without_driver,
    "socket-given": _socket_given,
    "another-runtime": lambda case: (
        str(_settings(case).get("default-runtime", "runc")) not in _KNOW_TIME
    ),
    "fuse-overlayfs": lambda case: case.guest.of(guest_reads.INFO).driver == "fuse-overlayfs",
    "first-cgroup-keys": _first_cgroup_keys,
    "no-nesting": lambda case: (
        case.pct and "nesting" not in given(case.config.current().get("features", ""))
    ),
    "unmanaged": lambda case: case.config.current().get("ostype") == "unmanaged",
    "bind-mounts": lambda case: any(path.startswith("/") for path in points(case.config).values()),
    "volumes": lambda case: any(not path.startswith("/") for path in points(case.config).values()),
}
