"""A container in the state of most users', changed by the plan and taken back.

PYTEST_DONT_REWRITE: an assertion here has its own words, for the reader of the verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when

from gate import evidence
from remediation import docker_in_lxc
from remediation.errors import FactError
from remediation.runtime import wait_until_booted
from steps import state
from steps.docker import IMAGE, PATIENCE

if TYPE_CHECKING:
    import pytest

    from remediation.plan import Outcome
    from remediation.runtime import Runtime
    from remediation.target import Target
    from remediation.transport import Transport

#: The lab's own ctid for a container with Docker; nowhere else is one created.
_CTID = 951
_CREATE = (
    *("pct", "create", str(_CTID), "local:vztmpl/debian-trixie-docker_amd64.tar.zst"),
    *("--hostname", "default-driver", "--rootfs", "local:4", "--memory", "2048"),
    *("--net0", "name=eth0,bridge=lxcbr0,ip=dhcp", "--unprivileged", "1"),
    *("--features", "nesting=1"),
)


@dataclass(frozen=True)
class Existing:
    """A container that had Docker before us: what it held, and how its node looked."""

    inside: Transport
    driver: str
    recorded: dict[str, str]


@given("another container runs Docker on its default driver", target_fixture="existing")
def another_container(
    runtime: Runtime, target: Target, provisioning: object, request: pytest.FixtureRequest
) -> Existing:
    """Made from a template with Docker, given an image and a container, and thrown away."""
    del provisioning  # the plan's changes of the node come first, so that they are not ours
    if target.place != "lab":
        raise FactError("no ctid is reserved for throw-away containers on this target")
    if runtime.state(_CTID) is not None:
        raise FactError(f"container {_CTID} is there already, and not ours: it is left alone")
    request.addfinalizer(lambda: _throw_away(runtime))
    runtime.node.run(_CREATE, timeout=300).require()
    runtime.start(_CTID)
    inside = runtime.inside(_CTID)
    wait_until_booted(inside)
    inside.run(["docker", "run", "--name", "former", IMAGE], timeout=PATIENCE).require()
    return Existing(inside, _driver(inside), state.of(runtime, inside, _CTID))


def _throw_away(runtime: Runtime) -> None:
    if runtime.state(_CTID) == "running":
        runtime.stop(_CTID)
    runtime.node.run(["pct", "destroy", str(_CTID)], timeout=180).require()


def _driver(inside: Transport) -> str:
    return inside.run(["docker", "info", "-f", "{{.Driver}}"]).require().text.strip()


@when("the plan is applied to it", target_fixture="outcomes")
def plan_is_applied(runtime: Runtime) -> list[Outcome]:
    """As the command line does it."""
    return docker_in_lxc.plan(runtime, _CTID, tell=lambda _: None).apply()


@then(parsers.parse('its Docker runs on "{driver}" and can run hello-world'))
def docker_runs_on(existing: Existing, outcomes: list[Outcome], driver: str) -> None:
    """The plan by its effect; that something changed is what makes the rollback worth asking."""
    wait_until_booted(existing.inside)
    assert any(outcome.changed for outcome in outcomes), "the plan found nothing to change"
    assert existing.driver != driver, f"it was on {driver} before the plan"
    now = _driver(existing.inside)
    assert now == driver, f"after the plan Docker runs on {now}"
    run = existing.inside.run(["docker", "run", "--rm", IMAGE], timeout=PATIENCE)
    assert run.ok, f"after the plan {IMAGE} ends with {run.exit_code}: {run.stderr!r:.300}"


@when("the plan is taken back")
def plan_is_taken_back(runtime: Runtime) -> None:
    """From the journal, by a plan that knows nothing of the first one."""
    docker_in_lxc.plan(runtime, _CTID, tell=lambda _: None).rollback()


@then("node and container are as they were before the plan")
def as_before(runtime: Runtime, existing: Existing) -> None:
    """By a witness of its own (steps/state.py); what may differ is listed there."""
    wait_until_booted(existing.inside)
    now = state.restored(state.of(runtime, existing.inside, _CTID))
    changed = state.differences(state.restored(existing.recorded), now)
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
