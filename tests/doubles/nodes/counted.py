"""The node and container of ``whole``, behind one connection, with the starts of ``pct``.

It stands where SSH's connection would, so all layers above it are the real ones, ``pct`` included.
"""

import re
import shlex
from pathlib import Path

from docker_lxc_gate.machines.transport import RUN_MARK
from tests.doubles.nodes.behind_shell import Node
from tests.doubles.nodes.whole import CTID, Whole

_INSIDE = "lxc-attach -P "
#: What the layers above put before a command: the deadline, the run's mark, the way inside.
_BEFORE = re.compile(
    rf"^(timeout -k \S+ \S+ |env {RUN_MARK}=\S+ LC_ALL=\S+ |"
    rf"{_INSIDE}.*? -n {CTID} .*? -- env HOME=/root LC_ALL=C.UTF-8 )+"
)


class Counted(Node):
    """See the module.

    Args:
        folder: where the files of the node and the container are.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__({}, {})
        self.machine = "pve1"
        self.whole = Whole(folder)

    def _answer(self, argv: list[str], stdin: bytes) -> tuple[int, bytes, bytes]:
        line = shlex.join(argv)
        words = shlex.split(_BEFORE.sub("", line))
        container = self.whole.on_node.container
        match words:
            case ["id", "-u"]:
                return 0, b"0\n", b""
            case ["sh", "-c", script] if "command -v pct" in script:
                return 0, b"/usr/sbin/pct\n", b""
            case ["find", path, "-exec", "lxc-info", *_] if path.endswith(f"{CTID}.conf"):
                return 0, b"RUNNING\n" if container.effective is not None else b"STOPPED\n", b""
            case ["cat", "--", path] if path == f"/var/lib/lxc/{CTID}/config":
                return 0, f"lxc.uts.name = {container.effective}\n".encode(), b""
            case ["sh", "-c", _, "ended", _] | ["sh", "-c", _, "lock", _]:
                return 0, b"", b""
            case ["pct", "start" | "shutdown" as verb, _, *_]:
                words = ["container", verb]
        on = self.whole.in_container if _INSIDE in line else self.whole.on_node
        assert _INSIDE not in line or container.effective is not None, "it does not run"
        answer = on.run(words, stdin=stdin)
        return answer.exit_code, answer.stdout, answer.stderr
