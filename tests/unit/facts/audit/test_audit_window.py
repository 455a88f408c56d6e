"""A window on a log that rotates, loses records, moves, or never had the canary in it."""

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import stamina

from docker_lxc_gate.facts.audit import audit_sources, audit_window
from docker_lxc_gate.facts.audit.audit_sources import AuditState
from docker_lxc_gate.facts.audit.audit_window import Unwatched
from docker_lxc_gate.facts.audit.canary import Subject
from docker_lxc_gate.machines.child import Hold
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from docker_lxc_gate.machines.transport import Command
from tests.doubles.apparmor.denials import canary
from tests.doubles.canned import Answer, Machine
from tests.doubles.naming import naming
from tests.doubles.scripted import by_name

LOG = "/var/log/audit/audit.log"
DENIED = 'type=AVC apparmor="DENIED" operation="mount" profile="lxc-phoenix-v2" pid=7'
REFUSED = "No such file or directory"
FIND = "find /var/log/audit -name 'audit.log*' -printf '%i %p\\n'"
#: Of container 950: its root is 100000 on the node.
#: The user's ids are in two ranges, as where one of the node's is given to the container.
RANGES = frozenset({("u", 100000, 1000), ("u", 101000, 64536), ("g", 100000, 65536)})
OURS = Subject(100000, 100000, "lxc-phoenix-v2", RANGES)


def denials(path: str, inode: int, first_byte: int = 1) -> str:
    return shlex.join(["sh", "denials", path, str(first_byte), str(inode), ""])


class Node(Machine):
    """A node that logs what is provoked there, unless told otherwise.

    ``text`` is auditd's log, ``heard`` what the kernel tells; ``silent`` are the attempts that
    neither of them shows.
    """

    def __init__(self, source: str = "auditd") -> None:
        super().__init__()
        self.state = AuditState(4)
        if source == "auditd":
            self.state = AuditState(4, 383, "auditd", "S", "1495", "11", 4)
        self.told: Answer | None = None
        self.logged, self.allowed, self.perl, self.held = True, False, True, 0
        self.silent: tuple[str, ...] = ()
        self.trips, self.nonces = 0, list[str]()
        self.text, self.heard, self.rotated = "old\n", "", list[str]()

    def say(self, *lines: str) -> None:
        """Let the kernel tell of something, to auditd and to us."""
        for line in lines:
            self.text += f"{line}\n"
            self.heard += f"{line}\n"

    def execute(self, command: Command) -> CommandResult:
        self.trips += 1
        argv = command.words
        if shlex.join(by_name(argv)) not in self.answers and argv[-1] not in self.files:
            answer = self._said(list(argv))
            if answer is not None:
                return Machine(answers={shlex.join(argv): answer}).execute(command)
        return super().execute(command)

    def _said(self, words: list[str]) -> Answer | None:
        logs = {LOG: self.text} | {f"{LOG}.{n}": t for n, t in enumerate(self.rotated, 1)}
        match words:
            case ["sh", "-c", _, "provoke", nonce, uid, _gid, profile, _attempts]:
                self.nonces.append(nonce)
                return self._provoked(nonce, uid, profile)
            case ["sh", "-c", _, "audit", path, _]:
                assert path == LOG
                return self.told or self._asked()
            case ["find", "/var/log/audit", "-name", "audit.log*", "-printf", "%i %p\\n"]:
                return "".join(f"{11 + len(logs) - n} {f}\n" for n, f in enumerate(logs, 1))
            case ["sh", "-c", _, "denials", path, start, _, _]:
                rest = logs[path][int(start) - 1 :].splitlines(keepends=True)
                wanted = ('apparmor="DENIED"', "type=DAEMON_", "type=CONFIG_CHANGE")
                return "".join(line for line in rest if any(each in line for each in wanted))
            case ["cat", "--", path] if path.startswith("/run/"):
                return self.heard
        return None

    def _provoked(self, nonce: str, uid: str, profile: str) -> Answer:
        attempts = ["profile"] * bool(profile) + ["user"] * (uid != "0") + ["root"]
        for each in attempts:
            if self.logged and each not in self.silent:
                self.say(canary(nonce + each))
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
        assert (perl, log) == ("perl", LOG)
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


