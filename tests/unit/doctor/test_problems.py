"""Each problem is named where it is, nothing else is, and a healthy container has none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from docker_lxc_gate.doctor import guest_reads, messages, node_reads
from docker_lxc_gate.doctor.examine import diagnose
from docker_lxc_gate.facts import apparmor
from docker_lxc_gate.lint.finding import Severity
from docker_lxc_gate.machines.runtime.pct import IN_CONTROL
from tests.doubles.patient import (
    CONFIG,
    CTID,
    DATA,
    DOWN,
    GENERATED,
    INFO,
    MAP,
    NAT,
    OF_DATA,
    REOPEN,
    UNIT,
    advice,
    case,
    confined,
    container,
    diagnosis,
    problems,
)

if TYPE_CHECKING:
    from docker_lxc_gate.machines.read import Read
    from tests.doubles.patient import Raw

OVERLAY = INFO.replace("fuse-overlayfs", "overlay2")
STARTS_NOT = 'level=fatal msg="Error starting daemon: disk full"'
IDS, CONFINED = node_reads.id_maps(CTID), node_reads.confined(CTID)
BASED = "profile lxc-mine {\n  include <abstractions/lxc/container-base>\n}\n"
BASE = "  deny @{PROC}/sys/[^kn]*{,/**} wklx,\n"
DEFAULT = (
    "AppArmor enabled on system but the docker-default profile could not be loaded: running "
    "'/usr/sbin/apparmor_parser -Kr /var/lib/docker/tmp/docker-default1' failed"
)
UNCHECKED = (
    "Could not check if docker-default AppArmor profile was loaded: open "
    "/sys/kernel/security/apparmor/profiles: permission denied"
)


def binding(source: str, *, writes: bool = True) -> str:
    return container(Mounts=[{"Type": "bind", "Source": source, "RW": writes}])


#: What is answered where something is wrong, and the problem that is named.
BAD: list[tuple[dict[Read[Any], Raw], str, str]] = [
    ({IDS: f"0 100000 1000\n1001 101001 64535\n==\n{MAP}"}, "id-map-hole", "user id 1000"),
    ({IDS: f"{MAP}==\n0 100000 44\n44 44 1\n45 100045 63\n"}, "id-map-hole", "108 to 655"),
    ({IDS: f"0 100000 1000\n==\n{MAP}"}, "id-map-hole", "1000 to 65535"),
    ({guest_reads.CONTAINERS: container(Error=REOPEN)}, "runc-reopen-refused", "runc 1.3.6"),
    ({messages.READ: REOPEN}, "runc-reopen-refused", "reopen fd 8"),
    ({CONFINED: confined("lxc-mine (enforce)", BASED, BASE)}, "runc-reopen-refused", "base"),
    (
        {guest_reads.CONTAINERS: container(Error=DEFAULT)},
        "docker-default-not-loaded",
        "apparmor_parser",
    ),
    ({messages.READ: DEFAULT}, "docker-default-not-loaded", "could not be"),
    (
        {guest_reads.CONTAINERS: container(Error=UNCHECKED), messages.READ: UNCHECKED},
        "docker-default-not-loaded",
        "apparmor/profiles: permission denied",
    ),
    ({messages.READ: f"x {UNCHECKED}"}, "docker-default-not-loaded", "x Could"),
    ({IN_CONTROL: "555\n"}, "node-without-quorum", "/etc/pve is read-only"),
    ({CONFINED: confined("unconfined")}, "container-runs-unconfined", "unconfined"),
    (
        {messages.READ: NAT, guest_reads.UNIT: DOWN},
        "kernel-module-missing",
        "iptable_nat",
    ),
    (
        {messages.READ: "set environment variable DOCKER_IGNORE_BR_NETFILTER_ERROR=1"},
        "kernel-module-missing",
        "br_netfilter",
    ),
    (
        {messages.READ: "iptables: Extension addrtype revision 0 not supported, missing kernel"},
        "kernel-module-missing",
        "xt_addrtype",
    ),
    (
        {
            messages.READ: "failed to start daemon: network controller: refused",
            guest_reads.UNIT: DOWN,
        },
        "network-refused",
        "refused",
    ),
    ({guest_reads.SYSCTLS: "ip_forward 0\n"}, "ip-forward-off", "ip_forward is 0"),
    ({guest_reads.SETTINGS: '{"userland-proxy": false}'}, "route-localnet-off", "docker0"),
    (
        {guest_reads.CONTAINERS: container(Devices=[{"PathOnHost": "/dev/net/tun"}])},
        "tun-missing",
        "web",
    ),
    (
        {guest_reads.DEVICES: "65534 65534 660 /dev/dri/renderD128\n"},
        "gpu-of-nobody",
        "/dev/dri/renderD128",
    ),
    (
        {
            guest_reads.CONTAINERS: container(
                Error="mount error: bpf_prog_query(BPF_CGROUP_DEVICE) failed"
            )
        },
        "gpu-cgroup-refused",
        "bpf_prog_query",
    ),
    (
        {
            guest_reads.CONTAINERS: container(
                Error='could not select device driver "" with capabilities: [[gpu]]'
            )
        },
        "gpu-runtime-missing",
        "gpu",
    ),
    (
        {guest_reads.CONTAINERS: container(Error="nvml error: driver not loaded")},
        "gpu-driver-differs",
        "not loaded",
    ),
    (
        {
            guest_reads.GUEST: (1, "degraded\n", ""),
            guest_reads.FAILED: "Id=x.service\nResult=exit-code\nExecMainStatus=226\n",
        },
        "units-refused",
        "x.service (NAMESPACE)",
    ),
    ({guest_reads.UNIT: DOWN, messages.READ: STARTS_NOT}, "docker-down", "disk full"),
    ({guest_reads.INFO: (5, "", "no answer within 20 s")}, "docker-mute", "20 s"),
    ({guest_reads.INFO: (127, "", "docker: not found")}, "docker-mute", "not found"),
    ({guest_reads.INFO: '{"Driver": 7}'}, "docker-mute", "docker info cannot be read"),
    ({guest_reads.UNIT: "LoadState=not-found\n"}, "docker-absent", "not installed"),
    ({node_reads.lxc_state(CTID): "FREEZING\n"}, "container-frozen", "FREEZING"),
    ({guest_reads.SETTINGS: "{,", guest_reads.UNIT: DOWN}, "json-syntax", "daemon.json"),
]
#: As above, of another configuration.
BAD_CONFIG: list[tuple[dict[Read[Any], Raw], str, str, str]] = [
    (
        {
            OF_DATA[0]: "1000 1000 755\n",
            OF_DATA[1]: "65534 65534\nno\n",
            guest_reads.CONTAINERS: binding("/data/www"),
        },
        "bind-mount-of-nobody",
        "user 1000",
        DATA,
    ),
    ({}, "nesting-off", "nesting=1", CONFIG.replace("nesting=1,", "")),
    ({}, "container-mount-entry-cut", "/dev/fuse", f"{CONFIG}lxc.mount.entry: /dev/fuse\n"),
    # what the next start will do
    ({apparmor.PROFILES: "lxc-x (enforce)\n"}, "next-start-fails", "lxc-phoenix-v2", CONFIG),
    ({}, "next-start-loses", "nesting", f"{CONFIG}[pve:pending]\nfeatures: fuse=1\n"),
    ({}, "next-start-loses", "fuse", f"{CONFIG}[pve:pending]\nfeatures: nesting=1\n"),
    ({}, "next-start-loses", "fuse and nesting", f"{CONFIG}[pve:pending]\ndelete: features\n"),
]


@pytest.mark.parametrize(
    ("said", "problem", "word", "config"), [*((*row, CONFIG) for row in BAD), *BAD_CONFIG]
)
def test_problem_is_named_alone_with_its_cause(
    said: dict[Read[Any], Raw], problem: str, word: str, config: str
) -> None:
    found = diagnosis(said, config=config)
    assert problems(found) == [problem]
    assert word in found.problems[0].cause
    assert found.exit_code == 1


#: What looks like a problem, and is none.
HEALTHY: list[dict[Read[Any], Raw]] = [
    {},
    {IDS: f"0 0 4294967295\n==\n{MAP}"},
    {IDS: f"0 100000 1000\n1000 1000 1\n1001 101001 64535\n==\n{MAP}"},
    {
        CONFINED: confined("lxc-mine (enforce)", BASED, BASE),
        guest_reads.RUNC: "runc version 1.1.15+ds1\n",
    },
    {CONFINED: confined("lxc-mine (enforce)", BASED, "deny /proc/kcore rwklx,\n")},
    # fixed: another container was started since
    {
        guest_reads.CONTAINERS: container(Error=REOPEN)
        + container(Name="/b", Running=True, StartedAt="2026-11-26T11:00:00Z")
    },
    {messages.READ: DEFAULT, guest_reads.OWN_APPARMOR: "parser\n"},
    {messages.READ: NAT, node_reads.MODULES: "iptable_nat\n"},
    {messages.READ: "Running modprobe bridge br_netfilter failed with message: not found"},
    {messages.READ: NAT.replace("iptable", "ip6table")},
    {guest_reads.SYSCTLS: "ip_forward 0\n", guest_reads.SETTINGS: '{"ip-forward": false}'},
    {
        guest_reads.SYSCTLS: "ip_forward 0\n",
        guest_reads.UNIT: UNIT.replace("-H fd://", "-H fd:// --bridge=none"),
    },
    {
        guest_reads.CONTAINERS: container(Devices=[{"PathOnHost": "/dev/net/tun"}]),
        guest_reads.DEVICES: "0 0 666 /dev/net/tun\n",
    },
    {guest_reads.DEVICES: "65534 65534 666 /dev/nvidia0\n0 0 600 /dev/kfd\n"},
    {guest_reads.DEVICES: "65534 104 660 /dev/dri/renderD128\n"},
    {guest_reads.DEVICES: "65534 65534 660 /dev/dri/card0\n"},
    {
        guest_reads.GUEST: (1, "degraded\n", ""),
        guest_reads.FAILED: "Id=sys-kernel-config.mount\nResult=exit-code\n",
    },
]
#: As above, of another configuration.
HEALTHY_CONFIG: list[tuple[dict[Read[Any], Raw], str]] = [
    ({}, f"{CONFIG}[pve:pending]\nmemory: 4096\n"),
    ({}, f"{CONFIG}[pve:pending]\nfeatures: nesting=1,fuse=1\n"),
    ({}, f"{CONFIG}[before]\nfeatures: nesting=0\nlxc.apparmor.profile: lxc-gone\n"),
    ({guest_reads.INFO: OVERLAY}, f"{CONFIG}[pve:pending]\nfeatures: nesting=1\n"),
    ({apparmor.PROFILES: (1, "", "No such file or directory")}, CONFIG),
    ({CONFINED: confined(GENERATED)}, CONFIG.replace("lxc.apparmor.profile: lxc-phoenix-v2\n", "")),
    ({OF_DATA[0]: "101000 101000 755\n", OF_DATA[1]: "1000 1000\nyes\n"}, DATA),
    # read-only data of somebody else
    (
        {
            OF_DATA[0]: "0 0 755\n",
            OF_DATA[1]: "65534 65534\nno\n",
            guest_reads.CONTAINERS: binding("/data", writes=False),
        },
        DATA,
    ),
]


@pytest.mark.parametrize(
    ("said", "config"), [*((said, CONFIG) for said in HEALTHY), *HEALTHY_CONFIG]
)
def test_healthy_container_has_no_problem(said: dict[Read[Any], Raw], config: str) -> None:
    found = diagnosis(said, config=config)
    assert problems(found) == []
    assert found.unseen == ()
    assert found.exit_code == 0


#: An answer that cannot be read, and what is then not known.
UNREAD: list[tuple[Read[Any], str]] = [
    (IDS, "whether every id is mapped"),
    (CONFINED, "whether the profile refuses what runc opens"),
    (CONFINED, "whether AppArmor confines the container"),
    (messages.READ, "whether the profile refuses what runc opens"),
    (messages.READ, "whether Docker can load its own profile"),
    (messages.READ, "whether the node lacks a module"),
    (guest_reads.SYSCTLS, "whether the container forwards packets"),
    (guest_reads.DEVICES, "whether a graphics device can be opened"),
    (messages.READ, "what else Docker said"),
    (guest_reads.GUEST, "whether units of the guest are refused"),
    (guest_reads.FAILED, "whether units of the guest are refused"),
    (guest_reads.UNIT, "whether Docker runs"),
    (guest_reads.SETTINGS, "what is wrong in Docker's settings"),
    (node_reads.lxc_state(CTID), "whether the container runs"),
]


@pytest.mark.parametrize(("read", "what"), UNREAD)
def test_answer_that_cannot_be_read_is_named_as_not_seen(read: Read[Any], what: str) -> None:
    degraded: dict[Read[Any], Raw] = {guest_reads.GUEST: (1, "degraded\n", "")}
    found = diagnosis({**degraded, read: (9, "", "broken\x1b")})
    assert any(what in each.what for each in found.unseen), found
    assert found.exit_code == 3


@pytest.mark.parametrize(
    "read",
    [guest_reads.WITH_IMAGES, guest_reads.CONTAINERS, guest_reads.VOLUMES, node_reads.mounts(CTID)],
)
def test_advice_that_cannot_be_given_leaves_the_exit_code(read: Read[Any]) -> None:
    found = diagnosis({read: (9, "", "broken")})
    assert problems(found) == []


def test_stopped_container_is_named_and_what_was_not_seen() -> None:
    gone = (4, "", "container 950 does not run")
    said: dict[Read[Any], Raw] = {
        node_reads.lxc_state(CTID): "STOPPED\n",
        **dict.fromkeys((IDS, CONFINED, node_reads.mounts(CTID)), gone),
    }
    cut = diagnosis(said, config=f"{CONFIG}lxc.mount.entry: /dev/fuse\n")
    assert problems(cut) == ["container-mount-entry-cut"]
    other = diagnosis(said, config=f"{CONFIG}mp9: /srv\n")  # it starts, without the mount point
    assert sorted(problems(other)) == ["container-stopped", "container-value-invalid"]
    found = diagnosis(said)
    assert problems(found) == ["container-stopped"]
    assert "pct start 950" in found.problems[0].fix
    assert {each.why for each in found.unseen} == {"container 950 does not run"}


def test_stopped_container_that_cannot_start_names_what_keeps_it() -> None:
    stopped = case({node_reads.lxc_state(CTID): "STOPPED\n"})
    found = diagnose(replace(stopped, start_obstacle="the kernel does not know its profile lxc-x"))
    assert problems(found) == ["container-stopped"]
    assert "cannot start: the kernel does not know its profile lxc-x" in found.problems[0].cause


def test_problems_seen_come_first_and_advice_last() -> None:
    found = diagnosis(
        {messages.READ: REOPEN, IDS: f"1 100000 65535\n==\n{MAP}"},
    )
    assert problems(found) == ["runc-reopen-refused", "id-map-hole"]
    weights = [each.severity for each in found.problems]
    assert weights == sorted(weights, key=list(Severity).index)


def test_confinement_of_dockers_containers_is_not_said_while_docker_starts_none() -> None:
    before = INFO.partition('"SecurityOptions":')[0]
    info = {guest_reads.INFO: f'{before}"SecurityOptions":["name=seccomp,profile=builtin"]}}\n'}
    assert "docker-confinement" in advice(diagnosis(info))
    for message in (DEFAULT, UNCHECKED):
        found = diagnosis({**info, messages.READ: message})
        assert problems(found) == ["docker-default-not-loaded"]
        assert "docker-confinement" not in advice(found)
