"""A fault: one way of breaking a healthy target, what it must cause, and what must be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faults.scenarios import scenarios
from remediation.desired import DAEMON_JSON, PROFILE, PROFILE_PATH, REPOSITORY, TUNABLE_PATH

if TYPE_CHECKING:
    from collections.abc import Callable

    from targets.transport import Transport

CTID = 950
#: Where a fault begins: a compliant container with backups, the plan applied and no container
#: yet, or a node before the plan.
HEALTHY, APPLIED, READY = "healthy", "applied", "ready"
#: What a fault can reach, by the tags of the scenarios that look there.
NODE, CONTAINER = frozenset({"node"}), frozenset({"container"})
BOTH = NODE | CONTAINER

#: What an injection may use. ``pct exec`` gets no input: it would take the rest of the script.
PRELUDE = f"""
set -e
ctid=$1 conf=/etc/pve/lxc/$1.conf profile={PROFILE} file={PROFILE_PATH} tunable={TUNABLE_PATH}
repository={REPOSITORY} settings={DAEMON_JSON} dump=/var/lib/vz/dump
setup=$repository/bin/hypervisor_setup/hypervisor_feature_setup_apparmor.sh
install=$repository/bin/lxc_setup/phoenix_hypervisor_feature_install_docker.sh
inside() {{ pct exec "$ctid" --keep-env 0 -- "$@" </dev/null; }}
new=/run/docker-lxc-gate.new
into() {{ cat >"$new"; pct push "$ctid" "$new" "$1" --perms "${{2:-644}}"; rm "$new"; }}
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
# Adds a rule to the profile in file, repository and kernel, so that only its effect differs.
rule() {{ sed -i "s|^}}\\$|  $1\\n}}|" "$file" "$repository/etc/apparmor/$profile"; load; }}
# Puts a program in another one's place; there "$real" is what stood here.
wrap() {{
    real=$1.real; mv "$1" "$real"
    printf '#!/bin/sh\\nreal=%s\\n%s\\n' "$real" "$2" >"$1"; chmod 755 "$1"
}}
"""


@dataclass(frozen=True)
class Fault:
    """One way of breaking a healthy target.

    Attributes:
        id: of FAILURES, or of the fault beside which it was found.
        title: what is broken, in a reader's words.
        inject: shell for the node, see :data:`PRELUDE`; or a function of the node.
        red: titles of the scenarios that must be not compliant; the first one names the cause.
        beside: of each further one, in the same order, what its first line must say.
        undetermined: titles of those that cannot be judged because of it.
        words: what the first of these must say; the first word in its first line.
        because: what each undetermined one must say.
        also: what may not be compliant either, where it is asked.
        start: the state that it begins from.
        reach: what it can reach.
        undo: shell that rolls it back. Only a fault that has one may run on a real target.
        release: Debian's release whose container template it takes, if that is another one.
        look: whether the gate may only look: else it would create what is not there.
    """

    id: str
    title: str
    inject: str | Callable[[Transport], None]
    red: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    undetermined: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    because: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    start: str = HEALTHY
    reach: frozenset[str] = BOTH
    undo: str = ""
    release: str = ""
    look: bool = False

    @property
    def safe(self) -> bool:
        """Whether it may run on a real target, in a container that is thrown away."""
        return bool(self.undo) and self.start == HEALTHY

    @property
    def named(self) -> tuple[str, ...]:
        """The titles of what must not be green."""
        return (*self.red, *self.undetermined)

    @property
    def kills(self) -> tuple[str, ...]:
        """The titles of what this fault shows to be no empty question."""
        return self.red or self.undetermined[:1]

    def asked(self, *, everything: bool = False) -> tuple[str, ...]:
        """Return the titles of the scenarios that are asked, in the order in which they are.

        The rule: what the fault names; and of what it does not name, all that changes nothing and
        looks where the fault can reach. Everything else is not asked, and the matrix says so. With
        ``everything`` all is asked that can be from the state in which the fault begins.
        """
        if self.start != HEALTHY:  # without a container, or before the plan, nothing else holds
            own = set(self.named)
        elif everything:
            own = {title for title, each in scenarios().items() if not each.rehearses}
        else:
            within = {t for t, s in scenarios().items() if not s.mutates and s.tags & self.reach}
            own = within | set(self.named)
        return tuple(title for title in scenarios() if title in own)
