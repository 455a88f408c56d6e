"""What has no order is never compared in one, and no answer is cut to a width."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import shuffled

_ROOT = Path(__file__).parents[2]
_CODE = sorted(
    path
    for folder in (
        "targets",
        "facts",
        "remediation",
        "commandline",
        "steps",
        "gate",
        "faults",
        "lab",
        "bench",
        "tests/live",
    )
    for path in (_ROOT / folder).rglob("*.py")
)
#: What compares what machines list, and takes seconds.
_TESTS = (
    "tests/unit/steps",
    "tests/pct/test_config.py",
    "tests/unit/facts/test_apparmor.py",
    "tests/unit/facts/test_backups.py",
    "tests/unit/facts/test_neighbours.py",
    "tests/unit/facts/test_repository.py",
    "tests/unit/targets/runtime/test_runtime.py",
    "tests/unit/facts/test_machine_state.py",
)
#: What is listed there by at least one test.
_SEEN = {"witness", "find", "files' lines", "containers", "images", "units", "profiles", "mounts"}


@pytest.mark.parametrize("seed", ["1", "two"])
def test_comparisons_with_all_listings_shuffled_hold(seed: str) -> None:
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "tests.shuffled"]
    done = subprocess.run(
        [*argv, *_TESTS],
        cwd=_ROOT,
        env={**os.environ, "SHUFFLE": seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    changed = re.search(r"^shuffled: (\{.*\})$", done.stdout, re.MULTILINE)
    assert changed is not None
    assert {rule for rule, times in ast.literal_eval(changed[1]).items() if times} >= _SEEN


@pytest.mark.parametrize(
    ("command", "answer", "kept"),
    [
        ("docker images --format x", "a\nb\n", []),
        ("pct list", "VMID Status\n1 a\n2 b\n", ["VMID Status"]),
        ("env LC_ALL=C cat -- /proc/7/mounts", "a / x\nb /m x\nc / y\n", []),
        ("apt-get -q -y -s install x", "Reading\nInst a (1)\nInst b (1)\n", ["Reading"]),
        ("git status", "a\nb\n", ["a", "b"]),
    ],
)
def test_shuffled_answer_has_the_same_lines(command: str, answer: str, kept: list[str]) -> None:
    turned = shuffled.shuffled(command, answer.encode()).decode()
    assert sorted(turned.split("\n")) == sorted(answer.split("\n"))
    assert turned.split("\n")[: len(kept)] == kept
    assert (turned == answer) is (len(kept) == answer.count("\n"))


def test_shuffled_mounts_stay_above_one_another() -> None:
    for _ in range(5):
        turned = shuffled.mounts("a / x\nb /m x\nc / y\nd /n x\n").splitlines()
        assert turned.index("a / x") < turned.index("c / y")


#: A command that cuts what it says, or a list of it, and what keeps it whole.
_CUT = {
    r"docker (ps|images|network ls)(?=[^\"']*( -\w*q|ID\b))": "--no-trunc",
    r"systemctl (list-units|list-unit-files|--failed)": "--full",
    r"(?<!`)\bdpkg -l\b": "fault|asks dpkg -l|if ! dpkg -l",  # only a fault does
}


def test_commands_that_list_are_never_cut_to_a_width() -> None:
    texts = [(path, text) for path in _CODE for text in _commands(ast.parse(path.read_text()))]
    for command, whole in _CUT.items():
        found = [(path, text) for path, text in texts if re.search(command, text)]
        assert found, f"nothing lists by {command}"
        cut = [each for each in found if not re.search(whole, each[1])]
        assert not cut, f"may be cut without {whole}: {cut}"


def _commands(tree: ast.AST) -> list[str]:
    """Return each shell script, and each argv as a line."""
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in documented:
                found += node.value.splitlines()
        elif isinstance(node, ast.List | ast.Tuple):
            words = [e.value for e in node.elts if isinstance(e, ast.Constant)]
            found.append(" ".join(word for word in words if isinstance(word, str)))
    return found
