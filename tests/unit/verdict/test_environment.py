"""The versions in the report's environment."""

import pytest

from docker_lxc_gate.machines.result import CommandResult
from steps import versions
from tests.doubles.answering import Answer, Answering


def proxmox(argv: list[str]) -> Answer:
    """Answer as a Proxmox node does."""
    said = {"uname": b"6.17.2-1-pve\n", "dpkg-query": b""}[argv[0]]
    if argv[0] == "dpkg-query":
        there = {"apparmor": "4.1.0-1", "lxc-pve": "6.0.5-3", "pve-container": "6.1.10"}
        there["pve-manager"] = "9.1.4"
        said = "".join(f"{p} {v}\n" for p, v in there.items() if p in argv).encode()
    return 1, said, b"no packages found"


def test_versions_of_a_proxmox_node_name_its_lxc_and_pve_container() -> None:
    assert versions.of_node(Answering(proxmox)) == {
        "Kernel": "6.17.2-1-pve",
        "AppArmor": "4.1.0-1",
        "LXC (Proxmox's)": "6.0.5-3",
        "Proxmox": "9.1.4",
        "pve-container": "6.1.10",
    }


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("docker.io 26.1.5\nrunc 1.1.15\n", {"Docker": "26.1.5", "runc": "1.1.15"}),
        ("docker-ce 5:29.4.3-1\ndocker.io \n", {"Docker": "5:29.4.3-1 (docker-ce)"}),
        ("containerd.io 2.2.1-1\n", {"containerd": "2.2.1-1 (containerd.io)"}),
        ("podman-docker 5.4.2\n", {"Docker": "5.4.2 (podman-docker)"}),
    ],
)
def test_versions_name_whichever_docker_there_is(said: str, shown: dict[str, str]) -> None:
    answer = CommandResult(versions.INSIDE.argv, 1, said.encode(), b"", "950", 0.0, 0.0)
    assert versions.INSIDE.parse(answer) == shown
