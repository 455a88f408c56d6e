"""The programs below ``programs/`` are valid perl and shell."""

import subprocess
from pathlib import Path

import pytest

from docker_lxc_gate.machines.programs import program
from tests.doubles.samples import ROOT

_FOLDERS = ("docker_lxc_gate", "remediation", "steps", "proof")


def programs(pattern: str) -> list[Path]:
    found = sorted(p for f in _FOLDERS for p in (ROOT / f).rglob(f"programs/{pattern}"))
    assert found
    return found


#: Those that machines/runtime/guest_root.py runs after its own.
_BELOW_A_ROOT = {"attempts.pl", "dockerd.pl", "look.pl"}


def text(path: Path) -> str:
    begins = ("docker_lxc_gate.machines", "guest_root.pl")
    beginning = program(*begins) if path.name in _BELOW_A_ROOT else ""
    return beginning + program(".".join(path.relative_to(ROOT).parts[:-2]), path.name)


@pytest.mark.parametrize("path", programs("*.pl"), ids=lambda path: path.name)
def test_perl_program_compiles_without_a_warning(path: Path) -> None:
    argv = ["perl", "-MErrno", "-MIO::Handle", "-cw", "-e", text(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "-e syntax OK\n")


@pytest.mark.parametrize(("dialect", "pattern"), [("dash", "*.sh"), ("bash", "*.bash")])
def test_shell_programs_pass_shellcheck(dialect: str, pattern: str) -> None:
    argv = ["shellcheck", "-s", dialect, *map(str, programs(pattern))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
