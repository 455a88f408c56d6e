"""The versions in the report's environment."""

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
