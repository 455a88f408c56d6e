"""``phoenix create``: from nothing, and a second time.

PYTEST_DONT_REWRITE: an assertion here has its own words, for the reader of the verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import given, then, when

from gate import evidence
from remediation import witness
from remediation.errors import FactError

if TYPE_CHECKING:
    from testinfra.host import Host

    from conftest import Provisioning
    from remediation.runtime import Runtime
    from remediation.target import Target
    from remediation.transport import CommandResult, Transport

#: A run of ``phoenix create`` that has nothing to do, under emulation (seconds).
_AGAIN = 900.0


@given("the container did not exist")
def container_did_not_exist(provisioning: Provisioning) -> None:
    """Provisioning from nothing can be judged only where there was nothing."""
    if provisioning.existed:
        raise FactError(
            "the container was there before this run: it was not provisioned from nothing"
        )


@when("it was provisioned with phoenix create", target_fixture="created")
def provisioned(provisioning: Provisioning) -> CommandResult:
    """The session did it, once, after the plan was applied."""
    if provisioning.created is None:
        raise FactError("phoenix create was not run")
    return provisioning.created


@then("phoenix create succeeded")
def create_succeeded(created: CommandResult) -> None:
    """By its exit code; what it was for is asked beside it."""
    lines = (created.text + created.stderr.decode(errors="replace")).strip().splitlines()
    assert created.ok, f"phoenix create ended with {created.exit_code}: {' / '.join(lines[-3:])}"
    evidence.say(f"exit 0 after {created.seconds:.0f} s")


@then("the container exists and is running")
def container_exists(runtime: Runtime, ctid: int) -> None:
    """As the runtime knows it: a create that did nothing exits 0, too."""
    state = runtime.state(ctid)
    assert state is not None, f"phoenix create left no container {ctid}"
    assert state == "running", f"container {ctid} is {state} after phoenix create"


@then("Docker is installed in the container")
def docker_is_installed(container_host: Host) -> None:
    """A feature script that failed leaves a container without it."""
    package = container_host.package("docker.io")
    assert package.is_installed, "docker.io is not installed in the container"
    assert container_host.exists("docker"), "the container has no docker client"
    evidence.say(f"docker.io {package.version}")


@given("the state of node and container is recorded", target_fixture="recorded")
def state_is_recorded(runtime: Runtime, ctid: int) -> dict[str, str]:
    """Files, packages, profiles, configuration, processes: what a second run must not change."""
    return witness.unchanged(witness.both(runtime, ctid))


@when("phoenix create is run again", target_fixture="created")
def created_again(node: Transport, target: Target) -> CommandResult:
    """The same command for the same container."""
    return node.run(target.provisioning(node), timeout=_AGAIN)


@then("node and container are as they were recorded")
def nothing_changed(recorded: dict[str, str], runtime: Runtime, ctid: int) -> None:
    """Anything that differs is shown; what the machine writes by itself was never recorded."""
    now = witness.unchanged(witness.both(runtime, ctid))
    changed = witness.differences(recorded, now)
    assert not changed, f"a second run changed {len(changed)} thing(s): " + "; ".join(changed[:10])
    evidence.say(f"{len(now)} facts compared, none differs")
