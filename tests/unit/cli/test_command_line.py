"""The command line as a user meets it, as far as that needs no node."""

import base64
import json
import os
import re
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner, Result

from docker_lxc_gate.cli.group import VERBS, main
from docker_lxc_gate.errors import FactError, RemediationError
from docker_lxc_gate.machines import connect
from docker_lxc_gate.machines.lock import Lock
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.runtime import pct
from remediation import docker_in_lxc
from remediation.engine.action import Place, SideEffect
from remediation.engine.apply import apply
from remediation.engine.errors import RollbackFailed
from tests.doubles.flag import ON, Flag, journal
from tests.doubles.flag import plan as flags

#: Those whose words are files alone.
FILES = {"bundle", "compare", "verify"}
#: All that need a target.
TARGETED = [
    *sorted({*VERBS} - {*FILES, "denials", "journal", "lint", "lab", "gate", "guard", "messages"}),
    *("journal show", "journal export", "journal accept", "doctor --upgrade"),
]


@pytest.mark.parametrize("how", [["--json"], ["--format", "json"]])
@pytest.mark.parametrize("command", sorted({*TARGETED, "denials"} - {"journal export", "prove"}))
def test_verb_whose_target_is_unreachable_ends_with_3_in_json(command: str, how: list[str]) -> None:
    """The port is one where nobody listens."""
    done = CliRunner().invoke(main, [*command.split(), *how, "--target", "x@127.0.0.1:1/950"])
    assert done.exit_code == 3
    assert json.loads(done.stdout)["error"].startswith("cannot reach x@127.0.0.1:1 by SSH: ")
    assert done.stderr.startswith("error: cannot reach x@127.0.0.1:1 by SSH: ")


def test_completion_knows_verbs_options_and_values() -> None:
    for typed, completed in (
        ("d", {"denials", "doctor"}),
        ("lint --format s", {"sarif"}),
        ("lab d", {"down", "destroy"}),
    ):
        *before, last = typed.split(" ")
        told = BashComplete(main, {}, "docker-lxc-gate", "").get_completions(before, last)
        assert {item.value for item in told} == completed


def test_help_imports_neither_paramiko_nor_the_plan() -> None:
    argv = [sys.executable, "-X", "importtime", "-m", "docker_lxc_gate", "--help"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stderr
    modules = {line.rpartition("|")[2].strip() for line in said.splitlines()}
    assert "docker_lxc_gate.cli.group" in modules
    assert not modules & {"paramiko", "invoke", "asyncio", "remediation.docker_in_lxc"}


@pytest.mark.parametrize(
    "command", sorted({*VERBS} - {*FILES, "gate", "journal", "lint", "lab", "messages"})
)
def test_target_that_is_none_is_wrong_usage(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--target", "nowhere"])
    assert result.exit_code == 2
    assert "expected lab/CTID" in result.output


@pytest.mark.parametrize("command", TARGETED)
def test_verb_without_a_target_says_what_to_type_and_builds_no_lab(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(connect, "opened", None)
    done = CliRunner().invoke(main, command.split(), prog_name="gate")
    assert (done.exit_code, done.stdout) == (2, "")
    for target in ("root@pve1/950", "local/950", "lab/950"):
        assert f"\n  gate {command.partition(' --')[0]} --target {target} " in done.stderr


@pytest.mark.parametrize("option", ["--target", "--target-file"])
@pytest.mark.parametrize("command", [*TARGETED, "denials"])
def test_verb_with_a_second_target_is_refused_and_asks_none(
    monkeypatch: pytest.MonkeyPatch, command: str, option: str, tmp_path: Path
) -> None:
    """The first was dropped, so that a script took the verdict on one for that on both."""
    monkeypatch.setattr(connect, "opened", None)
    (tmp_path / "file").write_text("")
    value = str(tmp_path / "file") if "file" in option else "root@pve1/950"
    done = CliRunner().invoke(main, [*command.split(), *[option, value] * 2])
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"Error: {option} is given 2 times: run " in done.stderr


@pytest.mark.parametrize("command", ["plan", "status", "apply", "rollback"])
@pytest.mark.parametrize("asked", ["nonsense", "STEP-1.3", "STEP-", "VAL-1", ""])
def test_clause_without_an_action_is_refused_before_any_look(command: str, asked: str) -> None:
    """The port is one where nobody listens: to connect would be another error."""
    argv = [command, "--target", "x@127.0.0.1:1/950", "--only", "STEP-2", "--only", asked]
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: no action for {asked!r}; there are: "
        "STEP-1.1, STEP-1.2, STEP-2.1, STEP-2.2, STEP-3.1, STEP-3.2, "
        f"{', '.join(docker_in_lxc.ACTIONS)}\n"
    )


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--quiet", ""),
        ("-v", "… connecting\n… pve1: pct list ended with 7 after 1.2 s\n"),
        ("--no-color", "… connecting\n"),
    ],
)
def test_verb_prints_its_commands_with_v_and_no_progress_with_q(
    option: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, listener: Any, tell: Any, **__: object) -> None:
        tell("connecting")
        listener(CommandResult(("pct", "list"), 7, b"", b"", "pve1", 0.0, 1.23))
        raise FactError("no answer")

    monkeypatch.setattr(connect, "opened", opened)
    assert ended("plan", option) == (3, f"{told}error: no answer\n")


