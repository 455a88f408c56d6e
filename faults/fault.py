"""A fault: one way of breaking a healthy target, with the verdicts and messages it must cause."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

import msgspec

from faults.scenarios import inside, read_only, scenarios
from remediation.desired import DAEMON_JSON, PROFILE, PROFILE_PATH, TUNABLE_PATH
from remediation.phoenix import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from faults.scenarios import Scenario
    from targets.transport import CommandResult, Transport

COMPLIANT, RED, UNDETERMINED = "compliant", "not compliant", "undetermined"
CTID = 950
#: The state from which a fault starts: a compliant container with backups, the plan applied and no
#: container yet, or a node before the plan.
HEALTHY, APPLIED, READY, OTHER = "healthy", "applied", "ready", "other"
#: The machines that a fault can affect, by the tags of the scenarios that look at them.
NODE, CONTAINER = frozenset({"node"}), frozenset({"container"})
BOTH = NODE | CONTAINER

#: Shell functions and variables for injections. ``pct exec`` gets no input, because it would read
#: the rest of the script.
PRELUDE = f"""
set -e
ctid=$1 conf=/etc/pve/lxc/$1.conf profile={PROFILE} file={PROFILE_PATH} tunable={TUNABLE_PATH}
repository={REPOSITORY} settings={DAEMON_JSON} dump=/var/lib/vz/dump
profiles="$file $repository/etc/apparmor/$profile"
setup=$repository/bin/hypervisor_setup/hypervisor_feature_setup_apparmor.sh
install=$repository/bin/lxc_setup/phoenix_hypervisor_feature_install_docker.sh
inside() {{ pct exec "$ctid" --keep-env 0 -- "$@" </dev/null; }}
new=/run/docker-lxc-gate.new
into() {{ cat >"$new"; pct push "$ctid" "$new" "$1" --perms "${{2:-644}}"; rm "$new"; }}
# Creates a container with an id, a name, and more options of pct.
create() {{
    pct create "$1" local:vztmpl/debian-trixie-standard_amd64.tar.zst --hostname "$2" \\
        --rootfs local:1 --memory 256 --unprivileged 1 "${{@:3}}" >/dev/null
}}
# Writes a unit of the container, from standard input, and starts it.
unit() {{
    into "/etc/systemd/system/$1"
    inside systemctl daemon-reload
    inside systemctl start "$1" || true  # some of them fail on purpose
}}
# Saves the container's configuration, and restores it.
keep() {{ cat "$conf" >/run/docker-lxc-gate.conf; }}
back() {{
    test -s /run/docker-lxc-gate.conf
    cat /run/docker-lxc-gate.conf >"$conf"; rm /run/docker-lxc-gate.conf
}}
settled() {{
    for _ in $(seq 90); do
        case $(inside systemctl is-system-running --wait 2>/dev/null) in
            running | degraded) return 0 ;;
        esac
        sleep 1
    done
    echo "container $ctid does not come up" >&2
    return 1
}}
restart() {{ pct stop "$ctid"; pct start "$ctid"; settled; }}
load() {{ apparmor_parser -r -K "$file"; }}
# Adds a rule to the profile in file, repository and kernel: all copies stay equal.
rule() {{ sed -i "s|^}}\\$|  $1\\n}}|" $profiles; load; }}
# Replaces a program by a script, in which "$real" is the original program.
wrap() {{
    real=$1.real; mv "$1" "$real"
    printf '#!/bin/sh\\nreal=%s\\n%s\\n' "$real" "$2" >"$1"; chmod 755 "$1"
}}
"""


@dataclass(frozen=True)
class Expectation:
    """The verdict that a scenario must have after a fault, and words that its message must have."""

    verdict: str
    words: tuple[str, ...]


def red(name: str, *words: str) -> dict[str, Expectation]:
    """Expect a scenario to be *not compliant*, with the first word in its message's first line."""
    return {name: Expectation(RED, words)}


def undetermined(names: str | Iterable[str], *words: str) -> dict[str, Expectation]:
    """Expect one scenario, or several, to be *undetermined*, with these words in the message."""
    names = [names] if isinstance(names, str) else names
    return dict.fromkeys(names, Expectation(UNDETERMINED, words))


