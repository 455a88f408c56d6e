"""The layout holds: imports go one way, folders stay small, modules stay short, tests included."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from importlinter.cli import lint_imports

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]
_SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = _SETTINGS["tool"]["importlinter"]["root_packages"]
MODULES = sorted(
    [
        ROOT / "conftest.py",
        *(path for folder in (*PACKAGES, "tests") for path in (ROOT / folder).rglob("*.py")),
    ]
)

#: Modules a folder, and lines a module.
MOST_MODULES, MOST_LINES = 16, 400
#: Folders that hold more modules, and why.
FULL = {
    "lab/guest/pct": "the lab's stand-in for pct is one program; the node gets it as one folder",
}
#: The tests of one module of the product stand together, with the double that only they need.
_OF_ONE = "the tests of one module, and the double of it that they share"
#: Modules that are longer, and why.
LONG = {
    "tests/doubles/foreign.py": "one table: every function that reads foreign bytes, a row each",
    "tests/live/cases/denied_programs.py": "one program; the lab's node gets it as one file",
    "tests/unit/remediation/cli/test_command_line.py": "what all verbs have in common",
    "tests/unit/steps/test_steps_docker.py": "steps/docker.py and hello_world.py share doubles",
    "tests/unit/remediation/actions/test_laws_docker.py": "one machine with Docker, and its laws",
    **dict.fromkeys(
        (
            "tests/unit/facts/audit/test_audit_window.py",
            "tests/unit/facts/test_backups.py",
            "tests/unit/facts/test_machine_state.py",
            "tests/unit/remediation/actions/test_docker_package.py",
            "tests/unit/remediation/cli/test_printable.py",
            "tests/unit/remediation/engine/test_rollback.py",
            "tests/unit/remediation/test_provision.py",
            "tests/unit/steps/test_steps_apparmor.py",
            "tests/unit/steps/test_steps_configuration.py",
            "tests/unit/steps/test_steps_files.py",
            "tests/unit/targets/ssh/test_ssh.py",
        ),
        _OF_ONE,
    ),
}


def test_imports_go_the_way_that_pyproject_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    code = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert code == 0, capsys.readouterr().out


def test_imports_of_each_package_are_looked_at() -> None:
    files = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert set(PACKAGES) == files - {"tests"}


def test_folder_holds_few_modules() -> None:
    folders = {path.parent for path in MODULES}
    found = {
        str(folder.relative_to(ROOT)): len([*folder.glob("[!_]*.py"), *folder.glob("__main__.py")])
        for folder in folders
    }
    assert {name for name, modules in found.items() if modules > MOST_MODULES} == set(FULL)


def test_module_is_short() -> None:
    """One that is short again leaves the list."""
    lines = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in MODULES}
    assert {name for name, count in lines.items() if count > MOST_LINES} == set(LONG)
