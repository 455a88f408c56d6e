"""A window on a log that rotates, loses records, moves, or never had the canary in it."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import stamina

from facts import audit_netlink, audit_window, canary
from facts.audit_netlink import State
from facts.canary import Subject
from targets.errors import CommandFailed
from targets.transport import CommandResult, Local
from tests.doubles.canned import Answer, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from targets.transport import Hold

LOG = "/var/log/audit/audit.log"
DENIED = 'type=AVC apparmor="DENIED" operation="mount" profile="lxc-phoenix-v2" pid=7'
REFUSED = "No such file or directory"
FIND = "find /var/log/audit -name 'audit.log*' -printf '%i %p\\n'"
#: Of container 950: its root is 100000 on the node.
#: The user's ids are in two ranges, as where one of the node's is given to the container.
RANGES = frozenset({("u", 100000, 1000), ("u", 101000, 64536), ("g", 100000, 65536)})
OURS = Subject(100000, 100000, "lxc-phoenix-v2", RANGES)


def denials(path: str, first_byte: int = 1) -> str:
    return shlex.join(["sh", "-c", audit_window._DENIALS, "denials", path, str(first_byte)])


class Node(Machine):
    """A node that logs what is provoked there, unless told otherwise.

    ``text`` is auditd's log, ``heard`` what the kernel tells; ``silent`` are the attempts that
    neither of them shows.
    """

    def __init__(self, source: str = "auditd") -> None:
        super().__init__()
        self.state = State(4)
        if source == "auditd":
            self.state = State(4, 383, "auditd", "S", "1495", "11", 4)
        self.told: Answer | None = None
        self.logged, self.allowed, self.perl, self.held = True, False, True, 0
        self.silent: tuple[str, ...] = ()
        self.trips = 0
        self.text, self.heard, self.rotated = "old\n", "", list[str]()

    def say(self, *lines: str) -> None:
        """Let the kernel tell of something, to auditd and to us."""
        for line in lines:
            self.text += f"{line}\n"
            self.heard += f"{line}\n"

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        self.trips += 1
        line, path = shlex.join(argv), argv[-1]
        if line not in self.answers and path not in self.files:
            answer = self._said(list(argv))
            if answer is not None:
                return Machine(answers={line: answer}).run(argv)
        return super().run(argv)

    def _said(self, words: list[str]) -> Answer | None:
        logs = {LOG: self.text} | {f"{LOG}.{n}": t for n, t in enumerate(self.rotated, 1)}
        match words:
            case ["sh", "-c", canary._PROVOKE, _, nonce, uid, _gid, profile, canary._ATTEMPTS]:
                return self._provoked(nonce, uid, profile)
            case ["sh", "-c", audit_netlink.ASK, _, path, audit_netlink.STATE]:
                assert path == LOG
                return self.told or self._asked()
            case ["find", "/var/log/audit", "-name", "audit.log*", "-printf", "%i %p\\n"]:
                return "".join(f"{11 + len(logs) - n} {f}\n" for n, f in enumerate(logs, 1))
            case ["sh", "-c", audit_window._DENIALS, "denials", path, start]:
                rest = logs[path][int(start) - 1 :].splitlines(keepends=True)
                wanted = ('apparmor="DENIED"', "type=DAEMON_", "type=CONFIG_CHANGE")
                return "".join(line for line in rest if any(each in line for each in wanted))
            case ["env", "LC_ALL=C", "cat", "--", path] if path.startswith("/run/"):
                return self.heard
        return None

    def _provoked(self, nonce: str, uid: str, profile: str) -> Answer:
        attempts = ["profile"] * bool(profile) + ["user"] * (uid != "0") + ["root"]
        for each in attempts:
            if self.logged and each not in self.silent:
                self.say(f'apparmor="DENIED" operation="x" name="{nonce}{each}"')
        how = "allowed" if self.allowed else "refused"
        return "".join(f"{each} {how}: {REFUSED}\n" for each in attempts)

    def _asked(self) -> str:
        now = self.state
        lines = [f"lost {now.lost}", f"reader {now.reader}", *(f"rule {r}" for r in now.rules)]
        lines += [f"process {now.status} {now.started} {now.name}"] * bool(now.name)
        lines += [f"log {now.inode} {now.size}"] * bool(now.inode)
        return "".join(f"{line}\n" for line in lines)

    def becomes(self, **changes: object) -> None:
        """Let the audit's state be another one from now on."""
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]

    def hold(self, argv: Sequence[str], word: str) -> Hold:
        perl, _, _, script, path, log = argv
        assert (perl, script, log) == ("perl", audit_netlink._NOTE, LOG)
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
        self.held = max(self.held - 1, 0)

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
    window = audit_window.Window(node)
    assert window.source == source
    node.say(f"{DENIED} n=1", f"{DENIED} n=2")
    assert [each.fields["n"] for each in window.news()] == ["1", "2"]
    assert window.news() == []
    node.say(f"{DENIED} n=3")
    assert [each.fields["n"] for each in window.news()] == ["3"]
    assert [each.line for each in window.close()] == [f"{DENIED} n={n}" for n in (1, 2, 3)]
    assert node.held == 0


