"""A container in most users' state, changed by the plan and rolled back.

PYTEST_DONT_REWRITE: assertions have messages of their own, for the reader of the verdict.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from pytest_bdd import given, parsers, then, when

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import apparmor, docker, machine_state
from docker_lxc_gate.formats import pct_options
from docker_lxc_gate.lab.docker_images import hello
from docker_lxc_gate.machines.runtime.waiting import wait_until_booted
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.verdict import evidence, record
from remediation import desired, docker_in_lxc, phoenix
from remediation.actions.docker_package import DockerPackage
from remediation.engine.apply import apply
from remediation.engine.errors import ChangedSince
from remediation.engine.rollback import roll_back
from remediation.provision import thrown_away
from steps import witness
from steps.docker import PATIENCE
from steps.probe import PROBE

if TYPE_CHECKING:
    from testinfra.host import Host

    from docker_lxc_gate.machines.result import CommandResult
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.transport import Transport
    from remediation.engine.plan import Plan

_APT_TIMEOUT = 600.0


def pytest_configure(config: pytest.Config) -> None:
    """Let the record say what may differ after a rollback."""
    config.stash[record.MAY_DIFFER] = {
        where: {row.reason: row.keys for row in rows}
        for where, rows in machine_state.MAY_DIFFER.items()
    }


@dataclass(frozen=True)
class Existing:
    """A container that had Docker before the plan, with the state of that time."""

    ctid: int
    inside: Transport
    driver: str
    held: str
    running: list[str]
    recorded: dict[str, str]


@pytest.fixture(scope="module")  # gone before another feature applies the plan: it is the older one
def default_container(
    runtime: Runtime, target: Target, image: str, tell: Callable[[str], None]
) -> Iterator[Existing]:
    """A container with Docker on its default driver, an image and a Docker container.

    It is destroyed at the end. Each scenario compares its rollback with this one record.
    """
    with thrown_away(runtime, target, tell, features=("nesting",)) as ctid:
        inside = runtime.inside(ctid)
        _give_docker(inside, image)
        recorded = machine_state.record_target(runtime, ctid)
        held, running = docker.objects(inside), _running(inside)
        yield Existing(ctid, inside, _driver(inside), held, running, recorded)


def _give_docker(inside: Transport, image: str) -> None:
    """Install Docker if it is missing, and run an image: the state of most users' containers.

    Raises CommandFailed if Docker could not be installed, or does not run the image.
    """
    if not inside.ask(docker.DAEMON):  # the template has no Docker: install it as most users do
        engine = DockerPackage("docker-engine", "Docker", "")
        engine.apply(inside, engine.capture(inside))
    inside.run(["docker", "run", "--name", "former", image], timeout=PATIENCE).require()
    _keep_one_running(inside)


def _keep_one_running(inside: Transport) -> None:
    """Start a lasting Docker container, if our program runs on this machine."""
    if inside.look(["uname", "-m"]).require().text.strip() == hello.MACHINE:
        archive = hello.docker_archive(PROBE)
        inside.run(["docker", "load", "-q"], stdin=archive, timeout=PATIENCE).require()
        # It ends by SIGKILL alone, which Docker waits for ten seconds else.
        run = ["docker", "run", "-d", "--stop-timeout", "1", "--name", "lasting", PROBE]
        run += ["/hello", "wait"]
        inside.run(run, timeout=PATIENCE).require()


def _running(inside: Transport) -> list[str]:
    """Return the names of the running Docker containers."""
    return sorted(inside.look(["docker", "ps", "--format", "{{.Names}}"]).require().text.split())


def _driver(inside: Transport) -> str:
    driver = inside.look(["docker", "info", "-f", "{{.Driver}}"]).require().text.strip()
    if not driver:
        raise FactError(f"docker info in {inside.machine} names no storage driver")
    return driver


def _plan(runtime: Runtime, target: Target, ctid: int) -> Plan:
    return docker_in_lxc.plan(runtime, ctid, repository=target.repository, tell=lambda _: None)


@pytest.fixture
def its_plan(runtime: Runtime, target: Target, existing: Existing) -> Callable[[], Plan]:
    """Returns a new plan each time, so that stages share only the journal."""
    return lambda: _plan(runtime, target, existing.ctid)


@given("another container runs Docker on its default driver", target_fixture="existing")
def another_container(default_container: Existing) -> Existing:
    """All these scenarios share one container; each leaves it unchanged."""
    return default_container


@when(parsers.parse('"{clause}" of the plan is applied to it and rolled back'))
def part_is_applied_and_rolled_back(its_plan: Callable[[], Plan], clause: str) -> None:
    """Apply and roll back, as the command line does with ``--only``."""
    _there_and_back(lambda: its_plan().only([clause]), f"{clause} is applied on this node already")


@when("the plan is applied to it and rolled back")
def plan_is_applied_and_rolled_back(its_plan: Callable[[], Plan]) -> None:
    """Rehearse the whole plan."""
    already = "the plan is applied already"
    if its_plan().journal.entries():
        raise FactError(f"{already}, so this run cannot roll it back")
    _there_and_back(its_plan, already)


def _there_and_back(make: Callable[[], Plan], already: str) -> None:
    if not any(outcome.changed for outcome in apply(make())):
        raise FactError(f"{already}, so this run cannot roll it back")
    back = roll_back(make())
    evidence.say(f"{sum(outcome.changed for outcome in back)} actions applied and rolled back")


@when("the plan is applied to it again")
def plan_is_applied_again(its_plan: Callable[[], Plan]) -> None:
    """A rollback must leave nothing that is in its way."""
    apply(its_plan())


@given("the plan is applied to another container", target_fixture="existing")
def plan_is_applied(default_container: Existing, runtime: Runtime, target: Target) -> Existing:
    """Apply the plan, as the command line does; nothing happens if it is applied already."""
    apply(_plan(runtime, target, default_container.ctid))
    return default_container


@then(parsers.parse('its Docker runs on "{driver}" and can run hello-world'))
def docker_runs_on(existing: Existing, driver: str, image: str) -> None:
    """Check the plan's effect."""
    assert existing.driver != driver, f"it was on {driver} before the plan"
    now = _driver(existing.inside)
    assert now == driver, f"after the plan Docker runs on {now}"
    run = existing.inside.run(["docker", "run", "--rm", image], timeout=PATIENCE)
    assert run.ok, f"after the plan {image} ends with {run.exit_code}: {run.stderr!r:.300}"


