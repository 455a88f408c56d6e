"""Cutting a run off at one of its points, in the ways in which runs are cut off.

The points come from ``Plan.at``: every command in a stage that is no read is one. A run may
end before it, or when a share of it is done. :class:`Points` sits between the plan and the node,
counts them, and at the chosen one does the damage, once. As a program it is one run that ends so::

    python -m tests.live.interrupted.interruption \\
        950 nesting-tunable apply "record:1:0.5:0.1:sh -c" killed
"""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from docker_lxc_gate.errors import RemediationError, TransportError
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.root import as_root
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.ssh.connection import Ssh
from docker_lxc_gate.machines.transport import Command, Layer, Transport
from remediation import docker_in_lxc
from remediation.engine.apply import apply
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back

#: How this is run as a program, in the project's folder.
PROGRAM = (sys.executable, "-m", "tests.live.interrupted.interruption")
KINDS = ("killed", "interrupted", "cut", "power", "full", "readonly")
#: What a run says when it comes to its point.
DONE = "the damage is done"
#: What a run says besides if nothing was cut, and after how many seconds: the command was faster
#: than when it was counted.
ENDED = "the command had ended after"
_CUT_OFF = "cut off inside a command"
#: These do not end a run inside a command: the command itself fails.
FROM_NOW_ON = ("full", "readonly")
#: A command without input is cut inside only if it takes longer than this (seconds).
_LONG = 1.0
#: Where a command is cut inside, as a share of its input or of its time. One place is enough where
#: the node goes on: it brings the command to its end, wherever it was when we went.
_MIDDLE = 0.5
#: Where else the power goes, if it takes long: apt and dpkg write in many steps.
QUARTERS = (0.25, 0.75)
#: How long a command may take to end after the damage (seconds).
_LAST_WORDS = 60.0
FILL = """
set -e
avail=$(($(stat -f -c '%f*%S' /)))
until fallocate -l "$avail" /var/tmp/fill 2>/dev/null; do avail=$((avail - 1048576)); done
cat /dev/zero >/var/tmp/fill-rest 2>/dev/null || true
sync
"""
READ_ONLY = """
sync
echo u >/proc/sysrq-trigger
for _ in $(seq 100); do touch /var/tmp/writable 2>/dev/null || exit 0; sleep 0.05; done
exit 1
"""
#: Takes the cause away again, whichever it was.
MEND = "mount -o remount,rw / && rm -f /var/tmp/fill /var/tmp/fill-rest /var/tmp/writable; sync"


@dataclass(frozen=True)
class Point:
    """The n-th change in a stage, which took so many seconds, when a share of it is done (0-1).

    ``command`` is how that change begins: if the numbers of a run are others than when they were
    counted, it is not cut off at another command in the name of this one. Empty, it is any.
    """

    stage: str
    number: int
    share: float = 0.0
    command: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        """As a run is told it."""
        return f"{self.stage}:{self.number}:{self.share}:{self.seconds:.3f}:{self.command}"

    def is_at(self, here: "Point") -> bool:
        """Whether a run that is at the change ``here`` has come to this one."""
        there = (self.stage, self.number) == (here.stage, here.number)
        return there and here.command.startswith(self.command)

    def can_be(self, kind: str) -> bool:
        """Whether the sweep ends a run here in this way."""
        if self.share in QUARTERS:
            return kind == "power"
        return not self.share or kind not in FROM_NOW_ON


def point(text: str) -> Point:
    """Read what ``str`` of a point wrote."""
    stage, number, share, seconds, command = text.split(":", 4)
    return Point(stage, int(number), float(share), command, float(seconds))


