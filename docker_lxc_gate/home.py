"""Where the checkout is that features are run from, and which commit it is of.

This module needs the standard library alone: the build imports it, too (``hatch_build.py``).
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent
_CARRIED = _PACKAGE / "checkout"
#: Has features/, steps/ and remediation/. An installed package carries it; a clone is one itself.
HOME = _CARRIED if _CARRIED.is_dir() else _PACKAGE.parent
#: Whether this is an installed package, which starts no lab that nobody named.
INSTALLED = HOME == _CARRIED
#: The file of a package, below :data:`HOME`, that names the commit.
COMMIT = "commit"


def require_packages(program: str, *names: str) -> None:
    """End the program with 3 if this Python lacks a package: 1, as by itself, is a verdict."""
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        sys.stderr.write(
            f"error: this Python has no {', '.join(missing)}. Run scripts/setup, then use "
            f".venv/bin/{program} instead of {program}\n"
        )
        raise SystemExit(3)


def version() -> str:
    """Return the version and the commit, as in ``0.2.0 (commit 1a2b3c…, with changes)``."""
    return f"{number()} (commit {commit() or 'unknown'})"


def number() -> str:
    """Return the version alone."""
    return str(_project()["version"])


def documentation() -> str:
    """Return the address of docs/, if the project names one."""
    return str(_project().get("urls", {}).get("Documentation", ""))


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
    return project


def commit() -> str:
    """Return the commit, and whether anything was changed since; empty if nothing knows."""
    if not (HOME / ".git").exists():  # git would find the repository of a folder above
        file = HOME / COMMIT
        return file.read_text() if file.exists() else ""
    try:
        changed = ", with changes" if _git("status", "--porcelain") else ""
        return _git("rev-parse", "HEAD") + changed
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*words: str) -> str:
    return subprocess.check_output(
        ["git", "-C", str(HOME), *words], stderr=subprocess.DEVNULL, text=True
    ).strip()