@then("nothing of the plan is left to do")
def nothing_left(runtime: Runtime, target: Target, existing: Existing) -> None:
    """Look at each thing that the plan brings about, without any action's own check.

    ``node_host`` would apply the plan to the container under test, too, which comes later.
    """
    node_host, inside = witness.host(runtime.node), witness.host(existing.inside)
    ctid = existing.ctid
    profile = _text(node_host, desired.PROFILE_PATH)
    label = apparmor.label(runtime.node, runtime.init_pid(ctid))
    loaded = runtime.node.ask(apparmor.loaded_policy(desired.PROFILE))
    compiled = runtime.node.ask(apparmor.compiled_policy(desired.PROFILE_PATH))
    features = runtime.features(ctid)
    done = {
        "the tunable": _text(node_host, desired.TUNABLE_PATH) == desired.TUNABLE.decode(),
        "the profile's file": profile == desired.profile().decode(),
        "the profile in the kernel": loaded == compiled,
        "the profile of the container": label == f"{desired.PROFILE} (enforce)",
        "the container's features": all(
            pct_options.boolean(features.get(name, "")) for name in desired.FEATURES
        ),
        "the container's /dev/fuse": inside.file("/dev/fuse").exists,
        desired.DRIVER: inside.package(desired.DRIVER).is_installed,
        "Docker": inside.exists("dockerd"),
        desired.DAEMON_JSON: desired.DRIVER in _text(inside, desired.DAEMON_JSON),
    }
    if node_host.file(target.repository).exists:
        scripts = [
            f"{target.repository}/{s}" for s in (phoenix.SETUP_SCRIPT, phoenix.INSTALL_SCRIPT)
        ]
        words = (desired.TUNABLE.decode().strip(), f"installed {desired.DRIVER}")
        done |= {s: word in _text(node_host, s) for s, word in zip(scripts, words, strict=True)}
        own = f"{target.repository}/{phoenix.PROFILE}"
        done[own] = _text(node_host, own) == profile
        descriptions = f"{target.repository}/{phoenix.CONTAINERS}"
        described = json.loads(_text(node_host, descriptions))["lxc_configs"].get(str(ctid))
        if described is not None:
            done[descriptions] = described.get("apparmor_profile") == desired.PROFILE
    left = [what for what, is_done in done.items() if not is_done]
    assert not left, f"applied again, and still not as the plan wants: {', '.join(left)}"
    evidence.say(f"{len(done)} things are as the plan wants them")


