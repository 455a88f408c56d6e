"""The requirements: every clause of the plan, by the id that scenarios carry as ``@req:ID``."""

from __future__ import annotations

from collections.abc import Mapping

from docker_lxc_gate.tables import table

#: Id to clause, in the plan's own order, which is also the order of every table.
CATALOGUE: Mapping[str, str] = table("docker_lxc_gate.verdict", "requirements", dict[str, str])


def in_order(ids: set[str]) -> tuple[str, ...]:
    """Return these ids in the catalogue's order; unknown ones are left out."""
    return tuple(known for known in CATALOGUE if known in ids)
