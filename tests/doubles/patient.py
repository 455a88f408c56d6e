"""A container as the doctor finds it, healthy but for what a test says, without a machine."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker_lxc_gate.doctor import guest_reads, node_reads
from docker_lxc_gate.doctor.case import Answers, Case, Diagnosis
from docker_lxc_gate.doctor.examine import EXAMINATIONS, diagnose
from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.facts import apparmor
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.machines.read import Read
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.runtime.pct import IN_CONTROL

CTID = 950
PROFILE = (Path(__file__).parents[2] / "remediation/content/lxc-phoenix-v2").read_text("utf-8")
CONFIG = (
    "arch: amd64\nfeatures: nesting=1,keyctl=1,fuse=1\nhostname: docker\nmemory: 2048\n"
    "ostype: debian\nrootfs: local:950/vm-950-disk-0.raw,size=8G\nunprivileged: 1\n"
    "lxc.apparmor.profile: lxc-phoenix-v2\nlxc.apparmor.allow_nesting: 1\n"
)
MAP = "         0     100000      65536\n"
MOUNTS = (
    "520 400 7:0 / / rw,relatime shared:1 - ext4 /dev/loop0 rw\n"
    "521 520 0:30 / /proc rw,nosuid - proc proc rw\n"
)
#: Docker on fuse-overlayfs, as the plan leaves it.
INFO = (
    '{"Driver":"fuse-overlayfs","DriverStatus":[["Backing Filesystem","extfs"]],'
    '"SecurityOptions":["name=apparmor","name=seccomp,profile=builtin","name=cgroupns"],'
    '"ServerVersion":"28.5.2","DockerRootDir":"/var/lib/docker"}\n'
)
UNIT = (
    "LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\n"
    "ExecStart={ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// ; }\n"
)
DOWN = UNIT.replace("=active", "=failed").replace("=success", "=exit-code")
#: A label that LXC generates.
GENERATED = "lxc-950_</var/lib/lxc>//&:lxc-950_<-var-lib-lxc>:unconfined (enforce)"
#: With a bind mount of a directory of the node, and who owns it on either side.
DATA = CONFIG + "mp0: /mnt/data,mp=/data\n"
OF_DATA = (node_reads.owner("/mnt/data"), guest_reads.owned(("/data",)))
#: What runc says without its fix.
REOPEN = (
    "OCI runtime create failed: runc create failed: open sysctl net.ipv4."
    "ip_unprivileged_port_start file: reopen fd 8: permission denied"
)
#: What dockerd says without the modules of the node's kernel.
NAT = (
    "failed to start daemon: Error initializing network controller: failed to create NAT chain "
    "DOCKER: iptables failed: iptables v1.8.9 (legacy): can't initialize iptables table `nat': "
    "Table does not exist (do you need to insmod?)"
)
Raw = str | tuple[int, str, str]


def confined(label: str, profile: str = "", base: str = "") -> str:
    """Return what the node answers that is asked what confines the container."""
    return f"{label}\n== profile\n{profile}\n== base\n{base}\n== end\n"


def container(**members: Any) -> str:
    """Return a line of ``docker inspect``, as the doctor asks for it."""
    whole = {
        "Name": "/web",
        "Error": "",
        "Mounts": [],
        "Running": False,
        "Created": "2026-11-26T10:00:00.5Z",
        "StartedAt": "0001-01-01T00:00:00Z",
        "AppArmorProfile": "",
        "Devices": None,
        "Privileged": False,
    }
    return json.dumps({**whole, **members}) + "\n"


NODE: dict[Read[Any], Raw] = {
    Runtime.lxc_state(CTID): "RUNNING\n",
    node_reads.id_maps(CTID): f"{MAP}==\n{MAP}",
    node_reads.confined(CTID): confined("lxc-phoenix-v2 (enforce)", PROFILE),
    node_reads.mounts(CTID): MOUNTS,
    IN_CONTROL: "755\n",
    node_reads.VERSIONS: "kernel 6.12.57+deb13-amd64\nlxc 6.0.4\nzfs \n",
    apparmor.PROFILES: "/usr/bin/lxc-start (enforce)\nlxc-phoenix-v2 (enforce)\n",
    node_reads.MODULES: "bridge\nveth\nnf_tables\nxt_MASQUERADE\n",
}
GUEST: dict[Read[Any], Raw] = {
    **{read: "" for each in EXAMINATIONS for read in each.guest},
    guest_reads.UNIT: UNIT,
    guest_reads.INFO: INFO,
    guest_reads.CONTAINERS: container(),
    guest_reads.SYSCTLS: "ip_forward 1\nconf/docker0/route_localnet 0\n",
    guest_reads.SETTINGS: '{"storage-driver": "fuse-overlayfs"}\n',
    guest_reads.RUNC: "runc version 1.3.6\ncommit: 1\n",
}


def answered(answers: Mapping[Read[Any], Raw]) -> Answers:
    """Return answers as a machine gives them, each parsed."""
    found: dict[Read[Any], object] = {}
    for read, raw in answers.items():
        code, out, err = (0, raw, "") if isinstance(raw, str) else raw
        out_bytes, err_bytes = (each.encode(errors="surrogateescape") for each in (out, err))
        result = CommandResult(read.argv, code, out_bytes, err_bytes, "pve1", 0.0, 0.0)
        try:
            found[read] = read.parse(result)
        except RemediationError as error:
            found[read] = error
    return Answers(found)


def case(
    said: Mapping[Read[Any], Raw] | None = None, *, config: str = CONFIG, pct: bool = True
) -> Case:
    """Return a container that answers as it is told, and else as a healthy one."""
    given = dict(said or {})
    node = {read: given.pop(read, raw) for read, raw in NODE.items()}
    guest = {read: given.pop(read, raw) for read, raw in GUEST.items()}
    for read in list(given):
        of_node = read.argv[:2] == ("env", "LC_ALL=C") and "stat" in read.argv
        (node if of_node else guest)[read] = given.pop(read)
    path = f"/etc/pve/lxc/{CTID}.conf"
    parse = container_config.parse if pct else container_config.parse_lxc
    content = config.encode(errors="surrogateescape")
    return Case(CTID, parse(path, config), content, answered(node), answered(guest))


def diagnosis(
    said: Mapping[Read[Any], Raw] | None = None, *, config: str = CONFIG, pct: bool = True
) -> Diagnosis:
    """Return what the doctor says of such a container."""
    return diagnose(case(said, config=config, pct=pct))


def problems(found: Diagnosis) -> list[str]:
    """Return the ids of what is named, without advice, in order."""
    return [each.id for each in found.problems if not each.is_advice]


def advice(found: Diagnosis) -> list[str]:
    """Return the ids of the advice, in order."""
    return [each.id for each in found.problems if each.is_advice]


def first(found: Diagnosis, name: str) -> Any:
    """Return the first problem with an id."""
    return next(each for each in found.problems if each.id == name)
