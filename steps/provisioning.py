"""Provisioning, by ``phoenix create`` or by the plan: from nothing, and a second time.

PYTEST_DONT_REWRITE: assertions have messages of their own, for the reader of the verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import given, then, when

from docker_lxc_gate import patterns
from docker_lxc_gate.doctor.upgrade_pairs import DOCKERS
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import machine_state
from docker_lxc_gate.printable import cut
from docker_lxc_gate.verdict import evidence
from remediation.provision import Provisioned, provision
from steps.docker import NO_DOCKER

if TYPE_CHECKING:
    from testinfra.host import Host

    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target


@given("the container did not exist")
def container_did_not_exist(provisioning: Provisioned | None) -> None:
    """Provisioning from nothing can be judged only if there was no container."""
    if provisioning is None:
        raise FactError(
            "the container existed before this run, so it was not provisioned from nothing"
        )


@when("it was provisioned", target_fixture="created")
def provisioned(provisioning: Provisioned) -> Provisioned:
    """The session provisioned it, once, after the plan was applied."""
    return provisioning


@then("provisioning succeeded")
def provisioning_succeeded(created: Provisioned) -> None:
    """Check the exit code; other Thens check the effect."""
    lines = created.output.strip().splitlines()
    assert created.ok, f"{created.how} did not succeed: {' / '.join(lines[-3:])}"
    evidence.say(f"{created.how}: succeeded after {created.seconds:.0f} s")


#: How programs begin and end the message of an error; bash's has a line number. Source: bash(1),
#: apt(8), systemctl(1), dpkg(1), curl(1), docker(1), and the messages of errno(3).
_ERROR = patterns.compile(
    r"(?i)(?:^|[\s\[])(?:error|fatal)[:\]]|^failed to |^\S+: (?:cannot|unable to|failed to) "
    r"|^traceback \(most recent call last\)|: line [0-9]+: |: (?:command not found|not found)$"
    r"|: (?:no such file or directory|permission denied|operation not permitted)$"
    r"|: (?:no space left on device|read-only file system)$|^e: |^err:[0-9]"
    r"|\berror (?:response from daemon|processing)\b|(?-i:^(?:\S+ )*ERROR\b)"
    r"|^job for \S+ failed |^curl: \([0-9]+\) "
)
#: What says so and goes on: a locale or a terminal is absent; and what says that there is no error.
_HARMLESS = patterns.compile(
    r"(?i)\bwarning\b|^(?:debconf|dpkg-preconfigure|(?:\S*/)?locale): |^(?:\S+ )*\[info\]"
    r"|\b(?:0|no) errors?\b"
)


@then("provisioning succeeded again, also by what it printed")
def provisioning_succeeded_again(created: Provisioned) -> None:
    """A command that fails in the middle of a script may leave exit code 0, and a message."""
    provisioning_succeeded(created)
    lines = [line.strip() for line in created.output.splitlines()]
    errors = [line for line in lines if _ERROR.search(line) and not _HARMLESS.search(line)]
    assert not errors, (
        f"{created.how} exited 0, but printed an error: {cut(errors[0])} (a command that "
        "may fail needs 2>/dev/null)"
    )


@then("the container exists and is running")
def container_exists(runtime: Runtime, ctid: int, created: Provisioned) -> None:
    """Ask the runtime: a create that did nothing exits 0, too."""
    state = runtime.state(ctid)
    assert state is not None, f"{created.how} left no container {ctid}"
    assert state == "running", f"container {ctid} is {state} after {created.how}"


@then("Docker is installed in the container")
def docker_is_installed(host: Host) -> None:
    """A failed feature script leaves a container without Docker."""
    packages = [host.package(name) for name in DOCKERS]
    versions = [f"{package.name} {package.version}" for package in packages if package.is_installed]
    assert versions or host.exists("dockerd"), NO_DOCKER
    assert host.exists("docker"), "the container has no docker client"
    evidence.say(versions[0] if versions else "Docker is from an unknown package")


@given("the state of node and container is recorded", target_fixture="recorded")
def state_is_recorded(runtime: Runtime, ctid: int) -> dict[str, str]:
    """Record files, packages, profiles, configuration, processes, and Docker's objects.

    A second run must change none of them.
    """
    return machine_state.comparable_after_no_change(machine_state.record_target(runtime, ctid))


@when("it is provisioned again", target_fixture="created")
def provisioned_again(runtime: Runtime, target: Target) -> Provisioned:
    """Provision it in the same way as before."""
    return provision(runtime, target, lambda _: None)


@then("node and container are as they were recorded")
def nothing_changed(recorded: dict[str, str], runtime: Runtime, ctid: int) -> None:
    """Show all differences; files that the machine writes by itself are not recorded."""
    now = machine_state.comparable_after_no_change(machine_state.record_target(runtime, ctid))
    changed = machine_state.differences(recorded, now)
    assert not changed, f"a second run changed {len(changed)} thing(s): " + "; ".join(changed[:10])
    for line in machine_state.compared(now):
        evidence.say(line)
