"""A nested Proxmox VE node, from Proxmox's own packages: real ``pct``, real ``/etc/pve``.

The user names the archive of these packages in a machine file (TOML)::

    repository = "deb https://HOST/PATH trixie COMPONENT"   # an apt source: one line, or deb822
    key = "proxmox.gpg"            # the key that signs it, relative to this file
    release = "trixie"             # Debian's on the node; the default
    packages = []                  # more of them; the default

The facts below are from Proxmox's package sources: ``pve-kernel``, ``pve-manager``,
``pve-storage``, ``pve-container`` and its installer.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import msgspec

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.lab import recipe, repository
from docker_lxc_gate.lab.recipe import Machine

if TYPE_CHECKING:
    from pathlib import Path

NAME = "proxmox"

#: The kernel is Proxmox's, because AppArmor's mediation, which the gate judges, depends on it. It
#: boots like Debian's: its initial RAM disk has virtio's drivers.
_PACKAGES = (*recipe.NODE_PACKAGES, "initramfs-tools", "proxmox-default-kernel", "proxmox-ve")

_MAIL = "postfix postfix/main_mailer_type select Local only"
_KERNELS = """for modules in "$1"/usr/lib/modules/*; do
    kernel="${modules##*/}"
    chroot "$1" depmod "$kernel" && chroot "$1" update-initramfs -c -k "$kernel" || exit 1
done"""
#: As in Proxmox's installer: while this file exists, the packages neither start services nor reload
#: the network, and the kernel's package leaves modules.dep and the RAM disk to us.
_OPTIONS = (
    '--essential-hook=touch "$1/proxmox_install_mode"',
    f'--essential-hook=echo {_MAIL} | chroot "$1" debconf-set-selections',
    '--customize-hook=rm "$1/proxmox_install_mode"',
    f"--customize-hook={_KERNELS}",
)

#: Units that a single node with containers does not need: slow, or started by timers.
_MASKED = (
    "proxmox-firewall.service",
    "pve-daily-update.timer",
    "pve-firewall.service",
    "pve-ha-crm.service",
    "pve-ha-lrm.service",
    "pveproxy.service",
    "pvescheduler.service",
    "pvestatd.service",
    "spiceproxy.service",
)

#: ``updatecerts`` creates the node's folders in /etc/pve, which pveproxy would do at its start.
_PREPARE = """
set -e
ls -d /sys/class/net/lxcbr0
pvecm updatecerts --silent
pvesm set local --content backup,images,iso,rootdir,snippets,vztmpl
"""

_PROXMOX = Machine(
    NAME,
    _PACKAGES,
    options=_OPTIONS,
    masked=_MASKED,
    prepare=_PREPARE,
    front_end=False,
    space=14 << 30,
)


#: The placeholders in the example above.
_PLACEHOLDER = re.compile(r"\b(?:HOST|PATH|COMPONENT)\b")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    repository: str
    key: str
    release: Annotated[str, msgspec.Meta(pattern=r"^[a-z]+$")] = recipe.DEFAULT_RELEASE
    packages: tuple[Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9+.-]+$")], ...] = ()


def machine(path: Path) -> Machine:
    """Return the node that a machine file describes.

    Raises:
        UsageError: naming the file, the key, and what was expected.
    """
    file = _read(path)
    if left := dict.fromkeys(_PLACEHOLDER.findall(file.repository)):
        raise UsageError(
            f"{path}: repository: still has the example's {', '.join(left)}; expected the "
            "archive's own values instead"
        )
    key = path.parent / file.key
    try:
        signed_by = key.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: key: {key}: {error.strerror}; expected a file") from error
    try:
        repositories = repository.named(file.repository, signed_by)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    return replace(
        _PROXMOX,
        release=file.release,
        repositories=repositories,
        packages=(*_PACKAGES, *file.packages),
    )


def _read(path: Path) -> _File:
    try:
        return msgspec.toml.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected a machine file") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = "" if isinstance(error, msgspec.ValidationError) else "is not TOML: "
        raise UsageError(
            f"{path}: {what}{error}; expected keys: repository, key, release, packages"
        ) from error