@pytest.mark.parametrize(
    ("words", "no_color", "coloured"), [("", "", True), ("--no-color", "", False), ("", "1", False)]
)
def test_verb_prints_no_colour_on_a_terminal_if_it_is_asked_not_to(
    words: str, no_color: str, coloured: bool, tmp_path: Path
) -> None:
    """FORCE_COLOR stands for a terminal."""
    (tmp_path / "950.conf").write_text("rootfs: local:1\nnonsense: 1\n")
    argv = [sys.executable, "-m", "docker_lxc_gate", "lint", *words.split(), str(tmp_path)]
    env = os.environ | {"FORCE_COLOR": "1", "NO_COLOR": no_color, "TERM": "xterm"}
    said = subprocess.run(argv, env=env, capture_output=True, text=True, check=False).stdout
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", said)) is coloured
    assert "nonsense" in said


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine as a node, on which a plan of one step is applied; journal and lock are here."""

    def plan(*_: object, **__: object) -> object:
        exclusive = Lock(ON, str(tmp_path / "gate.lock")).held
        return replace(flags(tmp_path, Flag("tunable", value="new")), exclusive=exclusive)

    opened = nullcontext(SimpleNamespace(node=ON))
    monkeypatch.setattr(connect, "opened", lambda *_, **__: opened)
    monkeypatch.setattr(pct, "blocked", lambda _: "")
    monkeypatch.setattr(
        "docker_lxc_gate.cli.journal.Journal", lambda _, ctid: journal(tmp_path, ctid)
    )
    monkeypatch.setattr(Lock, "of", lambda _: Lock(ON, str(tmp_path / "gate.lock")))
    monkeypatch.setattr(docker_in_lxc, "plan", plan)
    apply(flags(tmp_path, Flag("tunable")))
    return tmp_path


def taken(folder: Path) -> AbstractContextManager[None]:
    """Another run has the node."""
    return Lock(ON, str(folder / "gate.lock")).held("apply the plan to container 951")


def ran(*words: str, asked: str = "") -> Result:
    """Return what a command of several words says of the target."""
    plan = ["--plan", "docker-in-lxc"] if words[0] in {"plan", "apply", "status"} else []
    return CliRunner().invoke(main, [*words, *plan, "--target", "root@pve1/950"], input=asked)


def ended(*words: str) -> tuple[int, str]:
    """Return what a command ends with, and what it says of that."""
    result = ran(*words)
    return result.exit_code, result.stderr


def test_export_holds_all_that_was_there_before(folder: Path) -> None:
    text, binary = "é" * 4000, b"\xff" * 5000
    journal(folder).record([("large", Place.NODE, {"one": text.encode(), "all": [binary]})])
    lines = [json.loads(line) for line in ran("journal", "export").stdout.splitlines()]
    assert [(line["kind"], line.get("action")) for line in lines] == [
        *(("before", "tunable"), ("after", "tunable"), ("finished", None), ("before", "large"))
    ]
    assert lines[-1]["state"] == {
        "one": {"text": text},
        "all": [{"base64": base64.b64encode(binary).decode()}],
    }


def test_export_masks_planted_secrets_unless_asked_for_them(folder: Path) -> None:
    planted = '{"registry-mirrors": ["https://me:hunter2@mirror", "\x9b"]}'
    state = {"one": planted.encode(), "all": [b"\xff PASSWORD=hunter2"]}
    journal(folder).record([("settings", Place.NODE, state)])
    shown = json.loads(ran("journal", "export").stdout.splitlines()[-1])["state"]
    assert shown["one"]["text"] == planted.replace("hunter2", "***")
    assert base64.b64decode(shown["all"][0]["base64"]) == b"\xff PASSWORD=***"
    exact = ran("journal", "export", "--with-secrets").stdout
    assert json.loads(exact.splitlines()[-1])["state"]["one"]["text"] == planted
    assert "\x9b" not in exact


@pytest.mark.parametrize("harm", ["line", "content"])
def test_export_that_cannot_be_whole_says_what_to_copy(folder: Path, harm: str) -> None:
    journal(folder).record([("large", Place.NODE, b"\xff" * 5000)])
    path = folder / "journal/journal.jsonl"
    if harm == "line":
        path.write_bytes(path.read_bytes().replace(b'"kind"', b'"kine"', 1))
    else:
        next((folder / "journal/contents").iterdir()).unlink()
    done = ran("journal", "export")
    assert (done.exit_code, done.stdout) == (3, "")
    assert f"damage, run on localhost: tar -cf journal.tar -C {folder}/journal .\n" in done.stderr


def asked() -> dict[str, Any]:
    """Return what status says to a program."""
    said: dict[str, Any] = json.loads(ran("status", "--json").stdout)
    return said


@pytest.mark.parametrize("command", ["apply", "rollback"])
def test_verb_with_an_unreadable_journal_ends_with_3_and_keeps_it(
    folder: Path, command: str
) -> None:
    path = folder / "journal/journal.jsonl"
    path.write_bytes(b'{"v":3,"kind":"bef\n' + path.read_bytes())
    before = path.read_bytes()
    code, told = ended(command, "--yes")
    assert code == 3
    assert told.startswith(f"error: {path}, line 1 on localhost: damaged (")
    assert path.read_bytes() == before
    assert ended("plan")[0] == 0  # it changes nothing, and needs no journal


@pytest.mark.parametrize("command", ["apply", "rollback"])
def test_verb_on_a_locked_node_ends_with_3_and_names_the_holder(folder: Path, command: str) -> None:
    with taken(folder):
        code, told = ended(command, "--yes")
    assert code == 3
    assert told.startswith("error: localhost is in use: ")
    assert f"(pid {os.getpid()}) has had it since " in told
    assert re.search(r"as root on localhost, kill \d+\n$", told)


def test_apply_that_would_do_more_than_was_agreed_to_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is asked while the node is locked."""
    docker = SideEffect("restart Docker", "Docker is restarted")
    container = SideEffect("restart container 950", "container 950 is restarted")
    lost = replace(docker, loses=("/web, started with --rm, goes for good",))
    found = iter([[lost], [docker, container]])
    monkeypatch.setattr("docker_lxc_gate.cli.apply.apply_side_effects", lambda _: next(found))
    monkeypatch.setattr("docker_lxc_gate.cli.apply.consent", lambda *_, **__: None)
    monkeypatch.setattr(docker_in_lxc, "plan", lambda *_, **__: flags(folder, Flag("another")))
    code, told = ended("apply")
    assert code == 3
    assert "would now do this, too: container 950 is restarted. Run it again" in told
    assert [entry.action for entry in journal(folder).entries()] == ["tunable"]


