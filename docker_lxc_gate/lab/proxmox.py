"""A nested Proxmox VE node, from Proxmox's own packages: real ``pct``, real ``/etc/pve``.

The user names the archive of these packages in a machine file (TOML)::

    repository = "deb https://HOST/PATH trixie COMPONENT"   # an apt source: one line, or deb822
    key = "proxmox.gpg"            # the key that signs it, relative to this file
    release = "trixie"             # Debian's on the node; the default
    packages = []                  # more of them; the default

Its facts in ``recipe.toml`` are from Proxmox's package sources: ``pve-kernel``, ``pve-manager``,
``pve-storage``, ``pve-container`` and its installer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec.structs import replace

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.lab import repository
from docker_lxc_gate.lab.recipe import DEFAULT_RELEASE, PROXMOX

if TYPE_CHECKING:
    from pathlib import Path

    from docker_lxc_gate.lab.recipe import Machine

#: The placeholders in the example above.
_PLACEHOLDER = re.compile(r"\b(?:HOST|PATH|COMPONENT)\b")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    repository: str
    key: str
    release: Annotated[str, msgspec.Meta(pattern=r"^[a-z]+$")] = DEFAULT_RELEASE
    packages: tuple[Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9+.-]+$")], ...] = ()


def machine(path: Path) -> Machine:
    """Return the node that a machine file describes.

    A UsageError names the file, the key, and what was expected.
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
        PROXMOX,
        release=file.release,
        repositories=repositories,
        packages=(*PROXMOX.packages, *file.packages),
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
