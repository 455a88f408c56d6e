"""A node and a container before an upgrade, as apt, dpkg and Docker describe them."""

from collections.abc import Mapping
from typing import Any

from docker_lxc_gate.doctor import guest_reads, node_reads, upgrade, upgrade_reads
from docker_lxc_gate.doctor.case import Answers, Case, Diagnosis
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.machines.read import Read
from tests.doubles import patient
from tests.doubles.patient import CTID, Raw, confined

NOW = 1795760058
#: As apt-get 3.0.4 prints it with ``-q -s``, without its other lines.
NOTHING = "0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n"
LISTS = (
    f"now {NOW}\nasked {NOW - 3600}\nlists 4\n"
    "Valid-Until: Wed, 02 Dec 2026 02:22:31 UTC\nValid-Until: Wed, 02 Dec 2026 02:10:59 UTC\n"
)
GENERATED = confined("lxc-950_</var/lib/lxc>//&:lxc-950_<-var-lib-lxc>:unconfined (enforce)")
ON_NODE: dict[Read[Any], Raw] = {
    node_reads.VERSIONS: "kernel 6.12.57+deb13-amd64\nlxc 6.0.4\nzfs \n",
    node_reads.confined(CTID): GENERATED,
    upgrade_reads.KERNEL_HAS: f"{upgrade_reads.RAW}\n",
    upgrade_reads.LISTS: LISTS,
    upgrade_reads.PLAN: NOTHING,
    upgrade_reads.INSTALLED: "apparmor ii  4.1.0-1\nlxc ii  1:6.0.4-4+deb13u3\n",
}
IN_CONTAINER: dict[Read[Any], Raw] = {
    guest_reads.INFO: patient.INFO,
    guest_reads.SETTINGS: '{"storage-driver": "fuse-overlayfs"}\n',
    guest_reads.CONTAINERS: "",
    guest_reads.OWN_APPARMOR: "",
    upgrade_reads.IPTABLES: "iptables v1.8.11 (nf_tables)\n",
    upgrade_reads.LISTS: LISTS,
    upgrade_reads.PLAN: NOTHING,
    upgrade_reads.INSTALLED: "",
}


def plan(*steps: str) -> str:
    """Return what ``apt-get -s`` prints of these packages.

    Args:
        steps: ``NAME NEW``, ``NAME OLD NEW``, or ``-NAME OLD`` for a removal. The lines are those
            of real runs, with a mirror's name as apt shows it.
    """
    lines = []
    for each in steps:
        name, *versions = each.split()
        if name.startswith("-"):
            lines.append(f"Remv {name[1:]} [{versions[0]}]")
        else:
            old = f" [{versions[0]}]" if len(versions) > 1 else ""
            lines.append(f"Inst {name}{old} ({versions[-1]} Debian:13.8/stable [amd64])")
    return "".join(f"{line}\n" for line in lines) + (
        f"{len(lines)} upgraded, 0 newly installed, 0 to remove and 1 not upgraded.\n"
    )


def installed(*packages: str) -> tuple[int, str, str]:
    """Return what dpkg-query prints: it does not know some, and says so by its exit code."""
    lines = "".join(f"{' ii  '.join(each.split())}\n" for each in packages)
    return 1, lines, "dpkg-query: no packages found matching pve-kernel-[0-9]*\n"


def upgraded(
    node: Mapping[Read[Any], Raw] | None = None,
    guest: Mapping[Read[Any], Raw] | None = None,
    *,
    config: str = patient.CONFIG,
    pct: bool = True,
    runs: bool = True,
) -> Diagnosis:
    """Return what the doctor says of an upgrade, of machines that answer as they are told."""
    parse = container_config.parse if pct else container_config.parse_lxc
    inside = (
        patient.answered({**IN_CONTAINER, **(guest or {})})
        if runs
        else Answers({}, f"container {CTID} does not run")
    )
    read = parse(f"/etc/pve/lxc/{CTID}.conf", config)
    on_node = patient.answered({**ON_NODE, **(node or {})})
    return upgrade.diagnose(Case(CTID, read, b"", on_node, inside))


#: Docker without AppArmor.
OWN = '"SecurityOptions":["name=seccomp,profile=builtin"]'
WITHOUT = patient.INFO.replace(
    '"SecurityOptions":["name=apparmor","name=seccomp,profile=builtin","name=cgroupns"]', OWN
)
DEBIAN = installed("docker.io 26.1.5+dfsg1-9", "containerd 1.7.24~ds1-6", "runc 1.1.15+ds1-2")
OLDER = installed(
    "docker-ce 5:28.5.1-1~debian.13~trixie", "containerd.io 1.7.28-1~debian.13~trixie"
)
LATER = plan(
    "containerd.io 1.7.28-1~debian.13~trixie 2.2.1-1~debian.13~trixie",
    "docker-ce 5:28.5.1-1~debian.13~trixie 5:29.4.3-1~debian.13~trixie",
)


def docker(version: str) -> dict[Read[Any], Raw]:
    """Docker 27 with a runc that Debian ships, and a plan for another Docker."""
    had = installed("docker-ce 5:27.5.1-1~debian.12~bookworm", "containerd.io 1.7.25-1")
    return {
        upgrade_reads.INSTALLED: had,
        upgrade_reads.PLAN: plan(f"docker-ce 5:27.5.1-1~debian.12~bookworm 5:{version}-1"),
    }
