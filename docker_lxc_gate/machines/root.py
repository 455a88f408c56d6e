"""Being root on a node, where everything that is done is root's to do."""

from __future__ import annotations

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Inside, Transport

#: sudo's own refusals, when its policy wants a password or does not allow the command.
#: Source: sudo(8), plugins/sudoers/check.c, auth/sudo_auth.c and logging.c.
_REFUSED = patterns.compile(
    r"(?m)^sudo: (a password|a terminal|interactive authentication) is required|"
    r"^sudo: .*must have a tty|is not (in the sudoers file|allowed to (execute|run))",
)


_USER = patterns.compile(r"[\w.$@\\-]+")


def as_root(raw: Transport, *, sudo: bool) -> Transport:
    """Return a node whose commands run as root and end there when their deadline passes.

    ``raw`` runs argv there as the user that logged in, and ``sudo`` is whether that takes ``sudo
    -n``. Who we are is asked once, here. In ``ps`` on the node, each command shows up as ``timeout
    -k GRACE SECONDS env DOCKER_LXC_GATE_RUN=RUN_ID …``. Raises TransportError if the user is not
    root and does not become it.
    """
    prefix = ["sudo", "-n", "--"] if sudo else []

    def examine(result: CommandResult) -> None:
        stderr = result.stderr.decode(errors="replace")
        if sudo and result.exit_code and _REFUSED.search(stderr):
            raise _refused(raw, stderr)

    node = Inside(raw, raw.machine, prefix, examine, marked=True)
    who = node.look(["id", "-u"])
    if sudo and not who.ok:  # in whatever language sudo speaks there
        raise _refused(raw, who.stderr.decode(errors="replace"))
    if who.require().text.strip() != "0":
        raise TransportError(
            f"on {raw.machine}: we are not root but uid {who.text.strip()}: "
            "log in as root, or set sudo = true in a target file"
        )
    return node


def _refused(raw: Transport, message: str) -> TransportError:
    user = raw.look(["id", "-un"]).text.strip()
    if patterns.search(r"\bsudo\b.*not found|No such file", message) or not _USER.fullmatch(user):
        return TransportError(
            f"on {raw.machine}: nothing runs by sudo there: {message.strip()}\n"
            "log in as root, and leave sudo out of the target file"
        )
    return TransportError(
        f"on {raw.machine}: sudo does not make {user} root: {message.strip()}\n"
        f"allow it (visudo -f /etc/sudoers.d/docker-lxc-gate): {user} ALL=(root) NOPASSWD: ALL\n"
        "or log in as root"
    )
