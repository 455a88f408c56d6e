"""Docker's network: modules that the node lacks, forwarding, loopback, and /dev/net/tun.

A container cannot load modules, so the node must have them. Docker's own message decides: a module
that nothing needs is no trouble. Sources: moby libnetwork (iptables, drivers/bridge),
modprobe.d(5).
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from doctor import guest_reads, node_reads
from doctor.case import Examination
from lint.finding import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doctor.case import Case
    from lint.finding import Finding

MODULE = Problem(
    "kernel-module-missing",
    Severity.SEEN,
    "the node has not loaded a module that Docker needs",
    "A container cannot load kernel modules: modprobe in it fails. Docker then cannot make its "
    "network.",
    "Load it on the node, and at each boot.",
)
NETWORK = Problem(
    "network-refused",
    Severity.SEEN,
    "Docker cannot make its network",
    "Docker's bridge driver ended with this error, so Docker does not start, or its containers "
    "have no network.",
    "See python -m remediation denials, with the same --target, for what AppArmor refused, and "
    "journalctl -u docker in the container for the whole message.",
)
FORWARD = Problem(
    "ip-forward-off",
    Severity.TROUBLE,
    "IP forwarding is off in the container",
    "Docker switches it on when it starts. Somebody switched it off since: published ports do not "
    "answer, and Docker's containers reach nothing.",
    "In the container: sysctl -w net.ipv4.ip_forward=1, and look in /etc/sysctl.d for who sets 0.",
)
LOCALNET = Problem(
    "route-localnet-off",
    Severity.TROUBLE,
    "published ports do not answer on 127.0.0.1",
    "Without its proxy (userland-proxy: false) Docker needs route_localnet on its bridge, and it "
    "is off.",
    "In the container: sysctl -w net.ipv4.conf.docker0.route_localnet=1, or delete userland-proxy "
    "from /etc/docker/daemon.json and restart Docker.",
)
TUN = Problem(
    "tun-missing",
    Severity.TROUBLE,
    "a Docker container is given /dev/net/tun, which the LXC container does not have",
    "Docker starts no container with a device that is not there. A VPN needs this one.",
    "On Proxmox: pct set CTID --dev0 /dev/net/tun, and restart the container.",
)
KINDS = (MODULE, NETWORK, FORWARD, LOCALNET, TUN)

#: An error; that modprobe failed in the container is none, and every Docker in LXC says that.
_ISOLATION = "cannot restrict inter-container communication|DOCKER_IGNORE_BR_NETFILTER_ERROR"
#: What Docker says, and the module that is then missing; ``{0}`` is what the first group found.
_MODULES: tuple[tuple[str, str], ...] = (
    (r"can't initialize iptables table `(nat|filter|mangle|raw)': Table does not", "iptable_{0}"),
    (r"can't initialize ip6tables table `(nat|filter|mangle|raw)': Table does not", "ip6table_{0}"),
    (r"Could not fetch rule set generation id: (?:Invalid arg|\S+ not supported)", "nf_tables"),
    (r"Failed to initialize nft: Protocol not supported", "nf_tables"),
    (r"Extension (addrtype|conntrack|comment|mark|set) revision [0-9]+ not supported", "xt_{0}"),
    (r"Extension (MASQUERADE|DNAT|REDIRECT) revision [0-9]+ not supported", "xt_{0}"),
    (_ISOLATION, "br_netfilter"),
    (r"failed to add the host \(\S{1,40}\) <=> sandbox \(\S{1,40}\) pair.*not supported", "veth"),
    (r"(?:error creating vxlan|vxlan interface).*not supported", "vxlan"),
)
#: The same in one pattern of grep -E, with what else tells that the bridge failed.
MESSAGES = guest_reads.messages(
    "can't initialize ip6?tables table|Could not fetch rule set|Failed to initialize nft"
    "|Extension [A-Za-z]+ revision|sandbox.*pair|vxlan|"
    + _ISOLATION
    + "|failed to start daemon: .*(network controller|NAT chain)"
)
_FAILED = re.compile(r"failed to start daemon: .*(?:network controller|NAT chain)")
#: Where a module's own name in /proc/modules may be another one that does the same.
_ALSO = {"xt_DNAT": "xt_nat"}


def judge(case: Case) -> Iterator[Finding]:
    """Yield the modules that Docker's messages miss and the node has not loaded."""
    lines = case.guest.of(MESSAGES)
    missing = {module: line for line in lines for module in _named(line)}
    loaded = case.node.of(node_reads.MODULES) if missing else frozenset()
    lacking = {
        module: line
        for module, line in missing.items()
        if module not in loaded and _ALSO.get(module, module) not in loaded
    }
    runs = case.guest.maybe(guest_reads.UNIT, None)
    for module, line in lacking.items():
        only_six = module.startswith("ip6") and runs is not None and runs.runs
        yield MODULE.here(
            f"the node has not loaded {module}; Docker says: {line.strip()[:300]}",
            mend=f"On the node: modprobe {module}, and echo {module} >/etc/modules-load.d/"
            f"docker-{module}.conf for each boot. Then restart Docker in the container.",
            severity=Severity.ADVICE if only_six else None,
        )
    refused = [line for line in lines if _FAILED.search(line)]
    if refused and not lacking and not case.guest.of(guest_reads.UNIT).runs:
        yield NETWORK.here(f"Docker does not start: {refused[-1].strip()[:400]}")


