"""auditd's log of a window: a look reads what is new, and notices what is no more as it was."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit import audit_sources
from docker_lxc_gate.facts.audit.audit_records import AUDIT_LOG
from docker_lxc_gate.facts.audit.audit_sources import AuditLog
from docker_lxc_gate.facts.audit.audit_window import Unwatched, Window
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Command, Local, Transport
from tests.doubles.examples import examples
from tests.doubles.naming import naming
from tests.unit.facts.audit.test_audit_window import Node

NOISE = 'type=USER_CMD msg=audit(1.5:9): pid=1 cmd="secret"\n'
OWN = "type=DAEMON_ROTATE msg=audit(1.5:9): op=rotate-logs\n"


def line(number: int) -> str:
    word = "KILLED" if number % 2 else "DENIED"
    return f'type=AVC msg=audit(1.5:{number}): apparmor="{word}" operation="open" n={number}\n'


class OnDisk(Transport):
    """A node whose logs are in a folder of this machine, read by the real script.

    ``asked`` are the arguments of each look at a file, ``read`` how many bytes it went through.
    """

    machine = "pve1"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "audit.log"
        self.asked: list[list[str]] = []
        self.before_read: Callable[[], object] = lambda: None

    def execute(self, command: Command) -> CommandResult:
        words = list(command.words)
        if words[0] == "find":
            found = Local().run([words[0], str(self.folder), *words[2:]])
            text = found.stdout.replace(f"{self.folder}/".encode(), b"/var/log/audit/")
            return CommandResult(found.argv, found.exit_code, text, b"", self.machine, 0.0, 0.0)
        assert words[3] == "denials"
        self.before_read()
        self.before_read = lambda: None
        self.asked.append(words[4:])
        path = words[4].replace("/var/log/audit", str(self.folder))
        return Local().run([*words[:4], path, *words[5:]])

    def opened(self) -> AuditLog:
        there = self.log.stat()
        return AuditLog(self, str(there.st_ino), there.st_size)

    def grow(self, *more: str) -> None:
        with self.log.open("a") as file:
            file.write("".join(more))

    def rotate(self) -> None:
        for number in (3, 2, 1):
            old = self.folder / f"audit.log.{number}"
            if old.exists():
                old.rename(self.folder / f"audit.log.{number + 1}")
        self.log.rename(self.folder / "audit.log.1")
        self.log.touch()


@pytest.fixture
def node(tmp_path: Path) -> OnDisk:
    on = OnDisk(tmp_path)
    on.grow(line(0), NOISE)
    return on


def test_text_is_what_came_since_the_place_and_no_other_record(node: OnDisk) -> None:
    log = node.opened()
    assert log.text() == ""
    node.grow(NOISE, line(1), OWN, NOISE)
    assert log.text() == line(1) + OWN
    node.grow(line(2))
    assert log.text() == line(1) + OWN + line(2)
    assert log.text() == line(1) + OWN + line(2)


def test_text_of_a_node_whose_grep_compiles_nothing_is_the_same(
    node: OnDisk, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path_factory.mktemp("bin")
    stub = programs / "grep"
    stub.write_text('#!/bin/sh\ncase $1 in *P*) exit 2 ;; esac\nexec /usr/bin/grep "$@"\n')
    stub.chmod(0o755)
    log, plain = node.opened(), node.opened()
    node.grow(NOISE, line(1), OWN, NOISE)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{programs}:/usr/bin:/bin")
        assert plain.text() == line(1) + OWN
    assert log.text() == line(1) + OWN


@pytest.mark.parametrize("program", ["dd", "grep"])
def test_text_of_a_log_that_cannot_be_read_to_its_end_is_an_error(
    node: OnDisk,
    program: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    stub = tmp_path_factory.mktemp("bin") / program
    stub.write_text("#!/bin/sh\necho broken >&2\nexit 2\n")
    stub.chmod(0o755)
    log = node.opened()
    node.grow(line(1))
    monkeypatch.setenv("PATH", str(stub.parent), prepend=":")
    with naming(FactError, AUDIT_LOG, "broken"):
        log.text()


def test_text_asks_for_what_is_new_only(node: OnDisk) -> None:
    log = node.opened()
    for number in range(5):
        begun = node.log.stat().st_size
        node.grow(NOISE * 100, line(number))
        log.text()
        assert node.asked[-1][:2] == [AUDIT_LOG, str(begun + 1)]
        assert len(node.asked) == number + 1


def test_text_after_a_line_that_was_not_whole_has_the_whole_line_once(node: OnDisk) -> None:
    log = node.opened()
    node.grow(line(1), line(2)[:60])
    assert log.text() == line(1) + line(2)[:60] + "\n"
    node.grow(line(2)[60:], line(3)[:20])
    assert log.text() == line(1) + line(2)
    node.grow(line(3)[20:])
    assert log.text() == line(1) + line(2) + line(3)


def test_text_through_rotations_is_of_all_files_and_asks_for_what_is_new(node: OnDisk) -> None:
    log = node.opened()
    for number in (1, 2, 3):
        node.grow(line(number))
        node.rotate()
        log.text()
    node.grow(line(4))
    assert log.text() == "".join(map(line, (1, 2, 3, 4)))
    starts = [int(each[1]) for each in node.asked[-4:]]
    sizes = [(node.folder / f"audit.log.{n}").stat().st_size for n in (3, 2, 1)]
    assert starts == [*(size + 1 for size in sizes), 1]


def test_text_of_a_rotated_file_that_is_written_on_is_not_lost(node: OnDisk) -> None:
    """As where logrotate renames the file, and auditd does not know yet."""
    log = node.opened()
    node.rotate()
    node.grow(line(2))
    assert log.text() == line(2)
    with (node.folder / "audit.log.1").open("a") as file:
        file.write(line(1))
    assert log.text() == line(1) + line(2)


@pytest.mark.parametrize(
    ("left", "grown"),
    [((), 0), ((), 1), ((), 500), ((line(0), NOISE, line(1)), 2)],  # the last: by its last line
)
def test_text_of_a_log_that_was_cut_and_grew_again_is_an_error(
    node: OnDisk, left: tuple[str, ...], grown: int
) -> None:
    log = node.opened()
    node.grow(line(1), line(2))
    log.text()
    os.truncate(node.log, len("".join(left)))
    node.grow(line(3) * grown)
    with pytest.raises(FactError, match="was cut in the window"):
        log.text()


def test_text_of_a_log_that_is_gone_is_an_error(node: OnDisk) -> None:
    log = node.opened()
    shutil.move(node.log, node.folder / "elsewhere")
    node.log.touch()
    with pytest.raises(FactError, match="rotated away or removed"):
        log.text()


@pytest.mark.parametrize("earlier", [0, 2])
@pytest.mark.parametrize("looked", [False, True])
def test_text_of_a_log_renamed_meanwhile_is_whole(node: OnDisk, earlier: int, looked: bool) -> None:
    """The new file may be longer than the place in the old one, by when it is read."""
    log = node.opened()
    for number in range(earlier):
        node.grow(line(number))
        node.rotate()
    node.grow(line(3))
    if looked:
        log.text()

    def rotated() -> None:
        node.rotate()
        node.grow(NOISE * 20, line(4))

    node.before_read = rotated
    expected = "".join(map(line, [*range(earlier), 3, 4]))
    assert log.text() == expected
    node.grow(line(5))
    assert log.text() == expected + line(5)


def test_text_of_a_log_that_is_renamed_each_time_is_an_error(node: OnDisk) -> None:
    log = node.opened()
    node.grow(line(1))
    log.text()
    answer = CommandResult((), 0, b"docker-lxc-gate: another file\n", b"", "pve1", 0.0, 0.0)
    real, asked = node.execute, []

    def execute(command: Command) -> CommandResult:
        if "denials" not in command.argv:
            return real(command)
        asked.append(command.argv)
        return answer

    node.execute = execute  # type: ignore[method-assign]
    with pytest.raises(FactError, match="renamed each time"):
        log.text()
    assert len(asked) == 3


def test_text_beyond_the_limit_is_an_error(node: OnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_sources, "_LONGEST", 1000)
    log = node.opened()
    for number in range(1000 // len(line(1))):
        node.grow(line(number % 10))
        log.text()
    node.grow(line(1))
    with pytest.raises(FactError, match="more than 0 MiB"):
        log.text()


@examples(25)
@given(
    steps=st.lists(
        st.sampled_from(["line", "part", "noise", "rotate", "look", "look"]), max_size=14
    )
)
def test_many_looks_are_as_one(steps: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    node = OnDisk(tmp_path_factory.mktemp("log"))
    node.grow(line(0))
    often, once = node.opened(), node.opened()
    whole, number, rotations = True, 1, 0
    for step in steps:
        if step == "look":
            often.text()
        elif step == "rotate" and whole and rotations < 3:
            node.rotate()
            rotations += 1
        elif step == "noise" and whole:
            node.grow(NOISE)
        elif step == "part":
            node.grow(line(number)[:50] if whole else line(number)[50:])
            number += not whole
            whole = not whole
        elif step == "line" and whole:
            node.grow(line(number))
            number += 1
    if not whole:
        node.grow(line(number)[50:])
        number += 1
    assert often.text() == once.text() == "".join(map(line, range(1, number)))


class Watched(Node):
    """A node of the window's own tests, whose log is on disk."""

    def __init__(self, disk: OnDisk) -> None:
        super().__init__()
        self.disk, self.perl = disk, False
        self.becomes(inode=str(disk.log.stat().st_ino), size=disk.log.stat().st_size)

    def say(self, *lines: str) -> None:
        self.disk.grow(*(f"{each}\n" for each in lines))

    def execute(self, command: Command) -> CommandResult:
        if command.argv[0] == "find" or "denials" in command.argv[:4]:
            self.trips += 1
            return self.disk.execute(command)
        return super().execute(command)


def test_new_denials_of_a_rotated_file_that_is_written_on_come_once_each(node: OnDisk) -> None:
    watched = Watched(node)
    window = Window(watched)
    node.rotate()
    watched.say(line(2).rstrip())
    assert [each.fields["n"] for each in window.new_denials()] == ["2"]
    with (node.folder / "audit.log.1").open("a") as file:
        file.write(line(1))
    assert [each.fields["n"] for each in window.new_denials()] == ["1"]
    assert window.new_denials() == []


def test_window_on_a_log_that_was_cut_between_two_looks_is_undetermined(node: OnDisk) -> None:
    watched = Watched(node)
    window = Window(watched)
    watched.say(line(1).rstrip())
    window.new_denials()
    os.truncate(node.log, 0)
    node.grow(NOISE * 100)
    with naming(Unwatched, AUDIT_LOG, "cut"):
        window.new_denials()
    with naming(Unwatched, AUDIT_LOG, "cut") as raised:
        window.close()
    assert [each.fields["n"] for each in raised.value.denials] == ["1"]
