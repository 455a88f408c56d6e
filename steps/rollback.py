"""A container in the state of most users', changed by the plan and taken back.

PYTEST_DONT_REWRITE: an assertion here has its own words, for the reader of the verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from pytest_bdd import given, parsers, then, when

from gate import evidence
from remediation import docker_in_lxc, rehearsal, witness
from remediation.errors import FactError, Meddled
from remediation.runtime import wait_until_booted
from steps.docker import IMAGE, PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from remediation.plan import Plan
    from remediation.rehearsal import Stage
    from remediation.runtime import Runtime
    from remediation.target import Target
    from remediation.transport import CommandResult, Transport

#: The lab's own ctid for a container with Docker; nowhere else is one created.
CTID = 951
CREATE = (
    *("pct", "create", str(CTID), "local:vztmpl/debian-trixie-docker_amd64.tar.zst"),
    *("--hostname", "default-driver", "--rootfs", "local:4", "--memory", "2048"),
    *("--net0", "name=eth0,bridge=lxcbr0,ip=dhcp", "--unprivileged", "1"),
    *("--features", "nesting=1"),
)
_APT_TIMEOUT = 600.0


@dataclass(frozen=True)
class Existing:
    """A container that had Docker before us: what it held, and how its node looked."""

    inside: Transport
    driver: str
    recorded: dict[str, str]


@pytest.fixture(scope="session")
def default_container(runtime: Runtime, target: Target) -> Iterator[Existing]:
    """Made from a template with Docker, given an image and a container, and thrown away.

    What each scenario takes back is compared with this one record of the time before any.
    """
    if target.place != "lab":
        raise FactError("no ctid is reserved for throw-away containers on this target")
    if runtime.state(CTID) is not None:
        raise FactError(f"container {CTID} is there already, and not ours: it is left alone")
    try:
        runtime.node.run(CREATE, timeout=300).require()
        runtime.start(CTID)
        inside = runtime.inside(CTID)
        wait_until_booted(inside)
        inside.run(["docker", "run", "--name", "former", IMAGE], timeout=PATIENCE).require()
        recorded = witness.undone(witness.both(runtime, CTID))
        yield Existing(inside, _driver(inside), recorded)
    finally:
        _throw_away(runtime)


def _throw_away(runtime: Runtime) -> None:
    if runtime.state(CTID) == "running":
        runtime.stop(CTID)
    if runtime.state(CTID) is not None:
        runtime.node.run(["pct", "destroy", str(CTID)], timeout=180).require()


def _driver(inside: Transport) -> str:
    return inside.run(["docker", "info", "-f", "{{.Driver}}"]).require().text.strip()


def _plan(runtime: Runtime) -> Plan:
    return docker_in_lxc.plan(runtime, CTID, tell=lambda _: None)


@given("another container runs Docker on its default driver", target_fixture="existing")
def another_container(default_container: Existing) -> Existing:
    """The same one for all these scenarios; each leaves it as it was."""
    return default_container


@when(parsers.parse('"{clause}" of the plan is applied to it and taken back'))
def part_is_applied_and_taken_back(runtime: Runtime, clause: str) -> None:
    """As the command line does it, with ``--only``."""
    part = _plan(runtime).only([clause])
    applied = part.apply()
    if not any(outcome.changed for outcome in applied):
        raise FactError(f"{clause} is applied on this node already: nothing can be taken back")
    back = part.rollback()
    evidence.say(f"{sum(outcome.changed for outcome in back)} actions applied and taken back")


@given("the plan is applied to another container", target_fixture="existing")
def plan_is_applied(default_container: Existing, runtime: Runtime) -> Existing:
    """As the command line does it; where it is applied already it finds nothing to do."""
    _plan(runtime).apply()
    return default_container


@when("the plan is applied to it, taken back, compared, and applied again", target_fixture="stages")
def plan_is_rehearsed(runtime: Runtime) -> list[Stage]:
    """As ``python -m remediation rehearse`` does it."""
    stages = list(rehearsal.rehearse(lambda: _plan(runtime), lambda: witness.both(runtime, CTID)))
    evidence.say(", ".join(f"{stage.name} {stage.seconds:.0f} s" for stage in stages))
    return stages


@then("nothing differed when it was taken back")
def nothing_differed(stages: list[Stage]) -> None:
    """The rehearsal's own comparison, by the witness."""
    differing = [line for stage in stages for line in stage.differences]
    assert not differing, f"{len(differing)} thing(s) differ: " + "; ".join(differing[:10])


