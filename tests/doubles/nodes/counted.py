"""The node and container of ``whole``, behind one shell that can do many commands at once.

It stands where SSH's connection would, so all layers above it are the real ones, ``pct`` included.
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import RUN_MARK
from tests.doubles.nodes.behind_shell import Node, answers
from tests.doubles.nodes.whole import CTID, Whole

_INSIDE = f"pct exec {CTID} --keep-env 0 -- env HOME=/root LC_ALL=C.UTF-8 "
#: What the layers above put before a command: the deadline, the run's mark, the way inside.
_BEFORE = re.compile(rf"^(timeout -k \S+ \S+ |env {RUN_MARK}=\S+ |{_INSIDE})+")


class Counted(Node):
    """See the module.

    Args:
        folder: where the files of the node and the container are.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__({}, {})
        self.machine = "pve1"
        self.whole = Whole(folder)

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> CommandResult:
        self.trips.append(shlex.join(argv))
        return CommandResult(tuple(argv), *self._told(list(argv), stdin), self.machine, 0.0, 0.0)

    def _told(self, argv: list[str], stdin: bytes) -> tuple[int, bytes, bytes]:  # noqa: PLR0911 - a table
        line = shlex.join(argv)
        words = shlex.split(_BEFORE.sub("", line))
        if words[-1] == "at once":
            before = shlex.split(line.removesuffix(shlex.join(words)))
            commands = re.split(r"(?m)^(?:one|run) timeout -k 5 \S+ ", words[2])[1:]
            given = [stdin] + [b""] * len(commands)
            each = [
                self._told([*before, *shlex.split(one)], text)
                for one, text in zip(commands, given, strict=False)
            ]
            return 0, *answers(words[2], each)
        container = self.whole.on_node.container
        match words:
            case ["id", "-u"]:
                return 0, b"0\n", b""
            case ["sh", "-c", script] if "command -v pct" in script:
                return 0, b"/usr/sbin/pct\n", b""
            case ["find", path, "-exec", "lxc-info", *_] if path.endswith(f"{CTID}.conf"):
                return 0, b"RUNNING\n" if container.effective is not None else b"STOPPED\n", b""
            case ["env", "LC_ALL=C", "cat", "--", path] if path == f"/var/lib/lxc/{CTID}/config":
                return 0, f"lxc.uts.name = {container.effective}\n".encode(), b""
            case ["sh", "-c", _, "ended", _] | ["sh", "-c", _, "lock", _]:
                return 0, b"", b""
            case ["pct", "start" | "shutdown" as verb, _, *_]:
                words = ["container", verb]
        on = self.whole.in_container if _INSIDE in line else self.whole.on_node
        assert _INSIDE not in line or container.effective is not None, "it does not run"
        answer = on.run(words, stdin=stdin)
        return answer.exit_code, answer.stdout, answer.stderr
