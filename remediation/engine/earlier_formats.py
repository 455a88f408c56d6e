"""The journal's former format, version 2, told in the words of today's.

A journal stays on its node for years, and a before-image in it is somebody's only way back. So
what version 2 meant is written down here once, and :mod:`remediation.engine.journal_format` hands
every
line of it to :func:`read`. In version 2 an action was known by what people called it, and a machine
by its display name.

What may be changed here: nothing that is read. :data:`ACTIONS` holds the names as version 2 wrote
them. Reword a title in :mod:`remediation.docker_in_lxc`, and this table stays as it is. A row is
never edited or removed, and none is added: nothing writes version 2 any more.

When a version 4 is needed, copy today's line types of ``journal_lines`` here, beside those of
version 2, with a function that tells them in the words of version 4. A reader for the former form
of a stored state belongs here, too. ``tests/data/journals`` holds journals of every version, and
they must always roll back.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

VERSION = 2
#: What version 2 called an action, and its id. ``{ctid}`` is the number in the line.
ACTIONS = {
    "setup script carries the tunable": "setup-script",
    "nesting tunable": "nesting-tunable",
    "repository's profile carries the rules": "repository-profile",
    "profile is deployed and loaded": "apparmor-profile",
    "container {ctid} has its features and its profile": "container-options",
    "install script": "install-script",
    "container {ctid} is described with its features and profile": "container-description",
    "fuse-overlayfs is installed": "fuse-overlayfs-package",
    "Docker's settings have a directory": "docker-settings-directory",
    "Docker uses fuse-overlayfs": "docker-storage-driver",
    "Docker is installed": "docker-engine",
}


class _Line(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    v: Literal[2]
    at: str
    ctid: int


class _Before(_Line, frozen=True, tag="before"):
    action: str
    machine: str
    state: Any
    path: str = ""


class _After(_Line, frozen=True, tag="after"):
    action: str
    machine: str
    state: Any


class _Finished(_Line, frozen=True, tag="finished"):
    pass


class _RollingBack(_Line, frozen=True, tag="rolling back"):
    pass


class _Undone(_Line, frozen=True, tag="undone"):
    action: str
    last: bool = False
    accepted: bool = False


_DECODER = msgspec.json.Decoder(_Before | _After | _Finished | _RollingBack | _Undone)


def read(body: bytes) -> dict[str, Any]:
    """Return a line of version 2 as today's format has it, but for the version.

    An action that :data:`ACTIONS` does not have keeps its name for an id. No plan knows it, and
    ``journal accept`` can name it.

    Args:
        body: the line, without its sum and its end.

    Raises:
        msgspec.DecodeError: version 2 has no such line.
    """
    line = _DECODER.decode(body)
    told: dict[str, Any] = {"at": line.at, "ctid": line.ctid}
    match line:
        case _Before() | _After():
            inside = line.machine == f"container {line.ctid}"
            told |= {
                "kind": "before" if isinstance(line, _Before) else "after",
                "action": _id(line),
                "machine": "container" if inside else "node",
                "state": line.state,
            }
            if isinstance(line, _Before):
                told["path"] = line.path
        case _Undone():
            told |= {"kind": "accepted" if line.accepted else "rolled_back", "action": _id(line)}
            if not line.accepted:
                told["last"] = line.last
        case _RollingBack():
            told["kind"] = "rolling_back"
        case _Finished():
            told["kind"] = "finished"
    return told


def _id(line: _Before | _After | _Undone) -> str:
    name = line.action.replace(f"container {line.ctid} ", "container {ctid} ", 1)
    return ACTIONS.get(name, line.action)
