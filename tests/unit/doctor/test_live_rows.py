"""The ten problems that are made on the lab are doctor's own, and their scripts parse."""

from __future__ import annotations

import subprocess

import pytest

from docker_lxc_gate.doctor.case import PROBLEMS
from docker_lxc_gate.doctor.examine import EXAMINATIONS
from docker_lxc_gate.lint.finding import Severity
from proof.faults.fault import PRELUDE
from tests.live.cases.doctor_rows import ROWS, Row

_KINDS = {kind: PROBLEMS[kind] for each in EXAMINATIONS for kind in each.kinds}


def name(row: Row) -> str:
    return f"{row.number}-{row.id}"


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_row_is_of_a_problem_that_doctor_knows(row: Row) -> None:
    assert row.id in _KINDS
    assert row.advice <= (_KINDS[row.id].severity is Severity.ADVICE)
    assert row.words
    assert {_KINDS[each].severity for each in row.beside} <= {Severity.ADVICE}
    assert row.id not in row.beside


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_script_of_a_row_parses(row: Row) -> None:
    script = PRELUDE + row.inject
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    argv = ["shellcheck", "-s", "bash", "-S", "warning", "-e", "SC2034", "-"]
    done = subprocess.run(argv, input=script, text=True, capture_output=True, check=False)
    assert done.stdout == ""
