"""A window on the kernel's denials that loses records, or never had the canary in it."""

import shlex
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit import audit_sources
from docker_lxc_gate.facts.audit.audit_sources import AuditState
from docker_lxc_gate.facts.audit.audit_window import Subject, Unwatched, Window
from docker_lxc_gate.machines.child import Hold
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from docker_lxc_gate.machines.transport import Command
from tests.doubles.apparmor.denials import canary
from tests.doubles.canned import Answer, Machine
from tests.doubles.naming import naming
from tests.doubles.scripted import by_name

LOG = "/var/log/audit/audit.log"
DENIED = 'apparmor="DENIED" operation="mount" profile="lxc-phoenix-v2" pid=7'
REFUSED = "No such file or directory"
#: Of container 950: its root is 100000 on the node. The user's ids are in two ranges, as where one
#: of the node's is given to the container.
RANGES = frozenset({("u", 100000, 1000), ("u", 101000, 64536), ("g", 100000, 65536)})
OURS = Subject("lxc-phoenix-v2", RANGES)
#: A node's audit, with auditd and without.
STATE, ALONE = AuditState(4, 383, "auditd", "S"), AuditState(4, 383, "", "S")


class Node(Machine):
    """A node whose kernel records what is provoked there, unless told otherwise.

    ``heard`` are the kernel's records.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state = STATE
        self.unreadable: Answer | None = None
        self.recorded, self.allowed, self.perl, self.logs, self.held = True, False, True, True, 0
        self.trips, self.canaries, self.heard = 0, list[str](), ""

    def say(self, *lines: str) -> None:
        """Let the kernel record something."""
        self.heard += "".join(f"{line}\n" for line in lines)

    def execute(self, command: Command) -> CommandResult:
        self.trips += 1
        answer = self._answer(list(by_name(command.words)))
        if answer is None:
            return super().execute(command)
        return Machine(answers={shlex.join(command.words): answer}).execute(command)

    def _answer(self, words: list[str]) -> Answer | None:
        match words:
            case ["perl", "state"]:
                return self.unreadable or self._asked()
            case ["perl", "canary", name]:
                self.canaries.append(name)
                if self.recorded:
                    self.say(canary(name))
                return f"{'allowed' if self.allowed else 'refused'}: {REFUSED}\n"
            case ["cat", "--", path] if path.startswith("/run/"):
                return self.heard
            case ["grep", "-asqF", nonce, *logs]:
                assert logs == [LOG, f"{LOG}.1"]
                return "" if self.logs and nonce in self.heard else (1, "", "")
        return None

    def _asked(self) -> str:
        now = self.state
        lines = [f"lost {now.lost}", f"reader {now.reader}", *(f"rule {r}" for r in now.rules)]
        lines += [f"process {now.status} {now.name}"] * bool(now.name)
        return "".join(f"{line}\n" for line in lines)

    def becomes(self, **changes: object) -> None:
        """Let the audit's state be another one from now on."""
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]

    def hold(self, argv: Sequence[str], word: str) -> Hold:
        *_, script, task, path = argv
        assert (argv[0], task) == ("perl", "notes")
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


def opened(**more: Any) -> tuple[Node, Window]:
    node = Node()
    return node, Window(node, **more)


def test_close_after_somebody_repeats_the_openings_canary_returns_all_denials() -> None:
    """A user of the node reads its nonce in ps."""
    node, window = opened()
    hidden = f'apparmor="DENIED" operation="mount" name="/{node.canaries[0]}"'
    repeated = f'apparmor="DENIED" operation="x" name="{node.canaries[0]}"'
    node.say(f"{DENIED} n=1", hidden, repeated)
    assert [each.line for each in window.close()] == [f"{DENIED} n=1", hidden]


def test_close_after_a_gap_is_undetermined_and_has_the_denials_before_it() -> None:
    node, window = opened()
    node.say("one", audit_sources.GAP)
    with pytest.raises(Unwatched) as raised:
        window.close()
    assert raised.value.denials == ()
    assert node.held == 0
    window = Window(node)
    node.say(DENIED, DENIED, audit_sources.GAP)
    named = f'{DENIED} name="/tmp/canary/x"'
    node.heard = f"{named}\n{node.heard}"
    with naming(Unwatched, "3 others", 'operation="mount"') as raised:
        window.close()
    assert [each.line for each in raised.value.denials] == [named, DENIED, DENIED]


def test_window_on_a_kernel_that_cannot_be_read_is_undetermined() -> None:
    node = Node()
    node.perl = False
    with naming(FactError, "pve1", "Operation not permitted"):
        Window(node)
    assert node.held == 0


def test_log_is_auditds_if_that_takes_the_records_and_must_have_the_canary() -> None:
    node, window = opened()
    assert window.log == "auditd"
    node.becomes(name="auditbeat")
    other = Window(node)
    assert other.log == "kernel"
    node.becomes(name="auditd")
    window.require_logged()
    node.logs = False
    other.require_logged()
    with naming(Unwatched, f"did not come from {LOG}", "pve1", REFUSED):
        window.require_logged()
    node.becomes(status="T")
    with naming(Unwatched, "auditd", "process 383", "pve1", "kill -CONT 383"):
        window.require_logged()