@dataclass(frozen=True)
class Fault:
    """One way of breaking a healthy target.

    Attributes:
        id: its number, and a word if several faults have the same number.
        title: what is broken, in a reader's words.
        inject: shell for the node, see :data:`PRELUDE`; or a function of the node.
        expect: by its id, what each scenario must be, red ones first: ``red(…) | red(…) |
            undetermined(…)``. The first scenario names the cause: its first word must be in the
            first line, even if it is undetermined. ``{ctid}`` stands for the container's number.
        also: ids of the scenarios that may fail too, but need not.
        start: the state that the fault starts from.
        reach: the machines that the fault can affect.
        rollback: shell that rolls the fault back. Only a fault with it may run on a real target.
        release: the Debian release of the container's template, if not the default.
        look: whether the gate runs read-only. Otherwise it would create a missing container.
    """

    id: str
    title: str
    inject: str | Callable[[Transport], None]
    expect: Mapping[str, Expectation]
    also: tuple[str, ...] = ()
    start: str = HEALTHY
    reach: frozenset[str] = BOTH
    rollback: str = ""
    release: str = ""
    look: bool = False

    @property
    def safe(self) -> bool:
        """Whether it may run on a real target, in a container that is destroyed afterwards."""
        return bool(self.rollback) and self.start == HEALTHY

    def expected(self, verdict: str) -> tuple[str, ...]:
        """Return the ids of the scenarios that must have this verdict."""
        return tuple(name for name, wanted in self.expect.items() if wanted.verdict == verdict)

    @property
    def kills(self) -> tuple[str, ...]:
        """The ids of the scenarios that this fault proves able to fail."""
        return self.expected(RED) or tuple(self.expect)[:1]

    def asked(self, *, everything: bool = False) -> tuple[str, ...]:
        """Return the ids of the scenarios that run after this fault, in that order.

        They are the scenarios that the fault names, plus every read-only scenario on a machine
        that the fault can affect. The matrix shows the others as not asked. With ``everything``,
        they are all scenarios that can run in the fault's starting state.
        """

        def could_be_asked(scenario: Scenario) -> bool:
            if self.start != HEALTHY:  # no other is compliant without a container, or the plan
                return False
            if everything:
                return not scenario.rehearses
            return not scenario.mutates and bool(scenario.tags & self.reach)

        return tuple(
            name
            for name, scenario in scenarios().items()
            if name in self.expect or could_be_asked(scenario)
        )


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault as TOML has it; ``red`` and ``undetermined`` hold words by a scenario's id.

    In ``undetermined``, ``all`` and ``inside`` stand for each other scenario, of those that change
    nothing or look into the container.
    """

    id: str
    title: str
    inject: str
    red: dict[str, tuple[str, ...]] = {}
    undetermined: dict[str, tuple[str, ...]] = {}
    also: tuple[str, ...] = ()
    start: str = HEALTHY
    reach: frozenset[str] = BOTH
    rollback: str = ""
    look: bool = False


def written(topic: str) -> tuple[Fault, ...]:
    """Return the faults of ``faults/rows/TOPIC.toml``."""
    text = files("faults.rows").joinpath(f"{topic}.toml").read_bytes()
    rows = msgspec.toml.decode(text, type=dict[Literal["fault"], tuple[_Row, ...]])["fault"]
    return tuple(map(_fault, rows))


def _fault(row: _Row) -> Fault:
    groups = {"all": ("root", *read_only()), "inside": inside()}
    expect: dict[str, Expectation] = {}
    for name, words in row.red.items():
        expect |= red(name, *words)
    for name, words in row.undetermined.items():
        for each in groups.get(name, (name,)):
            expect.setdefault(each, Expectation(UNDETERMINED, words))
    fields = (row.id, row.title, row.inject, expect, row.also)
    return Fault(*fields, row.start, row.reach, row.rollback, look=row.look)


#: Faults that can affect only the node, or only the container.
node_fault = partial(Fault, reach=NODE)
container_fault = partial(Fault, reach=CONTAINER)


def shell(node: Transport, script: str, ctid: int = CTID) -> CommandResult:
    """Run shell on the node, after :data:`PRELUDE`."""
    return node.run(["bash", "-c", PRELUDE + script, "fault", str(ctid)], timeout=600)
