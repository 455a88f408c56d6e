"""Which plan counts for a target that names none, and that the gate and the verbs say which."""

from contextlib import contextmanager
from typing import Any

import pytest
from click.testing import CliRunner

from docker_lxc_gate.cli.group import main
from docker_lxc_gate.errors import FactError, TransportError
from docker_lxc_gate.machines import connect
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.verdict import record
from remediation import applied, desired, docker_in_lxc, phoenix, plan_file
from remediation.engine import journal
from remediation.engine.journal_format import VERSION, written
from steps import machines
from tests.doubles.canned import Machine
from tests.doubles.naming import naming
from tests.unit.verdict.test_what_is_asked import Config

AIM = Target("pve1", 950)
JOURNAL = f"{journal.DIRECTORY}/journal.jsonl"


def line(
    plan: str, ctid: int = 950, action: str = "container-options", kind: str = "before", **more: Any
) -> str:
    said = {"v": VERSION, "at": "2026-12-01T00:00:00Z", "ctid": ctid, "kind": kind}
    state = {} if kind == "rolled_back" else {"machine": "node", "state": None}
    said |= {"action": action} | state | ({"plan": plan} if plan else {}) | more
    return written(said).decode()


def node(lines: str = "", *, checkout: bool = False, profile: bool = False) -> Machine:
    files = {JOURNAL: lines or None, desired.PROFILE_PATH: "profile" if profile else None}
    return Machine(files, {f"test -d {phoenix.REPOSITORY}": (0 if checkout else 1, "", "")})


PLAIN = plan_file.find("plain").identity
DONE, UNDONE = line("", kind="after"), line("", kind="rolled_back", last=True)
OTHER = line("", action="kernel-tunable") + line("", action="kernel-tunable", kind="after")


@pytest.mark.parametrize(
    ("found", "plan", "why"),
    [
        (node(line(PLAIN), checkout=True), "plain", "the journal says"),
        (node(line(""), profile=True), "docker-in-lxc", "the journal says"),
        (node(line("plain 0 of-an-older-release")), "plain", "the journal says"),
        # The plan of the last run counts, also over what an earlier one had changed.
        (node(line("") + DONE + OTHER + line(PLAIN) + DONE), "plain", "the journal says"),
        (node(line("") + OTHER + line(PLAIN)), "plain", "the journal says"),
        (node(line(PLAIN) + DONE + OTHER), "docker-in-lxc", "the journal says"),
        (node(line("") + DONE + line(PLAIN) + UNDONE), "docker-in-lxc", "the journal says"),
        (node(line("", 951)), "plain", "nothing of another plan"),
        (
            node(checkout=True),
            "docker-in-lxc",
            f"its checkout is on the node, {phoenix.REPOSITORY}",
        ),
        (
            node(profile=True),
            "docker-in-lxc",
            f"its profile is on the node, {desired.PROFILE_PATH}",
        ),
        (node(), "plain", "nothing of another plan"),
    ],
)
def test_plan_that_is_not_named_is_what_the_node_shows(found: Machine, plan: str, why: str) -> None:
    name, because = applied.plan_of(found, AIM)
    assert name == plan
    assert because.startswith(why)


def test_plan_of_a_file_that_the_journal_names_must_be_named() -> None:
    with naming(FactError, "pve1", "'mine'", "950", "--plan FILE"):
        applied.plan_of(node(line("mine 1 0123456789ab")), AIM)


@pytest.mark.parametrize(
    ("found", "plan", "why"),
    [
        (node(), "plain", "nothing of another plan is on the node"),
        (node(line("")), "docker-in-lxc", "the journal says that it was applied"),
        (node(line("mine 1 0123456789ab")), "plain", "name its file"),
        (None, None, ""),
    ],
)
def test_gate_judges_by_that_plan_and_says_why(
    found: Machine | None, plan: str | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object) -> Pct:
        if found is None:
            raise TransportError("no route to host")
        return Pct(found)

    told: list[str] = []
    unjudged: list[str] = []
    monkeypatch.setattr(machines, "opened", opened)
    monkeypatch.setattr(machines.gate, "not_judged", lambda _, why: unjudged.append(why))
    monkeypatch.setattr(machines, "teller", lambda _: told.append)
    config: Any = Config()
    named = Target("pve1", 951, plan="plain")
    for target in (AIM, named):
        machines.ask_about(config, target)
    machines.choose_plans(config, asking=True)
    assert [each.plan for each in config.stash[machines.TARGETS]] == [plan, "plain"]
    about = record.about(config, str(AIM))
    assert (about.plan, why in about.because) == (plan_file.find(plan).identity, True)
    assert (about.because in about.facts["Plan"], bool(told)) == (True, plan is not None)
    assert all(why in each and f"plan {plan}" in each for each in told)
    assert bool(unjudged) == (why == "name its file")  # at best undetermined
    assert record.about(config, str(named)).because == ""


@pytest.mark.parametrize("verb", ["plan", "apply", "status"])
def test_verb_says_which_plan_it_takes_and_why(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def opened(*_: object, **__: object) -> Any:
        yield Pct(node())

    wanted: list[Any] = []

    def plan(*_: object, **given: Any) -> Any:
        wanted.append(given["wanted"])
        raise FactError("enough")

    monkeypatch.setattr(connect, "opened", opened)
    monkeypatch.setattr(docker_in_lxc, "plan", plan)
    done = CliRunner().invoke(main, [verb, "--target", "pve1/950"])
    assert done.stderr.startswith("… the plan is plain, because nothing of another plan is on")
    assert wanted == [plan_file.find("plain")]
