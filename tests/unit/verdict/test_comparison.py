"""Two records of runs are compared scenario by scenario, and what is unknown is no green."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from docker_lxc_gate.verdict import record
from docker_lxc_gate.verdict.comparison import Change, compared, failed
from docker_lxc_gate.verdict.record import Outcome, Run, Target, Verdict
from remediation.cli.group import main

if TYPE_CHECKING:
    from pathlib import Path

GREEN, RED, UNKNOWN = Verdict.COMPLIANT, Verdict.NOT_COMPLIANT, Verdict.UNDETERMINED
CODES = {GREEN: 0, RED: 1, UNKNOWN: 3, Verdict.NO_RESULT: 6}


def run(verdicts: dict[str, Verdict], **more: Any) -> Run:
    """Return a record of one target, with scenarios of these titles."""
    now, target = datetime(2026, 11, 29, tzinfo=UTC), Target("root@pve1/950", plan="plain 1 (abc)")
    about = {"version": "1", "commit": "abc", "clean": True, "targets": [target]} | more
    return Run(
        command="pytest",
        user="u",
        machine="m",
        began=now,
        ended=now,
        scenarios=[
            Outcome(
                nodeid=f"f::{title}",
                title=title,
                target=target.name,
                verdict=verdict,
                code=CODES.get(verdict, 0),
                cause=f"why {title}",
            )
            for title, verdict in verdicts.items()
        ],
        **about,
    )


@pytest.mark.parametrize(
    ("before", "after", "change", "code"),
    [
        (GREEN, GREEN, Change.UNCHANGED, 0),
        (RED, RED, Change.UNCHANGED, 0),
        (RED, GREEN, Change.FIXED, 0),
        (GREEN, RED, Change.BROKEN, 1),
        (UNKNOWN, GREEN, Change.INCOMPARABLE, 3),
        (GREEN, UNKNOWN, Change.INCOMPARABLE, 3),
        (UNKNOWN, UNKNOWN, Change.INCOMPARABLE, 3),
        (GREEN, Verdict.NO_RESULT, Change.INCOMPARABLE, 3),
        (None, GREEN, Change.NEW, 0),
        (None, RED, Change.NEW, 1),
        (Verdict.NOT_ASKED, RED, Change.NEW, 1),
        (None, UNKNOWN, Change.INCOMPARABLE, 3),
        (GREEN, None, Change.GONE, 0),
        (GREEN, Verdict.NOT_ASKED, Change.GONE, 0),
    ],
)
def test_change_of_a_scenario(
    before: Verdict | None, after: Verdict | None, change: Change, code: int
) -> None:
    [row] = compared(*(run({"a": each} if each else {}) for each in (before, after)))
    assert (row.change, failed([row])) == (change, code)
    unchanged = compared(run({"b": GREEN}), run({"b": GREEN}))
    assert failed([*unchanged, row]) == code


@pytest.mark.parametrize(
    "more",
    [
        {"version": "2"},
        {"commit": "abd"},
        {"clean": False},
        {"targets": [Target("root@pve1/950", plan="plain 1 (abd)")]},
        {"targets": []},
    ],
)
def test_verdicts_of_another_gate_or_plan_are_incomparable(more: dict[str, Any]) -> None:
    [row] = compared(run({"a": GREEN}), run({"a": GREEN}, **more))
    assert row.change is Change.INCOMPARABLE
    assert "judged" in row.why


def test_nothing_to_compare_is_not_green() -> None:
    assert failed(compared(run({}), run({}))) == 3


def told(folder: Path, before: Run, after: Run, *options: str) -> tuple[int, str]:
    for name, each in (("before", before), ("after", after)):
        (folder / name).write_text(record.encoded(each))
    names = [str(folder / name) for name in ("before", "after")]
    done = CliRunner().invoke(main, ["compare", *names, *options])
    return done.exit_code, done.output


def test_command_says_the_worst_first_and_what_is_unchanged_by_number(tmp_path: Path) -> None:
    before = run({"a": RED, "b": GREEN, "c": GREEN, "d": UNKNOWN})
    after = run({"a": GREEN, "b": RED, "c": GREEN, "d": GREEN})
    code, said = told(tmp_path, before, after)
    assert (code, said.splitlines()) == (
        1,
        [
            "broken: root@pve1/950 b: compliant -> not compliant",
            "    why: why b",
            "incomparable: root@pve1/950 d: undetermined -> compliant",
            "    why: why d",
            "fixed: root@pve1/950 a: not compliant -> compliant",
            "1 broken, 1 incomparable, 1 fixed, 1 unchanged",
        ],
    )
    code, said = told(tmp_path, before, after, "--json")
    whole = json.loads(said)
    assert whole["counts"] == {"broken": 1, "incomparable": 1, "fixed": 1, "unchanged": 1}
    assert [each["title"] for each in whole["scenarios"]] == ["b", "d", "a", "c"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "it is no file"),
        (b"", "it is no record"),
        (b"{}", "it is no record"),
        (b"\xff", "it is no record"),
        (record.encoded(run({})).replace('"format": 1', '"format": 2').encode(), "it is no record"),
    ],
)
def test_file_that_is_no_record_is_wrong_usage(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    done = CliRunner().invoke(main, ["compare", str(tmp_path / "a"), str(tmp_path / "a")])
    assert done.exit_code == 2
    assert f"{tmp_path / 'a'}: {why}" in done.output
