"""What a target has, and the questions that could not be answered.

What doctor names is data: ``problems.toml``, and ``follows.toml``.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import msgspec

from docker_lxc_gate.lint import finding

if TYPE_CHECKING:
    from docker_lxc_gate.lint.finding import Finding, Severity

#: By id, what lint looks for, too.
PROBLEMS = finding.PROBLEMS | finding.problems("docker_lxc_gate.doctor")
#: By id, the problems from which this one merely follows.
FOLLOWS = msgspec.toml.decode(
    files("docker_lxc_gate.doctor").joinpath("follows.toml").read_bytes(),
    type=dict[str, frozenset[str]],
)


def here(name: str, cause: str, *, fix: str = "", severity: Severity | None = None) -> Finding:
    """Return a finding of a problem, by its id, in a container; see :class:`Finding`."""
    return PROBLEMS[name].here(cause, fix=fix, severity=severity)


@dataclass(frozen=True)
class Unseen:
    """A question that has no answer.

    Attributes:
        what: what was to be found out.
        why: the reason why it was not.
        matters: whether the answer could have been a problem, and not only advice.
    """

    what: str
    why: str
    matters: bool = True


@dataclass(frozen=True)
class Diagnosis:
    """What a target has, the most likely cause first, and what could not be seen."""

    problems: tuple[Finding, ...]
    unseen: tuple[Unseen, ...]

    @property
    def exit_code(self) -> int:
        """1 if a problem is named, 3 if none is and one may be hidden, else 0."""
        if any(not each.is_advice for each in self.problems):
            return 1
        return 3 if any(each.matters for each in self.unseen) else 0
