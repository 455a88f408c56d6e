"""The kill matrix, and ``python -m proof.faults`` as a user runs it."""

import io
import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from rich.console import Console

import proof.faults.__main__ as command
from docker_lxc_gate.errors import FactError, UsageError
from proof.faults import matrix
from proof.faults.__main__ import main
from proof.faults.catalogue import FAULTS
from proof.faults.fault import COMPLIANT, RED, UNDETERMINED, Fault
from proof.faults.run import Mismatch, Result, ScenarioVerdict
from proof.faults.scenarios import scenarios

GOOD = Result(
    Fault("F01", "a cut entry", red={"installed": ("line",)}),
    {"installed": ScenarioVerdict(RED, 'line "3"'), "driver": ScenarioVerdict(COMPLIANT)},
    seconds=12.34,
)
WRONG = Result(
    Fault("F02", "no fuse", undetermined={"hello": ("?",)}),
    {"hello": ScenarioVerdict(UNDETERMINED, "?"), "driver": ScenarioVerdict(RED, "down")},
    (Mismatch("driver", "is not compliant, and should be compliant: down"),),
)
UNASKED = Result(Fault("F37", "runc", red={"hello": ("runc",)}), unasked="it needs a template")
RESULTS = (GOOD, WRONG, UNASKED)


def test_killed_is_only_a_scenario_with_the_expected_verdict_and_cause() -> None:
    killed = matrix.killed(RESULTS)
    assert (killed["installed"], killed["hello"]) == (["F01"], ["F02"])
    assert killed["driver"] == []  # red, but not expected
    other = replace(GOOD, problems=(Mismatch("installed", "does not say 'line 3', but: down"),))
    assert matrix.killed([other])["installed"] == []
    elsewhere = replace(GOOD, problems=(Mismatch("driver", "is undetermined"),))
    assert matrix.killed([elsewhere])["installed"] == ["F01"]


def test_as_json_holds_every_scenario_and_fault_by_its_title() -> None:
    document = json.loads(matrix.as_json(RESULTS))
    title = {name: scenario.title for name, scenario in scenarios().items()}
    assert document["ran"] == ["F01", "F02", "F37"]
    assert document["not_run"] == [f.id for f in FAULTS if f.id not in document["ran"]]
    assert list(document["killed"]) == list(title.values())
    assert title["driver"] in document["survived"]
    first, second, third = document["faults"]
    assert (first["id"], first["held"], first["seconds"]) == ("F01", True, 12.3)
    assert first["expected"] == {title["installed"]: RED}
    assert first["causes"] == {title["installed"]: 'line "3"'}
    assert list(first["cells"]) == list(title.values())
    assert (first["cells"][title["driver"]], first["cells"][title["hello"]]) == (
        COMPLIANT,
        "not asked",
    )
    assert second["problems"] == [str(WRONG.problems[0])]
    assert title["driver"] in second["problems"][0]
    assert third["unasked"] == UNASKED.unasked


def printed(*results: Result) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(matrix.as_table(results))
    return console.export_text()


def test_as_table_says_what_was_expected_and_what_came() -> None:
    text = printed(*RESULTS)
    for wanted in ("1 not compliant", "12.3 s", *map(str, WRONG.problems), UNASKED.unasked):
        assert wanted in text


def test_kill_matrix_has_neither_a_secret_nor_a_control(tmp_path: Path) -> None:
    result = replace(UNASKED, unasked="http://u:hunter2@p \x9b\u202e")
    matrix.write([result], tmp_path / "reports", "1/2")
    written = (tmp_path / "reports/kill-matrix-1-of-2.json").read_text()
    for text in (written, printed(result)):
        assert "u:***@p" in text
        assert not [word for word in ("hunter2", "\x9b", "\u202e") if word in text]


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
    done = CliRunner().invoke(main, ["--list", "F10", "F32-mode"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "F10" in done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert (lines[0], lines[1][-1]) == (["on", "a", "real"], "target")
    [yes] = [words for words in lines if "yes" in words]
    assert yes[0] == "F32-mode"


def test_faults_list_as_json_has_every_fault_and_titles() -> None:
    listed = json.loads(CliRunner().invoke(main, ["--list", "--json"]).output)
    assert [entry["id"] for entry in listed] == [fault.id for fault in FAULTS]
    for entry, fault in zip(listed, FAULTS, strict=True):
        titles = [scenarios()[name].title for name in fault.expect]
        assert entry["not_compliant"] + entry["undetermined"] == titles
        assert (entry["title"], entry["on_real_target"]) == (fault.title, fault.safe)


def test_faults_error_has_neither_a_secret_nor_a_control(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (UsageError, FactError):

        def fails(_: object, error: type[Exception] = error) -> None:
            raise error("http://u:hunter2@p \x1b[2J\nverdict: compliant")

        monkeypatch.setattr(command, "chosen", fails)
        done = CliRunner().invoke(main, ["F01"])
        assert "u:***@p \\x1b[2J" in done.stderr
        assert "\nverdict" not in done.stderr


class Lab:
    """A machine that is there, and nothing more."""

    def up(self) -> "Lab":
        return self


@pytest.fixture
def came(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Result]:
    """What comes of each fault, on a lab that is there and on a target; reports go to tmp_path."""
    outcomes: dict[str, Result] = {}
    chain = SimpleNamespace(run=lambda fault: outcomes[fault.id])
    monkeypatch.setattr(command.Lab, "open", lambda **_: Lab())
    monkeypatch.setattr(command.states, "prepare", lambda *_, **__: None)
    monkeypatch.setattr(command, "Chain", lambda *_, **__: nullcontext(chain))
    monkeypatch.setattr(command.real, "on_target", lambda *_, **__: [*outcomes.values()])
    monkeypatch.setattr(command, "_REPORTS", tmp_path)
    return outcomes


@pytest.mark.parametrize(
    ("results", "code"),
    [((GOOD,), 0), ((GOOD, WRONG), 1), ((GOOD, UNASKED), 3), ((UNASKED, WRONG), 1)],
)
def test_faults_on_the_lab_ends_with_the_worst(
    came: dict[str, Result], results: tuple[Result, ...], code: int
) -> None:
    came |= {result.fault.id: result for result in results}
    assert CliRunner().invoke(main, [*came]).exit_code == code


def test_faults_on_a_target_that_stopped_early_ends_with_3(came: dict[str, Result]) -> None:
    came["F01"] = GOOD
    done = CliRunner().invoke(main, ["--target", "root@pve1/950", "--allow-mutation"])
    assert done.exit_code == 3


def test_faults_whose_rollback_failed_says_so_and_stays_as_expected(
    came: dict[str, Result], tmp_path: Path
) -> None:
    came["F01"] = replace(GOOD, restored="the driver is down")
    done = CliRunner().invoke(main, ["F01", "--json"])
    assert done.exit_code == 0
    assert "F01: the lab's snapshot is restored: the driver is down" in done.stderr
    (fault,) = json.loads((tmp_path / "kill-matrix.json").read_text())["faults"]
    assert fault["restored"] == "the driver is down"
