"""``pct exec`` and ``pct status``: the two a run calls hundreds of times. Only builtin modules."""

import _signal  # signal itself imports enum, which costs as much as starting Python
import posix
import sys

from . import lines, options
from .errors import PctError

LXC_ATTACH = "/usr/bin/lxc-attach"
CHILD_PATH = b"PATH=/sbin:/bin:/usr/sbin:/usr/bin"  # what Proxmox sets for all it starts


class Host:
    """The machine we are on, as far as these two commands need it."""

    def __init__(self, root: str = "", name: str = "") -> None:
        self.root = root
        self.name = name or posix.uname().nodename.partition(".")[0]

    def text(self, ctid: str, code: int = 2) -> str:
        """The container's configuration file.

        The ``code`` of the PctError if there is none is 255 where Proxmox finds out inside a task.
        """
        try:
            # not pathlib: its import costs more than the whole command
            with open(f"{self.root}/etc/pve/lxc/{ctid}.conf", "rb") as file:  # noqa: PTH123
                return file.read().decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            missing = f"Configuration file 'nodes/{self.name}/lxc/{ctid}.conf' does not exist\n"
            raise PctError(missing, code) from None

    def running(self, ctid: str) -> bool:
        """Whether the container's monitor lives: it listens on an abstract socket of this name.

        Proxmox asks in the same way; it costs no process.
        """
        with open("/proc/net/unix", "rb") as table:  # noqa: PTH123 - see `text`
            return f"@/var/lib/lxc/{ctid}/command\n".encode() in table.read()

    def become(self, argv: list[str]) -> None:
        """Turn into lxc-attach, with the caller's own environment and signals.

        Python has changed both by now: it adds LC_CTYPE where the locale is C, and ignores
        SIGPIPE. The command inside must see neither.
        """
        with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - see `text`
            given = [entry for entry in file.read().split(b"\0") if b"=" in entry]
        pairs = [entry.split(b"=", 1) for entry in (*given, CHILD_PATH)]
        _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
        posix.execve(LXC_ATTACH, argv, dict(pairs))


def execute(words: list[str], node: Host) -> int:
    """``pct exec``: from here on lxc-attach's exit code is ours."""
    (ctid, *command), chosen = options.parse("exec", words)
    sys.stderr.write(lines.warnings(ctid, node.text(ctid)))
    if not node.running(ctid):
        raise PctError(f"container '{ctid}' not running!\n")
    if not command:
        raise PctError("missing command at /usr/share/perl5/PVE/CLI/pct.pm line 246.\n")
    sys.stderr.flush()
    clear = ["--clear-env"] if chosen.get("keep-env") == "0" else []
    node.become(["lxc-attach", "-n", ctid, *clear, "--", *command])
    return 0


def status(words: list[str], node: Host) -> int:
    """``pct status``."""
    (ctid,), _none = options.parse("status", words)
    sys.stderr.write(lines.warnings(ctid, node.text(ctid)))
    sys.stdout.write(f"status: {'running' if node.running(ctid) else 'stopped'}\n")
    return 0
