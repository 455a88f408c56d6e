"""What a user sees, as docs/doctor.md lists it, makes doctor name what the page says.

Each message of the table is put into the container's answers. A new row, or a changed one, needs a
case here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from doctor import guest_reads, node_reads
from doctor.examine import EXAMINATIONS
from doctor.troubles import gpu, id_maps, network, own_confinement, runc_fix, running
from tests.doubles.patient import CONFIG, CTID, INFO, MAP, UNIT, container, diagnosis

if TYPE_CHECKING:
    from targets.read import Read
    from tests.doubles.patient import Raw

PAGE = Path(__file__).parents[3] / "docs/doctor.md"
HEADER = "| what you see | the trouble that doctor names |\n|---|---|\n"
#: Of the second column, what is no trouble of doctor's own: a link to another command.
_ID = re.compile(r"`([a-z-]+)`")

IDS = node_reads.id_maps(CTID)
DOWN = UNIT.replace("=active", "=failed").replace("=success", "=exit-code")
NAT = (
    "failed to start daemon: Error initializing network controller: failed to create NAT chain "
    "DOCKER: iptables failed: iptables v1.8.9 (legacy): can't initialize iptables table `nat': "
    "Table does not exist (do you need to insmod?)"
)
PROFILES = (
    "Error response from daemon: AppArmor enabled on system but the docker-default profile could "
    "not be loaded: running '/usr/sbin/apparmor_parser -Kr /var/lib/docker/tmp/docker-default1' "
    'failed with output: apparmor_parser: Unable to replace "docker-default".'
)
UNCHECKED = (
    "Could not check if docker-default AppArmor profile was loaded: open "
    "/sys/kernel/security/apparmor/profiles: permission denied"
)
PROC = (
    "OCI runtime create failed: runc create failed: unable to start container process: error "
    'mounting "proc" to rootfs at "/proc": mount src=proc, dst=/proc: permission denied'
)
REOPEN = (
    "OCI runtime create failed: runc create failed: open sysctl net.ipv4."
    "ip_unprivileged_port_start file: reopen fd 8: permission denied"
)
STORE = INFO.replace('"Backing Filesystem","extfs"', '"driver-type","io.containerd.snapshotter.v1"')


def lchown(number: int) -> str:
    return (
        f'failed to register layer: failed to Lchown "/x" for UID {number}, GID 0: lchown /x: '
        "invalid argument (try increasing the number of subordinate IDs in /etc/subuid and "
        "/etc/subgid): lchown /x: invalid argument"
    )


#: By the first column of a row: each trouble of the row, what is answered then, and a configuration
#: if it is another one.
CASES: dict[str, dict[str, tuple[dict[Read[Any], Raw], str]]] = {
    "`failed to register layer: … lchown …: invalid argument`": {
        "id-map-hole": (
            {IDS: f"0 100000 1000\n1001 101001 64535\n==\n{MAP}", id_maps.LCHOWN: lchown(1000)},
            CONFIG,
        ),
        "image-above-id-map": ({id_maps.LCHOWN: lchown(197609)}, CONFIG),
    },
    '`error mounting "proc" to rootfs`': {
        "nesting-off": (
            {guest_reads.CONTAINERS: container(Error=PROC)},
            CONFIG.replace("nesting=1,", ""),
        )
    },
    "`open sysctl net.ipv4.ip_unprivileged_port_start file: reopen fd 8: permission denied`": {
        "runc-reopen-refused": (
            {guest_reads.CONTAINERS: container(Error=REOPEN), runc_fix.MESSAGES: REOPEN},
            CONFIG,
        )
    },
    "`the docker-default profile could not be loaded`": {
        "docker-default-not-loaded": ({guest_reads.CONTAINERS: container(Error=PROFILES)}, CONFIG)
    },
    "`Could not check if docker-default AppArmor profile was loaded`": {
        "docker-default-not-loaded": ({own_confinement.MESSAGES: UNCHECKED}, CONFIG)
    },
    "published ports do not answer; `can't initialize iptables table`": {
        "ip-forward-off": ({guest_reads.SYSCTLS: "ip_forward 0\n"}, CONFIG),
        "route-localnet-off": ({guest_reads.SETTINGS: '{"userland-proxy": false}'}, CONFIG),
        "kernel-module-missing": (
            {network.MESSAGES: NAT, guest_reads.UNIT: DOWN, running.SAYS: NAT},
            CONFIG,
        ),
    },
    "a backup or a snapshot hangs; the container does not answer": {
        "backup-may-hang": ({}, CONFIG),
        "container-frozen": ({node_reads.lxc_state(CTID): "FROZEN\n"}, CONFIG),
    },
    "`bpf_prog_query(BPF_CGROUP_DEVICE) failed`": {
        "gpu-cgroup-refused": (
            {
                gpu.MESSAGES: "nvidia-container-cli: mount error: failed to add device rules: "
                "unable to find any existing device filters attached to the cgroup: "
                "bpf_prog_query(BPF_CGROUP_DEVICE) failed: operation not permitted"
            },
            CONFIG,
        )
    },
    "files of a bind mount belong to `nobody`": {
        "bind-mount-of-nobody": (
            {
                node_reads.owner("/mnt/data"): "1000 1000 755\n",
                guest_reads.owned(("/data",)): "65534 65534\nno\n",
            },
            f"{CONFIG}mp0: /mnt/data,mp=/data\n",
        )
    },
    "Docker's images are gone after an update": {
        "containerd-image-store": ({guest_reads.INFO: STORE}, CONFIG),
        "images-of-another-driver": ({guest_reads.WITH_IMAGES: "overlay2\n"}, CONFIG),
    },
    "the container does not start": {
        "container-stopped": ({node_reads.lxc_state(CTID): "STOPPED\n"}, CONFIG)
    },
}


def rows() -> list[tuple[str, str]]:
    """Return the two columns of each row of the page's table."""
    table = PAGE.read_text("utf-8").partition(HEADER)[2].partition("\n\n")[0]
    found = [re.split(r"(?<!\\) *\| *", line.strip("| ")) for line in table.splitlines()]
    return [(seen, named) for seen, named in found]


ROWS = rows()
NAMED = [(seen, trouble) for seen, named in ROWS for trouble in _ID.findall(named)]


def test_table_of_the_page_has_a_case_for_each_row_and_each_trouble() -> None:
    assert len(ROWS) >= 10
    assert set(NAMED) == {(seen, trouble) for seen, each in CASES.items() for trouble in each}


@pytest.mark.parametrize(("seen", "trouble"), NAMED)
def test_what_a_user_sees_makes_doctor_name_what_the_page_says(seen: str, trouble: str) -> None:
    said, config = CASES[seen][trouble]
    (named,) = [each for each in diagnosis(said, config=config).troubles if each.id == trouble]
    kinds = {kind.id: kind for each in EXAMINATIONS for kind in each.kinds}
    assert named.weight in {kinds[trouble].weight, "seen"}
    assert named.mend


@pytest.mark.parametrize("seen", [seen for seen, _ in ROWS if "`" in seen.replace("`nobody`", "")])
def test_message_of_the_page_is_what_the_container_answers_there(seen: str) -> None:
    answers = "\n".join(
        str(raw) for said, _ in CASES[seen].values() for raw in said.values()
    ).replace('\\"', '"')
    for message in re.findall("`([^`]+)`", seen):
        pattern = ".*".join(map(re.escape, re.split(r" ?… ?", message)))
        assert re.search(pattern, answers), (message, answers)
