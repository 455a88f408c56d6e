"""The command that mutates a million records works: here it mutates two thousand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from docker_lxc_gate.facts.denial.denial_groups import Tally
from tests import mutate_denials

if TYPE_CHECKING:
    from collections.abc import Iterable


def test_mutations_are_read_as_a_log_and_none_raises(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutate_denials.main(2000) == 2000
    assert "2000 mutations: none raised, no record was lost" in capsys.readouterr().out


def test_mutations_of_one_seed_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    logs: list[bytes] = []
    monkeypatch.setattr(mutate_denials, "read_to_its_end", logs.append)
    for seed in (7, 7, 8):
        mutate_denials.main(1000, seed)
    assert logs[0] == logs[1] != logs[2]
    assert all(log.count(b"\n") == 999 for log in logs)


def test_record_that_is_lost_ends_the_mutations(monkeypatch: pytest.MonkeyPatch) -> None:
    count = Tally.count

    def losing(tally: Tally, lines: Iterable[bytes]) -> None:
        count(tally, list(lines)[:-20])

    monkeypatch.setattr(Tally, "count", losing)
    with pytest.raises(AssertionError):
        mutate_denials.main(1000, 7)
