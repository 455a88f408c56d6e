"""The recorded transcripts, and the three ways in which each of them is held.

``OFFLINE`` is decided here by a node without LXC; ``FILES`` are texts to parse, write or generate;
``ON_NODE`` needs containers that run, and `replay` holds it there; ``NOT_OURS`` is another
program's. A test says that every transcript is in exactly one of them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Transcript:
    """One recorded call."""

    name: str
    state: str
    argv: tuple[str, ...]
    stdin: str
    exit: int
    stdout: str
    stderr: str


def _recorded() -> Iterator[Transcript]:
    text = Path(__file__).with_name("transcripts.json").read_text(encoding="utf-8")
    for case in json.loads(text)["cases"]:
        fields = {name: case[name] for name in Transcript.__dataclass_fields__ if name != "argv"}
        yield Transcript(argv=tuple(case["argv"]), **fields)


ALL = {case.name: case for case in _recorded()}

# Words of other programs, which a directory needs none of, or whose numbers are the machine's.
_NOT_PCTS_OWN = re.compile(
    r"Formatting |Creating filesystem |Filesystem UUID|Superblock backups|\t\d|  Logical volume "
    r"|Total bytes read|Creating SSH host key|done: SHA256"
)
# LXC's line numbers move with its version; addresses are random; our volumes are directories.
_VARIES = (
    (re.compile(r"(?m)^((?:lxc-attach: \d+: [^:]+: )?\w+:) \d+ "), r"\1 N "),
    (re.compile(r"hwaddr=[0-9A-F:]{17}"), "hwaddr=MAC"),
    (re.compile(r"vm-(\d+)-disk-0\.raw"), r"subvol-\1-disk-0.subvol"),
    (re.compile(r"nodes/[^/]+/lxc|on node '[^']+'"), "NODE"),
)


def comparable(text: str) -> str:
    """A text without what may differ.

    The final line end goes too: of two recordings of one usage error, one lacks it.
    """
    kept = [line for line in text.splitlines() if not _NOT_PCTS_OWN.match(line)]
    text = "\n".join(kept).rstrip("\n")
    for pattern, substitute in _VARIES:
        text = pattern.sub(substitute, text)
    return text


OFFLINE = (
    "list: no container", "status: absent", "config: absent", "exec: absent", "start: absent",
    "stop: absent", "set: absent", "destroy: absent", "push: absent", "usage: no arguments",
    "usage: unknown command", "usage: status without id", "usage: id not a number",
    "usage: id too small", "usage: unknown option", "create: template missing", "create",
    "create: id used", "create: unknown feature", "list: one stopped", "status: stopped",
    "config: after create", "exec: stopped", "push: stopped", "stop: stopped", "start",
    "start: running", "status: running", "list: one running", "exec: no command",
    "exec: no command after --", "exec: option without --", "push: source missing",
    "push: directory missing", "push: bad mode", "config: pending shown", "config --current",
    "set: unprivileged cannot change", "set: raw lxc key", "destroy: running", "status: locked",
    "list: locked", "exec: locked", "set: locked", "stop: locked",
    "stop", "start: profile not loaded", "start: mount entry cut short", "config: malformed lines",
    "set: deletes malformed lines", "start: named profile overrides features",
    "stop: named profile", "start: generated profile", "shutdown",
    "config: line appended after a snapshot header", "destroy", "list: none again",
)  # fmt: skip

FILES = (
    "file with a pending section",
    "file after set",
    "file: line appended after a snapshot header",
    "generated lxc configuration: named profile",
    "generated lxc configuration: generated profile",
)

# In this order, against a container that runs under the generated profile with all three features.
ON_NODE = (
    "exec: true", "exec: exit 7", "exec: not found", "exec: shell builtin", "exec: not executable",
    "exec: killed by signal", "exec: stdin", "exec: no shell, no glob",
    "exec: environment, default", "exec: environment, --keep-env 0",
    "exec: working directory and identity", "exec: label inside", "push", "push: seen",
    "push: overwrite keeps mode", "push: source is a directory",
    "label from the node: generated profile", "label inside: generated profile",
    "label from the node: named profile",
)  # fmt: skip

NOT_OURS = ("vzdump", "pvesm list: one backup", "pvesm list: none", "pvesm status")
