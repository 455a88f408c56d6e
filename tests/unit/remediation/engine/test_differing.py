"""How two states of an action differ, in words for a reader."""

from dataclasses import replace

import click
import pytest
from click.testing import CliRunner

from docker_lxc_gate.cli import printing
from docker_lxc_gate.cli.group import Verbs
from docker_lxc_gate.formats.archive import FileState
from remediation.actions.apparmor_profile import ProfileState
from remediation.actions.container_options import OptionsState
from remediation.engine.action import Drift
from remediation.engine.differing import differing
from remediation.engine.errors import ChangedSince, RollbackFailed, VerifyFailed

FILE = FileState("file", b"former\n", mode=0o640, mtime="1795717106")
PATH = "/etc/pve/lxc/950.conf"


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (replace(FILE, content=b"x"), ["content"]),
        (replace(FILE, mode=0o600, uid=7), ["mode 640 -> 600", "owner 0:0 -> 7:0"]),
        (replace(FILE, mtime="1795717745"), ["time"]),
        (replace(FILE, attributes={"SCHILY.xattr.user.\udcff": ""}), ["attributes user.\ufffd"]),
        (FileState(), ["was a file, is absent"]),
        (FileState("link", link="\x1b[2J"), ["was a file, is a link"]),
    ],
)
def test_files_that_differ_are_told_part_by_part(now: FileState, words: list[str]) -> None:
    assert differing(FILE, now, PATH)[0] == words


def test_state_with_a_file_in_it_is_told_by_the_files_path() -> None:
    was = OptionsState(FILE, running=True, effective="a", containers=("x",))
    is_ = OptionsState(replace(FILE, content=b"new\n"), running=False, effective="b")
    words, drifts = differing(was, is_, PATH)
    assert words == [f"{PATH}: content", "running: True -> False"]
    assert drifts == [Drift(PATH, b"former\n", b"new\n")]


def test_policy_is_told_by_its_size_and_other_values_are_cut() -> None:
    assert differing(ProfileState(FILE, b"1" * 5000), ProfileState(FILE, b""))[0] == [
        "policy: 5000 bytes -> 0 bytes"
    ]
    was = OptionsState(FILE, running="x" * 999, effective="")  # type: ignore[arg-type]
    (words,), _ = differing(was, replace(was, running=False))
    assert len(words) < 300


def test_diff_shows_what_a_terminal_would_obey_as_escapes() -> None:
    shown = printing.diff(Drift("", b"a\tb\n", b"\x1b]52;c;AA\x07\xff \xe2\x80\xae\n"), "is", "was")
    assert shown.splitlines()[3:] == ["-a\tb", "+\\x1b]52;c;AA\\x07\\xff \\u202e"]


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (
            ChangedSince({"options": Drift(f"{PATH} was changed", is_=b"now\n", should=b"left\n")}),
            "--- the plan left\n+++ is now\n@@ -1 +1 @@\n-left\n+now\n",
        ),
        (
            RollbackFailed([("options", VerifyFailed("x", [Drift(PATH, b"left\n", b"now\n")]))]),
            "--- before the plan\n+++ is now\n@@ -1 +1 @@\n-left\n+now\n",
        ),
    ],
    ids=["changed since", "not as before"],
)
def test_command_line_shows_the_diff_of_an_error(
    error: Exception, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def fails() -> None:
        raise error

    monkeypatch.setattr(Verbs, "get_command", lambda *_: fails)
    ended = CliRunner().invoke(Verbs(), ["fails"])
    assert (ended.exit_code, shown in ended.stderr) == (5, True)
