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
from faults.__main__ import main
from faults.catalogue import FAULTS
from faults.run import COMPLIANT, RED, UNDETERMINED, Found, Problem, Result
from faults.scenarios import DRIVER, HELLO, INSTALLED, scenarios
from targets.errors import FactError, UsageError

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


def test_cell_of_a_scenario_that_was_not_asked_says_so() -> None:
    assert matrix.cell(GOOD, INSTALLED) == RED
    assert matrix.cell(GOOD, DRIVER) == COMPLIANT
    assert matrix.cell(GOOD, HELLO) == matrix.NOT_ASKED
    assert matrix.cell(UNASKED, HELLO) == matrix.NOT_ASKED


def test_killed_is_only_what_turned_into_what_it_must() -> None:
    killed = matrix.killed(RESULTS)
    assert killed[INSTALLED] == ["F01"]
    assert killed[HELLO] == ["F02"]
    assert killed[DRIVER] == []  # red, but nobody had meant it


def test_killed_is_nothing_that_is_red_for_another_cause() -> None:
    other = replace(GOOD, problems=(Problem(INSTALLED, "does not say 'line 3', but: down"),))
    assert matrix.killed([other])[INSTALLED] == []
    assert 'class="red wrong"' in matrix.as_html([other])
    elsewhere = replace(GOOD, problems=(Problem(DRIVER, "is undetermined"),))
    assert matrix.killed([elsewhere])[INSTALLED] == ["F01"]


def test_matrix_of_a_part_names_what_was_not_run() -> None:
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


def test_as_json_holds_every_scenario_and_fault() -> None:
    document = json.loads(matrix.as_json(RESULTS))
    assert [each["id"] for each in document["faults"]] == ["F01", "F02", "F37"]
    assert list(document["killed"]) == list(scenarios())
    assert DRIVER in document["survived"]
    first = document["faults"][0]
    assert first["held"] is True
    assert first["seconds"] == 12.3
    assert first["causes"] == {INSTALLED: 'line "3"'}
    assert first["cells"][HELLO] == "not asked"


def test_as_html_is_escaped_and_frames_what_is_wrong() -> None:
    page = matrix.as_html(RESULTS)
    assert "a &lt;cut&gt; entry" in page
    assert "<cut>" not in page
    assert page.count('class="red wrong"') == 1
    assert 'class="undetermined"' in page
    assert "F37: it needs a template" in page
    assert page.count("<tr>") == len(scenarios()) + 1


def test_as_table_says_what_was_expected_and_what_came() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(matrix.as_table(RESULTS))
    text = console.export_text()
    assert [each for each in ("1 not compliant", "12.3 s") if each not in text] == []
    assert [each for each in (*WRONG.problems, UNASKED.unasked) if str(each) not in text] == []


def test_write_leaves_json_and_page(tmp_path: Path) -> None:
    matrix.write(RESULTS, tmp_path / "reports")
    assert json.loads((tmp_path / "reports/kill-matrix.json").read_text())["faults"]
    assert (tmp_path / "reports/kill-matrix.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nosuch"], "'nosuch'"),
        (["--target", "root@pve1/950"], "--allow-mutation"),
        (["F10", "--target", "root@pve1/950", "--allow-mutation"], "F10:"),
        (["--target", "nonsense"], "'nonsense'"),
        (["--list", "--target", "nonsense"], "'nonsense'"),
    ],
)
def test_faults_with_a_wrong_question_ends_with_2(arguments: list[str], named: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, named in done.output) == (2, True), done.output


def test_faults_list_names_them_and_does_nothing() -> None:
    done = CliRunner().invoke(main, ["--list", "F01", "F32-mode"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "F01" in done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert (lines[0], lines[1][-1]) == (["on", "a", "real"], "target")
    [yes] = [words for words in lines if "yes" in words]
    assert yes[0] == "F32-mode"


def test_faults_list_as_json_has_every_fault() -> None:
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


def test_faults_error_has_neither_a_secret_nor_a_control(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (UsageError, FactError):

        def fails(_: object, error: type[Exception] = error) -> None:
            raise error("http://u:hunter2@p \x1b[2J\nverdict: compliant")

        monkeypatch.setattr(command, "chosen", fails)
        done = CliRunner().invoke(main, ["F01"])
        assert "u:***@p \\x1b[2J" in done.stderr
        assert "\nverdict" not in done.stderr


def test_kill_matrix_has_neither_a_secret_nor_a_control(tmp_path: Path) -> None:
    told = "http://u:hunter2@p \x9b\u202e"
    result = replace(UNASKED, unasked=told)
    matrix.write([result], tmp_path)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(matrix.as_table([result]))
    files = [path.read_text() for path in tmp_path.iterdir()]
    assert len(files) == 2
    for text in (*files, console.export_text()):
        assert "hunter2" not in text
        assert "u:***@p" in text
        assert "\x9b" not in text
        assert "\u202e" not in text


def test_faults_interrupted_ends_with_130_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "chosen", interrupted)
    done = CliRunner().invoke(main, ["F01"])
    assert (done.exit_code, done.stderr.count("\n")) == (130, 1)


class Lab:
    """A machine that is there, and nothing more."""

    def up(self) -> Lab:
        return self


@pytest.fixture
def came(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Result | FactError]:
    """What comes of each fault, on a lab that is there and on a target; reports go to tmp_path."""
    outcomes: dict[str, Result | FactError] = {}

    def on_lab(fault: Any, *_: Any, **__: Any) -> Result:
        outcome = outcomes[fault.id]
        if isinstance(outcome, FactError):
            raise outcome
        return outcome

    monkeypatch.setattr(command.Lab, "open", lambda **_: Lab())
    monkeypatch.setattr(command.states, "prepare", lambda *_, **__: None)
    monkeypatch.setattr(command.run, "on_lab", on_lab)
    monkeypatch.setattr(command.real, "on_target", lambda *_, **__: [*outcomes.values()])
    monkeypatch.setattr(command, "_REPORTS", tmp_path)
    return outcomes


@pytest.mark.parametrize(
    ("results", "code"),
    [((GOOD,), 0), ((GOOD, WRONG), 1), ((GOOD, UNASKED), 3), ((UNASKED, WRONG), 1)],
)
def test_faults_on_the_lab_ends_with_the_worst(
    came: dict[str, Result | FactError], results: tuple[Result, ...], code: int
) -> None:
    came |= {each.id: each for each in results}
    assert CliRunner().invoke(main, [*came]).exit_code == code


def test_faults_on_a_target_that_stopped_early_ends_with_3(
    came: dict[str, Result | FactError],
) -> None:
    came["F01"] = GOOD
    done = CliRunner().invoke(main, ["--target", "root@pve1/950", "--allow-mutation"])
    assert done.exit_code == 3


def test_faults_of_which_one_cannot_be_run_runs_the_others(
    came: dict[str, Result | FactError], tmp_path: Path
) -> None:
    came |= {"F01": FactError("the node is gone"), "F02": Result("F02", "no fuse", {}, {})}
    assert CliRunner().invoke(main, ["F01", "F02", "--json"]).exit_code == 3
    faults = json.loads((tmp_path / "kill-matrix.json").read_text())["faults"]
    assert [(each["id"], each["unasked"]) for each in faults] == [
        ("F01", "the node is gone"),
        ("F02", ""),
    ]
