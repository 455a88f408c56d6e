"""A window on a log that rotates, loses records, moves, or never had the canary in it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
import stamina

from remediation import audit, kernel_audit
from remediation.errors import CommandFailed
from remediation.transport import CommandResult, Local
from tests.steps.doubles import Answer, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from remediation.transport import Hold

LOG = "/var/log/audit/audit.log"
DENIED = 'type=AVC apparmor="DENIED" operation="mount" profile="lxc-phoenix-v2" pid=7'
REFUSED = "[2031] ERROR: profile does not exist"
ACTIVE = "systemctl is-active auditd"
LOST = shlex.join(["perl", "-e", kernel_audit._LOST])
STAT = f"stat -c '%i %s' {LOG}"
FIND = "find /var/log/audit -name 'audit.log*' -printf '%i %p\\n'"


def denials(path: str, first_byte: int = 1) -> str:
    return shlex.join(["sh", "-c", audit._DENIALS, "denials", path, str(first_byte)])


class Node(Machine):
    """A node that logs what is provoked there, unless told otherwise."""

    def __init__(self, source: str = "auditd") -> None:
        active = source == "auditd"
        super().__init__(
            answers={
                ACTIVE: "active\n" if active else (3, "inactive\n", ""),
                LOST: "4\n",
                STAT: "11 4\n" if active else (1, "", "No such file or directory"),
            }
        )
        self.logged, self.perl, self.held = True, True, 0
        self.text, self.rotated = "old\n", list[str]()

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        line, path = shlex.join(argv), argv[-1]
        if line not in self.answers and path not in self.files:
            answer = self._said(list(argv))
            if answer is not None:
                return Machine(answers={line: answer}).run(argv)
        return super().run(argv)

    def _said(self, words: list[str]) -> Answer | None:
        logs = {LOG: self.text} | {f"{LOG}.{n}": t for n, t in enumerate(self.rotated, 1)}
        match words:
            case ["aa-exec", "-p", name, "--", "true"]:
                self.text += f'apparmor="DENIED" operation="x" name="{name}"\n' * self.logged
                return 1, "", REFUSED
            case ["find", "/var/log/audit", "-name", "audit.log*", "-printf", "%i %p\\n"]:
                return "".join(f"{11 + len(logs) - n} {f}\n" for n, f in enumerate(logs, 1))
            case ["sh", "-c", audit._DENIALS, "denials", path, start]:
                rest = logs[path][int(start) - 1 :].splitlines(keepends=True)
                return "".join(line for line in rest if 'apparmor="DENIED"' in line)
            case ["env", "LC_ALL=C", "cat", "--", path] if path.startswith("/run/"):
                return self.text.removeprefix("old\n")
        return None

    def hold(self, argv: Sequence[str], word: str) -> Hold:
        perl, _, _, script, path = argv
        assert (perl, script) == ("perl", kernel_audit._NOTE)
        assert f'print "{word}\\n"' in script
        assert path.startswith("/run/docker-lxc-gate.")
        if not self.perl:
            said = (b"", b"the kernel's audit: Operation not permitted")
            raise CommandFailed(CommandResult(tuple(argv), 1, *said, self.machine, 0.0, 0.0))
        self.held += 1
        return self

    def alive(self) -> bool:
        return self.held == 1

    def release(self) -> None:
        self.held -= 1

    def rotate(self) -> None:
        self.rotated.insert(0, self.text)
        self.text = ""


@pytest.fixture(autouse=True)
def _no_patience() -> Iterator[None]:
    stamina.set_testing(True, attempts=2)
    yield
    stamina.set_testing(False)


SOURCES = pytest.mark.parametrize("source", ["auditd", "kernel"])


@SOURCES
def test_what_is_denied_in_the_window_and_nothing_before_it(source: str) -> None:
    node = Node(source)
    window = audit.Window(node)
    assert window.source == source
    node.text += f"{DENIED} n=1\n{DENIED} n=2\n"
    assert [each.fields["n"] for each in window.news()] == ["1", "2"]
    assert window.news() == []
    node.text += f"{DENIED} n=3\n"
    assert [each.fields["n"] for each in window.news()] == ["3"]
    assert [each.line for each in window.close()] == [f"{DENIED} n={n}" for n in (1, 2, 3)]
    assert node.held == 0


def test_a_denial_before_the_window_is_not_of_it() -> None:
    node = Node()
    node.text = f"{DENIED}\n"
    node.answers[STAT] = f"11 {len(node.text)}\n"
    window = audit.Window(node)
    node.text += f"{DENIED} x\n"
    assert [each.line for each in window.close()] == [f"{DENIED} x"]


def test_a_quiet_window_is_quiet() -> None:
    assert audit.Window(Node()).close() == []


def test_through_rotations() -> None:
    node = Node()
    window = audit.Window(node)
    for number in range(3):
        node.text += f"{DENIED} n={number}\n"
        node.rotate()
    assert [each.line for each in window.close()] == [f"{DENIED} n={n}" for n in range(3)]


def test_a_part_of_the_window_that_is_gone() -> None:
    node = Node()
    window = audit.Window(node)
    for _ in range(3):
        node.rotate()
    node.answers[denials(f"{LOG}.1")] = (2, "", "No such file")
    with pytest.raises(
        audit.Unwatched, match=r"audit\.log\.1, a part of the window, cannot be read"
    ):
        window.close()


def test_the_start_of_the_window_is_gone() -> None:
    node = Node()
    window = audit.Window(node)
    node.answers[FIND] = f"12 {LOG}\n"
    with pytest.raises(audit.Unwatched, match="start was rotated away or removed"):
        window.close()


def test_a_log_that_is_rotated_under_another_name_than_auditds() -> None:
    """logrotate's dates: what came in between cannot be told by them."""
    node = Node()
    window = audit.Window(node)
    node.answers[FIND] = f"12 {LOG}\n11 {LOG}-20261126\n"
    with pytest.raises(audit.Unwatched, match=rf"start was rotated to {LOG}-20261126"):
        window.close()


