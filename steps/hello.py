r"""Our own hello-world image: two layers, and a static program without a compiler.

The lab's registry serves it as hello-world. The gate loads it into a target's Docker under another
name, because Docker Hub's own image has one layer.

``/hello`` prints :data:`MESSAGE` and exits 0. ``/hello wait`` sleeps until SIGTERM and exits 0;
as PID 1 it has a handler for that, since PID 1 ignores signals that it does not handle, so
``docker stop`` works. The image is the same bytes every time, and so is its id.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile

REFERENCE = "library/hello-world:latest"
#: What the program is for, as ``uname -m`` says it.
MACHINE = "x86_64"
MESSAGE = b"""
Hello from Docker!
This message shows that your installation appears to be working correctly.

It was printed by the hello-world image of the docker-lxc-gate lab.
"""
#: The file of the upper layer, which makes an image of more than one layer out of it.
SECOND_LAYER = b"the upper one of two layers\n"

_TAG = "hello-world:latest"
_BASE = 0x400000
_HEADERS = 64 + 56  # the ELF header and one program header
_SIGTERM, _SA_RESTORER = 15, 0x04000000


def elf() -> bytes:
    """Return the program: an x86-64 ELF executable for Linux that needs no library."""
    start = _BASE + _HEADERS
    code_size = len(_code(0, 0, 0))
    message, action = start + code_size, start + code_size + len(MESSAGE)
    leave = start + _code(0, 0, 0).index(_EXIT)
    # struct kernel_sigaction: handler, flags, restorer, mask. The handler never returns, but
    # x86-64 refuses to deliver a signal without a restorer.
    sigaction = struct.pack("<QQQQ", leave, _SA_RESTORER, leave, 0)
    body = _code(message, action, len(MESSAGE)) + MESSAGE + sigaction
    size = _HEADERS + len(body)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        2, 62, 1, start, 64, 0, 0, 64, 56, 1, 0, 0, 0,
    )  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + body


_EXIT = bytes.fromhex("31ff b83c000000 0f05")  # exit(0): xor edi,edi; mov eax,60; syscall


def _code(message: int, action: int, length: int) -> bytes:
    """Return the machine code, given the addresses of its data."""
    pause = bytes.fromhex("b822000000 0f05 ebf7")  # again: mov eax,34; syscall; jmp again
    handler = b"".join((
        b"\xb8\x0d\x00\x00\x00",                       # mov eax, 13 (rt_sigaction)
        b"\xbf" + struct.pack("<I", _SIGTERM),         # mov edi, SIGTERM
        b"\xbe" + struct.pack("<I", action),           # mov esi, action
        b"\x31\xd2",                                   # xor edx, edx
        b"\x41\xba\x08\x00\x00\x00",                   # mov r10d, 8 (size of the mask)
        b"\x0f\x05",                                   # syscall
    ))  # fmt: skip
    wait = handler + pause
    write = b"".join((
        b"\xb8\x01\x00\x00\x00",                       # mov eax, 1 (write)
        b"\xbf\x01\x00\x00\x00",                       # mov edi, 1 (standard output)
        b"\xbe" + struct.pack("<I", message),          # mov esi, message
        b"\xba" + struct.pack("<I", length),           # mov edx, length
        b"\x0f\x05",                                   # syscall
    ))  # fmt: skip
    test = b"".join((
        b"\x83\x3c\x24\x02",                           # cmp dword [rsp], 2 (argc)
        b"\x7c" + struct.pack("b", len(wait)),         # jl past the waiting, to the writing
    ))  # fmt: skip
    return test + wait + write + _EXIT


def docker_archive(tag: str = _TAG, *, owner: int = 0) -> bytes:
    """Return the image as ``docker save`` would write it; under each tag it has another id.

    Args:
        tag: its name.
        owner: of its files; an id that a container does not have cannot be unpacked there.
    """
    layers = _layers(owner)
    config = _config(tag, owner)
    names = [f"{hashlib.sha256(layer).hexdigest()}.tar" for layer in layers]
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": names}]
    files = {"manifest.json": json.dumps(manifest).encode(), name: config}
    return _tar({**files, **dict(zip(names, layers, strict=True))})


def image_id() -> str:
    """Return the image's id, the digest of its configuration: ``sha256:…``."""
    return f"sha256:{hashlib.sha256(_config(_TAG)).hexdigest()}"


def description() -> bytes:
    """Return the image's description for the node, as JSON."""
    facts = {"id": image_id(), "reference": REFERENCE, "layers": len(_layers())}
    return (json.dumps(facts, indent=2) + "\n").encode()


def _layers(owner: int = 0) -> list[bytes]:
    upper = _tar({"etc/hello-world": SECOND_LAYER}, owner=owner)
    return [_tar({"hello": elf()}, mode=0o755, owner=owner), upper]


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


def _tar(files: dict[str, bytes], mode: int = 0o644, owner: int = 0) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            member.uid = member.gid = owner
            out.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
