"""The kill matrix: what was not asked is not green, and what nothing kills is said."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from rich.console import Console

import faults.__main__ as command
from faults import matrix
from faults.__main__ import _code, main
from faults.catalogue import FAULTS
from faults.run import COMPLIANT, RED, UNDETERMINED, Found, Problem, Result
from faults.scenarios import DRIVER, HELLO, INSTALLED, scenarios
from targets.errors import FactError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = Result(
    "F01",
    "a <cut> entry",
    {INSTALLED: RED},
    {INSTALLED: Found(RED, 'line "3"'), DRIVER: Found(COMPLIANT)},
    seconds=12.34,
)
WRONG = Result(
    "F02",
    "no fuse",
    {HELLO: UNDETERMINED},
    {HELLO: Found(UNDETERMINED, "?"), DRIVER: Found(RED, "down")},
    (Problem(DRIVER, "is not compliant, and should be compliant: down"),),
)
UNASKED = Result("F37", "runc", {HELLO: RED}, unasked="it needs a template")
RESULTS = (GOOD, WRONG, UNASKED)


def test_a_cell_says_when_nothing_was_asked() -> None:
    assert matrix.cell(GOOD, INSTALLED) == RED
    assert matrix.cell(GOOD, DRIVER) == COMPLIANT
    assert matrix.cell(GOOD, HELLO) == matrix.NOT_ASKED
    assert matrix.cell(UNASKED, HELLO) == matrix.NOT_ASKED


def test_killed_is_only_what_turned_into_what_it_must() -> None:
    killed = matrix.killed(RESULTS)
    assert killed[INSTALLED] == ["F01"]
    assert killed[HELLO] == ["F02"]
    assert killed[DRIVER] == []  # red, but nobody had meant it


def test_what_is_red_for_another_cause_is_not_killed() -> None:
    other = replace(GOOD, problems=(Problem(INSTALLED, "does not say 'line 3', but: down"),))
    assert matrix.killed([other])[INSTALLED] == []
    assert 'class="red wrong"' in matrix.as_html([other])
    elsewhere = replace(GOOD, problems=(Problem(DRIVER, "is undetermined"),))
    assert matrix.killed([elsewhere])[INSTALLED] == ["F01"]


def test_how_much_of_the_catalogue_it_is_stands_in_it() -> None:
    document = json.loads(matrix.as_json(RESULTS))
    assert document["ran"] == ["F01", "F02", "F37"]
    left = [fault.id for fault in FAULTS if fault.id not in document["ran"]]
    assert document["not_run"] == left
    assert f"3 faults in 0 min, {document['made'][:10]}" in matrix.as_html(RESULTS)
    assert f"; {len(left)} of the catalogue were not run" in matrix.as_html(RESULTS)
    whole = [Result(fault.id, "", {}, seconds=60.0) for fault in FAULTS]
    assert f"{len(FAULTS)} faults in {len(FAULTS)} min" in matrix.as_html(whole)
    assert ", the whole catalogue." in matrix.as_html(whole)
    assert "the catalogue" not in matrix.as_html([GOOD])


def test_json_holds_every_scenario_and_fault() -> None:
    document = json.loads(matrix.as_json(RESULTS))
    assert [each["id"] for each in document["faults"]] == ["F01", "F02", "F37"]
    assert list(document["killed"]) == list(scenarios())
    assert DRIVER in document["survived"]
    first = document["faults"][0]
    assert first["held"] is True
    assert first["seconds"] == 12.3
    assert first["causes"] == {INSTALLED: 'line "3"'}
    assert first["cells"][HELLO] == "not asked"


def test_the_page_is_escaped_and_frames_what_is_wrong() -> None:
    page = matrix.as_html(RESULTS)
    assert "a &lt;cut&gt; entry" in page
    assert "<cut>" not in page
    assert page.count('class="red wrong"') == 1
    assert 'class="undetermined"' in page
    assert "F37: it needs a template" in page
    assert page.count("<tr>") == len(scenarios()) + 1


def test_the_table_says_what_was_expected_and_what_came() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(matrix.as_table(RESULTS))
    text = console.export_text()
    assert "1 not compliant" in text
    assert "should be compliant: down" in text
    assert "it needs a template" in text
    assert "12.3 s" in text


def test_it_is_left_behind(tmp_path: Path) -> None:
    matrix.write(RESULTS, tmp_path / "reports")
    assert json.loads((tmp_path / "reports/kill-matrix.json").read_text())["faults"]
    assert (tmp_path / "reports/kill-matrix.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("results", "wanted", "code"),
    [((GOOD,), 1, 0), ((GOOD, WRONG), 2, 1), ((GOOD, UNASKED), 2, 3), ((GOOD,), 2, 3)],
)
def test_exit_codes(results: tuple[Result, ...], wanted: int, code: int) -> None:
    assert _code(results, wanted) == code


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nosuch"], "no fault is called 'nosuch'"),
        (["--target", "root@pve1/950"], "--allow-mutation"),
        (["F10", "--target", "root@pve1/950", "--allow-mutation"], "not on a real target"),
        (["--target", "nonsense"], "expected lab/CTID"),
        (["--list", "--target", "nonsense"], "expected lab/CTID"),
    ],
)
def test_a_wrong_question_ends_with_two(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_the_list_names_them_and_does_nothing() -> None:
    done = CliRunner().invoke(main, ["--list", "F01", "F32-mode"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "F01" in done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert (lines[0], lines[1][-1]) == (["on", "a", "real"], "target")
    [yes] = [words for words in lines if "yes" in words]
    assert yes[0] == "F32-mode"


def test_the_list_is_for_programs_too() -> None:
    done = CliRunner().invoke(main, ["--list", "--json"])
    listed = {each.pop("id"): each for each in json.loads(done.output)}
    assert list(listed) == [fault.id for fault in FAULTS]
    for fault in FAULTS:
        assert listed[fault.id] == {
            "title": fault.title,
            "not_compliant": list(fault.red),
            "undetermined": list(fault.undetermined),
            "on_real_target": fault.safe,
        }


def test_ctrl_c_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "chosen", interrupted)
    done = CliRunner().invoke(main, ["F01"])
    assert (done.exit_code, done.stderr) == (130, "error: interrupted\n")


class Lab:
    """A machine that is there, and nothing more."""

    def up(self) -> Lab:
        return self


def test_a_fault_that_cannot_be_run_leaves_the_others_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prepared: list[Any] = []

    def on_lab(fault: Any, *_: Any, **__: Any) -> Result:
        if fault.id == "F01":
            raise FactError("the node is gone")
        return Result(fault.id, fault.title, {}, {})

    monkeypatch.setattr(command.Lab, "open", lambda **_: Lab())
    monkeypatch.setattr(command.states, "prepare", lambda _lab, **given: prepared.append(given))
    monkeypatch.setattr(command.run, "on_lab", on_lab)
    monkeypatch.setattr(command, "_REPORTS", tmp_path)
    done = CliRunner().invoke(main, ["F01", "F02", "--json"])
    assert done.exit_code == 3
    assert [each.id for (given,) in [prepared] for each in given["faults"]] == ["F01", "F02"]
    faults = json.loads((tmp_path / "kill-matrix.json").read_text())["faults"]
    assert [(each["id"], each["unasked"]) for each in faults] == [
        ("F01", "the node is gone"),
        ("F02", ""),
    ]
