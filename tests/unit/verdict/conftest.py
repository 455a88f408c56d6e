"""A toy project per test: a few steps, and whatever features the test writes."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.doubles.samples import ROOT, sample

_SCHEMA = jsonschema_rs.validator_for(json.loads((ROOT / "docs/verdict.schema.json").read_text()))
#: Hypothesis's plugin takes a second to start, and no toy needs it.
INI = f"""
[pytest]
testpaths = features
pythonpath = . {ROOT}
addopts = --strict-markers --strict-config -p no:cacheprovider -p no:hypothesispytest
xfail_strict = true
filterwarnings =
    error
    ignore:assertions not in test modules:pytest.PytestConfigWarning
"""
STEPS = sample("toy/conftest.txt")


class Toy:
    """The toy project, and what came of running it."""

    #: Whether pytest runs in a process of its own: where its real exit code matters, where a toy
    #: changes the gate's modules, or where pytest ends before it has a session. Its start takes a
    #: second.
    apart = False

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester, self.path = pytester, pytester.path

    def feature(self, *sentences: str, name: str = "toy", tags: str = "") -> None:
        """Write a feature of one scenario."""
        self.text("\n    ".join([f"Feature: Toy\n  {tags}\n  Scenario: {name}", *sentences]), name)

    def compliant(self, *names: str) -> None:
        """Write features of one scenario each that is compliant."""
        for name in names:
            self.feature("Then all is well", name=name)

    def text(self, text: str, name: str = "toy") -> None:
        (self.path / "features").mkdir(exist_ok=True)
        (self.path / "features" / f"{name}.feature").write_text(text)

    def conftest(self, more: str) -> None:
        with (self.path / "conftest.py").open("a") as file:
            file.write(more)

    def run(self, *args: str, report: bool = False) -> pytest.RunResult:
        """Run pytest on the features."""
        argv = [*args, *(() if report else ("--no-report",))]
        run = (
            self.pytester.runpytest_subprocess if self.apart else self.pytester.runpytest_inprocess
        )
        done = run(*argv)
        if done.ret != 2 and (self.path / "reports/verdict.json").exists():
            assert self.verdict()["code"] == done.ret
        return done

    def verdict(self, at: str = "reports") -> Any:
        """Return the record of the last run, which is valid."""
        return recorded(self.path / at)

    def results(self, kind: str = "result", at: str = "reports/allure-results") -> list[Any]:
        """Return what Allure was given, without the scenarios that were not asked."""
        found = [json.loads(path.read_text()) for path in (self.path / at).glob(f"*-{kind}.json")]
        return [each for each in found if each.get("status") != "skipped"]

    def attached(self, owner: dict[str, Any]) -> list[str]:
        results = self.path / "reports" / "allure-results"
        return [(results / each["source"]).read_text() for each in owner.get("attachments", [])]


def recorded(folder: Path) -> Any:
    """Return the record in a folder, which is valid."""
    whole = json.loads((folder / "verdict.json").read_text())
    _SCHEMA.validate(whole)
    return whole


@pytest.fixture
def toy(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Toy:
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_ADDOPTS", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    pytester.makefile(".ini", pytest=INI)
    pytester.makepyfile(conftest=STEPS)
    return Toy(pytester)


def step(result: dict[str, Any], words: str) -> dict[str, Any]:
    """Return the one step of a result that has these words."""
    [found] = [each for each in result["steps"] if words in each["name"]]
    return found
