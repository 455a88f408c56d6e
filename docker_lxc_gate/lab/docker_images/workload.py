"""The image of the workload: 28 layers of small files, between what the guest and Docker add.

The guest makes the lowest layer of its own perl and sh (``steps/programs/image.sh``), and Docker
the highest, from what ``steps/programs/workload.pl`` changed. Format: docker-save(1), OCI's layers.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping

from docker_lxc_gate.tables import Row, table

#: By ``uname -m``: Docker's name of the architecture, and its number of getxattr(2).
MACHINES = {"x86_64": ("amd64", 191), "aarch64": ("arm64", 8)}
LOADED, COMMITTED = "docker-lxc-gate/workload:29", "docker-lxc-gate/workload:30"
#: Where the files are.
ROOT = "gate/"
#: How the names begin of what removes a file, or the content of a directory: see the table.
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


class File(Row, frozen=True):
    """A file, or a directory if its path ends with a slash.

    ``owner`` is its user and its group, ``link`` the path of the file of which it is another name,
    ``attribute`` the value of its extended attribute ``user.gate``.
    """

    content: str = "-"
    owner: tuple[int, int] = (0, 0)
    mode: int = 0o644
    link: str = ""
    attribute: str = "-"


class _Table(Row, frozen=True):
    layer: tuple[dict[str, File], ...]
    changed: dict[str, File]


_TABLE = table("docker_lxc_gate.lab.docker_images", "workload", _Table)
#: What each layer has, by path; those below Docker's own.
_LAYERS = (
    *_TABLE.layer,
    *({f"layers/{n}": File(f"{n}"), "last": File(f"{n}")} for n in range(8, 30)),
)
COUNT = 1 + len(_LAYERS) + 1


def files() -> dict[str, File]:
    """Return what a Docker container must find, by path."""
    expected: dict[str, File] = {}
    for layer in (*_LAYERS, _TABLE.changed):
        for path in layer:
            folder, _, name = path.rpartition(_WHITEOUT)
            gone = folder.removesuffix(_WHITEOUT) if path.endswith(_OPAQUE) else folder + name
            if _WHITEOUT in path:
                expected = {key: file for key, file in expected.items() if not key.startswith(gone)}
        expected |= {path: file for path, file in layer.items() if _WHITEOUT not in path}
    return expected


def archive(machine: str) -> bytes:
    """Return the image for one of :data:`MACHINES`, without its lowest layer.

    The guest sets that one's digest in place of ``BASE``.
    """
    architecture, getxattr = MACHINES[machine]
    layers = [tar({ROOT + path: file for path, file in layer.items()}) for layer in _LAYERS]
    names = ["base.tar", *(f"{number}.tar" for number in range(2, len(layers) + 2))]
    digests = ["BASE", *(hashlib.sha256(layer).hexdigest() for layer in layers)]
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "2025-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/bin", f"GETXATTR={getxattr}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created": "2025-01-01T00:00:00Z"} for _ in names],
    }
    manifest = [{"Config": "config.json", "RepoTags": [LOADED], "Layers": names}]
    texts = {"config.json": config, "manifest.json": manifest}
    contents = {name: json.dumps(text).encode() for name, text in texts.items()}
    return tar(contents | dict(zip(names[1:], layers, strict=True)))


def tar(of: Mapping[str, File | bytes]) -> bytes:
    """Return an archive of files and directories by path, the same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        for path, entry in of.items():
            file = entry if isinstance(entry, File) else File()
            content = file.content.encode(errors="surrogateescape")
            content = entry if isinstance(entry, bytes) else content
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
