"""Whether AppArmor made a unit fail: by the time, the log, and the unit's own words."""

from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import failed_units
from docker_lxc_gate.facts.audit import audit_records
from docker_lxc_gate.facts.failed_units import FailedUnit, Log
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from docker_lxc_gate.machines.transport import Command, Local
from tests.doubles.canned import Answer, Machine
from tests.doubles.naming import naming
from tests.doubles.samples import sample

LOG = "sh log"
SHOWN = sample("failed_units.txt")
MOUNT = FailedUnit("a.mount", 100.5, 101.0, frozenset({"mount"}), "/scratch")
SERVICE = FailedUnit("b.service", 100.0, 220.0, frozenset({"b-long-program-name", "sh"}))


class Systemd(Machine):
    """A machine whose systemd shows this of both units."""

    def __init__(self, shown: str) -> None:
        super().__init__({}, {"systemctl show -- a.mount b.service": shown})

    def execute(self, command: Command) -> CommandResult:
        argv = command.argv
        return super().execute(Command((*argv[:2], *argv[argv.index("--") :])))


def test_failed_units_have_times_programs_and_places() -> None:
    machine = Systemd(SHOWN)
    assert failed_units.failed(machine, {"b.service", "a.mount"}) == (MOUNT, SERVICE)
    assert SERVICE.seconds == 120.0


def test_failed_unit_that_is_started_again_has_the_time_of_its_program() -> None:
    run = (
        "SubState=auto-restart\nExecMainStartTimestamp=Thu 1970-01-01 00:01:30.000000 UTC\n"
        "ExecMainExitTimestamp=Thu 1970-01-01 00:01:31.000000 UTC\nId=b.service"
    )
    machine = Systemd(SHOWN.replace("Id=b.service", run))
    _, again = failed_units.failed(machine, {"b.service", "a.mount"})
    assert (again.began, again.ended) == (90.0, 91.0)


@pytest.mark.parametrize(
    "shown",
    [
        "",
        SHOWN.replace("Thu 1970-01-01 00:03:40.000000 UTC", ""),
        SHOWN.replace("Thu 1970-01-01 00:01:40.000000 UTC", "n/a"),
    ],
)
def test_failed_unit_without_a_time_is_an_error(shown: str) -> None:
    with pytest.raises(FactError):
        failed_units.failed(Systemd(shown), ["a.mount", "b.service"])


def record(when: float, **fields: str) -> str:
    said = " ".join(f'{key}="{value}"' for key, value in fields.items())
    return f'type=AVC msg=audit({when:.3f}:7): apparmor="DENIED" profile="p" {said}\n'


def log(answer: Answer) -> Log:
    return failed_units.log(Machine({}, {LOG: answer}))


def test_log_has_denials_gaps_turns_and_rules() -> None:
    said = log(
        "since 50.5\n"
        "type=DAEMON_START msg=audit(50.500:1): op=start\n"
        "type=DAEMON_END msg=audit(60.500:1): op=terminate\n"
        f"{record(100.6, operation='mount', name='/scratch/')}"
        "gap 70.25\n"
        "rule -a always,exclude -F msgtype=AVC\n"
        "rule -a always,exclude -F msgtype=CWD\n"
        "rule -a always,exclude -F uid=100000\n"
        "end\n"
    )
    assert (said.since, said.gaps) == (50.5, (70.25,))
    assert said.restarts == ((50.5, True), (60.5, False))
    assert said.rules == ("-a always,exclude -F msgtype=AVC", "-a always,exclude -F uid=100000")
    ((when, denial),) = said.denials
    assert (when, denial.fields["name"]) == (100.6, "/scratch/")


@pytest.mark.parametrize(
    "answer",
    [
        *("", "since 1.0\n", "end\n", "since \nend\n", "since [\nend\n", "since 1\ngap x\nend\n"),
        (1, "since 1.0\nend\n", "no such file"),
    ],
)
def test_log_that_cannot_be_read_is_an_error(answer: Answer) -> None:
    with pytest.raises(FactError):
        log(answer)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (Log(100.5), ""),
        (Log(100.6), "go back"),
        (Log(1.0, rules=("-a always,exclude",)), "-a always,exclude"),
        (Log(1.0, gaps=(100.4, 102.1)), ""),
        (Log(1.0, gaps=(100.5,)), "lost"),
        (Log(1.0, restarts=((100.0, True), (99.0, False))), ""),
        (Log(1.0, restarts=((101.5, False),)), ""),
        (Log(1.0, restarts=((99.0, True), (100.0, False))), "auditd"),
        (Log(1.0, restarts=((100.5, True),)), "auditd"),
    ],
)
def test_gap_cause_in_a_units_time_names_what_may_hide_a_denial(said: Log, named: str) -> None:
    found = said.gap_cause(MOUNT.began, MOUNT.ended)
    assert named in found
    assert bool(found) == bool(named)