def _named(line: str) -> Iterator[str]:
    for pattern, module in _MODULES:
        if found := re.search(pattern, line):
            yield module.format(*found.groups())


def judge_sysctls(case: Case) -> Iterator[Finding]:
    """Yield the switches of the container's network that Docker needs and that are off."""
    unit = case.guest.of(guest_reads.UNIT)
    if not unit.runs:
        return
    said = case.guest.of(guest_reads.SYSCTLS)
    settings = guest_reads.settings(case.guest.of(guest_reads.SETTINGS))
    options = _options(unit.command)
    unused = settings.get("bridge") == "none" or options & {"--bridge=none", "-b=none"}
    own = settings.get("ip-forward") is False or "--ip-forward=false" in options
    if said.get("ip_forward") == "0" and not unused and not own:
        yield FORWARD.here("net.ipv4.ip_forward is 0 in the container, and Docker runs")
    without = settings.get("userland-proxy") is False or "--userland-proxy=false" in options
    if said.get("route_localnet") == "0" and without and settings.get("iptables") is not False:
        yield LOCALNET.here("userland-proxy is off, and route_localnet of docker0 is 0")


def _options(command: str) -> set[str]:
    """Return dockerd's options, as systemd shows its command line."""
    try:
        return set(shlex.split(command))
    except ValueError:  # a quote that is not closed
        return set(command.split())


def judge_tun(case: Case) -> Iterator[Finding]:
    """Yield the Docker container that is given a device which is not there."""
    devices = {each.path for each in case.guest.of(guest_reads.DEVICES)}
    if "/dev/net/tun" in devices:
        return
    for each in case.guest.of(guest_reads.CONTAINERS):
        if any(given.path == "/dev/net/tun" for given in each.devices or ()):
            name = each.name.removeprefix("/")
            yield TUN.here(
                f"the Docker container {name} is given /dev/net/tun, which is not in the container",
                mend=TUN.mend.replace("CTID", str(case.ctid)) if case.pct else _TUN_OF_LXC,
            )
            return


_TUN_OF_LXC = (
    "Write lxc.mount.entry = /dev/net/tun dev/net/tun none bind,create=file and "
    "lxc.cgroup2.devices.allow = c 10:200 rwm, and restart the container."
)


EXAMINATIONS = (
    Examination(
        "whether the node lacks a module for Docker's network",
        (MODULE, NETWORK),
        judge,
        (node_reads.MODULES,),
        (MESSAGES, guest_reads.UNIT),
    ),
    Examination(
        "whether the container forwards packets",
        (FORWARD, LOCALNET),
        judge_sysctls,
        guest=(guest_reads.UNIT, guest_reads.SYSCTLS, guest_reads.SETTINGS),
        of_docker=True,
    ),
    Examination(
        "whether /dev/net/tun is missing",
        (TUN,),
        judge_tun,
        guest=(guest_reads.DEVICES, guest_reads.CONTAINERS),
        of_docker=True,
    ),
)