@SOURCES
def test_a_canary_that_is_not_logged(source: str) -> None:
    node = Node(source)
    node.logged = False
    window = audit.Window(node)
    whence = {"auditd": LOG, "kernel": "the kernel"}[source]
    said = f"did not come from {whence} of pve1 .* attempt said: \\{REFUSED[:6]}"
    with pytest.raises(audit.Unwatched, match=said):
        window.close()


def test_a_canary_that_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    window = audit.Window(node)
    monkeypatch.setattr(audit.secrets, "token_hex", lambda n: "0" * 2 * n)
    node.answers[f"aa-exec -p canary{'0' * 16} -- true"] = ""
    with pytest.raises(audit.Unwatched, match="the canary was not refused on pve1"):
        window.close()


def test_two_canaries_differ() -> None:
    node = Node()
    window = audit.Window(node)
    assert window.close() == []
    assert len(window.close()) == 1  # the first one's, which is not this one's


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("5\n", "the kernel lost 1 audit records in the window"),
        ((1, "", "you must be root"), r"how many audit records were lost: .* on pve1: you must"),
    ],
)
def test_records_that_were_lost_or_not_counted(status: Answer, message: str) -> None:
    node = Node()
    window = audit.Window(node)
    node.answers[LOST] = status
    with pytest.raises(audit.Unwatched, match=message):
        window.close()


def test_what_the_kernel_counts_as_lost_where_it_waits_for_an_auditd() -> None:
    node = Node("kernel")
    window = audit.Window(node)
    node.answers[LOST] = "5\n"
    with pytest.raises(
        audit.Unwatched,
        match=r"lost 1 .*lost\); one booted with audit=1 counts .* queue that it keeps for an aud",
    ):
        window.close()


