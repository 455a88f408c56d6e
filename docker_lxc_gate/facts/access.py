"""The user that commands run as on a node. Sources: id(1), sudo(8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker_lxc_gate import foreign, patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.read import unparsed

if TYPE_CHECKING:
    from docker_lxc_gate.machines.transport import Transport


#: Prints the user's id, its name, and who called sudo.
ASKED = unparsed("sh", "-c", 'id -u; id -un; echo "${SUDO_USER:-}"')


@dataclass(frozen=True)
class Access:
    """The user that commands run as; ``sudo_user`` is the user that called sudo, or empty."""

    uid: int
    user: str
    sudo_user: str = ""


@foreign.parser()
def access(node: Transport) -> Access:
    """Return the user that commands run as; raises FactError if id(1) prints no user id."""
    answer = node.ask(ASKED).require().text
    uid, user, sudo_user, *_ = [*answer.split("\n"), "", ""]
    if not patterns.fullmatch("[0-9]+", uid):
        raise FactError(f"on {node.machine}: id -u printed {answer!r}, which is no user id")
    return Access(int(uid), user, sudo_user)
