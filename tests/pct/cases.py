"""The recorded transcripts; ``OFFLINE`` is decided here by a node without LXC."""

import re
from pathlib import Path

import msgspec


class Transcript(msgspec.Struct, frozen=True):
    """One recorded call."""

    name: str
    state: str
    argv: tuple[str, ...]
    exit: int
    stdout: str
    stderr: str


_RECORDED = msgspec.json.decode(Path(__file__).with_name("transcripts.json").read_bytes())
ALL = {case["name"]: msgspec.convert(case, Transcript) for case in _RECORDED["cases"]}

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


#: These need a running container.
_ON_NODE = {"exec: true", "exec: exit 7", "exec: not found"}
OFFLINE = [n for n, case in ALL.items() if case.argv[0] == "pct" and n not in _ON_NODE]
