"""The requirements: every clause of the plan, by the id that scenarios carry as ``@req:ID``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from docker_lxc_gate.tables import table

#: Id to clause, in the plan's own order, which is also the order of every table.
CATALOGUE: Mapping[str, str] = table("docker_lxc_gate.verdict", "requirements", dict[str, str])


def severity(ids: Sequence[str]) -> str:
    """Return what Allure calls severity, of the heaviest of these clauses.

    Without VAL and STEP-3 no Docker works. The profile, and an exact rollback, are what the plan
    promises beyond that. PRE, and the tunable that no profile reads, break nothing by themselves.
    """
    if any(clause.startswith(("VAL", "STEP-3")) for clause in ids):
        return "blocker"
    confined = any(clause.startswith(("STEP-1.4", "STEP-2", "BACK")) for clause in ids)
    return "critical" if confined else "normal"


def in_order(ids: set[str]) -> tuple[str, ...]:
    """Return these ids in the catalogue's order; unknown ones are left out."""
    return tuple(known for known in CATALOGUE if known in ids)
