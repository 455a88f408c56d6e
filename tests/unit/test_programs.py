"""The programs below ``programs/`` are valid perl and shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from targets.programs import program

_ROOT = Path(__file__).parents[2]
PERL = sorted(_ROOT.glob("*/programs/*.pl"))


def text(path: Path) -> str:
    return program(path.parts[-3], path.name)


@pytest.mark.parametrize("path", PERL, ids=lambda path: path.name)
def test_perl_program_compiles_without_a_warning(path: Path) -> None:
    argv = ["perl", "-MErrno", "-MIO::Handle", "-cw", "-e", text(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "-e syntax OK\n")


@pytest.mark.parametrize(("dialect", "pattern"), [("dash", "*.sh"), ("bash", "*.bash")])
def test_shell_programs_pass_shellcheck(dialect: str, pattern: str) -> None:
    argv = ["shellcheck", "-s", dialect, *map(str, _ROOT.glob(f"*/programs/{pattern}"))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_program_is_sent_after_the_one_that_it_names_and_without_their_headers() -> None:
    prelude, whole = program("targets", "guest_root.pl"), program("targets", "look.pl")
    assert prelude.startswith("\nuse strict;\n")
    assert whole.startswith(prelude)
    assert whole.removeprefix(prelude).startswith("\nmy $found = below(")
