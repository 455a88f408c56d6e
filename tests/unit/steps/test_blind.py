"""No sentence holds where nothing can be seen: every Then has a positive control.

Each is asked of machines that are blind in one way or another, with fixtures that the Givens
and Whens before it make of the same machines. It may find the target not compliant, or say that
it cannot tell; it must never pass. The more so a sentence that denies ("no denial") or speaks
of all: over nothing at all it is true.
"""

import inspect
from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

import pytest
from testinfra.host import Host

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.machines.child import Hold
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.machines.transport import Transport
from remediation import plan_file
from remediation.provision import Provisioned
from steps.docker import DockerRun
from steps.escapes import Attempted
from steps.rollback import Existing
from steps.witness import Looking
from tests.doubles.answering import Answering
from tests.unit.steps.test_sentences import matching, sentences


class Blind(Answering):
    """Every command ends with ``code`` and says nothing; files are empty, or absent."""

    def __init__(self, code: int) -> None:
        absent = b"No such file or directory"
        super().__init__(lambda argv: (code, b"", absent if code and "cat" in argv else b""))

    def hold(self, argv: Sequence[str], word: str) -> Hold:
        """It ended, and did not say its word."""
        raise CommandFailed(self.run(argv))


class BlindRuntime(Pct):
    """It knows that the container runs, and its first process; all else comes of the machines."""

    def inside(self, ctid: int) -> Transport:
        return self.node  # type: ignore[return-value]

    def init_pid(self, ctid: int) -> int:
        return 1

    def state(self, ctid: int) -> str | None:
        return None


def host(machine: Transport) -> Host:
    """Return testinfra's host, which need not ask what kind of machine it is."""
    found = Host(Looking(machine))
    kind = {"type": "linux", "distribution": "debian", "codename": "", "release": "13", "arch": ""}
    found.system_info.__dict__["sysinfo"] = kind
    return found


def world(code: int, machine: Transport | None = None) -> dict[str, Any]:
    """Return the fixtures as a blind machine leaves them: all that can be empty is."""
    machine = machine or Blind(code)
    ended = machine.run(["true"])
    return {
        "runtime": BlindRuntime(machine),
        "node": machine,
        "container": machine,
        "node_host": host(machine),
        "host": host(machine),
        "ctid": 950,
        "target": Target("pve1", 950),
        "wanted": plan_file.find("plain"),
        "image": "hello-world",
        "may_change": True,
        "reads_archives": True,
        "made_by_this_run": False,
        "process_watch": None,
        "request": Mock(**{"config.getoption.return_value": ["pve1/950"]}),
        "recorded": {},
        "existing": Existing(950, machine, "", "", [], {}),
        "restarted": ended,
        "refusal": "it failed" if code else "",
        "workload": ended,
        "listed": ended,
        "met": [ended] * 4,
        "killed": ended,
        "attempted": Attempted("container 950", (), {}, {}, {}, False),
        "docker_run": DockerRun("gate-1", ended),
        "created": Provisioned("pct create", not code, "", 0.0),
    }


def ask(kind: str, sentence: str, fixtures: dict[str, Any]) -> Any:
    """Call a sentence's function, after that of whatever Given makes a fixture it wants."""
    (context,) = matching(kind, sentence)
    given = context.parser.parse_arguments(sentence) or {}
    for name in inspect.signature(context.step_func).parameters:
        if name not in given and name not in fixtures:
            fixtures[name] = ask("given", MAKES[name], fixtures)
        given.setdefault(name, fixtures.get(name))
    return context.step_func(**given)


SENTENCES = sorted({(kind, sentence) for _, kind, sentence in sentences()})
#: The Given that makes a fixture.
MAKES = {
    context.target_fixture: sentence
    for kind, sentence in SENTENCES
    if kind == "given"
    for context in matching(kind, sentence)
    if context.target_fixture
}
THENS = [sentence for kind, sentence in SENTENCES if kind == "then"]
#: Sentences that a silent command which ends with 0 makes true, since its end is what was asked
#: for; blind is then the machine on which it ends otherwise.
BY_EXIT_CODE = {
    "its former container starts",
    "the container has started",
    "provisioning succeeded",
    "provisioning succeeded again, also by what it printed",
}


def passes(sentence: str, code: int) -> bool:
    try:
        ask("then", sentence, world(code))
    except (AssertionError, RemediationError, ValueError, IndexError):  # what cannot be read
        return False
    return True


@pytest.mark.parametrize("sentence", THENS)
def test_then_on_a_silent_machine_holds_only_by_an_exit_code(sentence: str) -> None:
    assert passes(sentence, code=0) is (sentence in BY_EXIT_CODE)


@pytest.mark.parametrize("sentence", THENS)
def test_then_where_every_command_fails_never_holds(sentence: str) -> None:
    assert not passes(sentence, code=1)
