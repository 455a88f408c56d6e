"""The lists of mutation testing are of this code, and of all of it that decides verdicts."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODULES = tomllib.loads((HERE / "modules.toml").read_text())
SURVIVORS = tomllib.loads((HERE / "survivors.toml").read_text()).get("survivor", [])


def test_every_step_is_mutated() -> None:
    steps = {f"steps/{path.name}" for path in (ROOT / "steps").glob("[a-z]*.py")}
    # None of these judges anything: witness hands a line over, hello is an image, and versions are
    # for the report's front page.
    assert steps - set(MODULES) == {"steps/witness.py", "steps/hello.py", "steps/versions.py"}


@pytest.mark.parametrize("module", MODULES)
def test_names_of_modules_and_tests_exist(module: str) -> None:
    text = (ROOT / module).read_text()
    for name in MODULES[module].get("leave_out", []):
        assert re.search(rf"^\s*(def {name}\b|{name}\b.* = )", text, re.MULTILINE), name
    tests = [word for word in MODULES[module]["tests"] if word.startswith("tests/")]
    assert tests
    assert all((ROOT / test.partition("::")[0]).is_file() for test in tests)


@pytest.mark.parametrize("survivor", SURVIVORS, ids=lambda each: each["within"])
def test_survivor_is_of_this_code_and_has_a_reason(survivor: dict[str, Any]) -> None:
    assert set(survivor) == {"module", "within", "was", "now", "why"}
    assert survivor["module"] in MODULES
    source = " ".join((ROOT / survivor["module"]).read_text().split())
    assert " ".join(survivor["was"].split()) in source
    assert len(survivor["why"]) > len("no test")
