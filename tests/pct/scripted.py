"""A node without LXC: it answers what it was told, and fails on everything else."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from docker_lxc_gate.lab.guest.pct import poststop
from docker_lxc_gate.lab.guest.pct.host import Host

REAL = ("rm",)  # plain file work, done for real below the temporary root
SECCOMP = "2\ndenylist\nreject_force_umount  # comment\n[all]\nkexec_load errno 1\n"


@dataclass
class ScriptedNode(Host):
    """The containers of the lab's pct; ``calls`` is everything that was asked for."""

    root: str
    name: str = "pvetest"
    alive: set[str] = field(default_factory=set)
    starts: dict[str, str | None] = field(default_factory=dict)
    guest: dict[str, bytes] | None = None
    expected: set[str] = field(default_factory=set)
    calls: list[tuple[object, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        common = Path(f"{self.root}/usr/share/lxc/config/common.seccomp")
        common.parent.mkdir(parents=True)
        common.write_text(SECCOMP)

    def conf(self, ctid: str = "200") -> Path:
        return Path(f"{self.root}/etc/pve/lxc/{ctid}.conf")

    def told(self, what: str, *details: object) -> None:
        assert what in self.expected, f"the node was not told that {what} would be asked for"
        self.calls.append((what, *details))

    def running(self, ctid: str) -> bool:
        return ctid in self.alive

    def become(self, argv: list[str]) -> None:
        self.told("become", *argv)

    def start(self, ctid: str, *log: str) -> tuple[bool, str]:
        self.told("start", ctid, *log)
        failure = self.starts.pop(ctid)
        if failure is None:
            self.alive.add(ctid)
        return failure is None, failure or ""

    def kill(self, ctid: str) -> None:
        self.told("kill", ctid)
        self.stopped(ctid)

    def shutdown(self, ctid: str, timeout: float) -> bool:
        self.told("shutdown", ctid, timeout)
        self.stopped(ctid)
        return True

    def stopped(self, ctid: str) -> None:
        """As LXC does: its hook runs at every stop, whoever asked for it."""
        self.alive.remove(ctid)
        assert poststop.main(["hook", ctid, "lxc", "post-stop"], self) in {0, 255}

    def enter(self, ctid: str, *, user: bool) -> None:
        self.told("enter", ctid, user)

    def unpack(self, archive: Path, rootfs: Path, *, mapped: bool) -> None:
        assert self.guest is not None, "the node was not told what a template holds"
        self.calls.append(("unpack", archive.name, mapped))
        for name, content in self.guest.items():
            path = rootfs / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def run(self, argv: Sequence[str]) -> None:
        assert argv[0] in REAL, f"the node was not told of {argv}"
        assert all(word.startswith(("-", self.root)) for word in argv[1:]), argv
        subprocess.run(argv, check=True)
