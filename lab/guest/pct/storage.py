"""Volumes and templates: directories below /var/lib/vz, whatever the storage is called.

``local`` is a directory storage and refuses snapshots, as Proxmox's does. ``local-lvm`` stands
for a storage that has them: a snapshot is a copy of the tree, by reflink where the disk can.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from .config import properties
from .errors import PctError

if TYPE_CHECKING:
    from .config import Section
    from .containers import Containers

_NEW = re.compile(r"(?P<storage>[^:,]+):(?P<size>[0-9]+)(,.*)?")
_FORMAT = {"local": "local:{0}/subvol-{0}-disk-0.subvol", "local-lvm": "local-lvm:vm-{0}-disk-0"}


def allocate(ctid: str, requested: str) -> str:
    """The ``rootfs`` value of a new volume.

    Args:
        ctid: the container it is for.
        requested: ``STORAGE:SIZE``, the size in GiB.
    """
    matched = _NEW.fullmatch(requested)
    if matched is None:
        raise PctError(f"unable to parse volume ID '{requested}'\n")
    if matched["storage"] not in _FORMAT:
        raise PctError(f"storage '{matched['storage']}' does not exist\n")
    return f"{_FORMAT[matched['storage']].format(ctid)},size={matched['size']}G"


def directory(node: Containers, ctid: str, section: Section) -> Path:
    """Where a container's root file system is."""
    volume = properties(section.get("rootfs")).get("volume", "")
    name = re.split("[:/]", volume)[-1]
    if not name:
        raise PctError(f"CT {ctid} has no root file system\n")
    return images(node, ctid) / name


def images(node: Containers, ctid: str) -> Path:
    """The directory that holds all volumes of a container."""
    return Path(f"{node.root}/var/lib/vz/images/{ctid}")


def template(node: Containers, volume: str) -> Path:
    """The archive of a template, given as ``local:vztmpl/NAME`` or by its path."""
    name = volume.removeprefix("local:vztmpl/")
    path = Path(f"{node.root}/var/lib/vz/template/cache/{name}")
    path = Path(volume) if volume.startswith("/") else path
    if ("/" in name and path != Path(volume)) or not path.is_file():
        raise PctError(f"volume '{volume}' does not exist\n")
    return path


def can_snapshot(section: Section) -> bool:
    """Whether the container's storage has snapshots."""
    return section.get("rootfs").startswith("local-lvm:")


def snapshot_directory(volume: Path, name: str) -> Path:
    """Where a volume's snapshot is."""
    return volume.with_name(f"snap_{volume.name}_{name}")


def copy(node: Containers, source: Path, target: Path) -> None:
    """Copy a tree whole; ``target`` appears only when it is complete."""
    half = target.with_name(f"{target.name}.partial")
    remove(node, half)
    half.parent.mkdir(parents=True, exist_ok=True)
    node.run(["cp", "-a", "--reflink=auto", str(source), str(half)])
    half.rename(target)


def replace(node: Containers, source: Path, target: Path) -> None:
    """Put a copy of one tree in another's place."""
    fresh = target.with_name(f"{target.name}.fresh")
    remove(node, fresh)
    copy(node, source, fresh)
    remove(node, target)
    fresh.rename(target)


def remove(node: Containers, tree: Path) -> None:
    """Remove a tree, if it is there."""
    if tree.exists():
        node.run(["rm", "-rf", "--one-file-system", str(tree)])


def remove_all(node: Containers, ctid: str) -> None:
    """Remove a container's volumes, snapshots and generated files."""
    remove(node, images(node, ctid))
    shutil.rmtree(f"{node.root}/var/lib/lxc/{ctid}", ignore_errors=True)