REMOVED = "audit(70.000:1): auid=0 ses=1 subj=x op=remove_rule key=(null) list={} res=1\n"


@pytest.mark.parametrize("node", ["", "node=pve1 "])
def test_log_with_what_hid_records_before_has_the_time_of_its_end(node: str) -> None:
    said = log(
        "since 50.5\n"
        f"{node}type=CONFIG_CHANGE msg={REMOVED.format(5)}"
        f"{node}type=CONFIG_CHANGE msg={REMOVED.format(4).replace('70', '80')}"
        f"{node}type=DAEMON_CONFIG msg=audit(75.000:1): op=reconfigure state=changed\n"
        f"{node}type=DAEMON_END msg=audit(90.000:1): op=terminate\n"
        "end\n"
    )
    assert said.rule_changes == (70.0, 75.0)
    assert said.restarts == ((90.0, False),)
    assert "rule" in said.gap_cause(60.0, 61.0)
    assert said.gap_cause(76.0, 77.0) == ""


def test_log_without_auditd_is_the_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (f"100.0 kernel: {record(100.0, comm=word).strip()}" for word in ("a", "b"))
    (tmp_path / "log").write_text("\n".join(lines).replace("DENIED", "KILLED", 1))
    for name, does in (("journalctl", f"cat {tmp_path}/log"), ("systemctl", "exit 3")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    denied = [each.fields["comm"] for _, each in failed_units.log(Local()).denials]
    assert denied == ["a", "b"]


def test_denials_during_a_unit_are_those_of_its_time_and_profile() -> None:
    def at(when: float, **fields: str) -> tuple[float, audit_records.Denial]:
        return when, audit_records.parse(record(when, **fields))[0]

    inside = [at(100.0, comm="a"), at(100.5, comm="b"), at(101.5, comm="c")]
    attempt = at(101.0, operation="change_profile", name="unconfined", comm="gate-attempt")
    outside = [at(99.9, comm="d"), at(101.6, comm="e"), attempt]
    said = Log(1.0, (*inside, *outside))
    assert failed_units.denials_during(MOUNT, said, "p") == [denial for _, denial in inside]
    assert failed_units.denials_during(MOUNT, said, "q") == []


def denial(**fields: str) -> audit_records.Denial:
    return audit_records.parse(record(1.0, **fields))[0]


def test_matching_denials_are_those_of_the_program_or_the_place() -> None:
    fit = [
        denial(comm="b-long-program-", name="/x"),
        denial(comm="sh", name="/x"),
        denial(comm="(sd-mkdcreds)", name="/dev/shm/"),  # noqa: S108
    ]
    other = [denial(comm="perl", name="/x"), denial(name="/"), denial(comm="b")]
    assert failed_units.matching_denials(SERVICE, [*fit, *other]) == fit
    place = denial(comm="systemd", name="/scratch/")
    assert failed_units.matching_denials(MOUNT, [place, *other]) == [place]


JOURNAL = "journalctl -u a.mount -b -q --no-pager -o cat -n 40"


def test_refusal_message_is_the_units_last_message_about_a_refusal() -> None:
    def said(answer: Answer) -> str:
        return failed_units.refusal_message(Machine({}, {JOURNAL: answer}), "a.mount")

    assert (
        said("mount: /x: permission denied.\nFailed to mount\n") == "mount: /x: permission denied."
    )
    assert said("Failed at step NAMESPACE spawning x: y\n").startswith("Failed at step")
    assert said("Timeout occurred while waiting for network connectivity.\n") == ""
    for silent in ("", "\n", (1, "", "no journal")):
        with naming((FactError, CommandFailed), "a.mount"):
            said(silent)


def test_log_of_which_only_the_end_was_read_begins_there() -> None:
    def since(records: int) -> float:
        lines = "".join(record(100.0 + n, name="/x") for n in range(records))
        return log(f"since 50.5\n{lines}end\n").since

    assert (since(1_999), since(2_000)) == (50.5, 100.0)  # the script ends each with tail -n 2000
