"""Two records of runs are compared scenario by scenario, and what is unknown is no green."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from docker_lxc_gate.cli.group import main
from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.verdict import record
from docker_lxc_gate.verdict.comparison import Change, compared, decoded
from docker_lxc_gate.verdict.record import JudgedTarget, Outcome, Run, Verdict
from tests.doubles.naming import naming

GREEN, RED, UNKNOWN = Verdict.COMPLIANT, Verdict.NOT_COMPLIANT, Verdict.UNDETERMINED
NOT_ASKED, NO_RESULT = Verdict.NOT_ASKED, Verdict.NO_RESULT
CODES = {GREEN: 0, RED: 1, UNKNOWN: 3, NO_RESULT: 6}
NODE = JudgedTarget("root@pve1/950", plan="plain 1 (abc)", host_key="ssh-ed25519 A")
#: A rollback that was not exact.
NOT_EXACT = (UNKNOWN, 5)
EARLIER, LATER = (datetime(2026, 11, day, tzinfo=UTC) for day in (28, 29))

Verdicts = dict[str, "Verdict | tuple[Verdict, int]"]


def run(verdicts: Verdicts, began: datetime = EARLIER, **more: Any) -> Run:
    """Return a record of one target, with scenarios of these titles."""
    outcomes = {
        title: each if isinstance(each, tuple) else (each, CODES.get(each, 0))
        for title, each in verdicts.items()
    }
    codes = {code for _, code in outcomes.values()}
    about = {"version": "1", "commit": "abc", "clean": True, "targets": [NODE]}
    about |= {"code": next((code for code in record.PRECEDENCE if code in codes), 0)} | more
    return Run(
        format=record.FORMAT,
        command="pytest",
        user="u",
        machine="m",
        began=began,
        ended=began,
        scenarios=[
            Outcome(
                nodeid=f"f::{title}",
                title=title,
                target=NODE.name,
                verdict=verdict,
                code=code,
                cause=f"why {title}",
            )
            for title, (verdict, code) in outcomes.items()
        ],
        **about,
    )


def told(folder: Path, before: Run, after: Run, *options: str) -> tuple[int, str]:
    for name, each in (("before", before), ("after", after)):
        (folder / name).write_text(record.encoded(each))
    names = [str(folder / name) for name in ("before", "after")]
    done = CliRunner().invoke(main, ["compare", *names, *options])
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("before", "after", "change", "code"),
    [
        (GREEN, GREEN, Change.UNCHANGED, 0),
        (RED, RED, Change.UNCHANGED, 0),
        (RED, GREEN, Change.FIXED, 0),
        (GREEN, RED, Change.BROKEN, 1),
        (GREEN, NOT_EXACT, Change.BROKEN, 1),
        (NOT_EXACT, GREEN, Change.FIXED, 0),
        (UNKNOWN, GREEN, Change.INCOMPARABLE, 3),
        (GREEN, UNKNOWN, Change.INCOMPARABLE, 3),
        (UNKNOWN, UNKNOWN, Change.INCOMPARABLE, 3),
        (GREEN, NO_RESULT, Change.INCOMPARABLE, 3),
        (None, GREEN, Change.NEW, 0),
        (None, RED, Change.NEW, 1),
        (NOT_ASKED, RED, Change.NEW, 1),
        (None, UNKNOWN, Change.INCOMPARABLE, 3),
        (GREEN, None, Change.GONE, 0),
        (GREEN, NOT_ASKED, Change.GONE, 0),
    ],
)
def test_change_of_a_scenario(
    before: Any, after: Any, change: Change, code: int, tmp_path: Path
) -> None:
    same: Verdicts = {"b": GREEN}
    old, new = (run(same | ({"a": each} if each else {})) for each in (before, after))
    new.began = LATER
    [row] = [row for row in compared(old, new) if row.title == "a"]
    assert row.change is change
    assert told(tmp_path, old, new)[0] == code


def test_scenario_that_neither_run_asked_is_none_of_the_comparison() -> None:
    assert compared(run({"a": NOT_ASKED}), run({"a": NOT_ASKED}, LATER)) == []


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"version": "2"}, "another version"),
        ({"commit": "abd"}, "another version"),
        ({"clean": False}, "not known whether the same gate"),
        ({"clean": None}, "not known whether the same gate"),
        ({"targets": [JudgedTarget(NODE.name, plan="plain 1 (abd)")]}, "another plan"),
        ({"targets": []}, "another plan"),
        ({"targets": [msgspec.structs.replace(NODE, host_key="ssh-ed25519 B")]}, "another node"),
    ],
)
def test_verdicts_of_another_gate_or_node_are_incomparable(more: dict[str, Any], why: str) -> None:
    for after in ({"a": GREEN}, {"b": RED}):
        rows = compared(run({"a": GREEN}), run(after, LATER, **more))
        assert {row.change for row in rows} == {Change.INCOMPARABLE}
        assert why in rows[0].why


@pytest.mark.parametrize(
    ("after", "more", "said"),
    [
        ({}, {"code": 3}, "after: the run is "),
        ({"a": GREEN}, {"code": 6, "problems": ["1 file could not be read"]}, "after: 1 file"),
        ({"a": GREEN, "b": GREEN}, {"code": 130}, "after: the run is "),
        ({"a": GREEN, "b": GREEN}, {"code": 1, "problems": ["a test failed"]}, "after: a test"),
        ({"c": GREEN}, {}, "no scenario has a verdict of both runs"),
        ({}, {}, "root@pve1/950 was not judged again"),
    ],
)
def test_what_a_run_does_not_know_is_not_green(
    after: Verdicts, more: dict[str, Any], said: str, tmp_path: Path
) -> None:
    code, text = told(tmp_path, run({"a": GREEN, "b": GREEN}), run(after, LATER, **more))
    assert code == 3
    assert any(line.startswith(said) for line in text.splitlines()), text


@pytest.mark.parametrize("began", [EARLIER, datetime(2026, 11, 27, tzinfo=UTC)])
def test_record_twice_or_in_the_wrong_order_is_wrong_usage(began: datetime, tmp_path: Path) -> None:
    code, said = told(tmp_path, run({"a": GREEN}), run({"a": GREEN}, began))
    assert code == 2
    assert "did not begin after" in said


def test_command_says_first_what_fails_and_how_much_is_unchanged(tmp_path: Path) -> None:
    before = run({"a": RED, "b": GREEN, "c": GREEN, "d": UNKNOWN, "f": RED})
    after = run({"a": GREEN, "b": RED, "c": GREEN, "d": GREEN, "e": RED, "f": RED}, LATER)
    code, said = told(tmp_path, before, after)
    assert (code, said.splitlines()) == (
        1,
        [
            "broken: root@pve1/950 b: compliant -> not compliant",
            "    why: why b",
            "new: root@pve1/950 e: not asked -> not compliant",
            "    why: why e",
            "incomparable: root@pve1/950 d: undetermined -> compliant",
            "    why: why d",
            "fixed: root@pve1/950 a: not compliant -> compliant",
            "1 broken, 1 incomparable, 1 new, 1 fixed, 2 unchanged (1 not compliant)",
        ],
    )
    code, said = told(tmp_path, before, after, "--json")
    whole = json.loads(said)
    assert whole["counts"]["unchanged"] == 2
    assert [each["title"] for each in whole["scenarios"]] == [*"bedacf"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "it cannot be read: No such file"),
        (b"", "it is no record"),
        (b"{}", "it is no record"),
        (b"\xff", "it is no record"),
        (b'{"format": 1, "user": "\xff"}', "it is no record"),
        (b'{"x":' + b"[" * 200_000, "it is no record"),
        (record.encoded(run({})).replace('"format": 1', '"format": 2').encode(), "it is no record"),
        (record.encoded(run({})).replace('"format": 1', '"form": 1').encode(), "it is no record"),
    ],
)
def test_file_without_a_record_is_refused(tmp_path: Path, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    done = CliRunner().invoke(main, ["compare", str(tmp_path / "a"), str(tmp_path / "a")])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert f"{tmp_path / 'a'}: {why}" in done.output


def test_comparison_of_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(UsageError):
        compared(run({"a": GREEN}, datetime(2026, 11, 28)), run({"a": GREEN}, LATER))  # noqa: DTZ001


def test_decoded_record_of_many_small_objects_is_refused_before_it_takes_memory() -> None:
    """A bundle of a few kilobytes may unpack to one; what a guest wrote is never too much."""
    whole = msgspec.json.encode(run({"a": GREEN}))
    for key, one, number in (("waivers", b'{"a":""}', 1_300_000), ("problems", b'""', 2_600_000)):
        empty = f'"{key}":['.encode()
        with naming(UsageError, "more than 2500000 names and texts"):
            decoded(whole.replace(empty, empty + (one + b",") * number + one), "it")
    assert decoded(whole.replace(b"why a", b'\\"' * 5_000_001), "it")
