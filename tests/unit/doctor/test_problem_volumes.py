"""Of bind mounts and volumes: nobody's files are a problem only where somebody writes to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from docker_lxc_gate.doctor import guest_reads
from docker_lxc_gate.doctor.examinations import ownership
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats import container_config
from tests.doubles.patient import (
    CONFIG,
    DATA,
    OF_DATA,
    advice,
    container,
    diagnosis,
    problems,
)
from tests.unit.doctor.test_upgrade_scripts import asked

if TYPE_CHECKING:
    from pathlib import Path

    from docker_lxc_gate.machines.read import Read
    from tests.doubles.patient import Raw


def test_bind_mount_of_nobody_that_nobody_writes_to_is_advice_with_both_ids() -> None:
    said: dict[Read[Any], Raw] = {
        OF_DATA[0]: "1000 1000 755\n",
        OF_DATA[1]: "65534 65534\nno\n",
    }
    found = diagnosis(said, config=DATA)
    assert advice(found)[0] == "bind-mount-of-nobody"
    assert "user 1000 and group 1000" in found.problems[0].cause
    assert "65534:65534" in found.problems[0].cause
    assert "chown -R 101000:101000" in found.problems[0].fix
    assert "idmap=" in found.problems[0].fix


STRANGE = "volumes 3\n65534 65534 no ./data/_data\n0 65534 yes ./own/_data\n"


def named_volume(source: str = "/var/lib/docker/volumes/data/_data", *, writes: bool = True) -> str:
    return container(Mounts=[{"Type": "volume", "Source": source, "RW": writes}])


def test_volume_of_nobody_that_a_docker_container_writes_to_is_a_problem() -> None:
    found = diagnosis({guest_reads.VOLUMES: STRANGE, guest_reads.CONTAINERS: named_volume()})
    assert problems(found) == ["volume-of-nobody"]
    said = found.problems[0]
    assert "the volume data shows as 65534:65534" in said.cause
    assert "none of the ids 100000 to 165535" in said.cause
    assert "the Docker container web is to write there" in said.cause
    assert "own" not in said.cause.split("shows")[0]
    assert "idmap=" not in said.fix


@pytest.mark.parametrize(
    "containers",
    ["", named_volume(writes=False), named_volume("/var/lib/docker/volumes/other/_data")],
)
def test_volume_of_nobody_that_nobody_writes_to_is_advice(containers: str) -> None:
    found = diagnosis({guest_reads.VOLUMES: STRANGE, guest_reads.CONTAINERS: containers})
    assert problems(found) == []
    assert advice(found)[0] == "volume-of-nobody"
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("points", "named"),
    [
        ("mp3: tank:950/d.raw,mp=/var/lib/docker,size=8G\n", "mp3"),
        ("mp0: tank:1,mp=/var/lib\nmp1: tank:2,mp=/var/lib/docker/\n", "mp1"),
        ("mp0: tank:1,mp=/var/lib/docker\nmp1: tank:2,mp=/var/lib\n", "mp0"),
        ("mp0: tank:1,mp=/var/lib/docker2\n", ""),
        ("mp0: tank:1,mp=/var/lib/docker/volumes\n", ""),
        ("rootfs: a,mp=/\n", ""),
    ],
)
def test_volume_of_nobody_on_a_mount_point_is_fixed_by_its_idmap(points: str, named: str) -> None:
    found = diagnosis({guest_reads.VOLUMES: STRANGE}, config=CONFIG + points)
    (said,) = [each for each in found.problems if each.id == "volume-of-nobody"]
    assert (f"give {named}, " in said.fix) is bool(named)


@pytest.mark.parametrize(
    "volumes",
    [
        "volumes 2\n65534 65534 yes ./nobodys-own/_data\n",
        "volumes 500\n",
        "volumes 1\n65534 65534 no ./a b/_data\n65534 65534 no ./$(x)/_data\n",
        "volumes 1\n65534 65534 no /etc/_data\n65534 65534 no ./../_data\n",
    ],
)
def test_volume_that_is_usable_or_has_no_name_of_dockers_is_no_problem(volumes: str) -> None:
    found = diagnosis({guest_reads.VOLUMES: volumes, guest_reads.CONTAINERS: named_volume()})
    assert problems(found) == []
    assert "volume-of-nobody" not in advice(found)
    assert found.unseen == ()


def test_more_volumes_than_are_looked_at_are_told_and_leave_the_exit_code() -> None:
    found = diagnosis({guest_reads.VOLUMES: "volumes 501\n65534 65534 no ./data/_data\n"})
    assert "volume-of-nobody" in advice(found)
    assert [each.what for each in found.unseen] == ["whether a volume belongs to nobody"]
    assert found.exit_code == 0


def test_volumes_are_asked_of_docker_and_of_the_files_below_its_root(tmp_path: Path) -> None:
    bin_ = tmp_path / "bin"
    for each in ("bin", "volumes/a/_data", "volumes/b/_data", "volumes/c d/_data"):
        (tmp_path / each).mkdir(parents=True)
    (tmp_path / "volumes/metadata.db").write_text("")
    programs = {
        "docker": f"echo {tmp_path}",
        "systemctl": "exit 0",
        # nobody owns them: the test may not have the right to give them away
        "stat": 'shift 3; for each; do echo "65534 65534 $each"; done',
    }
    for name, script in programs.items():
        (bin_ / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin_ / name).chmod(0o755)
    (tmp_path / "volumes/b/_data").chmod(0o700)
    env = {"PATH": f"{bin_}:/usr/bin:/bin"}
    found = asked(guest_reads.VOLUMES, guest_reads.VOLUMES.argv, env)
    assert {each.name for each in found.found} == {"a", "b"}
    assert all(each.owned.usable for each in found.found)
    assert not found.more
    (bin_ / "systemctl").write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(FactError, match="does not run"):
        asked(guest_reads.VOLUMES, guest_reads.VOLUMES.argv, env)


def test_bind_mounts_of_a_configuration_are_directories_of_the_node() -> None:
    config = diagnosis_config(
        "mp0: /a,mp=/x,ro=1\nmp1: local:950/y.raw,mp=/y\nmp2: volume=/b,mp=/z\n"
        "lxc.mount.entry: /dev/fuse dev/fuse none bind,create=file 0 0\n"
        "lxc.mount.entry: /c w none bind,create=dir 0 0\nlxc.mount.entry: /d\n"
        "[before]\nmp3: /e,mp=/v\n"
    )
    assert ownership.binds(config) == {"/x": "/a", "/z": "/b", "/w": "/c"}


def diagnosis_config(text: str) -> Any:
    return container_config.parse("/etc/pve/lxc/950.conf", text)
