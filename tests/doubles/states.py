"""What may be at a path before the plan, made and looked at with nothing of ours."""

import os
import socket
import stat
import struct
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.machines.transport import Transport
from remediation.engine.action import Action

LINE = b"the gate's\n"
ROOT = os.geteuid() == 0
_ACL = "system.posix_acl_access", "system.posix_acl_default"


def edit(content: bytes | None) -> bytes:
    """Return the content with our line at its end; applied twice it changes nothing more."""
    text = content or b""
    if LINE in text:
        return text
    return text + (b"" if not text or text.endswith(b"\n") else b"\n") + LINE


def acl(user: int) -> bytes:
    """Return an access list that lets one more user read. Source: linux/posix_acl_xattr.h."""
    entries = [(1, 6, -1), (2, 4, user), (4, 4, -1), (16, 4, -1), (32, 4, -1)]
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, perm, who & 0xFFFFFFFF) for tag, perm, who in entries
    )


@dataclass(frozen=True)
class Laid:
    """What lies at a path: ``kind`` is absent, file, link, directory or socket."""

    kind: str = "file"
    content: bytes = b""
    mode: int = 0o644
    nanoseconds: int = 0
    owner: tuple[int, int] = (0, 0)
    attributes: dict[str, bytes] = field(default_factory=dict)
    link: bytes = b"elsewhere"
    acl: bool = False

    def at(self, path: Path) -> None:
        match self.kind:
            case "absent":
                return
            case "link":
                path.symlink_to(os.fsdecode(self.link))
                os.utime(path, ns=(0, self.nanoseconds), follow_symlinks=False)
                return
            case "socket":
                with closing(socket.socket(socket.AF_UNIX)) as made:
                    made.bind(str(path))
                return
            case "directory":
                path.mkdir()
            case "file":
                path.write_bytes(self.content)
                for name, value in self.attributes.items():
                    os.setxattr(path, f"user.{name}", value)
        if ROOT:
            os.chown(path, *self.owner)
        path.chmod(self.mode)
        if self.acl and self.kind == "file":
            os.setxattr(path, _ACL[0], acl(12345))
        os.utime(path, ns=(0, self.nanoseconds))


def look(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Return all that is below a folder; of the folder itself nothing, its time tells of these."""
    return {str(path.relative_to(folder)): _one(path) for path in sorted(folder.rglob("*"))}


def _one(path: Path) -> tuple[Any, ...]:
    found = path.lstat()
    attributes = {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
    }
    facts = (oct(found.st_mode), found.st_uid, found.st_gid, sorted(attributes.items()))
    if stat.S_ISDIR(found.st_mode):
        return facts
    if stat.S_ISLNK(found.st_mode):
        return (*facts, found.st_mtime_ns, str(path.readlink()))
    content = path.read_bytes() if stat.S_ISREG(found.st_mode) else None
    return (*facts, found.st_mtime_ns, content)


contents = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=50).map(str.encode),
    st.sampled_from(
        [
            *(b"", b"\n", b"no newline", b"crlf\r\nno newline", b"\xff\xfe\x00", b"\x00" * 600),
            *(LINE, b"mine\n" + LINE, LINE[:-1], "ü\n".encode(), "ü".encode("latin-1")),
            *(b'{"text": "not ours"}', b'"kind":"cut"}', b"x" * 4096, b"x" * 4097),
            *(bytes(range(256)) * 3072, b"3/4 MB, one line" * 49152),
        ]
    ),
)
times = st.integers(min_value=-(2**31) * 10**9, max_value=2**33 * 10**9)
files = st.builds(
    Laid,
    content=contents,
    mode=st.one_of(
        st.sampled_from([0, 0o600, 0o644, 0o755, 0o400, 0o4755]), st.integers(0, 0o7777)
    ),
    nanoseconds=times,
    owner=st.sampled_from([(0, 0), (1, 2), (100000, 100000), (3_000_000, 3_000_000)]),
    attributes=st.dictionaries(
        st.sampled_from(["one", "t w=o", "ü", "trusted.%3D"]), st.binary(min_size=1, max_size=64)
    ),
    acl=st.booleans(),
)
links = st.builds(
    Laid,
    kind=st.just("link"),
    link=st.sampled_from([b"elsewhere", b"/etc/passwd", b"..", b"\xff\xfe", b"x" * 300]),
    nanoseconds=times,
)
others = st.sampled_from(
    [Laid("absent"), Laid("directory", mode=0o755), Laid("directory", mode=0o2700), Laid("socket")]
)
anything = st.one_of(files, files, files, links, others)


def laws(action: Action[Any], on: Transport) -> str:
    """Hold the two laws, or the third outcome; returns which: ``held``, ``refused``, ``was so``.

    A plan calls ``rollback`` of an action that refused, too: there it must change nothing.
    """
    before = action.capture(on)
    try:
        drift = action.check(on)
        if drift is not None:
            action.apply(on, before)
    except RemediationError:
        assert action.capture(on) == before
        action.rollback(on, before)
        assert action.capture(on) == before
        return "refused"
    assert action.check(on) is None
    if drift is None:
        assert action.capture(on) == before
    for _ in range(2):  # a second rollback finds nothing to do
        action.rollback(on, before)
        assert action.capture(on) == before
    return "held" if drift is not None else "was so"