@then(parsers.parse('its Docker runs on "{driver}" and can run hello-world'))
def docker_runs_on(existing: Existing, driver: str) -> None:
    """The plan by its effect."""
    assert existing.driver != driver, f"it was on {driver} before the plan"
    now = _driver(existing.inside)
    assert now == driver, f"after the plan Docker runs on {now}"
    run = existing.inside.run(["docker", "run", "--rm", IMAGE], timeout=PATIENCE)
    assert run.ok, f"after the plan {IMAGE} ends with {run.exit_code}: {run.stderr!r:.300}"


@then("nothing of the plan is left to do")
def nothing_left(runtime: Runtime) -> None:
    """Every action's own check, once more."""
    left = [drift.summary for _, drift in _plan(runtime).drifts() if drift is not None]
    assert not left, "applied again, and still: " + "; ".join(left)


@when(
    "daemon.json is removed, fuse-overlayfs purged and Docker restarted, as the plan says",
    target_fixture="restarted",
)
def letter_of_the_plan(existing: Existing) -> CommandResult:
    """Section 3 of the plan, word for word, in the affected container."""
    inside = existing.inside
    inside.run(["rm", docker_in_lxc.DAEMON_JSON]).require()
    purge = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "purge", "-y", "fuse-overlayfs"]
    inside.run(purge, timeout=_APT_TIMEOUT).require()
    return inside.run(["systemctl", "restart", "docker"], timeout=PATIENCE)


@then("Docker does not start, and the profile is still in the kernel")
def letter_is_worse(existing: Existing, runtime: Runtime, restarted: CommandResult) -> None:
    """If it did start, the plan's own rollback would do, and ours would not be needed."""
    active = existing.inside.run(["systemctl", "is-active", "docker"]).text.strip()
    assert not restarted.ok, "Docker started after the letter of the plan's rollback"
    assert active != "active", "Docker runs after the letter of the plan's rollback"
    log = existing.inside.run(["journalctl", "-u", "docker", "-n", "60", "-o", "cat"]).text
    known = ("prior storage driver", "several valid graphdrivers", "error initializing graphdriver")
    said = [line for line in log.splitlines() if any(word in line for word in known)]
    assert said, "Docker does not start, but not because of the layers of two drivers"
    loaded = runtime.node.read("/sys/kernel/security/apparmor/profiles") or b""
    assert docker_in_lxc.PROFILE.encode() in loaded, "the profile left the kernel by itself"
    evidence.say(f"dockerd: {said[-1]:.160}")


@when("the plan is taken back, over what was changed by hand")
def taken_back_by_force(runtime: Runtime) -> None:
    """Without force it is refused: somebody's change would be lost."""
    try:
        _plan(runtime).rollback()
    except Meddled as refused:
        evidence.say(f"refused first: {', '.join(refused.changes)}")
    else:
        raise AssertionError("a file that was removed by hand was put back without a word")
    _plan(runtime).rollback(force=True)


@then("node and container are as they were before the plan")
def as_before(runtime: Runtime, existing: Existing) -> None:
    """By a witness that shares no code with the actions; what may differ is listed there."""
    wait_until_booted(existing.inside)
    now = witness.undone(witness.both(runtime, CTID))
    changed = witness.differences(existing.recorded, now)
    assert not changed, f"{len(changed)} thing(s) are not as before: " + "; ".join(changed[:10])
    evidence.say(f"{len(now)} facts compared, none differs")


@then("its Docker runs on its former driver, with its former image and container")
def former_driver(existing: Existing) -> None:
    """The letter of the plan's rollback would have left dockerd unable to start."""
    now = _driver(existing.inside)
    assert now == existing.driver, f"Docker runs on {now}, not on {existing.driver} as before"
    names = existing.inside.run(["docker", "ps", "-a", "--format", "{{.Names}}"]).require().text
    assert "former" in names.split(), "the container that was there before is gone"
    started = existing.inside.run(["docker", "start", "-a", "former"], timeout=PATIENCE)
    assert started.ok, f"the former container does not start: {started.stderr!r:.300}"
    evidence.say(f"{now}, former container started")
