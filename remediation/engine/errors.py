"""The errors of a plan and its rollback.

::

    RemediationError
    ├── NotClean        an earlier run or a newer plan must be rolled back first
    ├── VerifyFailed    a state is not what it must be
    ├── ChangedSince    somebody changed what a rollback would overwrite
    └── RollbackFailed  every step of a rollback that failed
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from docker_lxc_gate.errors import RemediationError
from remediation.engine.action import Drift

#: The way out where a run did not end.
ROLLBACK = "docker-lxc-gate rollback, with the same --target"
#: The way out for a change that can never be rolled back: until then, nothing is applied on the
#: node.
ACCEPT = "docker-lxc-gate journal accept"


class NotClean(RemediationError):
    """An earlier run was cut off, or a newer plan shares the node; roll that back first."""


class VerifyFailed(RemediationError):
    """An action was applied or rolled back, and its state is not what it must be."""

    exit_code = 1


class ChangedSince(RemediationError):
    """Somebody changed what a rollback would overwrite; nothing was rolled back.

    ``changes`` holds, by the action's name, the difference from the state after the plan.
    """

    exit_code = 5

    def __init__(self, changes: Mapping[str, Drift]) -> None:
        self.changes = dict(changes)
        lines = [f"  {name}: {drift.summary}" for name, drift in self.changes.items()]
        super().__init__(
            "changed by somebody since the plan was applied, and nothing was rolled back:\n"
            + "\n".join(lines)
            + "\nrollback --force puts back what was before the plan, and keeps a copy of this; "
            f"to keep a change, accept it by its name above: {ACCEPT}"
        )


class RollbackFailed(RemediationError):
    """Not everything could be rolled back; ``failures`` names each step that failed.

    Those named in ``restored`` failed after the former state was restored.
    """

    exit_code = 5

    def __init__(
        self, failures: Sequence[tuple[str, Exception]], restored: Collection[str] = ()
    ) -> None:
        self.failures = tuple(failures)
        left = [f"  {name}: {error}" for name, error in self.failures if name not in restored]
        after = [f"  {name}: {error}" for name, error in self.failures if name in restored]
        lines = ["these changes are still in place:", *left] if left else []
        lines += ["this is rolled back, but something failed afterwards:", *after] if after else []
        keep = f" To leave a change in place for good: {ACCEPT}" if left else ""
        super().__init__("\n".join([*lines, f"Run rollback again.{keep}"]))
