"""``/var/lib/lxc/<ctid>``: what Proxmox generates at each start, set and stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import lxc, storage
from .files import replace_file

if TYPE_CHECKING:
    from .config import Section
    from .containers import Lxc


def write(node: Lxc, ctid: str, section: Section) -> str:
    """Write LXC's configuration and its seccomp rules anew; what an explicit profile overrides.

    Raises:
        PctError: the section has a value that Proxmox cannot parse; nothing is written.
    """
    rootfs = storage.directory(node, ctid, section)
    text, overridden = lxc.generate(ctid, section, str(rootfs))
    common = Path(f"{node.root}{lxc.INCLUDES}/common.seccomp").read_text(encoding="utf-8")
    folder = Path(f"{node.root}/var/lib/lxc/{ctid}")
    replace_file(folder / "config", text)
    replace_file(folder / "rules.seccomp", lxc.seccomp(section, common))
    return overridden