def test_apply_as_json_says_beside_it_what_was_not_checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(flags(folder, Flag("tunable", value="new")), not_checked=["it is stopped"])
    monkeypatch.setattr(docker_in_lxc, "plan", lambda *_, **__: plan)
    result = ran("apply", "--yes", "--json")
    assert json.loads(result.stdout)
    assert "not checked: it is stopped" in result.stderr


GONE = [("gone", Place.CONTAINER, "old"), ("Docker's root", Place.CONTAINER, "old")]


@pytest.fixture
def unfinished(folder: Path) -> Path:
    """The plan knows nothing of these any more, and their run was cut off."""
    journal(folder).record(GONE)
    return folder


def let_go(*arguments: str, asked: str = "") -> tuple[int, str, str]:
    result = ran("journal", "accept", *arguments, asked=asked)
    return result.exit_code, result.stdout, result.stderr


def test_change_that_cannot_be_rolled_back_is_shown_and_let_go(unfinished: Path) -> None:
    assert ended("rollback", "--yes")[0] == 5
    assert ended("apply", "--yes")[0] == 3
    code, said, shown = let_go("gone", "--yes")
    path = unfinished / "journal/journal.jsonl"
    assert code == 0
    assert re.fullmatch(
        r"side effects:\n  gone \(on container 950, changed \S+T\S+Z\): the change stays, "
        r"and rollback skips it\n",
        shown,
    )
    assert said == (
        f"1 kept; their before-images are in {path}\n"
        """still to be rolled back: "Docker's root"\n"""
    )
    assert let_go("--all", "--yes")[0] == 0
    assert not journal(unfinished).entries()
    assert ended("apply", "--yes")[0] == 0
    shown = ran("journal", "show").stdout
    assert len(re.findall(r" 950 +accepted +(?:gone|Docker.s root) ", shown)) == 2
    assert let_go("--all") == (0, "container 950 has no changes to roll back\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name the actions to keep, or give --all: 'tunable', 'gone', \"Docker's root\"\n"),
        (["gone", "--all"], "either name the actions to keep, or give --all\n"),
        (["went"], "under the name 'went'; there are: 'tunable', 'gone', \"Docker's root\"\n"),
        (["gone"], "there is no prompt: read the list above, then give --yes\n"),
    ],
)
def test_nothing_is_let_go_unasked(unfinished: Path, arguments: list[str], said: str) -> None:
    before = journal(unfinished).lines()
    result = let_go(*arguments)
    assert (result[0], result[1]) == (2, "")
    assert result[2].endswith(said)
    assert journal(unfinished).lines() == before


