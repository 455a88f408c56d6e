"""What is installed is pinned, and nothing of it runs while it is installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_PAGES = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]
_SCRIPTS = [*_PAGES, *sorted((_ROOT / "scripts").iterdir())]


def test_workflow_actions_are_pinned_by_commit_and_may_only_read() -> None:
    text = (_ROOT / ".github/workflows/ci.yml").read_text()
    used = re.findall(r"uses: (\S+)", text)
    assert used
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", each) for each in used)
    assert "permissions:\n  contents: read\n" in text


@pytest.mark.parametrize(
    ("command", "option"),
    [("--require-hashes", "--only-binary :all:"), (r"\bnpm ci\b(?! failed)", "--ignore-scripts")],
)
def test_installing_commands_run_no_code_of_a_package(command: str, option: str) -> None:
    lines = [
        line
        for path in _SCRIPTS
        for line in path.read_text().splitlines()
        if re.search(command, line)
    ]
    assert lines
    assert [line for line in lines if option not in line] == []


def test_developers_have_what_users_have_in_the_same_versions() -> None:
    users, developers = (
        set(re.findall(r"^[\w.-]+==\S+", (_ROOT / name).read_text(), re.MULTILINE))
        for name in ("constraints.txt", "constraints-dev.txt")
    )
    assert users < developers
    assert not {name for name in users if name.startswith(("hypothesis", "mypy", "ruff"))}