def test_an_auditd_that_comes_later_takes_nothing_away() -> None:
    node = Node("kernel")
    window = audit.Window(node)
    node.text += f"{DENIED}\n"
    node.answers[ACTIVE] = "active\n"
    assert [each.line for each in window.close()] == [DENIED]


def test_a_window_that_nobody_closes_is_ended() -> None:
    node = Node("kernel")
    window = audit.Window(node)
    window.end()
    assert node.held == 0
    audit.Window(Node()).end()


def test_of_a_log_only_the_denials_leave_the_node(tmp_path: Path) -> None:
    log, passed = tmp_path / "audit.log", "type=USER_CMD cmd=6D7973716C\n"
    log.write_bytes(f"{DENIED} n=1\n{passed}{DENIED} n=2\n\xff".encode("latin-1"))
    window = audit.Window(Node())
    window._node = Local()
    assert window._denied(str(log)) == f"{DENIED} n=1\n{DENIED} n=2\n"
    assert window._denied(str(log), len(DENIED) + 6) == f"{DENIED} n=2\n"
    log.write_text(passed)
    assert window._denied(str(log)) == ""
    log.unlink()
    with pytest.raises(audit.Unwatched, match=r"to its end: .*No such file"):
        window._denied(str(log))


def test_a_part_that_tail_cannot_read_is_no_quiet_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tail = tmp_path / "tail"
    tail.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    tail.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    window = audit.Window(Node())
    window._node = Local()
    with pytest.raises(audit.Unwatched, match="cannot be read to its end: broken"):
        window._denied(str(tail))


def test_what_was_heard_before_a_gap_is_told() -> None:
    node = Node("kernel")
    window = audit.Window(node)
    node.text += f"{DENIED}\n{DENIED}\n{kernel_audit.GAP}\n"
    with pytest.raises(audit.Unwatched, match=r'the first of the 2 others: operation="mount" prof'):
        window.close()


def test_a_log_that_moved() -> None:
    node = Node()
    window = audit.Window(node)
    node.answers[ACTIVE] = (3, "inactive\n", "")
    with pytest.raises(audit.Unwatched, match=r"went to auditd when .* and to kernel when it clos"):
        window.close()


def test_more_records_than_could_be_read() -> None:
    node = Node("kernel")
    window = audit.Window(node)
    node.text += f"one\n{kernel_audit.GAP}\n"
    with pytest.raises(
        audit.Unwatched, match=r"more in the window than could be read.* is not known$"
    ):
        window.close()
    assert node.held == 0


def test_records_that_nobody_notes_any_more() -> None:
    node = Node("kernel")
    window = audit.Window(node)
    node.held = 0
    with pytest.raises(audit.Unwatched, match="on pve1 the kernel's audit is not read any more"):
        window.news()


def test_a_kernel_that_lets_nobody_read() -> None:
    node = Node("kernel")
    node.perl = False
    with pytest.raises(audit.Unwatched, match=r"audit cannot be read on pve1: .* not permitted"):
        audit.Window(node)


def test_an_audit_log_that_cannot_be_read() -> None:
    node = Node()
    node.answers[STAT] = (1, "", "No such file or directory")
    with pytest.raises(audit.Unwatched, match=r"go to auditd on pve1, but .*audit\.log cannot be"):
        audit.Window(node)


@pytest.mark.parametrize(
    "line",
    [FIND, denials(LOG, 5)],
)
def test_a_log_that_cannot_be_read_any_more(line: str) -> None:
    node = Node()
    window = audit.Window(node)
    node.answers[line] = (1, "", "it is gone")
    with pytest.raises((CommandFailed, audit.Unwatched), match="it is gone"):
        window.close()


def test_the_users_word_counts_more_than_what_is_found() -> None:
    node = Node("kernel")
    node.answers[ACTIVE] = (0, "active\n", "")
    assert audit.Window(node, "kernel").source == "kernel"
    node = Node()
    node.answers[ACTIVE] = (3, "inactive\n", "")
    assert audit.Window(node, "auditd").source == "auditd"
