"""Docker's data at another place: what the profile lacks is said, and what stays is no loss."""

import json
import os
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError, LimitExceeded, too_late
from docker_lxc_gate.facts.docker import OPTIONS_ELSEWHERE
from docker_lxc_gate.formats import mount_table
from docker_lxc_gate.formats.archive import FileState
from docker_lxc_gate.machines.transport import Local
from remediation import desired, docker_data
from remediation.actions.storage_driver import StorageDriver
from remediation.data_root import profile_elsewhere
from remediation.docker_data import on_places
from remediation.edits.daemon_json import daemon_json, data_root
from tests.doubles.answering import Answer, Answering
from tests.doubles.canned import DATA, Machine, guest
from tests.doubles.naming import naming

LOCAL = desired.PROFILE_LOCAL


def said(root: str, local: str | None = None) -> str:
    return profile_elsewhere(Machine({LOCAL: local}), root)


def test_profile_for_data_elsewhere_names_place_rule_and_command() -> None:
    found = said("/srv/docker")
    assert "keeps its data in /srv/docker (data-root)" in found
    assert "below /var/lib/docker only" in found
    assert "'mount fstype=fuse.fuse-overlayfs -> /srv/docker/fuse-overlayfs/**,'" in found
    assert f">>{LOCAL}; apparmor_parser -r {desired.PROFILE_PATH}" in found


@pytest.mark.parametrize(
    ("local", "lacks"),
    [
        ("  mount fstype=fuse.fuse-overlayfs -> /srv/docker/fuse-overlayfs/**,\n", False),
        ("# mount fstype=fuse.fuse-overlayfs -> /srv/docker/fuse-overlayfs/**,\n", True),
        ("mount fstype=fuse.fuse-overlayfs -> /srv/docker2/fuse-overlayfs/**,\n", True),
    ],
)
def test_profile_with_a_sites_own_rule_for_the_place(local: str, *, lacks: bool) -> None:
    assert said("/var/lib/docker", local) == ""
    assert bool(said("/srv/docker", local)) is lacks


def test_advised_command_copies_every_rule_whole() -> None:
    """The real sed, over the profile that we ship."""
    script = re.search(r"sed -n '([^']*)'", said("/srv/docker"))
    assert script is not None
    shipped = desired.content(desired.PROFILE)
    done = subprocess.run(
        ["sed", "-n", script[1]], input=shipped, text=True, capture_output=True, check=True
    )
    rules = done.stdout.splitlines()
    assert len(rules) == shipped.count("/var/lib/docker/")
    assert all(re.match(r"  (mount|pivot_root) .*/srv/docker/.*,$", rule) for rule in rules)


@pytest.mark.parametrize("root", ["/srv/x'; rm -rf /; '", "/srv/|e id", "relative", "/srv/\x1b[2J"])
def test_place_that_is_no_plain_path_becomes_no_command(root: str) -> None:
    found = said(root)
    assert "choose a plain path" in found
    assert "sed" not in found
    assert "\x1b" not in found


STORED = f"{DATA}/overlay2\n{DATA}/fuse-overlayfs\n{DATA}/image/fuse-overlayfs\n".encode()
#: By the first words that the command holds.
SAYS: dict[str, Answer | LimitExceeded] = {
    "docker inspect": b"",
    "docker ps -a": b"b\na\n",
    "docker images": b"hello:1\n",
    "docker volume": b"kept\n",
    "docker network": b"none\nmine\nhost\nbridge\n",
    "cat -- /etc/docker/daemon.json": (1, b"", b"No such file or directory"),
    "systemctl is-enabled docker": b"enabled\n",
    "systemctl is-active -q docker": b"",
}


def storage() -> StorageDriver:
    return StorageDriver(
        *("driver", "driver", "STEP-3.1", "fuse-overlayfs", "/etc/docker/daemon.json"),
        daemon_json,
        data_root,
        elsewhere=lambda place: f"said of {place}",
    )


def priced(
    driver: str,
    *,
    before: bool,
    carries: Answer | LimitExceeded = b"",
    stored: bytes = STORED,
    kept: bytes = b"",
    units: bytes = b"",
) -> str:
    says: dict[str, Answer | LimitExceeded] = {
        "perl -e": carries,
        "save look": carries,
        "systemctl show -p ExecStart": b"",
        "docker info": f"{driver}\n".encode(),
        "set -- docker.service": units,
    } | SAYS
    says["find -H"] = stored + kept
    if not driver:
        says |= dict.fromkeys(("docker info", "docker ps", "docker images"), (3, b"", b""))

    def answer(argv: list[str]) -> Answer:
        found = next(said for words, said in says.items() if words in " ".join(argv))
        if isinstance(found, LimitExceeded):
            raise found
        return found

    on, action = Answering(answer, "pve1"), storage()
    state = action.before(FileState(), "active active enabled", ("overlay2",)) if before else None
    state = state and replace(state, needing=("app.service",))
    return " | ".join(map(str, action.side_effects(on, state)))


def test_apply_says_what_hides_and_what_stays() -> None:
    assert priced("overlay2", before=False) == (
        "Docker in pve1 is restarted on fuse-overlayfs; container a, container b, image hello:1 "
        "stay on disk, unseen until a rollback, and are not carried over: Docker does not keep "
        "them in its classic image store; these stay, and are seen: volume kept, "
        "network mine | said of /var/lib/docker"
    )


def test_apply_says_what_it_carries_over_or_why_it_does_not() -> None:
    said = priced("overlay2", before=False, carries=b"12 1 5242880\n")
    assert "12 images and 1 container are carried over: 5.0 MiB are copied" in said
    assert "Docker is stopped until that is done" in said
    assert "unseen" not in said
    said = priced("overlay2", before=False, carries=b"no it has no room\n")
    assert "unseen until a rollback, and are not carried over: it has no room" in said


