"""Our own hello-world image: two layers, and a static program without a compiler.

The lab's registry serves it as hello-world. The gate loads it into a target's Docker under another
name, because Docker Hub's own image has one layer.

``/hello`` greets as Docker Hub's does and exits 0. ``/hello wait`` sleeps until SIGTERM and exits
0; as PID 1 it has a handler for that, since PID 1 ignores signals that it does not handle, so
``docker stop`` works. The image is the same bytes every time, and so is its id.
"""

from __future__ import annotations

import hashlib
import json
from importlib import resources

from docker_lxc_gate.lab.docker_images.workload import File, tar

REFERENCE = "library/hello-world:latest"
#: What the program is for, as ``uname -m`` says it.
MACHINE = "x86_64"
#: An x86-64 ELF executable for Linux that needs no library; its source is ``hello/hello.s``.
PROGRAM = (resources.files("docker_lxc_gate.lab") / "hello" / "hello").read_bytes()
#: The file of the upper layer, which makes an image of more than one layer out of it.
_SECOND_LAYER = "the upper one of two layers\n"

_TAG = "hello-world:latest"


def docker_archive(tag: str = _TAG, *, owner: int = 0) -> bytes:
    """Return the image as ``docker save`` would write it; under each tag it has another id.

    An ``owner`` of its files that a container does not have keeps it from being unpacked there.
    """
    layers = _layers(owner)
    config = _config(tag, owner)
    names = [f"{hashlib.sha256(layer).hexdigest()}.tar" for layer in layers]
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": names}]
    files = {"manifest.json": json.dumps(manifest).encode(), name: config}
    return tar(files | dict(zip(names, layers, strict=True)))


def image_id() -> str:
    """Return the image's id, the digest of its configuration: ``sha256:…``."""
    return f"sha256:{hashlib.sha256(_config(_TAG)).hexdigest()}"


def _layers(owner: int = 0) -> list[bytes]:
    program = PROGRAM.decode(errors="surrogateescape")
    upper = File(_SECOND_LAYER, (owner, owner))
    return [tar({"hello": File(program, (owner, owner), 0o755)}), tar({"etc/hello-world": upper})]


def _config(tag: str, owner: int = 0) -> bytes:
    labels = {} if tag == _TAG else {"Labels": {"docker-lxc-gate": tag}}
    image = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2025-01-01T00:00:00Z",
        "config": {"Cmd": ["/hello"], "Env": ["PATH=/"], **labels},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in _layers(owner)],
        },
        "history": [  # its words are part of the image's id, so they stay
            {"created": "2025-01-01T00:00:00Z", "created_by": "lab/hello.py"} for _ in _layers()
        ],
    }
    return json.dumps(image, sort_keys=True).encode()
