"""The image of the workload: 28 layers of small files, between what the guest and Docker add.

The guest makes the lowest layer of its own perl and sh (``steps/programs/image.sh``), and Docker
the highest, from what ``steps/programs/change.pl`` changed. Format: docker-save(1), OCI's layers.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: By ``uname -m``: Docker's name of the architecture, and its number of getxattr(2).
MACHINES = {"x86_64": ("amd64", 191), "aarch64": ("arm64", 8)}
LOADED, COMMITTED = "docker-lxc-gate/workload:29", "docker-lxc-gate/workload:30"
#: Where the files are.
ROOT = "gate/"
#: Removes a file, or the content of a directory, of the layers below. Source: OCI's image-spec.
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass(frozen=True)
class File:
    """A file, or a directory if its path ends with a slash.

    Attributes:
        content: what it holds.
        owner: its user and its group.
        mode: its permissions.
        link: the path of the file of which it is another name.
        attribute: the value of its extended attribute ``user.gate``.
    """

    content: str = "-"
    owner: tuple[int, int] = (0, 0)
    mode: int = 0o644
    link: str = ""
    attribute: str = "-"


_GONE = File(content="")
#: What each layer has, by path; those below Docker's own.
_LAYERS = (
    {
        "owned/user": File("user", (1000, 100)),
        "owned/last": File("last", (65533, 65533), 0o640),
        "owned/setuid": File("setuid", (33, 33), 0o4755),
        "owned/changed": File("changed", (1000, 1000)),
    },
    {"linked/one": File("same"), "linked/two": File("same", link="linked/one")},
    {"attribute": File("named", attribute="kept")},
    {"data/": File(owner=(1000, 1000), mode=0o755), "data/first": File("first", (1000, 1000))},
    {"removed": File("old"), "folder/below": File("old"), "hidden/old": File("old")},
    {
        f"{_WHITEOUT}removed": _GONE,
        f"{_WHITEOUT}folder": _GONE,
        f"hidden/{_OPAQUE}": _GONE,
        "hidden/new": File("new"),
    },
    *({f"layers/{n}": File(f"{n}"), "last": File(f"{n}")} for n in range(8, 30)),
)
#: What the last layer changes.
_CHANGED = {
    f"layers/{_WHITEOUT}8": _GONE,
    f"hidden/{_OPAQUE}": _GONE,
    "hidden/newest": File("30"),
    "last": File("30"),
    "owned/changed": File("changed", (1001, 1001)),
}
COUNT = 1 + len(_LAYERS) + 1


def files() -> dict[str, File]:
    """Return what a Docker container must find, by path."""
    found: dict[str, File] = {}
    for layer in (*_LAYERS, _CHANGED):
        for path in layer:
            folder, _, name = path.rpartition(_WHITEOUT)
            gone = folder.removesuffix(_WHITEOUT) if path.endswith(_OPAQUE) else folder + name
            if _WHITEOUT in path:
                found = {each: file for each, file in found.items() if not each.startswith(gone)}
        found |= {path: file for path, file in layer.items() if _WHITEOUT not in path}
    return found


def archive(machine: str) -> bytes:
    """Return the image without its lowest layer, whose digest the guest sets in place of ``BASE``.

    Args:
        machine: one of :data:`MACHINES`.
    """
    architecture, getxattr = MACHINES[machine]
    layers = [_layer(layer) for layer in _LAYERS]
    names = ["base.tar", *(f"{number}.tar" for number in range(2, len(layers) + 2))]
    digests = ["BASE", *(hashlib.sha256(layer).hexdigest() for layer in layers)]
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "2025-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/bin", f"GETXATTR={getxattr}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{each}" for each in digests]},
        "history": [{"created": "2025-01-01T00:00:00Z"} for _ in names],
    }
    manifest = [{"Config": "config.json", "RepoTags": [LOADED], "Layers": names}]
    texts = {"config.json": json.dumps(config), "manifest.json": json.dumps(manifest)}
    contents = {name: text.encode() for name, text in texts.items()}
    return _tar({**contents, **dict(zip(names[1:], layers, strict=True))})


def _layer(of: dict[str, File]) -> bytes:
    return _tar({ROOT + path: file for path, file in of.items()})


def _tar(of: Mapping[str, File | bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        for path, entry in of.items():
            file = File() if isinstance(entry, bytes) else entry
            content = entry if isinstance(entry, bytes) else file.content.encode()
            member = tarfile.TarInfo(path.rstrip("/"))
            member.mode, (member.uid, member.gid) = file.mode, file.owner
            if path.endswith("/"):
                member.type = tarfile.DIRTYPE
            elif file.link:
                member.type, member.linkname = tarfile.LNKTYPE, ROOT + file.link
            else:
                member.size = len(content)
            if file.attribute != "-":
                member.pax_headers = {"SCHILY.xattr.user.gate": file.attribute}
            out.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
