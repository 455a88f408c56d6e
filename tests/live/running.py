"""The lab's target, put back and opened; the project's programs, run on it as a user runs them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from docker_lxc_gate.facts import backups, machine_state
from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines import connect
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.target import DEFAULT, parse
from proof.faults.fault import CTID, READY
from proof.faults.snapshots import WITHOUT_BACKUPS, restored, snapshot
from remediation import provision
from steps import prerequisites

ROOT = Path(__file__).parents[2]
TARGET = f"lab/{CTID}"
#: The container that the scenarios of the rollback make, and the command that creates it.
OTHER, CREATE = provision.reserved(parse(DEFAULT), ("nesting",))
#: Containers on a node without the plan: with Docker, or without.
DOCKER, PLAIN = "docker", "plain"


@contextmanager
def compliant(lab: Lab) -> Iterator[Runtime]:
    """Put the lab back to where the plan is applied and all is compliant, and open its target."""
    restore(lab, WITHOUT_BACKUPS)
    with connect.opened(parse(TARGET), lab=lab_address) as runtime:
        yield runtime


def backed_up(name: str) -> None:
    """Make the backups of a target that the gate asks for and never makes."""
    target = parse(name)
    with connect.opened(target, lab=lab_address) as runtime:
        prerequisites.back_up_lab(runtime, target.ctid, backups.DUMP)


def remediation(*words: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``docker-lxc-gate`` to its end, whatever that is; an option says on what."""
    argv = [sys.executable, "-m", "docker_lxc_gate", *words]
    return subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )


def succeeded(*words: str, timeout: float = 1800.0) -> subprocess.CompletedProcess[str]:
    """Run ``docker-lxc-gate``, show what it says, and fail unless it ends with 0."""
    done = remediation(*words, timeout=timeout)
    print(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def facts(runtime: Runtime, ctid: int) -> dict[str, str]:
    """Return what the witness sees of node and container that a rollback must bring back."""
    return machine_state.comparable_after_rollback(machine_state.record_target(runtime, ctid))


def gate(
    *arguments: str, results: Path
) -> tuple[subprocess.CompletedProcess[str], dict[str, dict[str, str]]]:
    """Run the gate; return the finished process, and each scenario's status and message."""
    argv = [sys.executable, "-m", "pytest", *arguments, "--no-report"]
    argv += [f"--alluredir={results}", f"--junit-xml={results}/junit.xml"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False)
    said = {}
    for path in results.glob("*-result.json"):
        result = json.loads(path.read_text())
        message = (result.get("statusDetails") or {}).get("message", "")
        if result["status"] != "skipped":  # else it was not asked
            said[result["name"]] = {"status": result["status"], "message": message}
    return done, said


def restore(lab: Lab, name: str) -> None:
    """Restore a snapshot, for callers that connect by themselves."""
    with restored(lab, name):
        pass


def bare(lab: Lab, base: str) -> None:
    """Restore the lab to a node without the plan, with a container on it.

    Args:
        lab: up.
        base: ``docker``: a container with Docker on its default driver, which has run an image;
            ``plain``: a container without Docker.
    """
    name = snapshot(f"interruptible-{base}")
    if name not in lab.snapshots():
        with lab.restored(READY) as node:
            create = [
                word if base == DOCKER else word.replace("-docker_", "-standard_")
                for word in CREATE
            ]
            assert (create == CREATE) == (base == DOCKER), create
            node.run(create, timeout=300).require()
            inside = provision.boot(Pct(node), OTHER)
            if base == DOCKER:
                run = ["docker", "run", "--name", "former", "hello-world"]
                inside.run(run, timeout=180).require()
            else:  # the templates have a daemon.json although they have no Docker
                inside.run(["rm", "-r", "/etc/docker"]).require()
        lab.snapshot(name)
    lab.restore(name)
