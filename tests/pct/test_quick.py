"""`pct exec` and `pct status`: what they become, and that they stay cheap."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab.guest.pct.__main__ import main

from .scripted import ScriptedNode

CHEAP = "import sys; sys.path.insert(0, {path!r}); before = set(sys.modules); import pct.__main__"


@pytest.mark.parametrize(
    ("argv", "attached"),
    [
        (["200", "--", "true"], ["lxc-attach", "-n", "200", "--", "true"]),
        (["200", "true"], ["lxc-attach", "-n", "200", "--", "true"]),
        (["200", "--", "sh", "-c", "a  b"], ["lxc-attach", "-n", "200", "--", "sh", "-c", "a  b"]),
        (["200", "--", "--"], ["lxc-attach", "-n", "200", "--", "--"]),
        (
            ["200", "--keep-env", "0", "--", "env"],
            ["lxc-attach", "-n", "200", "--clear-env", "--", "env"],
        ),
        (["200", "--keep-env", "1", "--", "env"], ["lxc-attach", "-n", "200", "--", "env"]),
    ],
)
def test_exec_becomes_lxc_attach(argv: list[str], attached: list[str], tmp_path: Path) -> None:
    node = ScriptedNode(str(tmp_path), alive={"200"}, expected={"become"})
    node.conf().parent.mkdir(parents=True)
    node.conf().write_text("unprivileged: 1\n")
    assert main(["pct", "exec", *argv], node) == 0
    assert node.calls == [("become", *attached)]


def test_exec_imports_only_builtin_modules() -> None:
    package = Path(__file__).parents[2] / "lab/guest"
    shown = "print([m for m in set(sys.modules) - before if not m.startswith('pct')])"
    script = f"{CHEAP.format(path=str(package))}; {shown}"
    argv = [sys.executable, "-IS", "-c", script]
    ended = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