def test_apply_and_rollback_name_the_units_that_need_docker() -> None:
    units = b"app.service\n$(id).service\nlater.service\n"
    said = priced("overlay2", before=False, units=units)
    assert "units that need Docker are restarted with it: app.service, later.service" in said
    said = priced("fuse-overlayfs", before=True, units=units)
    assert "units that need Docker stay stopped: later.service" in said
    assert "app.service" not in said


def test_look_that_takes_too_long_is_an_obstacle_and_no_error() -> None:
    late = too_late("pve1", ["perl"], 600)
    said = priced("overlay2", before=False, carries=late)
    assert "not carried over: it took longer than 10 minutes to look through" in said


@pytest.mark.parametrize("driver", ["vfs", "overlayfs"])
def test_apply_to_docker_on_another_driver_carries_images_over_and_names_containers(
    driver: str,
) -> None:
    said = priced(driver, before=False, carries=b"2 0 5242880\n", stored=b"")
    assert "2 images of 5.0 MiB are carried over by docker save and docker load" in said
    assert "container a, container b stay on disk, unseen" in said
    assert "not carried over: docker save keeps no containers; create them again" in said
    said = priced(driver, before=False, carries=b"no room\n", stored=b"")
    assert "image hello:1 stay on disk, unseen until a rollback, and are not carried over: " in said
    assert "not carried over: room;" in said


def test_images_are_not_mixed_with_those_of_the_new_driver() -> None:
    said = priced("vfs", before=False, carries=b"2 0 5242880\n")
    assert f"not carried over: {DATA} has data of fuse-overlayfs already;" in said


def test_apply_to_docker_on_a_driver_that_may_not_run_under_the_profile_hides_and_says_so() -> None:
    said = priced("btrfs", before=False, carries=b"2 0 5242880\n", stored=b"")
    assert "image hello:1 stay on disk, unseen until a rollback, and are not carried over: " in said
    assert "not carried over: that is not possible from btrfs;" in said


def test_apply_to_docker_on_the_plans_driver_hides_nothing() -> None:
    assert "container a" not in priced("fuse-overlayfs", before=False, carries=b"12 3 52\n")


KEPT = f"{DATA}/docker-lxc-gate\n".encode()


def test_rollback_of_what_was_carried_over_names_what_docker_holds_on_any_driver() -> None:
    said = priced("vfs", before=True, kept=KEPT)
    assert "rolled-back-*: container a, container b, image hello:1;" in said


def test_rollback_of_what_was_carried_over_says_what_comes_back() -> None:
    said = priced("fuse-overlayfs", before=True, kept=KEPT)
    assert "images and containers from before apply come back as they were then" in said
    assert "docker-lxc-gate" not in said


@pytest.mark.parametrize("driver", ["fuse-overlayfs", "overlay2"])
def test_rollback_says_what_moves_and_no_volume_does(driver: str) -> None:
    """Containers and images that Docker shows on its former driver do not move either."""
    found = priced(driver, before=True)
    assert found.endswith("; these stay, and are seen: volume kept, network mine")
    assert "on fuse-overlayfs is moved to /var/lib/docker/rolled-back-*" in found
    assert ("container a" in found) is (driver == "fuse-overlayfs")


def test_data_on_an_option_of_the_unit_is_found_there() -> None:
    inside = guest("/srv/docker", up=False)
    inside.answers[shlex.join(OPTIONS_ELSEWHERE.argv)] = "dockerd --data-root /srv/docker\n"
    lost, known = on_places(inside, ["/srv"])
    assert (lost, known) == (["/srv"], "Docker's data is in /srv/docker, by its option --data-root")


def test_data_of_more_volumes_than_can_be_looked_up_is_not_known() -> None:
    with naming(FactError, "/srv", "100"):
        on_places(guest(DATA, *(f"/v/{number}" for number in range(100))), ["/srv"])


def test_data_behind_a_link_and_in_a_volume_elsewhere_is_found_there(tmp_path: Path) -> None:
    (tmp_path / "data/volumes/x").mkdir(parents=True)
    opts = {"MountType": "none", "MountOpts": "bind", "MountDevice": f"{tmp_path}/disk"}
    (tmp_path / "data/volumes/x/opts.json").write_text(json.dumps(opts, separators=(",", ":")))
    (tmp_path / "docker").symlink_to("data")
    (tmp_path / "disk").symlink_to("mp0")
    (tmp_path / "mp0").mkdir()
    argv = ["sh", "-c", docker_data._PLACES, "places", f"{tmp_path}/docker"]
    found, _, mounts = Local().run(argv).require().text.partition("\n\n")
    assert found.split() == [f"{tmp_path}/{each}" for each in ("data", "data/volumes", "mp0")]
    assert mount_table.parse(mounts, "ours")


def test_in_archive_with_the_holes_of_a_huge_file_does_not_write_them(tmp_path: Path) -> None:
    """A guest makes such a file in no time; hours would go by until tar had written it."""
    (tmp_path / "usr/bin").mkdir(parents=True)
    os.truncate(os.open(tmp_path / "usr/bin/dockerd", os.O_CREAT | os.O_RDWR), 1 << 40)
    subprocess.run(["tar", "-C", tmp_path, "-Scf", tmp_path / "a.tar", "./usr"], check=True)
    argv = ["sh", "-c", docker_data._IN_ARCHIVE, "in", f"{tmp_path}/a.tar", "100"]
    assert Local().run(argv, timeout=10).require().text == "./usr/bin/dockerd\0\0"
