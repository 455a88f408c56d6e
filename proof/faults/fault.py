"""A fault: one way of breaking a healthy target, with the verdicts and messages it must cause."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any, Literal

import msgspec

from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.target import DEFAULT_PLAN
from docker_lxc_gate.machines.transport import Transport
from proof.faults.scenarios import Scenario, inside, read_only, scenarios
from remediation import plan_file
from remediation.desired import DAEMON_JSON, PROFILE, PROFILE_PATH, TUNABLE_PATH
from remediation.phoenix import REPOSITORY

COMPLIANT, RED, UNDETERMINED = "compliant", "not compliant", "undetermined"
CTID = 950
#: The state from which a fault starts: a compliant container with backups, the plan applied and no
#: container yet, a node before the plan, or a container as helper scripts make it (without the
#: default plan, so the gate judges it by ``plain``).
HEALTHY, APPLIED, READY, OTHER, HELPER = "healthy", "applied", "ready", "other", "helper"
#: The machines that a fault can affect, by the tags of the scenarios that look at them.
BOTH = frozenset({"node", "container"})

#: What injections may use, in bash on the node: see ``proof/faults/programs/prelude.bash``.
PRELUDE = (
    f"set -e\nprofile={PROFILE} file={PROFILE_PATH} tunable={TUNABLE_PATH} "
    f"repository={REPOSITORY} settings={DAEMON_JSON}\n{program('proof.faults', 'prelude.bash')}"
)


@dataclass(frozen=True)
class Expectation:
    """The verdict that a scenario must have after a fault, and words that its message must have."""

    verdict: str
    words: tuple[str, ...]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """One way of breaking a healthy target, as a row of ``proof/faults/rows`` has it.

    ``catalogue.toml`` explains the keys.
    """

    id: str
    title: str
    inject: str = ""
    red: dict[str, tuple[str, ...]] = {}
    undetermined: dict[str, tuple[str, ...]] = {}
    also: tuple[str, ...] = ()
    start: str = HEALTHY
    reach: frozenset[str] = BOTH
    rollback: str = ""
    contained: bool = False
    release: str = ""
    look: bool = False
    image: dict[str, Any] = {}

    @cached_property
    def expect(self) -> dict[str, Expectation]:
        """What each scenario must be, by its id, red ones first.

        The first scenario names the cause: its first word must be in the first line, even if it
        is undetermined.
        """
        groups = {
            group: [name for name in names if scenarios()[name].is_of(self.plan)]
            for group, names in {"all": ("root", *read_only()), "inside": inside()}.items()
        }
        expect = {name: Expectation(RED, words) for name, words in self.red.items()}
        for name, words in self.undetermined.items():
            for each in groups.get(name, (name,)):
                expect.setdefault(each, Expectation(UNDETERMINED, words))
        return expect

    @property
    def plan(self) -> plan_file.PlanFile:
        """The plan by which the gate judges what the fault has broken."""
        return plan_file.find("plain" if self.start == HELPER else DEFAULT_PLAN)

    @property
    def safe(self) -> bool:
        """Whether it may run on a real target, in a container that is destroyed afterwards."""
        return self.contained and bool(self.rollback) and self.start == HEALTHY

    def expected(self, verdict: str) -> tuple[str, ...]:
        """Return the ids of the scenarios that must have this verdict."""
        return tuple(name for name, wanted in self.expect.items() if wanted.verdict == verdict)

    @property
    def kills(self) -> tuple[str, ...]:
        """The ids of the scenarios that this fault proves able to fail."""
        return self.expected(RED) or tuple(self.expect)[:1]

    def asked(self, *, everything: bool = False) -> tuple[str, ...]:
        """Return the ids of the scenarios that run after this fault, in that order.

        They are the scenarios that the fault names, plus every read-only scenario of the plan on a
        machine that the fault can affect. The matrix shows the others as not asked. With
        ``everything``, they are all scenarios that can run in the fault's starting state.
        """

        def could_be_asked(scenario: Scenario) -> bool:
            if self.start not in (HEALTHY, HELPER) or not scenario.is_of(self.plan):
                return False  # no other is compliant without a container, or the plan
            if everything:
                return not scenario.rehearses
            return not scenario.mutates and bool(scenario.tags & self.reach)

        return tuple(
            name
            for name, scenario in scenarios().items()
            if name in self.expect or could_be_asked(scenario)
        )


def written(topic: str) -> tuple[Fault, ...]:
    """Return the faults of ``proof/faults/rows/TOPIC.toml``."""
    text = files("proof.faults.rows").joinpath(f"{topic}.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[Literal["fault"], tuple[Fault, ...]])["fault"]


def shell(node: Transport, script: str, ctid: int = CTID, *, timeout: float = 600) -> CommandResult:
    """Run shell on the node, after :data:`PRELUDE`."""
    return node.run(["bash", "-c", PRELUDE + script, "fault", str(ctid)], timeout=timeout)