def test_status_without_quorum_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder.exists()
    monkeypatch.setattr(pct, "blocked", lambda _: "no quorum: pvecm status")
    result = ran("status", "--json")
    assert result.stderr == "no quorum: pvecm status\n"
    assert json.loads(result.stdout)["ctid"] == 950


def test_status_says_what_is_pending_who_holds_the_lock_and_how_to_roll_back(
    unfinished: Path,
) -> None:
    assert (
        "to roll back these 3 changes: docker-lxc-gate rollback, with the same --target; "
        "to keep a change that can no longer be rolled back: docker-lxc-gate journal accept\n"
    ) in ran("status").stdout
    left = asked()["pending_rollback"]
    assert [(each["id"], each["machine"], each["journal"]) for each in left] == [
        ("tunable", "node", "applied"),
        *((action, machine, "interrupted") for action, machine, _ in GONE),
    ]
    assert all(re.fullmatch(r"\S+T\S+Z", each["at"]) for each in left)
    assert asked()["locked_by"] is None
    with taken(unfinished):
        said = asked()
    assert [each["journal"] for each in said["pending_rollback"]] == ["applied", *["pending"] * 2]
    assert "to apply the plan to container 951" in said["locked_by"]


@pytest.mark.parametrize("command", ["status", "rollback --yes"])
def test_last_line_that_was_cut_off_is_said(folder: Path, command: str) -> None:
    path = folder / "journal/journal.jsonl"
    said = f"the last line of {path} was cut off (by a full disk, or the power): it does not count."
    assert said not in ended("status")[1]
    assert not asked()["journal_truncated"]
    path.write_bytes(path.read_bytes() + b'{"v":2,"at":"2026')
    assert asked()["journal_truncated"]
    with taken(folder):
        assert not asked()["journal_truncated"]  # it is being written
    assert ended(*command.split())[1].startswith(said)


def _keys(value: object) -> set[str]:
    """Return the keys of all objects in a JSON value."""
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    return set().union(*map(_keys, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("plan", {"ctid", "plan", "changes", "side_effects", "unchecked"}),
        (
            "status",
            {"ctid", "actions", "pending_rollback", "plan", "unfinished", "journal_truncated"}
            | {"locked_by", "unchecked", "drift", "journal", "at"}
            | {"id", "title", "requirement", "machine"},
        ),
        ("apply --yes", {"id", "title", "requirement", "changed", "reason"}),
        ("rollback --yes", {"id", "title", "requirement", "changed", "reason"}),
        ("journal show", {"v", "at", "ctid", "kind", "action", "title", "machine"}),
    ],
)
def test_json_has_the_keys_that_programs_read(folder: Path, command: str, keys: set[str]) -> None:
    assert _keys(json.loads(ran(*command.split(), "--json").stdout)) == keys


def test_action_is_accepted_by_its_id_or_by_its_title(folder: Path) -> None:
    journal(folder).record(
        [("container-options", Place.NODE, "old"), ("docker-engine", Place.CONTAINER, "old")]
    )
    code, _, shown = let_go("container-options", "Docker is installed", "--yes")
    assert code == 0
    assert "  container 950 has its features and its profile (on localhost, changed " in shown
    assert "  Docker is installed (on container 950, changed " in shown
    assert [entry.action for entry in journal(folder).entries()] == ["tunable"]


@pytest.mark.parametrize(
    ("error", "code", "then"),
    [
        (FactError("no answer"), 130, "error: interrupted: docker-lxc-gate status, "),
        (RollbackFailed([]), 5, ""),
    ],
)
def test_error_before_a_signal_is_said_before_the_interruption(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: RemediationError, code: int, then: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        try:
            raise error
        finally:
            raise KeyboardInterrupt

    monkeypatch.setattr(docker_in_lxc, "plan", fails)
    ended_with, said = ended("status")
    assert ended_with == code
    assert said.startswith(f"error: {error}".partition("\n")[0])
    assert said.partition("\n")[2].startswith(then)
    assert ("interrupted" in said) == bool(then)
