"""The table of versions that do not go together: what its schema does not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from docker_lxc_gate.doctor import upgrade, upgrade_reads
from docker_lxc_gate.doctor.upgrade_conditions import CONDITIONS
from docker_lxc_gate.doctor.upgrade_pairs import KERNEL, KNOWN, NEEDED, PAIRS
from docker_lxc_gate.facts.apt import is_within

if TYPE_CHECKING:
    from docker_lxc_gate.doctor.upgrade_pairs import Pair


def test_row_says_what_fixes_it() -> None:
    assert all(pair.fixed or pair.otherwise for pair in PAIRS)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda each: each.id)
def test_fixed_version_of_a_row_is_not_a_broken_one(pair: Pair) -> None:
    broken = {(side.where, each) for side in pair.broken for each in side.versions}
    for side in pair.fixed:
        for fixed in side.versions:
            for where, each in broken:
                same = (where, each.package) == (side.where, fixed.package)
                assert not (same and is_within(fixed.since or "0", each.since, each.before))


def test_ranges_of_the_table_go_forward_and_are_of_packages_that_are_asked_for() -> None:
    for pair in PAIRS:
        for side in (*pair.broken, *pair.fixed):
            for each in side.versions:
                assert each.package in {*upgrade_reads.WATCHED, KERNEL}
                assert not each.before or is_within(each.since, "", each.before)


def test_conditions_are_those_that_rows_have() -> None:
    assert {pair.only for pair in PAIRS} - {""} == set(CONDITIONS)


def test_every_package_has_a_version_up_to_which_it_is_known() -> None:
    names = [each.package for each in KNOWN]
    assert len(names) == len(set(names))
    assert {each for _, packages in NEEDED for each in packages} <= set(names)
    ids = [*(each.id for each in PAIRS), *upgrade.KINDS]
    assert len(ids) == len(set(ids))
