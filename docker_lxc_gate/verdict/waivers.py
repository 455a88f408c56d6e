"""Waivers: a site accepts, for a reason and until a day, that a scenario is not compliant.

The scenario still runs, and its own verdict stands in every report next to *waived*.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date  # noqa: TC003 - msgspec reads it
from enum import StrEnum
from pathlib import Path

import msgspec
import pytest

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.machines import target_file
from docker_lxc_gate.verdict.requirements import CATALOGUE


class Use(StrEnum):
    """What became of a waiver in a run."""

    MATCHED = "matched"
    UNUSED = "unused"
    EXPIRED = "expired"
    UNNEEDED = "no longer needed"

    @property
    def is_wrong(self) -> bool:
        """Whether somebody must look at it."""
        return self in {Use.EXPIRED, Use.UNNEEDED}


class Waiver(msgspec.Struct, frozen=True, kw_only=True):
    """A clause of the plan or a scenario, on the targets of a pattern, that may be not compliant.

    ``scenario`` is its ``id`` in the record; ``target`` the name of a target as a command line has
    it, in which ``*`` stands for any characters. It holds to the end of ``expires``, in UTC.
    """

    requirement: str = ""
    scenario: str = ""
    target: str = "*"
    reason: str
    owner: str
    expires: date

    def __post_init__(self) -> None:
        """Check the values beyond their types; raises ValueError with the key and a proposal."""
        if bool(self.requirement) == bool(self.scenario):
            raise ValueError('requirement: write either requirement = "PRE-1" or scenario = "ID"')
        if self.requirement and self.requirement not in CATALOGUE:
            raise ValueError(f"requirement: {self.requirement!r} is none; docs/plan.md has them")
        if _is_of_rollback(self.requirement):
            raise ValueError(f"requirement: {self.requirement}: a rollback must be exact")
        for key in ("reason", "owner"):
            if not getattr(self, key).strip():
                raise ValueError(f"{key}: is empty; write why, and who answers for it")

    def applies(self, target: str, scenario: str, requirements: Sequence[str]) -> bool:
        """Whether it is about a scenario on a target."""
        if any(map(_is_of_rollback, requirements)):
            return False
        named = self.scenario == scenario if self.scenario else self.requirement in requirements
        pattern = ".*".join(map(patterns.escape, self.target.split("*")))
        return named and patterns.fullmatch(pattern, target) is not None

    def holds_on(self, day: date) -> bool:
        """Whether it is not over yet."""
        return day <= self.expires

    @property
    def terms(self) -> str:
        """Until when, by whom and why."""
        return f"until {self.expires} by {self.owner}: {self.reason}"


def _is_of_rollback(requirement: str) -> bool:
    return requirement.startswith("BACK-")


class Used(msgspec.Struct, frozen=True):
    """A waiver, and what became of it in a run."""

    waiver: Waiver
    use: Use

    def __str__(self) -> str:
        name = self.waiver.requirement or self.waiver.scenario
        return f"waiver of {name} on {self.waiver.target}: {self.use}, {self.waiver.terms}"


GIVEN = pytest.StashKey[tuple[Waiver, ...]]()


def pytest_configure(config: pytest.Config) -> None:
    """Read the waivers; a wrong file is a usage error before anything runs."""
    files = config.getoption("--waivers")
    if len(files) > 1:
        raise pytest.UsageError(f"--waivers is given {len(files)} times, and takes one value")
    for file in files:
        try:
            config.stash[GIVEN] = target_file.several(Path(file), "waiver", Waiver)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error