@pytest.mark.parametrize(
    ("rule", "subject", "hides"),
    [
        ("-F msgtype=AVC -F uid=100000", OURS, True),
        ("-F auid=1000", OURS, True),
        ("-F uid=165535", OURS, True),
        ("-F uid!=33", OURS, True),
        ("-F gid=100999", OURS, True),
        ("-F msgtype>=1300", OURS, True),
        ("-F msgtype=CONFIG_CHANGE", OURS, True),
        ("-F uid=33", Subject(), True),
        ("-F uid=33", OURS, False),
        ("-F msgtype=CWD", OURS, False),
        ("-F msgtype=AVC -F uid=165536", OURS, False),
        ("-F gid=99999", OURS, False),
    ],
)
def test_close_with_a_rule_that_may_hide_the_container_is_undetermined_and_else_quiet(
    rule: str, subject: Subject, hides: bool
) -> None:
    written = f"-a always,exclude {rule}"
    named = (f"'{written}'", f"auditctl -d {written[3:]}")
    for at_the_end in (False, True):
        node = Node()
        node.becomes(rules=() if at_the_end else (written,))
        window = Window(node, subject=subject)
        node.becomes(rules=(written,) if at_the_end else ())
        with naming(Unwatched, *named) if hides else nullcontext():
            assert window.close() == []


@pytest.mark.parametrize(
    ("first", "then", "named"),
    [
        ({"recorded": False}, {}, ("the kernel", "pve1", REFUSED)),
        ({"recorded": False}, {"recorded": True}, ("opened", "pve1")),
        ({}, {"allowed": True}, ("canary", "pve1")),
        ({}, {"held": 0}, ()),  # its program has ended
        ({}, {"unreadable": (1, "", "you must be root")}, ("pve1", "you must be root")),
        ({}, {"state": replace(STATE, lost=5)}, ("lost 1 audit record",)),
        ({}, {"state": replace(STATE, lost=0)}, ("4 to 0", "auditctl --reset-lost")),
        ({"state": ALONE}, {"state": replace(ALONE, lost=5)}, ("lost 1 audit record", "audit=1")),
    ],
)
def test_close_without_both_canaries_and_a_true_count_is_undetermined(
    first: dict[str, Any], then: dict[str, Any], named: tuple[str, ...]
) -> None:
    node = Node()
    vars(node).update(first)
    window = Window(node, subject=OURS)
    vars(node).update(then)
    with naming(Unwatched, *named or ["pve1"]):
        window.close()
    assert node.held == 0


def change(words: str, result: int = 1) -> str:
    return f"changed audit(1.1:5): {words} auid=0 ses=1 subj=unconfined res={result}"


POLICY = (
    'policy audit(1.1:5): apparmor="STATUS" operation="profile_replace" '
    'profile="unconfined" name="lxc-phoenix-v2" pid=7 comm="apparmor_parser"'
)


@pytest.mark.parametrize(
    ("remark", "named"),
    [
        ("changed audit(1.1:5): op=set lost=0 old=269 auid=0 res=1", "269 to 0"),
        (change("op=add_rule key=(null) list=5"), "op=add_rule"),
        (change("op=set audit_enabled=0 old=1"), "audit_enabled=0"),
        (change("op=unknown x"), "op=unknown"),
        (POLICY, "the profile lxc-phoenix-v2 "),
        (POLICY.replace("-v2", "-v2//wide"), "the profile lxc-phoenix-v2//wide "),
        ("parameter audit normal quiet", "audit = quiet"),
        (change("op=set audit_pid=0 old=383"), ""),  # auditd ends: the kernel is heard all the same
        (change("op=add_rule key=(null) list=4"), ""),
        (change("op=add_rule key=(null) list=5", 0), ""),  # it was not taken
        (change("op=set audit_enabled=1 old=1"), ""),
        (change("op=set lost=0 old=0"), ""),
        (POLICY.replace("lxc-phoenix-v2", "lxc-other"), ""),
        (POLICY.replace(" profile=", ' info="same as current profile, skipping" p='), ""),
        (POLICY.replace(' name="lxc-phoenix-v2"', ""), ""),
    ],
)
def test_close_after_a_remark_fails_if_it_may_hide_one(remark: str, named: str) -> None:
    for subject in (OURS,) if named else (OURS, Subject()):
        node, window = opened(subject=subject)
        node.say(f"{audit_sources.REMARK}{remark}")
        with naming(Unwatched, named) if named else nullcontext():
            assert window.close() == []


def test_close_of_ten_thousand_denials_takes_few_round_trips_and_no_time() -> None:
    node, window = opened(subject=OURS)
    assert node.trips == 2  # the state, the canaries; and one process is held
    node.say(*(f"audit(1.5:{n}): {DENIED}" for n in range(10_000)))
    begun = time.process_time()
    assert len(window.close()) == 10_000
    assert time.process_time() - begun < 15
    assert node.trips <= 5
