"""Plans as data: the shipped ones, and what is said of a file that is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.verdict.requirements import CATALOGUE
from remediation import plan_file
from tests.doubles.naming import naming

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
name = "mine"
version = 1
title = "t"
drivers = ["overlay2"]
profile = "generated"
clauses = ["VAL", "STEP-3.1"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    plan_file.find.cache_clear()
    return tmp_path / "plan.toml"


def test_plan_that_is_default_has_every_clause_and_all_that_plain_allows() -> None:
    default, plain = plan_file.find(), plan_file.find("plain")
    assert all(map(default.applies, CATALOGUE))
    assert default.asked == plain
    assert set(default.drivers) < set(plain.drivers)
    assert set(plain.features) < set(default.features)
    judged = [clause for clause in CATALOGUE if plain.applies(clause)]
    assert {"VAL-1", "STEP-3.1", "STEP-2.2", "PRE-5"} < {*judged}
    assert not {"PRE-1", "STEP-1.2", "STEP-2.1", "BACK-1"} & {*judged}


def test_plan_of_a_file_has_an_identity_by_what_it_says(file: Path) -> None:
    file.write_text(GOOD)
    mine = plan_file.find(str(file))
    assert mine.asked is mine
    assert (mine.applies("VAL-1"), mine.applies("STEP-3.2")) == (True, False)
    assert mine.identity.startswith("mine 1 ")
    plan_file.find.cache_clear()
    file.write_text(f"# a comment\n{GOOD}")
    assert plan_file.find(str(file)).identity == mine.identity
    plan_file.find.cache_clear()
    file.write_text(GOOD.replace("overlay2", "zfs"))
    assert plan_file.find(str(file)).identity != mine.identity


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ('["overlay2"]', '["vfs"]', ("line 5.drivers[0]", "'vfs'", "fuse-overlayfs")),
        ('["overlay2"]', '"overlay2"', ("line 5.drivers", 'drivers = ["TEXT"]')),
        ('["overlay2"]', "[]", ("line 5.drivers", "empty")),
        ("profile", "profil", ("line 6", "did you mean profile?")),
        ('"generated"', '"unconfined"', ("line 6.profile", "generated")),
        ('"VAL"', '"VAL-99"', ("line 7.clauses", "'VAL-99'")),
        ("version = 1", 'version = "1"', ("line 3.version", "version = NUMBER")),
        ("version = 1\n", "", ("version", "NUMBER")),
        ('"mine"', '"plain"', ("'plain'", "shipped")),
        ('"mine"', '"My plan"', ("line 2.name", "my-plan")),
        ('"t"', '"t"\nfeatures = ["nestin"]', ("line 5.features", "nestin")),
        ("drivers", "[drivers", ("TOML", "line 5")),
    ],
)
def test_plan_of_a_wrong_file_names_line_key_and_what_to_write(
    file: Path, before: str, after: str, named: tuple[str, ...]
) -> None:
    file.write_text(GOOD.replace(before, after))
    with naming(UsageError, "plan.toml", *named) as raised:
        plan_file.find(str(file))
    assert "\n" not in str(raised.value)


def test_plan_of_an_unknown_name_names_those_there_are() -> None:
    with naming(UsageError, "'plan'", "docker-in-lxc, plain"):
        plan_file.find("plan")
