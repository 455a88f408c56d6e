"""As whom commands run on a node. Sources: id(1), sudo(8)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from targets.errors import FactError

if TYPE_CHECKING:
    from targets.transport import Transport


@dataclass(frozen=True)
class Access:
    """As whom commands run on a node: ``sudo_user`` is who became that by sudo, if anybody."""

    uid: int
    user: str
    sudo_user: str = ""


def access(node: Transport) -> Access:
    """Return as whom commands run; raises FactError if the node does not say."""
    script = 'id -u; id -un; echo "${SUDO_USER:-}"'
    answer = node.look(["sh", "-c", script]).require().text
    uid, user, sudo_user, *_ = [*answer.split("\n"), "", ""]
    if not re.fullmatch("[0-9]+", uid):
        raise FactError(f"on {node.machine}: id -u said {answer!r}")
    return Access(int(uid), user, sudo_user)