def test_a_denial_before_the_window_is_not_of_it() -> None:
    node = Node()
    node.text = f"{DENIED}\n"
    node.becomes(size=len(node.text))
    window = audit_window.Window(node)
    node.say(f"{DENIED} x")
    assert [each.line for each in window.close()] == [f"{DENIED} x"]


def test_a_quiet_window_is_quiet() -> None:
    assert audit_window.Window(Node()).close() == []


def test_through_rotations() -> None:
    node = Node()
    window = audit_window.Window(node)
    for number in range(3):
        node.say(f"{DENIED} n={number}")
        node.rotate()
        node.becomes(inode=str(12 + number), size=0)
    assert [each.line for each in window.close()] == [f"{DENIED} n={n}" for n in range(3)]


def test_a_part_of_the_window_that_is_gone() -> None:
    node = Node()
    window = audit_window.Window(node)
    for _ in range(3):
        node.rotate()
    node.answers[denials(f"{LOG}.1")] = (2, "", "No such file")
    with pytest.raises(
        audit_window.Unwatched, match=r"audit\.log\.1, a part of the window, cannot be read"
    ):
        window.close()


def test_the_start_of_the_window_is_gone() -> None:
    node = Node()
    window = audit_window.Window(node)
    node.answers[FIND] = f"12 {LOG}\n"
    with pytest.raises(audit_window.Unwatched, match="start was rotated away or removed"):
        window.close()


def test_a_log_that_is_rotated_under_another_name_than_auditds() -> None:
    """logrotate's dates: what came in between cannot be told by them."""
    node = Node()
    window = audit_window.Window(node)
    node.answers[FIND] = f"12 {LOG}\n11 {LOG}-20261126\n"
    with pytest.raises(audit_window.Unwatched, match=rf"start was rotated to {LOG}-20261126"):
        window.close()


@SOURCES
def test_a_canary_that_is_not_logged(source: str) -> None:
    node = Node(source)
    node.logged = False
    window = audit_window.Window(node)
    whence = {"auditd": LOG, "kernel": "the kernel"}[source]
    said = f"did not come from {whence} of pve1 .* attempt said: .*{REFUSED}"
    with pytest.raises(audit_window.Unwatched, match=said):
        window.close()


def test_a_canary_that_is_not_refused() -> None:
    node = Node()
    window = audit_window.Window(node)
    node.allowed = True
    with pytest.raises(audit_window.Unwatched, match="the canary was not refused on pve1"):
        window.close()
    assert node.held == 0


def test_the_canaries_of_two_windows_differ() -> None:
    node = Node()
    first, second = audit_window.Window(node), audit_window.Window(node)
    assert first._opened.nonce != second._opened.nonce
    first.end()
    second.end()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            "lost 5\nreader 383\nprocess S 1495 auditd\nlog 11 4\n",
            "the kernel lost 1 audit records",
        ),
        ((1, "", "you must be root"), r"how many audit records were lost: .* on pve1: you must"),
    ],
)
def test_records_that_were_lost_or_not_counted(status: Answer, message: str) -> None:
    node = Node()
    window = audit_window.Window(node)
    node.told = status
    with pytest.raises(audit_window.Unwatched, match=message):
        window.close()


def test_what_the_kernel_counts_as_lost_where_it_waits_for_an_auditd() -> None:
    node = Node("kernel")
    window = audit_window.Window(node)
    node.becomes(lost=5)
    with pytest.raises(
        audit_window.Unwatched,
        match=r"lost 1 .*lost\); one booted with audit=1 counts .* queue that it keeps for an aud",
    ):
        window.close()


