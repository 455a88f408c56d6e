"""Whether AppArmor made a unit fail: by the time, the log, and the unit's own words."""

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import failed_units
from docker_lxc_gate.facts.audit import audit_records
from docker_lxc_gate.facts.failed_units import FailedUnit
from docker_lxc_gate.machines.result import CommandFailed
from tests.doubles.answering import Answering
from tests.doubles.canned import Answer, Machine
from tests.doubles.naming import naming
from tests.doubles.samples import sample

SHOWN = sample("failed_units.txt")
MOUNT = FailedUnit("a.mount", 100.5, 101.0, frozenset({"mount"}), "/scratch")
SERVICE = FailedUnit("b.service", 100.0, 220.0, frozenset({"b-long-program-name", "sh"}))


def systemd(shown: str) -> Answering:
    """A machine whose systemd shows this of both units."""
    asked = ["systemctl", "show", "--", "a.mount", "b.service"]

    def answer(words: list[str]) -> bytes | None:
        return shown.encode() if [*words[:2], *words[words.index("--") :]] == asked else None

    return Answering(answer)


def test_failed_units_have_times_programs_and_places() -> None:
    machine = systemd(SHOWN)
    assert failed_units.failed(machine, {"b.service", "a.mount"}) == (MOUNT, SERVICE)


def test_failed_unit_that_is_started_again_has_the_time_of_its_program() -> None:
    run = (
        "SubState=auto-restart\nExecMainStartTimestamp=Thu 1970-01-01 00:01:30.000000 UTC\n"
        "ExecMainExitTimestamp=Thu 1970-01-01 00:01:31.000000 UTC\nId=b.service"
    )
    machine = systemd(SHOWN.replace("Id=b.service", run))
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
        failed_units.failed(systemd(shown), ["a.mount", "b.service"])


def record(when: float, **fields: str) -> str:
    said = " ".join(f'{key}="{value}"' for key, value in fields.items())
    return f'type=AVC msg=audit({when:.3f}:7): apparmor="DENIED" profile="p" {said}\n'


def node(*records: str, end: str = "== end\n") -> Answering:
    return Answering(lambda _: f"== auditd\n{''.join(records)}{end}".encode())


def test_denials_are_those_of_each_units_time_and_profile() -> None:
    inside = [record(when, comm="x") for when in (100.0, 100.5, 101.5)]
    attempt = record(101.0, operation="change_profile", name="unconfined", comm="gate-attempt")
    outside = [record(99.4, comm="d"), record(230.0, comm="e"), attempt]
    found = failed_units.denials(node(*inside, *outside), "p", (MOUNT, SERVICE))
    assert [len(found[unit]) for unit in (MOUNT, SERVICE)] == [3, 3]
    assert failed_units.denials(node(*inside), "q", (MOUNT,)) == {MOUNT: []}


@pytest.mark.parametrize("end", ["", "== unread\n== end\n"])
def test_denials_of_a_log_that_cannot_be_read_are_an_error(end: str) -> None:
    with naming(FactError, "cannot be read"):
        failed_units.denials(node(end=end), "p", (MOUNT,))


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