def opened(source: str = "auditd", **more: Any) -> tuple[Node, audit_window.Window]:
    node = Node(source)
    return node, audit_window.Window(node, **more)


SOURCES = pytest.mark.parametrize("source", ["auditd", "kernel"])


@SOURCES
def test_new_denials_and_close_return_the_denials_of_the_window(source: str) -> None:
    node, window = opened(source)
    assert window.source == source
    node.say(f"{DENIED} n=1", f"{DENIED} n=2")
    assert [each.fields["n"] for each in window.new_denials()] == ["1", "2"]
    assert window.new_denials() == []
    node.say(f"{DENIED} n=3")
    assert [each.fields["n"] for each in window.new_denials()] == ["3"]
    assert [each.line for each in window.close()] == [f"{DENIED} n={n}" for n in (1, 2, 3)]
    assert node.held == 0


@SOURCES
def test_close_after_somebody_repeats_the_openings_canary_returns_all_denials(source: str) -> None:
    """A user of the node reads its nonce in ps."""
    node, window = opened(source)
    hidden = f'apparmor="DENIED" operation="mount" name="/{node.nonces[0]}root"'
    repeated = f'apparmor="DENIED" operation="x" name="{node.nonces[0]}root"'
    node.say(f"{DENIED} n=1", hidden, repeated)
    assert [each.line for each in window.close()] == [f"{DENIED} n=1", hidden]


def test_close_after_rotations_returns_all_denials() -> None:
    node, window = opened()
    for number in range(3):
        node.say(f"{DENIED} n={number}")
        node.rotate()
        node.becomes(inode=str(12 + number), size=0)
    assert [each.line for each in window.close()] == [f"{DENIED} n={n}" for n in range(3)]


@pytest.mark.parametrize(
    ("rotations", "line", "answer", "error", "named"),
    [
        (3, denials(f"{LOG}.1", 13), (2, "", "No such file"), Unwatched, f"{LOG}.1"),
        (0, FIND, f"12 {LOG}\n", Unwatched, "removed"),
        # logrotate's dates: what came in between cannot be told by them.
        (0, FIND, f"12 {LOG}\n11 {LOG}-20261126\n", Unwatched, f"{LOG}-20261126"),
        (0, FIND, (1, "", "it is gone"), CommandFailed, "it is gone"),
        (0, denials(LOG, 11, 5), (1, "", "it is gone"), Unwatched, "it is gone"),
    ],
)
def test_close_without_a_part_of_the_window_is_undetermined(
    rotations: int, line: str, answer: Answer, error: type[Exception], named: str
) -> None:
    node, window = opened()
    for _ in range(rotations):
        node.rotate()
    node.answers[line] = answer
    with naming(error, named):
        window.close()


@SOURCES
def test_close_without_its_own_canary_is_undetermined(source: str) -> None:
    node = Node(source)
    node.logged = False
    window = audit_window.Window(node)
    whence = {"auditd": LOG, "kernel": "the kernel"}[source]
    with naming(Unwatched, whence, "pve1", REFUSED):
        window.close()


def test_close_with_a_canary_that_is_allowed_is_undetermined() -> None:
    node, window = opened()
    node.allowed = True
    with naming(Unwatched, "canary", "pve1"):
        window.close()
    assert node.held == 0


def test_window_beside_another_has_its_own_canary() -> None:
    node = Node()
    first, second = audit_window.Window(node), audit_window.Window(node)
    assert len(set(node.nonces)) == 2
    first.end()
    second.end()