def test_an_auditd_that_comes_later_takes_nothing_away() -> None:
    node = Node("kernel")
    window = audit_window.Window(node)
    node.say(DENIED, f"{audit_netlink.REMARK}changed audit(1.0:2): op=set audit_pid=9 old=0 res=1")
    node.becomes(reader=9, name="auditd", status="S", started="9")
    assert [each.line for each in window.close()] == [DENIED]


def test_a_window_that_nobody_closes_is_ended() -> None:
    node = Node("kernel")
    window = audit_window.Window(node)
    window.end()
    assert node.held == 0
    audit_window.Window(Node()).end()


def test_of_a_log_only_the_denials_leave_the_node(tmp_path: Path) -> None:
    log, passed = tmp_path / "audit.log", "type=USER_CMD cmd=6D7973716C\n"
    log.write_bytes(f"{DENIED} n=1\n{passed}{DENIED} n=2\n\xff".encode("latin-1"))
    window = audit_window.Window(Node())
    window._node = Local()
    assert window._denied(str(log)) == f"{DENIED} n=1\n{DENIED} n=2\n"
    assert window._denied(str(log), len(DENIED) + 6) == f"{DENIED} n=2\n"
    log.write_text(passed)
    assert window._denied(str(log)) == ""
    log.unlink()
    with pytest.raises(audit_window.Unwatched, match=r"to its end: .*No such file"):
        window._denied(str(log))


