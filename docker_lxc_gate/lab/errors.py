"""The lab's errors, and the programs that it needs."""

from __future__ import annotations

import shutil

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.tables import table

#: Every program that the lab runs, and its Debian package.
PACKAGES = table("docker_lxc_gate.lab", "packages", dict[str, str])


class LabError(RemediationError):
    """The lab failed; everything that it started is stopped."""


class MachineFailed(LabError):
    """The machine did not start, boot or answer; it carries the console's last lines."""


def require_programs(*programs: str) -> None:
    """Raise LabError naming every one of ``programs`` that is not in PATH."""
    if shutil.which("pveversion"):
        raise LabError(
            "this is a Proxmox host: the lab would replace its QEMU by Debian's. Name your "
            "container (--target local/950), or run the lab on another machine"
        )
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        packages = sorted({PACKAGES[program] for program in missing})
        raise LabError(
            f"not installed: {', '.join(missing)}\ninstall: apt-get install {' '.join(packages)}"
        )
