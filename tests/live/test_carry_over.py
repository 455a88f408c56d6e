"""``apply`` carries what Docker holds over to the plan's driver; ``rollback`` brings it back."""

import json
import re

import pytest

from docker_lxc_gate.lab.docker_images import workload as image
from docker_lxc_gate.lab.machine import Lab
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.transport import Transport
from tests.doubles.samples import sample
from tests.live.interrupted.interruption import connected
from tests.live.running import DOCKER, bare, remediation, succeeded
from tests.live.running import OTHER as CTID

_PATIENCE, _TARGET = 1800.0, ("--yes", "--target", f"lab/{CTID}")
#: What a Docker container does to the files of its image and to a volume. Some stay.
_WRITE = sample("programs/lab/write.pl")
_FILL = sample("programs/lab/fill.sh")
_HELD = sample("programs/lab/held.sh")
#: The links of a file of which one was removed: overlayfs and fuse-overlayfs count differently.
_LINKS = re.compile(r" [0-9]+:")
#: What needs Docker, and runs.
_NEEDS = """
printf '%s\\n' '[Unit]' Requires=docker.service After=docker.service '[Service]' Type=oneshot \\
    RemainAfterExit=yes ExecStart=/bin/true >/etc/systemd/system/app.service
systemctl daemon-reload
systemctl start app
"""
_RUNS = ("systemctl", "is-active", "-q", "app")
#: Of an inspected object: what another driver, or a start, changes.
_OF_A_START = {"Driver", "GraphDriver", "State", "NetworkSettings", "RestartCount"}


def filled(inside: Transport) -> None:
    """Make an image of 30 layers and two containers of it, which changed files."""
    load = ["sh", "-c", program("steps", "image.sh")]
    machine = inside.look(["uname", "-m"]).require().text.strip()
    inside.run(load, stdin=image.archive(machine), timeout=_PATIENCE).require()
    change = program("steps", "workload.pl")
    fill = ["sh", "-c", _FILL, "fill", image.LOADED, image.COMMITTED, change, _WRITE]
    inside.run(fill, timeout=_PATIENCE).require()


def held(inside: Transport) -> set[str]:
    """Return what Docker holds: ids, histories, differences, and hashes of merged trees."""
    words = ["sh", "-c", _HELD, "held", image.COMMITTED, program("steps", "workload.pl")]
    said = inside.run(words, timeout=_PATIENCE).require().text.splitlines()
    inspect = ["sh", "-c", "docker inspect $(docker images -q) $(docker ps -aq)"]
    inspected = inside.look(inspect, timeout=_PATIENCE, limit=1 << 24)
    objects = json.loads(inspected.require().text)
    return {_LINKS.sub(" ", line) for line in said} | {
        f"{each['Id']} {key}: {json.dumps(value)}"
        for each in objects
        for key, value in each.items()
        if key not in _OF_A_START
    }


def test_carry_over_and_rollback_bring_images_and_containers_back(machine: Lab) -> None:
    """By hash of every merged tree, and by what Docker says of each object."""
    bare(machine, DOCKER)
    with connected(machine) as node:
        inside = Pct(node).inside(CTID)
        filled(inside)
        inside.run(["sh", "-ec", _NEEDS]).require()
        before = held(inside)
        applied = succeeded("apply", *_TARGET)
        assert "are carried over" in applied.stderr
        assert "units that need Docker are restarted with it: app.service" in applied.stderr
        inside.run(_RUNS).require()  # no boot starts it
        driver = ["docker", "info", "-f", "{{.Driver}}"]
        assert inside.look(driver).require().text == "fuse-overlayfs\n"
        assert held(inside) ^ before == set()
        said = remediation("doctor", *_TARGET[1:], timeout=_PATIENCE)
        assert "images-of-another-driver" not in said.stdout, said.stdout  # rollback needs them
        inside.run(["docker", "exec", "running", "perl", "-e", 'mkdir "/later"']).require()
        back = succeeded("rollback", *_TARGET)
        assert "what running changed" in back.stderr
        inside.run(_RUNS).require()
        assert inside.look(driver).require().text == "overlay2\n"
        assert held(inside) ^ before == set()


#: Settings, and the driver that Docker then names.
OTHERS = {
    '{"storage-driver": "vfs"}': "vfs",
    '{"features": {"containerd-snapshotter": true}}': "overlayfs",
}


@pytest.mark.parametrize("settings", OTHERS, ids=["vfs", "containerd"])
def test_images_of_another_driver_are_carried_over_by_save_and_load(
    machine: Lab, settings: str
) -> None:
    """Containers are not, and are named; after the rollback, all are as before."""
    bare(machine, DOCKER)
    names = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"]
    with connected(machine) as node:
        inside = Pct(node).inside(CTID)

        def run(script: str) -> str:
            words = ["sh", "-c", script, "run", settings, image.LOADED]
            return inside.run(words, timeout=_PATIENCE).require().text

        run('mkdir -p /etc/docker; printf %s "$1" >/etc/docker/daemon.json')
        run("systemctl restart docker")
        load = ["sh", "-c", program("steps", "image.sh")]
        archive = image.archive(run("uname -m").strip())
        inside.run(load, stdin=archive, timeout=_PATIENCE).require()
        unnamed = run(
            'docker tag "$2" another/name:1; docker create --name left "$2" true >/dev/null; '
            "docker commit -m unnamed left"
        ).strip()
        held = (
            "docker info -f '{{.Driver}}'; "
            "docker images --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' | sort; "
            f"docker image inspect -f '{{{{.Id}}}}' {unnamed}; "
            "docker ps -a --no-trunc --format '{{.ID}} {{.Names}}'"
        )
        before, named = run(held), inside.look(names).require().text
        assert before.startswith(f"{OTHERS[settings]}\n")
        applied = succeeded("apply", *_TARGET)
        assert "are carried over by docker save and docker load" in applied.stderr
        assert "container left stay on disk" in applied.stderr
        assert sorted(inside.look(names).require().text.split()) == sorted(named.split())
        assert run("docker info -f '{{.Driver}}'") == "fuse-overlayfs\n"
        assert len(run("docker images -q -f dangling=true").split()) == 1
        assert run('docker run --rm --network none "$2" perl -e "print 7"') == "7"
        succeeded("rollback", *_TARGET)
        assert run(held) == before