def test_close_after_an_auditd_was_started_returns_what_the_kernel_told() -> None:
    node, window = opened("kernel")
    node.say(DENIED, f"{audit_sources.REMARK}changed audit(1.0:2): op=set audit_pid=9 old=0 res=1")
    node.becomes(reader=9, name="auditd", status="S", started="9")
    assert [each.line for each in window.close()] == [DENIED]


def test_end_of_a_window_ends_its_process_on_the_node() -> None:
    node, window = opened("kernel")
    window.end()
    assert node.held == 0
    audit_window.Window(Node()).end()


def test_close_after_a_gap_is_undetermined_and_has_the_denials_before_it() -> None:
    node, window = opened("kernel")
    node.say("one", audit_sources.GAP)
    with pytest.raises(Unwatched) as raised:
        window.close()
    assert raised.value.denials == ()
    assert node.held == 0
    window = audit_window.Window(node)
    node.say(DENIED, DENIED, audit_sources.GAP)
    named = f'{DENIED} name="/tmp/canary/x"'
    node.heard = f"{named}\n{node.heard}"
    with naming(Unwatched, "3 others", 'operation="mount"') as raised:
        window.close()
    assert [each.line for each in raised.value.denials] == [named, DENIED, DENIED]


def test_new_denials_of_a_program_that_has_ended_are_undetermined() -> None:
    node, window = opened("kernel")
    node.held = 0
    with naming(Unwatched, "pve1"):
        window.new_denials()


@pytest.mark.parametrize(
    ("source", "perl", "state", "named"),
    [
        ("kernel", False, {}, ("Operation not permitted",)),
        ("auditd", True, {"inode": "", "size": 0}, ("auditd", LOG)),
        ("auditd", True, {"status": "T"}, ("auditd", "process 383", "kill -CONT 383")),
    ],
)
def test_window_on_a_log_that_cannot_be_read_is_undetermined(
    source: str, perl: bool, state: dict[str, object], named: tuple[str, ...]
) -> None:
    node = Node(source)
    node.perl = perl
    node.becomes(**state)
    with naming(Unwatched, "pve1", *named):
        audit_window.Window(node)
    assert node.held == 0


def test_window_source_is_the_users_before_what_is_found() -> None:
    assert audit_window.Window(Node(), "kernel").source == "kernel"
    node = Node()
    node.becomes(reader=0, name="")
    assert audit_window.Window(node, "auditd").source == "auditd"
    assert audit_window.Window(node).source == "kernel"
    node.becomes(reader=383, name="auditbeat")  # another program takes the records
    assert audit_window.Window(node).source == "kernel"


@SOURCES
@pytest.mark.parametrize(
    ("rule", "subject", "hides"),
    [
        ("-F msgtype=AVC -F uid=100000", OURS, True),
        ("-F msgtype=1400", OURS, True),
        ("-F auid=1000", OURS, True),
        ("-F uid=165535", OURS, True),
        ("-F uid!=33", OURS, True),
        ("-F gid=100999", OURS, True),
        ("-F msgtype>=1300", OURS, True),
        ("-F msgtype=CONFIG_CHANGE", OURS, True),
        ("-F subj_role=lxc-phoenix-v2", OURS, True),
        ("-F uid=33", Subject(), True),
        ("-F uid=33", OURS, False),
        ("-F msgtype=CWD", OURS, False),
        ("-F msgtype=AVC -F uid=165536", OURS, False),
        ("-F gid=99999", OURS, False),
    ],
)
def test_close_with_a_rule_that_may_hide_the_container_is_undetermined_and_else_quiet(
    source: str, rule: str, subject: Subject, hides: bool
) -> None:
    written = f"-a always,exclude {rule}"
    named = (f"'{written}'", f"auditctl -d {written[3:]}")
    for at_the_end in (False, True):
        node = Node(source)
        node.becomes(rules=() if at_the_end else (written,))
        window = audit_window.Window(node, subject=subject)
        node.becomes(rules=(written,) if at_the_end else ())
        with naming(Unwatched, *named) if hides else nullcontext():
            assert window.close() == []


