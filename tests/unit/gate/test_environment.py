"""The versions in the report's environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steps import versions
from targets.transport import Base, CommandResult

if TYPE_CHECKING:
    from collections.abc import Sequence


class Proxmox(Base):
    """A Proxmox node, by what dpkg-query says of it."""

    machine = "pve1"

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        said = {"uname": b"6.17.2-1-pve\n", "dpkg-query": b""}[argv[0]]
        if argv[0] == "dpkg-query":
            there = {"apparmor": "4.1.0-1", "lxc-pve": "6.0.5-3", "pve-container": "6.1.10"}
            there["pve-manager"] = "9.1.4"
            said = "".join(f"{p} {v}\n" for p, v in there.items() if p in argv).encode()
        return CommandResult(tuple(argv), 1, said, b"no packages found", self.machine, 0.0, 0.0)


def test_versions_of_a_proxmox_node_name_its_lxc_and_pve_container() -> None:
    assert versions.of_node(Proxmox()) == {
        "Kernel": "6.17.2-1-pve",
        "AppArmor": "4.1.0-1",
        "LXC (Proxmox's)": "6.0.5-3",
        "Proxmox": "9.1.4",
        "pve-container": "6.1.10",
    }
