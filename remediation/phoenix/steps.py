"""The plan's steps in phoenix's checkout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remediation import desired, phoenix
from remediation.actions.file_edit import FileEdit
from remediation.engine.action import Step
from remediation.phoenix.description import described
from remediation.phoenix.scripts import install_script, setup_script

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker_lxc_gate.machines.transport import Transport


def steps(
    node: Transport, repository: str, ctid: int, named: Callable[[str, int], tuple[str, str, str]]
) -> list[Step]:
    """Return steps 1.1, 2.1, 3.1 and 3.2: the files of the checkout in a node's directory.

    ``named`` returns an action's id, title and clause, by its id.
    """

    def edit(action: str, path: str, how: Callable[[bytes | None], bytes]) -> Step:
        return Step(FileEdit(*named(action, ctid), f"{repository}/{path}", how), node)

    return [
        edit("setup-script", phoenix.SETUP_SCRIPT, setup_script),
        edit("repository-profile", phoenix.PROFILE, desired.profile),
        edit("install-script", phoenix.INSTALL_SCRIPT, install_script),
        edit("container-description", phoenix.CONTAINERS, lambda text: described(text, ctid)),
    ]