@SOURCES
@pytest.mark.parametrize(
    ("silent", "named"),
    [("user", "user 100000"), ("profile", "the profile lxc-phoenix-v2"), ("root", "a denial")],
)
def test_close_without_a_canary_at_either_end_fails(source: str, silent: str, named: str) -> None:
    node = Node(source)
    node.silent = (silent,)
    window = audit_window.Window(node, subject=OURS)
    node.silent = ()
    with naming(Unwatched, named, "opened"):
        window.close()
    if silent == "root":  # of the end it is waited for: see above
        return
    node, window = opened(source, subject=OURS)
    node.silent = (silent,)
    with naming(Unwatched, named, "closed"):
        window.close()


@pytest.mark.parametrize(
    ("source", "changes", "named"),
    [
        ("auditd", {"reader": 901, "started": "99999"}, ("process 383", "process 901")),
        ("auditd", {"started": "99999"}, ("process 383",)),
        ("auditd", {"reader": 0, "name": "", "started": ""}, ("process 383", "process 0")),
        ("auditd", {"status": "T"}, ("process 383", "pve1", "kill -CONT 383")),
        ("auditd", {"inode": ""}, (f"{LOG} was removed",)),
        ("auditd", {"size": 3}, (LOG, "4 to 3")),
        ("auditd", {"lost": 5}, ("lost 1 audit record",)),
        ("auditd", {"lost": 0}, ("4 to 0", "auditctl --reset-lost")),
        ("kernel", {"lost": 5}, ("lost 1 audit record", "audit=1")),
    ],
)
def test_close_where_the_audit_is_in_another_state_is_undetermined(
    source: str, changes: dict[str, object], named: tuple[str, ...]
) -> None:
    node, window = opened(source)
    node.becomes(**changes)
    with naming(Unwatched, *named):
        window.close()


def test_close_without_a_true_count_of_lost_records_is_undetermined() -> None:
    node, window = opened()
    node.told = (1, "", "you must be root")
    with naming(Unwatched, "pve1", "you must be root"):
        window.close()


def change(words: str, result: int = 1) -> str:
    return f"audit(1.1:5): {words} auid=0 ses=1 subj=unconfined res={result}"


DAEMON = "type=DAEMON_CONFIG msg=audit(1.1:7): op=reconfigure state=changed auid=0 res=success"
POLICY = (
    'policy audit(1.1:5): apparmor="STATUS" operation="profile_replace" '
    'profile="unconfined" name="lxc-phoenix-v2" pid=7 comm="apparmor_parser"'
)


@pytest.mark.parametrize(
    ("source", "remark", "named"),
    [
        ("auditd", "reader 383 0", "process 383"),
        ("auditd", "reader 383", "process unknown"),
        ("auditd", "shrank 383", "to unknown bytes"),
        ("auditd", "shrank 900 0", f"{LOG} was cut in the window, from 900 to 0"),
        ("auditd", "reset 269 0", "269 to 0"),
        ("auditd", "changed audit(1.1:5): op=set lost=0 old=269 auid=0 res=1", "269 to 0"),
        *(
            (source, remark, named)
            for source in ("auditd", "kernel")
            for remark, named in (
                (f"changed {change('op=add_rule key=(null) list=5')}", "op=add_rule"),
                (f"changed {change('op=set audit_enabled=0 old=1')}", "audit_enabled=0"),
                (f"changed {change('op=unknown x')}", "op=unknown"),
                (POLICY, "the profile lxc-phoenix-v2 "),
                (POLICY.replace("-v2", "-v2//wide"), "the profile lxc-phoenix-v2//wide "),
                ("parameter audit normal quiet", "audit = quiet"),
            )
        ),
    ],
)
def test_close_after_a_remark_that_may_hide_one_fails(source: str, remark: str, named: str) -> None:
    node, window = opened(source, subject=OURS)
    node.heard += f"{audit_sources.REMARK}{remark}\n"
    with naming(Unwatched, named):
        window.close()