class Points(Layer):
    """The node's transport, which counts the changes of each stage, and may do damage at one.

    A command that failed and is asked again, as while a boot is waited for, is one change, from the
    first time it is asked until it has succeeded: how often it is asked depends on the machine, and
    what follows must have the same number every time. No run is cut off in what changes nothing.
    """

    def __init__(
        self,
        inner: Transport,
        chosen: Point | None = None,
        damage: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(inner)
        self._chosen, self._damage = chosen, damage
        self._stage, self._count = "", 0
        self._failed: tuple[str, ...] = ()
        self._began, self._first = 0.0, 0  # of this change: when, and where it is in what was seen
        self.seen: list[Point] = []

    def at(self, stage: str, action: str) -> None:
        """Hear from the plan what it enters."""
        del action
        if stage != self._stage:
            self._stage, self._count, self._failed = stage, 0, ()

    def execute(self, command: Command) -> CommandResult:
        """Pass it on, unless this is the point."""
        if not (self._stage and command.changes):
            return self._inner.execute(command)
        plain = _inner_command(" ".join(command.argv))
        # Input that is given again is a change of its own: the journal's next line.
        if command.stdin or command.argv != self._failed:
            self._count += 1
            self._began, self._first = time.monotonic(), len(self.seen)
        here, chosen = Point(self._stage, self._count, command=_beginning(plain)), self._chosen
        if chosen and chosen.is_at(here):
            if chosen.share:
                return self._let_through(chosen, command)
            self._chosen = None  # a stage may come twice: once is enough
            self._damage()
        result = self._passed_on(command)
        here = replace(here, seconds=time.monotonic() - self._began)
        shares = (0.0, *_inside(here.seconds, command.stdin))
        self.seen[self._first :] = [replace(here, share=share) for share in shares]
        return result

    def _passed_on(self, command: Command) -> CommandResult:
        """Pass it on, and keep whether it failed, or had no answer at all."""
        self._failed = command.argv
        result = self._inner.execute(command)
        if result.ok:
            self._failed = ()
        return result

    def _let_through(self, chosen: Point, command: Command) -> CommandResult:
        """Let the node have a share of the command, of its input or of its time; then damage.

        What fails before that is its caller's to ask again: then that is cut.
        """
        if command.stdin:
            part = command.stdin[: int(len(command.stdin) * chosen.share)]
            self._inner.execute(replace(command, stdin=part))
            self._chosen = None
            self._damage()
            raise TransportError(_CUT_OFF)
        results: list[CommandResult] = []

        def run() -> None:
            with suppress(RemediationError, OSError):
                results.append(self._passed_on(command))

        running = threading.Thread(target=run, daemon=True)
        running.start()
        left = self._began + chosen.seconds * chosen.share - time.monotonic()
        running.join(max(left, 0.0))
        if not running.is_alive():
            if self._failed:
                return _answer(results)
            print(f"{ENDED} {time.monotonic() - self._began:.2f} s", file=sys.stderr, flush=True)
        self._chosen = None
        self._damage()
        running.join(_LAST_WORDS)  # it closes the connection that it has lost, and no later one
        raise TransportError(_CUT_OFF)


def _answer(results: list[CommandResult]) -> CommandResult:
    """Return what a command answered that was run beside, as if it had been waited for."""
    if not results:
        raise TransportError("it had no answer, before it was to be cut off")
    return results[0]


def _beginning(plain: str) -> str:
    """Return how a command begins: what tells it from others, and is the same in every run."""
    return re.sub(r"rolled-back-\d+", "rolled-back-*", plain)[:60]


def _inside(seconds: float, stdin: bytes) -> tuple[float, ...]:
    """Return the shares at which a command is cut inside."""
    if stdin:
        return (_MIDDLE,)
    return (_MIDDLE, *QUARTERS) if seconds > _LONG else ()


def _inner_command(command: str) -> str:
    """Return what ``lxc-attach`` runs, without what it is wrapped in."""
    on_node = r"^timeout -k \S+ \S+ env \S+ "
    inside = r"^lxc-attach .*? -- env \S+ \S+ timeout -k \S+ \S+ "
    bare = re.sub(inside, "", re.sub(on_node, "", command))
    # Of a change that brings looks, the change.
    with_looks = r"(?s)^sh -c \nmark=.*?\nrun timeout -k \S+ \S+ (.*?)\none timeout .*"
    bare = re.sub(with_looks, r"\1", bare)
    return re.sub(r"^env (DEBIAN_FRONTEND=\S+ )?(LC_ALL=\S+ )?(?=apt-get)", "", bare)


@contextmanager
def connected(lab: Lab) -> Iterator[Ssh]:
    """Return a connection to the node as it stands."""
    ssh = Ssh(lab.node.address, name="the lab's node")
    try:
        yield ssh
    finally:
        ssh.close()


def one_action(points: Points, ctid: int, action: str) -> Plan:
    """Return the plan of one action, by its id, or of all if it is empty; its stages are heard."""
    plan = docker_in_lxc.plan(Pct(as_root(points, sudo=False)), ctid, tell=lambda _: None)
    chosen = [step for step in plan.steps if action in {"", step.action.id}]
    deferred = [step for step in plan.deferred if action in {"", step.action.id}]
    assert chosen or deferred, f"no action of the plan has the id {action!r}"
    return replace(plan, steps=chosen, deferred=deferred, whole=not action, at=points.at)


def _damage(lab: Lab, ssh: Ssh, kind: str) -> None:
    print(DONE, file=sys.stderr, flush=True)
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "interrupted":
        raise KeyboardInterrupt
    elif kind == "cut":
        _drop(ssh)
    elif kind == "power":
        lab.down()
    else:
        with connected(lab) as other:
            script = FILL if kind == "full" else READ_ONLY
            other.run(["sh", "-c", script], timeout=120).require()


def _drop(ssh: Ssh) -> None:
    """Take the connection away under its owner, who may connect anew."""
    transport = ssh._client.get_transport()
    if transport is not None:
        transport.sock.close()
        transport.join(10)


def main(ctid: str, action: str, way: str, where: str, kind: str) -> int:
    """Run, and be cut off; the exit code is the command line's."""
    lab = Lab.open()
    with connected(lab) as ssh:
        points = Points(ssh, point(where), lambda: _damage(lab, ssh, kind))
        plan = one_action(points, int(ctid), action)
        try:
            apply(plan) if way == "apply" else roll_back(plan)
        except RemediationError as error:
            print(error, file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