@pytest.mark.parametrize("program", ["dd", "grep"])
def test_a_part_that_cannot_be_read_is_no_quiet_one(
    program: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stub = tmp_path / program
    stub.write_text("#!/bin/sh\necho broken >&2\nexit 2\n")
    stub.chmod(0o755)
    window = audit_window.Window(Node())
    window._node = Local()
    with pytest.raises(audit_window.Unwatched, match=r"to its end: .*Is a directory"):
        window._denied(str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(audit_window.Unwatched, match="cannot be read to its end: broken"):
        window._denied(str(stub))


def test_a_part_that_begins_behind_the_end_of_the_log_holds_nothing(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(f"{DENIED}\n")
    window = audit_window.Window(Node())
    window._node = Local()
    for first in (len(DENIED) + 2, len(DENIED) + 3, 1 << 40):
        assert window._denied(str(log), first) == ""
    log.write_text("type=USER_CMD msg='type=DAEMON_END type=CONFIG_CHANGE'\ntype=DAEMON_END x\n")
    assert window._denied(str(log)) == "type=DAEMON_END x\n"


def test_what_was_heard_before_a_gap_is_told() -> None:
    node = Node("kernel")
    window = audit_window.Window(node)
    node.say(DENIED, DENIED, audit_netlink.GAP)
    with pytest.raises(
        audit_window.Unwatched, match=r'the first of the 2 others: operation="mount" prof'
    ):
        window.close()


def test_more_records_than_could_be_read() -> None:
    node = Node("kernel")
    window = audit_window.Window(node)
    node.say("one", audit_netlink.GAP)
    with pytest.raises(
        audit_window.Unwatched, match=r"more in the window than could be read.* is not known$"
    ):
        window.close()
    assert node.held == 0


def test_records_that_nobody_notes_any_more() -> None:
    node = Node("kernel")
    window = audit_window.Window(node)
    node.held = 0
    with pytest.raises(
        audit_window.Unwatched, match="on pve1 the kernel's audit is not read any more"
    ):
        window.news()


def test_a_kernel_that_lets_nobody_read() -> None:
    node = Node("kernel")
    node.perl = False
    with pytest.raises(
        audit_window.Unwatched, match=r"audit cannot be read on pve1: .* not permitted"
    ):
        audit_window.Window(node)


def test_an_audit_log_that_cannot_be_read() -> None:
    node = Node()
    node.becomes(inode="", size=0)
    with pytest.raises(
        audit_window.Unwatched, match=r"go to auditd on pve1, but .*audit\.log cannot be"
    ):
        audit_window.Window(node)


@pytest.mark.parametrize(
    "line",
    [FIND, denials(LOG, 5)],
)
def test_a_log_that_cannot_be_read_any_more(line: str) -> None:
    node = Node()
    window = audit_window.Window(node)
    node.answers[line] = (1, "", "it is gone")
    with pytest.raises((CommandFailed, audit_window.Unwatched), match="it is gone"):
        window.close()


def test_the_users_word_counts_more_than_what_is_found() -> None:
    assert audit_window.Window(Node(), "kernel").source == "kernel"
    node = Node()
    node.becomes(reader=0, name="")
    assert audit_window.Window(node, "auditd").source == "auditd"
    assert audit_window.Window(node).source == "kernel"


def test_window_whose_records_another_program_takes_hears_the_kernel() -> None:
    node = Node()
    node.becomes(name="auditbeat")
    assert audit_window.Window(node).source == "kernel"


def doubt(window: audit_window.Window) -> str:
    with pytest.raises(audit_window.Unwatched) as raised:
        window.close()
    return str(raised.value)


RULE = "-a always,exclude -F msgtype=AVC -F uid=100000"


@SOURCES
@pytest.mark.parametrize(
    "rule",
    [
        RULE,
        "-a never,exclude -F msgtype=1400",
        "-a always,exclude -F auid=1000",
        "-a always,exclude -F uid=165535",
        "-a always,exclude -F uid!=33",
        "-a always,exclude -F gid=100999",
        "-a always,exclude -F msgtype>=1300",
        "-a always,exclude -F msgtype=CONFIG_CHANGE",
        "-a always,exclude -F subj_role=lxc-phoenix-v2",
    ],
)
def test_window_with_a_rule_that_may_hide_the_container_is_undetermined(
    source: str, rule: str
) -> None:
    for at_the_end in (False, True):
        node = Node(source)
        node.becomes(rules=() if at_the_end else (rule,))
        window = audit_window.Window(node, subject=OURS)
        node.becomes(rules=(rule,) if at_the_end else ())
        said = doubt(window)
        assert f"the rule '{rule}' (auditctl -l); remove it (auditctl -d {rule[3:]})" in said


@pytest.mark.parametrize(
    "rule",
    [
        "-a always,exclude -F msgtype=CWD",
        "-a always,exclude -F uid=33",
        "-a always,exclude -F msgtype=AVC -F uid=165536",
        "-a always,exclude -F gid=99999",
    ],
)
def test_window_with_a_rule_that_hides_nothing_of_the_container_is_quiet(rule: str) -> None:
    node = Node()
    node.becomes(rules=(rule,))
    assert audit_window.Window(node, subject=OURS).close() == []


def test_window_without_a_known_container_takes_every_users_rule_for_one_that_hides() -> None:
    node = Node()
    node.becomes(rules=("-a always,exclude -F uid=33",))
    assert "-F uid=33" in doubt(audit_window.Window(node))


@SOURCES
@pytest.mark.parametrize(
    ("silent", "words"),
    [
        ("user", "a denial of user 100000, the container's root, provoked on purpose"),
        ("profile", "a denial under the profile lxc-phoenix-v2 provoked on purpose"),
    ],
)
def test_window_without_the_containers_own_canary_is_undetermined(
    source: str, silent: str, words: str
) -> None:
    node = Node(source)
    node.silent = (silent,)
    said = doubt(audit_window.Window(node, subject=OURS))
    assert said.startswith(words)
    assert "when the window opened did not come from" in said


def test_window_whose_closing_canary_alone_is_missing_is_undetermined() -> None:
    node = Node()
    window = audit_window.Window(node, subject=OURS)
    node.silent = ("user",)
    assert "when the window closed did not come from" in doubt(window)


def test_window_without_any_canary_at_its_opening_is_undetermined() -> None:
    node = Node()
    node.silent = ("root",)
    window = audit_window.Window(node)
    node.silent = ()
    assert "a denial provoked on purpose when the window opened did not come" in doubt(window)


def test_window_of_a_suspended_auditd_names_it_and_what_to_do() -> None:
    node = Node()
    node.becomes(status="T")
    words = r"auditd \(process 383\) on pve1 is suspended, so .* go on with kill -CONT 383"
    with pytest.raises(audit_window.Unwatched, match=words):
        audit_window.Window(node)
    assert node.held == 0
    node = Node()
    window = audit_window.Window(node)
    node.becomes(status="T")
    assert "auditd (process 383) on pve1 is suspended" in doubt(window)


@pytest.mark.parametrize(
    ("changes", "now"),
    [
        ({"reader": 901, "started": "99999"}, "then process 901"),
        ({"started": "99999"}, "then process 383"),
        ({"reader": 0, "name": "", "started": ""}, "then process 0 (0: none)"),
    ],
)
def test_window_that_ends_with_another_auditd_is_undetermined(
    changes: dict[str, object], now: str
) -> None:
    node = Node()
    window = audit_window.Window(node)
    node.becomes(**changes)
    said = doubt(window)
    assert said.startswith("another auditd took the records in the window: process 383 at first, ")
    assert now in said


def test_window_in_which_nobody_took_the_records_for_a_while_is_undetermined() -> None:
    node = Node()
    window = audit_window.Window(node)
    node.heard += f"{audit_netlink.REMARK}reader 383 0\n{audit_netlink.REMARK}reader 0 383\n"
    assert "another auditd took the records in the window: process 383 at fir" in doubt(window)
    node = Node("kernel")
    window = audit_window.Window(node)
    node.heard += f"{audit_netlink.REMARK}reader 383 0\n"
    assert window.close() == []


DAEMON = "type=DAEMON_CONFIG msg=audit(1.1:7): op=reconfigure state=changed auid=0 res=success"


@pytest.mark.parametrize("line", [DAEMON, f"node=pve1 {DAEMON}", DAEMON.replace("CONFIG", "END")])
def test_window_in_which_auditd_was_reconfigured_is_undetermined(line: str) -> None:
    node = Node()
    window = audit_window.Window(node)
    node.text += f"{line}\n"
    assert doubt(window).startswith(
        f"auditd was started, stopped or reconfigured in the window: {line}"
    )


def change(words: str) -> str:
    return f"audit(1.1:5): {words} auid=0 ses=1 subj=unconfined res=1"


@SOURCES
@pytest.mark.parametrize(
    "words", ["op=add_rule key=(null) list=5", "op=set audit_enabled=0 old=1", "op=unknown x"]
)
def test_window_in_which_the_audit_was_reconfigured_is_undetermined(
    source: str, words: str
) -> None:
    node = Node(source)
    window = audit_window.Window(node)
    node.heard += f"{audit_netlink.REMARK}changed {change(words)}\n"
    assert doubt(window).startswith(
        "the kernel's audit was reconfigured in the window: changed aud"
    )


def test_window_of_a_log_that_has_a_change_of_the_audit_is_undetermined() -> None:
    node = Node()
    node.perl = False
    window = audit_window.Window(node)
    node.text += f"type=CONFIG_CHANGE msg={change('op=remove_rule key=(null) list=5')}\n"
    assert "the kernel's audit was reconfigured in the window: type=CONFIG_CHANGE" in doubt(window)


@pytest.mark.parametrize(
    "words",
    [
        "op=add_rule key=(null) list=4",
        "op=set audit_enabled=1 old=1",
        "op=set lost=0 old=0",
    ],
)
def test_window_in_which_nothing_that_hides_was_changed_is_quiet(words: str) -> None:
    node = Node()
    window = audit_window.Window(node)
    node.heard += f"{audit_netlink.REMARK}changed {change(words)}\n"
    node.text += f"type=CONFIG_CHANGE msg={change(words)}\n"
    node.text += "type=DAEMON_ROTATE msg=audit(1.1:9): op=rotate-logs auid=0 res=success\n"
    assert window.close() == []


def test_window_with_a_rule_that_was_not_taken_is_quiet() -> None:
    node = Node()
    window = audit_window.Window(node)
    line = change("op=add_rule key=(null) list=5").replace("res=1", "res=0")
    node.heard += f"{audit_netlink.REMARK}changed {line}\n"
    assert window.close() == []


POLICY = (
    f'{audit_netlink.REMARK}policy audit(1.1:5): apparmor="STATUS" operation="profile_replace" '
    'profile="unconfined" name="lxc-phoenix-v2" pid=7 comm="apparmor_parser"\n'
)


@pytest.mark.parametrize("name", ["lxc-phoenix-v2", "lxc-phoenix-v2//wide"])
@SOURCES
def test_window_in_which_the_profile_was_replaced_is_undetermined(source: str, name: str) -> None:
    node = Node(source)
    window = audit_window.Window(node, subject=OURS)
    node.heard += POLICY.replace("lxc-phoenix-v2", name)
    assert f"the profile {name} was replaced in the window (the kernel's profile_r" in doubt(window)


@pytest.mark.parametrize(
    "line",
    [
        POLICY.replace("lxc-phoenix-v2", "lxc-other"),
        POLICY.replace(" profile=", ' info="same as current profile, skipping" profile='),
        POLICY.replace(' name="lxc-phoenix-v2"', ""),
    ],
)
def test_window_in_which_another_or_no_other_policy_was_loaded_is_quiet(line: str) -> None:
    for subject in (OURS, Subject()):
        node = Node()
        window = audit_window.Window(node, subject=subject)
        node.heard += line
        assert window.close() == []


@SOURCES
def test_window_in_which_apparmor_was_told_otherwise_is_undetermined(source: str) -> None:
    node = Node(source)
    window = audit_window.Window(node, subject=OURS)
    remark = f"{audit_netlink.REMARK}parameter audit"
    node.heard += f"{remark} normal quiet\n{remark} quiet normal\n"
    said = doubt(window)
    assert "AppArmor was told in the window to go by audit = quiet, which was normal" in said


def test_window_of_a_log_that_was_cut_is_undetermined() -> None:
    node = Node()
    window = audit_window.Window(node)
    node.heard += f"{audit_netlink.REMARK}shrank 900 0\n"
    assert f"{LOG} was cut in the window, from 900 to 0 bytes" in doubt(window)
    node = Node()
    node.perl = False
    window = audit_window.Window(node)
    node.becomes(size=3)
    assert f"{LOG} was cut in the window, from 4 to 3 bytes" in doubt(window)
    node = Node()
    window = audit_window.Window(node)
    node.becomes(inode="")
    assert f"{LOG} is gone, which was there when the window opened" in doubt(window)


@pytest.mark.parametrize(
    "remark", ["reset 269 0", "changed audit(1.1:5): op=set lost=0 old=269 auid=0 res=1"]
)
def test_window_in_which_the_count_was_reset_is_undetermined(remark: str) -> None:
    node = Node()
    window = audit_window.Window(node)
    node.heard += f"{audit_netlink.REMARK}{remark}\n"
    assert "count of lost audit records was reset in the window, from 269 to 0" in doubt(window)


def test_window_with_a_lower_count_at_its_end_is_undetermined() -> None:
    node = Node()
    window = audit_window.Window(node)
    node.becomes(lost=0)
    assert "was reset in the window, from 4 to 0 (auditctl --reset-lost)" in doubt(window)


EVENT = 'audit(1.5:77): apparmor="DENIED" operation="mount" profile="lxc-phoenix-v2" pid=7'


def test_window_of_two_sources_that_agree_tells_each_denial_once() -> None:
    node = Node()
    window = audit_window.Window(node)
    node.heard += f"{EVENT}\n{EVENT} x\n"
    node.text += f"type=AVC msg={EVENT}\ntype=AVC msg={EVENT} x\n"
    assert len(window.close()) == 2


@pytest.mark.parametrize(
    ("heard", "logged", "words"),
    [
        (2, 1, f"1 denial(s) that the kernel reported are not in {LOG}, so one of the two cannot"),
        (0, 1, f"1 denial(s) in {LOG} were not reported by the kernel, so one of the two cannot"),
    ],
)
def test_window_of_two_sources_that_differ_is_undetermined_and_tells_its_denials(
    heard: int, logged: int, words: str
) -> None:
    node = Node()
    window = audit_window.Window(node)
    node.heard += f"{EVENT}\n" * heard
    node.text += f"type=AVC msg={EVENT}\n" * logged
    with pytest.raises(audit_window.Unwatched) as raised:
        window.close()
    assert str(raised.value).startswith(words)
    assert 'the first: operation="mount"' in str(raised.value)
    assert [each.profile for each in raised.value.denials] == ["lxc-phoenix-v2"]


def test_window_without_the_kernels_own_records_says_so_and_goes_by_the_log() -> None:
    node = Node()
    node.perl = False
    window = audit_window.Window(node, subject=OURS)
    assert "audit cannot be read on pve1" in window.unheard
    node.text += f"{DENIED}\n"
    assert [each.line for each in window.close()] == [DENIED]


def test_window_takes_few_round_trips() -> None:
    node = Node()
    window = audit_window.Window(node, subject=OURS)
    assert node.trips == 2  # the state, the canaries; and one process is held
    assert window.close() == []
    assert node.trips <= 7


def test_window_of_ten_thousand_denials_takes_no_more_round_trips_and_no_time() -> None:
    node = Node()
    window = audit_window.Window(node, subject=OURS)
    events = [EVENT.replace(":77", f":{n}") for n in range(10_000)]
    node.heard += "".join(f"{event}\n" for event in events)
    node.text += "".join(f"type=AVC msg={event}\n" for event in events)
    begun = time.monotonic()
    assert len(window.close()) == 10_000
    assert time.monotonic() - begun < 5
    assert node.trips <= 7
