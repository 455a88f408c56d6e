"""Each problem: which causes it tells apart, how it is fixed, whose files it is about; advice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from docker_lxc_gate.doctor import guest_reads, messages, node_reads
from docker_lxc_gate.doctor.examinations import confinement, ownership, storage
from docker_lxc_gate.doctor.examine import diagnose
from docker_lxc_gate.doctor.node_reads import Confined
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.denial.denial_groups import Tally
from docker_lxc_gate.facts.denial.denial_log import owner_by_name
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.lint.finding import Severity
from tests.doubles.patient import (
    CONFIG,
    CTID,
    DATA,
    DOWN,
    GENERATED,
    INFO,
    MAP,
    MOUNTS,
    NAT,
    OF_DATA,
    PROFILE,
    REOPEN,
    advice,
    case,
    confined,
    container,
    diagnosis,
    problems,
)
from tests.unit.doctor.test_upgrade_scripts import asked

if TYPE_CHECKING:
    from pathlib import Path

    from docker_lxc_gate.machines.read import Read
    from tests.doubles.patient import Raw

IDS, CONFINED = node_reads.id_maps(CTID), node_reads.confined(CTID)
DENIAL = (
    b'type=AVC msg=audit(1795717106.123:42): apparmor="DENIED" operation="mount" class="mount" '
    b'info="failed type match" error=-13 profile="lxc-950_</var/lib/lxc>" name="/mnt/" pid=42 '
    b'comm="fuse-overlayfs" fstype="fuse" srcname="x" flags="rw, nosuid"'
)


def test_module_is_unknown_where_the_nodes_list_cannot_be_read() -> None:
    found = diagnosis({messages.READ: NAT, node_reads.MODULES: (1, "", "no")})
    assert any("module" in each.what for each in found.unseen)


def test_id_that_docker_missed_is_named_and_the_line_that_maps_it() -> None:
    line = 'failed to Lchown "/x" for UID 1000, GID 44: lchown /x: invalid argument'
    found = diagnosis({IDS: f"0 100000 1000\n1001 101001 64535\n==\n{MAP}", messages.READ: line})
    (only,) = [each for each in found.problems if not each.is_advice]
    assert only.severity is Severity.SEEN
    assert "names user 1000" in only.cause
    assert "lxc.idmap: u 1000 101000 1." in only.fix


def test_id_above_the_map_is_advice_about_the_image() -> None:
    line = 'failed to Lchown "/x" for UID 197609, GID 197121: lchown /x: invalid argument'
    found = diagnosis({messages.READ: line})
    assert advice(found)[0] == "image-above-id-map"
    assert "user 197609" in found.problems[0].cause
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        *(("1.2.7", False), ("1.2.8", True), ("1.3.2", False), ("1.3.3", True), ("1.3.6", True)),
        *(("1.4.0-rc.2", False), ("1.4.0-rc.3", True), ("1.4.0~rc3", True), ("1.4.0", True)),
        *(
            ("1.1.15+ds1", False),
            ("1.5.0", True),
            ("2.0.0", True),
            ("1.0.0-rc93", False),
            ("", False),
        ),
    ],
)
def test_runc_has_the_fix_since(version: str, fixed: bool) -> None:
    assert confinement.has_fix(version) is fixed


@pytest.mark.parametrize(
    ("label", "pct", "fix"),
    [
        (GENERATED, True, "lxc-pve on the node (it is 6.0.5-1) to 6.0.5-2"),
        (GENERATED, False, "6.0.6 or 7.0"),
        ("lxc-mine (enforce)", True, "container-base"),
    ],
)
def test_runc_refusal_is_fixed_as_the_profile_needs(label: str, pct: bool, fix: str) -> None:
    versions = "lxc 6.0.5\nlxc-pve 6.0.5-1\n" if pct else "lxc 6.0.4\n"
    config = CONFIG if pct else "lxc.apparmor.profile = generated\n"
    found = diagnosis(
        {
            CONFINED: confined(label),
            messages.READ: REOPEN,
            node_reads.VERSIONS: f"kernel 6.12\n{versions}",
        },
        config=config,
        pct=pct,
    )
    assert fix in found.problems[0].fix


@pytest.mark.parametrize(
    ("mount", "versions", "label", "word"),
    [
        ("ext4 /dev/loop0 rw", "kernel 6.12.57\nzfs \n", GENERATED, "could be mounted here"),
        ("ext4 /dev/loop0 rw", "kernel 5.10.0\nzfs \n", GENERATED, "5.11 is needed"),
        ("zfs rpool/x rw", "kernel 6.8.12\nzfs 2.1.15-pve1\n", GENERATED, "2.2 is needed"),
        ("zfs rpool/x rw", "kernel 6.8.12\nzfs 2.2.6-pve1\n", GENERATED, "zfs 2.2.6-pve1"),
        ("xfs /dev/sda1 rw", "kernel 6.8.12\n", GENERATED, "ftype"),
        ("nfs4 a:/b rw", "kernel 6.8.12\n", GENERATED, "nfs4 is not known"),
        ("ext4 /dev/loop0 rw", "kernel 6.12.57\n", "lxc-phoenix-v2 (enforce)", "no rule of"),
        ("ext4 /dev/loop0 rw", "", GENERATED, "unknown"),
    ],
)
def test_storage_says_whether_native_overlay_could_be_mounted(
    mount: str, versions: str, label: str, word: str
) -> None:
    found = diagnosis(
        {
            node_reads.mounts(CTID): f"520 400 7:0 / / rw - {mount}\n",
            node_reads.VERSIONS: versions,
            CONFINED: confined(label, PROFILE),
        }
    )
    (said,) = [each for each in found.problems if each.id == "storage-driver"]
    assert word in said.cause
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ("mount,", True),
        ("mount fstype=overlay -> /**,", True),
        ("mount fstype=(ext4, overlay),", True),
        ("deny mount fstype=overlay,", False),
        ("mount fstype=fuse.fuse-overlayfs -> /**,", False),
        ("umount,", False),
    ],
)
def test_profile_allows_overlay_by_a_rule_of_its_own(rule: str, allowed: bool) -> None:
    text = f"profile lxc-mine {{\n  {rule}\n}}\nprofile other {{\n  mount,\n}}\n"
    assert storage.allows_overlay(Confined("lxc-mine (enforce)", text, "")) is allowed


def test_storage_is_that_of_the_longest_mount_and_overlay2_gets_no_advice() -> None:
    mounts = MOUNTS + "522 520 0:9 / /var/lib/docker rw - zfs tank/d rw\n"
    said = {node_reads.mounts(CTID): mounts, node_reads.VERSIONS: "kernel 6.8\nzfs 2.3.1\n"}
    assert "is on zfs 2.3.1" in diagnosis(said).problems[0].cause
    other = INFO.replace('"fuse-overlayfs"', '"overlay2"')
    assert "storage-driver" not in advice(diagnosis({**said, guest_reads.INFO: other}))


def test_images_of_another_driver_are_advice() -> None:
    found = diagnosis({guest_reads.WITH_IMAGES: "fuse-overlayfs\noverlay2\n"})
    assert "images-of-another-driver" in advice(found)
    (said,) = [each for each in found.problems if each.id == "images-of-another-driver"]
    assert "has images of overlay2 on" in said.cause
    own = diagnosis({guest_reads.WITH_IMAGES: "fuse-overlayfs\n"})
    assert "images-of-another-driver" not in advice(own)


def test_privileged_docker_container_is_advice_by_name() -> None:
    several = "".join(
        container(Name=f"/{name}", Privileged=name == "a", AppArmorProfile=profile)
        for name, profile in (("a", ""), ("b", "unconfined"), ("c", "docker-default"))
    )
    found = diagnosis({guest_reads.CONTAINERS: several})
    (said,) = [each for each in found.problems if each.id == "docker-container-loose"]
    assert said.cause.endswith(": a, b")


def test_containerd_image_store_is_advice() -> None:
    store = INFO.replace(
        '"Backing Filesystem","extfs"', '"driver-type","io.containerd.snapshotter.v1"'
    )
    found = diagnosis({guest_reads.INFO: store})
    assert advice(found)[0] == "containerd-image-store"
    assert "28.5.2" in found.problems[0].cause


@pytest.mark.parametrize(
    ("options", "told", "words"),
    [
        ("[]", "parser\n", ("no AppArmor profile of their own", "no seccomp", "apparmor_parser")),
        (
            '["name=seccomp,profile=builtin"]',
            "securityfs\n",
            ("no AppArmor profile", "lxc-phoenix-v2 (enforce)"),
        ),
        ('["name=apparmor","name=seccomp,profile=unconfined"]', "", ("no seccomp filter",)),
        ("null", "environment\n", ("container=",)),
    ],
)
def test_confinement_of_dockers_containers_is_said_in_words(
    options: str, told: str, words: tuple[str, ...]
) -> None:
    before = INFO.partition('"SecurityOptions":')[0]
    info = f'{before}"SecurityOptions":{options}}}\n'
    found = diagnosis({guest_reads.INFO: info, guest_reads.OWN_APPARMOR: told})
    (said,) = [each for each in found.problems if each.id == "docker-confinement"]
    assert all(word in said.cause for word in words), said.cause
    assert found.exit_code == 0


def test_backup_risk_names_the_fuse_mount_and_the_mode() -> None:
    mounts = f"{MOUNTS}523 520 0:5 / /var/lib/docker/m rw - fuse.fuse-overlayfs fuse-overlayfs rw\n"
    lxcfs = f"{MOUNTS}523 520 0:5 / /proc/stat rw - fuse.lxcfs lxcfs rw\n"
    without = CONFIG.replace(",fuse=1", "")
    found = diagnosis({node_reads.mounts(CTID): mounts}, config=without)
    (said,) = [each for each in found.problems if each.id == "backup-may-hang"]
    assert "/var/lib/docker/m" in said.cause
    assert "vzdump 950 --mode stop" in said.fix
    assert "backup-may-hang" not in advice(
        diagnosis({node_reads.mounts(CTID): lxcfs}, config=without)
    )


def test_frozen_container_of_a_backup_names_its_lock() -> None:
    state = node_reads.lxc_state(CTID)
    found = diagnosis({state: "FROZEN\n"}, config=f"lock: backup\n{CONFIG}")
    assert "'backup'" in found.problems[0].cause
    assert found.problems[0].id == "container-frozen"


def test_refusals_of_the_last_hour_are_advice_in_words() -> None:
    tally = Tally(lambda denial, _: owner_by_name(denial))
    tally.count([DENIAL, DENIAL])
    found = diagnose(replace(case(), denied=tuple(tally.groups())))
    (said,) = [each for each in found.problems if each.id == "denied-lately"]
    assert "2 times" in said.cause
    assert "fuse-overlayfs wanted to mount" in said.cause
    assert found.exit_code == 0


def test_log_that_was_not_read_to_its_end_is_named_as_not_seen() -> None:
    found = diagnose(replace(case(), unread="there is more"))
    assert [each.why for each in found.unseen] == ["there is more"]
    assert found.exit_code == 0


def test_device_whose_path_a_guest_made_up_gets_into_no_advice() -> None:
    rows = (
        *("65534 65534 660 /dev/nvidia/../sda", "65534 65534 660 /dev/dri/render,uid=0"),
        *("65534 65534 660 /dev/sda", "65534 65534 660 /dev/nvidia0 /dev/sda"),
        "65534 65534 660 /dev/dri/renderD128",
    )
    found = diagnosis({guest_reads.DEVICES: "\n".join(rows) + "\n"}).problems
    found = [each for each in found if not each.is_advice]
    assert [each.id for each in found] == ["gpu-of-nobody"]
    assert "/dev/dri/renderD128" in found[0].fix


def test_devices_by_the_thousand_are_no_more_than_a_node_has() -> None:
    rows = "".join(f"65534 65534 660 /dev/nvidia{number}\n" for number in range(5000))
    assert len(problems(diagnosis({guest_reads.DEVICES: rows}))) == 100


def test_settings_full_of_mistakes_are_no_more_than_ten_problems() -> None:
    keys = ",".join(f'"a{number}": 1' for number in range(5000))
    found = [
        each
        for each in diagnosis(
            {guest_reads.SETTINGS: f"{{{keys}}}", guest_reads.UNIT: DOWN}
        ).problems
        if each.id == "daemon-key-unknown"
    ]
    assert len(found) == 10
    assert found[-1].cause.endswith("; 4990 more in this file: see lint")


def test_key_that_lint_does_not_know_is_advice_while_docker_runs() -> None:
    said = {guest_reads.SETTINGS: '{"of-docker-40": true}'}
    found = diagnosis(said)
    assert problems(found) == []
    (one,) = [each for each in found.problems if each.id == "daemon-key-unknown"]
    assert one.cause.endswith("Docker runs, so it is newer, or the file was changed since")
    assert "daemon-key-unknown" in problems(diagnosis(said | {guest_reads.UNIT: DOWN}))


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
