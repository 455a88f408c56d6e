"""A fault: one way of breaking a healthy target, with the verdicts and messages it must cause."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

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
HEALTHY, APPLIED, READY, HELPER = "healthy", "applied", "ready", "helper"
#: The machines that a fault can affect, by the tags of the scenarios that look at them.
BOTH = frozenset({"node", "container"})

#: What injections may use, in bash on the node: see ``proof/faults/programs/prelude.bash``.
PRELUDE = (
    f"set -e\nprofile={PROFILE} file={PROFILE_PATH} tunable={TUNABLE_PATH} "
    f"repository={REPOSITORY} settings={DAEMON_JSON}\n{program('proof.faults', 'prelude.bash')}"
)


#: A call of a function of the prelude whose program leaves the mark when it acts.
_REPLACES = re.compile(r"^(wrap|client|meanwhile) ", re.MULTILINE)


@dataclass(frozen=True)
class Expectation:
    """The verdict that a scenario must have after a fault, and words that its message must have."""

    verdict: str
    words: tuple[str, ...]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """One way of breaking a healthy target, as a row of ``proof/faults/rows`` has it.

    Attributes:
        id: a number, and a word if several faults have the same number.
        title: what is broken, in a reader's words.
        inject: shell for the node; ``programs/prelude.bash`` has what it may use. It must end with
            0, and what it has saved by ``keep`` or ``save`` must differ then.
        red: by its id, the words of each scenario that must be "not compliant". The first word must
            be in the message's first line. {ctid} stands for the container's number.
        undetermined: the same of each scenario that must be "undetermined". "all" and "inside"
            stand for each other scenario, of those that change nothing or look into the container.
        also: ids of the scenarios that may fail too, but need not.
        mark: shell for the node that succeeds if the fault took effect while the scenarios ran. If
            the row replaces a program (``wrap``, ``client``, ``meanwhile``), that leaves the mark.
        start: the state that the fault starts from.
        reach: the machines that the fault can affect.
        rollback: shell that rolls the fault back, so that it may run on a user's target. Only a
            fault that touches nothing but the container and its configuration has one.
        release: the Debian release of the container's template, if not the default.
        look: whether the gate runs read-only. Otherwise it would create a missing container.
        image: what ``docker_archive`` of ``docker_lxc_gate/lab/docker_images/hello.py`` gets, to
            make the image that the registry has as hello-world instead.
    """

    id: str
    title: str
    inject: str = ""
    red: dict[str, tuple[str, ...]] = {}
    undetermined: dict[str, tuple[str, ...]] = {}
    also: tuple[str, ...] = ()
    mark: str = ""
    start: str = HEALTHY
    reach: frozenset[str] = BOTH
    rollback: str = ""
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
            for member in groups.get(name, (name,)):
                expect.setdefault(member, Expectation(UNDETERMINED, words))
        return expect

    @property
    def plan(self) -> plan_file.PlanFile:
        """The plan by which the gate judges what the fault has broken."""
        return plan_file.find("plain" if self.start == HELPER else DEFAULT_PLAN)

    @property
    def effect(self) -> str:
        """Shell that succeeds if the fault took effect; empty if the injection itself proves it."""
        return self.mark or ("marked" if _REPLACES.search(self.inject) else "")

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
        machine that the fault can affect. With ``everything``, they are all scenarios that can run
        in the fault's starting state.
        """

        def could_be_asked(scenario: Scenario) -> bool:
            if self.start not in (HEALTHY, HELPER) or not scenario.is_of(self.plan):
                return False  # no other is compliant without a container, or the plan
            if everything and not self.look:
                return not scenario.rehearses
            return not scenario.mutates and bool(scenario.tags & self.reach)

        return tuple(
            name
            for name, scenario in scenarios().items()
            if name in self.expect or could_be_asked(scenario)
        )


def shell(node: Transport, script: str, ctid: int = CTID, *, timeout: float = 600) -> CommandResult:
    """Run shell on the node, after :data:`PRELUDE`."""
    return node.run(["bash", "-c", PRELUDE + script, "fault", str(ctid)], timeout=timeout)
