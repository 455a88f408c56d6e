"""The page that Allure renders, in Chromium: on desktop and phone, light and dark, and printed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doubles import browser
from tests.doubles.samples import sample
from tests.unit.verdict.conftest import INI, STEPS
from tests.unit.verdict.test_gate_report import ALLURE

pytestmark = pytest.mark.skipif(
    not (ALLURE and browser.PROGRAM), reason="npm's allure or Chromium is not installed"
)
LEAF = "[data-testid=tree-leaf]"
#: How many elements around the steps show a part alone.
_CUT = """[...document.querySelectorAll("body *")].filter(
    e => e.innerText?.includes("Test body") && getComputedStyle(e).overflowY != "visible" &&
        e.scrollHeight > e.clientHeight).length"""
_FEATURE = sample("toy/each_verdict.feature.txt")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run that has each verdict."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "features").mkdir()
    (folder / "pytest.ini").write_text(INI)
    (folder / "conftest.py").write_text(STEPS)
    (folder / "features/toy.feature").write_text(_FEATURE)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    argv = [sys.executable, "-m", "pytest", "-k", "not left"]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode == 1, done.stdout
    return folder / "reports/report/index.html"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_leads_from_red_to_its_cause_in_two_clicks(
    report: Path, tmp_path: Path, width: int, theme: str
) -> None:
    with browser.opened(report, tmp_path, width=width, theme=theme) as page:
        page.shown(LEAF)
        front = page.shown("body").split("\n")
        assert {"Not compliant", "Compliant", "Undetermined", "Not asked"} <= {*front}
        assert not {"Failed", "Passed", "Broken", "Skipped"} & {*front}
        assert front[front.index("Coverage") + 1] == "3 of 23 clauses asked"
        assert "VAL-2 Docker's storage driver is fuse-overlayfs" in front
        assert not any(line.startswith(("Quality Gates", "Global", "Flaky")) for line in front)
        assert page.value("document.documentElement.scrollWidth") <= width
        assert page.value("document.documentElement.dataset.theme") == theme
        page.click("[data-testid=tab-failed]")
        page.click(LEAF)
        assert page.shown("[data-testid=test-result-error-message]").startswith("the driver is")
        assert "machine" in page.shown("body")  # a fixture that ran a command
        page.ask("Emulation.setEmulatedMedia", media="print")
        assert page.value(_CUT) == 0
        assert page.errors == []
