"""Canaries: denials provoked on purpose, to prove that a quiet log was really watched."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.facts.audit import audit_sources

if TYPE_CHECKING:
    from docker_lxc_gate.facts.audit.audit_records import Denial
    from docker_lxc_gate.machines.transport import Transport

#: A canary's name. Until 0.2.0 one was of the container's user, and one under its profile.
_NAME = patterns.compile("canary[0-9a-f]{16}(root|user|profile)")


@dataclass(frozen=True)
class Canary:
    """A canary by its name, which only its own record has, and what its attempt said."""

    name: str
    allowed: bool
    output: str


def is_canary(denial: Denial) -> bool:
    """Whether a denial is as a canary of any window causes it.

    One under the container's profile can be a guest's imitation.
    """
    fields = denial.fields
    name = _NAME.fullmatch(fields.get("name", ""))
    attempted = fields.get("operation"), fields.get("info")
    return (
        name is not None
        and attempted == ("change_onexec", "label not found")
        and (name[1] == "profile" or denial.is_unconfined)
    )


def provoke(node: Transport) -> Canary:
    """Provoke a denial of root on the node; it changes nothing but the log."""
    name = f"canary{secrets.token_hex(8)}root"
    result = node.look(["perl", "-e", audit_sources.AUDIT, "canary", name])
    output = "; ".join((result.stderr + result.stdout).decode(errors="replace").splitlines())
    return Canary(name, result.text.startswith("allowed"), output)
