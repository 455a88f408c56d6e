"""The lab's errors.

::

    RemediationError
    ├── UsageError
    └── LabError
        ├── MissingProgram     a program is not installed; names the Debian package
        ├── NoSpace            too little room below the lab's home
        ├── NoSources          this machine's apt has no list of Debian's packages
        ├── ImageBuildFailed   mmdebstrap or mke2fs failed; carries their last lines
        └── MachineFailed      QEMU did not start, boot or answer; carries the console's last lines
"""

from __future__ import annotations

import shutil

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.tables import table

#: Every program that the lab runs, and its Debian package.
PACKAGES = table("docker_lxc_gate.lab", "packages", dict[str, str])


class LabError(RemediationError):
    """The lab failed; everything that it started is stopped."""


class MissingProgram(LabError):
    """A program that the lab runs is not installed."""


class NoSpace(LabError):
    """The disk has too little room for the images."""


class NoSources(LabError):
    """apt on this machine has fetched no list of packages of Debian proper."""


class ImageBuildFailed(LabError):
    """An image could not be built; nothing of it is left."""


class MachineFailed(LabError):
    """The machine did not start, boot or answer."""


def require_programs(*programs: str) -> None:
    """Raise MissingProgram naming every one of ``programs`` that is not in PATH."""
    if shutil.which("pveversion"):
        raise MissingProgram(
            "this is a Proxmox host: the lab would replace its QEMU by Debian's. Name your "
            "container (--target local/950), or run the lab on another machine"
        )
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        packages = sorted({PACKAGES[program] for program in missing})
        raise MissingProgram(
            f"not installed: {', '.join(missing)}\ninstall: apt-get install {' '.join(packages)}"
        )