def _text(host: Host, path: str) -> str:
    """Return a file's text by testinfra; empty if it is absent."""
    file = host.file(path)
    return str(file.content_string) if file.exists else ""


@when(
    "daemon.json is removed, fuse-overlayfs purged and Docker restarted, as the plan says",
    target_fixture="restarted",
)
def letter_of_the_plan(existing: Existing) -> CommandResult:
    """Do section 3 of the plan, word for word, in the affected container."""
    inside = existing.inside
    inside.run(["rm", desired.DAEMON_JSON]).require()
    purge = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "purge", "-y", "fuse-overlayfs"]
    inside.run(purge, timeout=_APT_TIMEOUT).require()
    return inside.run(["systemctl", "restart", "docker"], timeout=PATIENCE)


@then("Docker does not start, and the profile is still in the kernel")
def letter_is_worse(existing: Existing, runtime: Runtime, restarted: CommandResult) -> None:
    """If Docker started, the plan's own rollback would suffice."""
    active = existing.inside.look(["systemctl", "is-active", "docker"]).text.strip()
    assert not restarted.ok, "Docker started after the letter of the plan's rollback"
    assert active != "active", "Docker runs after the letter of the plan's rollback"
    log = existing.inside.look(["journalctl", "-u", "docker", "-n", "60", "-o", "cat"]).text
    known = ("prior storage driver", "several valid graphdrivers", "error initializing graphdriver")
    errors = [line for line in log.splitlines() if any(word in line for word in known)]
    assert errors, "Docker does not start, but not because of the layers of two drivers"
    loaded = runtime.node.read("/sys/kernel/security/apparmor/profiles") or b""
    assert desired.PROFILE.encode() in loaded, "the profile left the kernel by itself"
    evidence.say(f"dockerd: {errors[-1]:.160}")


@when("the plan is rolled back, over what was changed by hand")
def rolled_back_by_force(its_plan: Callable[[], Plan]) -> None:
    """Without force, rollback refuses, because somebody's change would be lost."""
    try:
        roll_back(its_plan())
    except ChangedSince as refused:
        evidence.say(f"refused first: {', '.join(refused.changes)}")
    else:
        raise AssertionError("rollback restored a file removed by hand without refusing first")
    roll_back(its_plan(), force=True)


@then("node and container are as they were before the plan")
def as_before(runtime: Runtime, existing: Existing) -> None:
    """Compare states by code that the actions do not use. The record lists what may differ."""
    wait_until_booted(existing.inside)
    before = machine_state.comparable_after_rollback(existing.recorded)
    state = machine_state.record_target(runtime, existing.ctid)
    now = machine_state.comparable_after_rollback(state)
    changed = machine_state.differences(before, now)
    assert not changed, f"{len(changed)} thing(s) are not as before: " + "; ".join(changed[:10])
    for line in machine_state.compared(now):
        evidence.say(line)


@then("its Docker runs on its former driver, and has what it had")
def former_driver(existing: Existing) -> None:
    """Compare images, containers and volumes, which the plan's own rollback would have lost."""
    now = _driver(existing.inside)
    assert now == existing.driver, f"Docker runs on {now}, not on {existing.driver} as before"
    if not existing.held:
        raise FactError("Docker held nothing before the plan, so this proves nothing")
    held = docker.objects(existing.inside)
    assert held == existing.held, f"Docker had {existing.held}, and has {held or 'nothing'}"
    evidence.say(f"{now}, {held}")


@then("the Docker containers that ran run again")
def they_run_again(existing: Existing) -> None:
    """Docker's restart on another driver stopped them."""
    if not existing.running:
        raise FactError("no Docker container ran before the plan, so this proves nothing")
    now = _running(existing.inside)
    assert now == existing.running, f"{existing.running} ran, and now {now or 'none'}"
    evidence.say(f"{', '.join(now)} runs again")


@then("its former container starts")
def former_container_starts(existing: Existing) -> None:
    """Check this last, because a start writes files that are no trace of the plan."""
    started = existing.inside.run(["docker", "start", "-a", "former"], timeout=PATIENCE)
    assert started.ok, f"the former container does not start: {started.stderr!r:.300}"
