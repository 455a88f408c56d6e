"""Docker's network: modules that the node lacks, forwarding, loopback, and /dev/net/tun.

A container cannot load modules, so the node must have them. Docker's own message decides: a module
that nothing needs is no problem. Sources: moby libnetwork (iptables, drivers/bridge),
modprobe.d(5).
"""

from __future__ import annotations

from collections.abc import Iterator

from docker_lxc_gate.doctor import guest_reads, messages, node_reads
from docker_lxc_gate.doctor.case import PROBLEMS, Case, Examination, here
from docker_lxc_gate.formats import daemon_json
from docker_lxc_gate.lint.finding import Finding, Severity

#: Where a module's own name in /proc/modules may be another one that does the same.
_ALSO = {"xt_DNAT": "xt_nat"}


@Examination(
    "whether the node lacks a module for Docker's network",
    ("kernel-module-missing", "network-refused"),
    node=(node_reads.MODULES,),
    guest=(messages.READ, guest_reads.CONTAINERS, guest_reads.UNIT),
)
def modules(case: Case) -> Iterator[Finding]:
    """Yield the modules that Docker's messages miss and the node has not loaded."""
    missing = {message.module: message for message in messages.said(case, "kernel-module-missing")}
    loaded = case.node.of(node_reads.MODULES) if missing else frozenset()
    lacking = [
        message
        for module, message in missing.items()
        if module not in loaded and _ALSO.get(module, module) not in loaded
    ]
    runs = case.guest.maybe(guest_reads.UNIT, None)
    for message in lacking:
        only_six = message.module.startswith("ip6") and runs is not None and runs.runs
        yield here(
            "kernel-module-missing",
            f"the node has not loaded {message.module}; Docker says: {message.line[:300]}",
            fix=PROBLEMS["kernel-module-missing"].fix.replace("MODULE", message.module),
            severity=Severity.ADVICE if only_six else None,
        )
    refused = next(messages.said(case, "network-refused"), None)
    if refused and not lacking and not case.guest.of(guest_reads.UNIT).runs:
        yield here("network-refused", f"Docker does not start: {refused.line[:400]}")


@Examination(
    "whether the container forwards packets",
    ("ip-forward-off", "route-localnet-off"),
    guest=(guest_reads.UNIT, guest_reads.SYSCTLS, guest_reads.SETTINGS),
    of_docker=True,
)
def sysctls(case: Case) -> Iterator[Finding]:
    """Yield the switches of the container's network that Docker needs and that are off."""
    options = set(case.guest.of(guest_reads.UNIT).command.split())
    switches = case.guest.of(guest_reads.SYSCTLS)
    settings = daemon_json.readable(case.guest.of(guest_reads.SETTINGS))
    unused = settings.get("bridge") == "none" or options & {"--bridge=none", "-b=none"}
    own = settings.get("ip-forward") is False or "--ip-forward=false" in options
    if switches.get("ip_forward") == "0" and not unused and not own:
        nft = settings.get("firewall-backend") == "nftables"
        nft = nft or "--firewall-backend=nftables" in options
        cause = "net.ipv4.ip_forward is 0 in the container, and Docker runs"
        yield here("ip-forward-nftables" if nft else "ip-forward-off", cause)
    without = settings.get("userland-proxy") is False or "--userland-proxy=false" in options
    if switches.get("route_localnet") == "0" and without and settings.get("iptables") is not False:
        yield here(
            "route-localnet-off", "userland-proxy is off, and route_localnet of docker0 is 0"
        )


@Examination(
    "whether /dev/net/tun is missing",
    ("tun-missing",),
    guest=(guest_reads.DEVICES, guest_reads.CONTAINERS),
    of_docker=True,
)
def tun(case: Case) -> Iterator[Finding]:
    """Yield the Docker container that is given a device which is not there."""
    devices = {device.path for device in case.guest.of(guest_reads.DEVICES)}
    if "/dev/net/tun" in devices:
        return
    for container in case.guest.of(guest_reads.CONTAINERS):
        if any(given.path == "/dev/net/tun" for given in container.devices or ()):
            name = container.name.removeprefix("/")
            yield here(
                "tun-missing",
                f"the Docker container {name} is given /dev/net/tun, which is not in the container",
                fix="" if case.pct else _TUN_OF_LXC,
            )
            return


_TUN_OF_LXC = (
    "Write lxc.mount.entry = /dev/net/tun dev/net/tun none bind,create=file and "
    "lxc.cgroup2.devices.allow = c 10:200 rwm, and restart the container."
)
