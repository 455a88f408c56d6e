"""How two states of an action differ, in words for a reader."""

from dataclasses import replace

import click
import pytest
from click.testing import CliRunner

from docker_lxc_gate.cli import printing
from docker_lxc_gate.cli.group import Verbs
from docker_lxc_gate.formats.archive import FileState
from remediation.actions.container_options import OptionsState
from remediation.engine.action import Drift
from remediation.engine.differing import differing
from remediation.engine.errors import ChangedSince

FILE = FileState("file", b"former\n", mode=0o640, mtime="1795717106")
STATE = OptionsState(FILE, running=True, effective="a", containers=("x",))


def test_differing_names_each_part_that_counts_with_both_values() -> None:
    file = replace(FILE, content=b"fOrmer\n", link="\x1b[2J", mode=0o600)
    now = replace(STATE, file=file, running="x" * 999, effective="b")  # type: ignore[arg-type]
    content, *words, cut = differing(STATE, now)
    was, is_ = content.removeprefix("file.content: ").split(" -> ")
    assert was != is_
    assert was.startswith("7 bytes, sha256 ")
    assert words == ["file.link: '' -> '\\x1b[2J'", "file.mode: 0640 -> 0600"]
    assert cut.startswith("running: True -> 'xxx")
    assert len(cut) < 300
    assert differing(True, False) == ["it: True -> False"]


def test_diff_shows_what_a_terminal_would_obey_as_escapes() -> None:
    shown = printing.diff(Drift("", b"a\tb\n", b"\x1b]52;c;AA\x07\xff \xe2\x80\xae\n"), "is", "was")
    assert shown.splitlines()[3:] == ["-a\tb", "+\\x1b]52;c;AA\\x07\\xff \\u202e"]


def test_command_line_shows_the_diff_of_what_was_changed_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @click.command()
    def fails() -> None:
        raise ChangedSince({"options": Drift("a file was changed", is_=b"now\n", should=b"left\n")})

    monkeypatch.setattr(Verbs, "get_command", lambda *_: fails)
    ended = CliRunner().invoke(Verbs(), ["fails"])
    shown = "--- the plan left\n+++ is now\n@@ -1 +1 @@\n-left\n+now\n"
    assert (ended.exit_code, shown in ended.stderr) == (5, True)