@pytest.mark.parametrize(
    "line",
    [
        *(DAEMON, f"node=pve1 {DAEMON}", DAEMON.replace("CONFIG", "END")),
        f"type=CONFIG_CHANGE msg={change('op=remove_rule key=(null) list=5')}",
    ],
)
def test_close_after_a_record_of_auditds_that_may_hide_one_is_undetermined(line: str) -> None:
    node = Node()
    node.perl = False
    window = audit_window.Window(node)
    node.text += f"{line}\n"
    with naming(Unwatched, line):
        window.close()


@pytest.mark.parametrize(
    ("source", "remark"),
    [
        ("kernel", "reader 383 0"),
        ("auditd", f"changed {change('op=add_rule key=(null) list=4')}"),
        ("auditd", f"changed {change('op=add_rule key=(null) list=5', 0)}"),  # it was not taken
        ("auditd", f"changed {change('op=set audit_enabled=1 old=1')}"),
        ("auditd", f"changed {change('op=set lost=0 old=0')}"),
        ("auditd", POLICY.replace("lxc-phoenix-v2", "lxc-other")),
        ("auditd", POLICY.replace(" profile=", ' info="same as current profile, skipping" p=')),
        ("auditd", POLICY.replace(' name="lxc-phoenix-v2"', "")),
    ],
)
def test_close_after_a_remark_that_hides_nothing_is_quiet(source: str, remark: str) -> None:
    for subject in (OURS, Subject()):
        node, window = opened(source, subject=subject)
        node.heard += f"{audit_sources.REMARK}{remark}\n"
        if remark.startswith("changed "):
            node.text += f"type=CONFIG_CHANGE msg={remark.removeprefix('changed ')}\n"
        node.text += "type=DAEMON_ROTATE msg=audit(1.1:9): op=rotate-logs auid=0 res=success\n"
        assert window.close() == []


EVENT = 'audit(1.5:77): apparmor="DENIED" operation="mount" profile="lxc-phoenix-v2" pid=7'


def test_close_of_two_sources_that_agree_returns_each_denial_once() -> None:
    node, window = opened()
    node.heard += f"{EVENT}\n{EVENT} x\n"
    node.text += f"type=AVC msg={EVENT}\ntype=AVC msg={EVENT} x\n"
    assert len(window.close()) == 2


@pytest.mark.parametrize(
    ("heard", "logged", "named"), [(2, 1, f"not in {LOG}"), (0, 1, "not reported by the kernel")]
)
def test_close_of_two_sources_that_differ_has_denials(heard: int, logged: int, named: str) -> None:
    node, window = opened()
    node.heard += f"{EVENT}\n" * heard
    node.text += f"type=AVC msg={EVENT}\n" * logged
    with naming(Unwatched, "1 denial", named, 'operation="mount"') as raised:
        window.close()
    assert [each.profile for each in raised.value.denials] == ["lxc-phoenix-v2"]


def test_close_without_the_kernels_own_records_goes_by_the_log() -> None:
    node = Node()
    node.perl = False
    window = audit_window.Window(node, subject=OURS)
    assert "audit cannot be read on pve1" in window.kernel_unreadable
    node.text += f"{DENIED}\n"
    assert [each.line for each in window.close()] == [DENIED]


def test_close_of_ten_thousand_denials_takes_few_round_trips_and_no_time() -> None:
    node, window = opened(subject=OURS)
    assert node.trips == 2  # the state, the canaries; and one process is held
    events = [EVENT.replace(":77", f":{n}") for n in range(10_000)]
    node.heard += "".join(f"{event}\n" for event in events)
    node.text += "".join(f"type=AVC msg={event}\n" for event in events)
    begun = time.process_time()
    assert len(window.close()) == 10_000
    assert time.process_time() - begun < 15
    assert node.trips <= 7
