"""Volumes and templates of ``local``, the only storage: directories below /var/lib/vz."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from .config import Section, properties
from .containers import LxcHost
from .errors import PctError


def allocate(ctid: str, requested: str) -> str:
    """The ``rootfs`` value of a new volume; ``local:SIZE`` is requested, the size in GiB."""
    matched = re.fullmatch("local:([0-9]+)", requested)
    if matched is None:
        raise PctError(f"not supported on this node: the root file system {requested}\n")
    return f"local:{ctid}/subvol-{ctid}-disk-0.subvol,size={matched[1]}G"


def directory(node: LxcHost, ctid: str, section: Section) -> Path:
    """Where a container's root file system is."""
    volume = properties(section.get("rootfs")).get("volume", "")
    name = re.split("[:/]", volume)[-1]
    if not name:
        raise PctError(f"CT {ctid} has no root file system\n")
    return images(node, ctid) / name


def images(node: LxcHost, ctid: str) -> Path:
    """The directory that holds all volumes of a container."""
    return Path(f"{node.root}/var/lib/vz/images/{ctid}")


def template(node: LxcHost, volume: str) -> Path:
    """The archive of a template, given as ``local:vztmpl/NAME``."""
    name = volume.removeprefix("local:vztmpl/")
    path = Path(f"{node.root}/var/lib/vz/template/cache/{name}")
    if "/" in name or not path.is_file():
        raise PctError(f"volume '{volume}' does not exist\n")
    return path


def remove_all(node: LxcHost, ctid: str) -> None:
    """Remove a container's volumes and generated files."""
    node.run(["rm", "-rf", "--one-file-system", str(images(node, ctid))])
    shutil.rmtree(f"{node.root}/var/lib/lxc/{ctid}", ignore_errors=True)
