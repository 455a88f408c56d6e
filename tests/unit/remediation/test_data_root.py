"""Docker's data at another place: what the profile lacks is said, and what stays is no loss."""

import json
import os
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    assert f">>{LOCAL}; apparmor_parser -r {desired.PROFILE_PATH}" in said("/srv/docker")
    script = re.search(r"sed -n '([^']*)'", said("/srv/docker"))
    assert script is not None
    shipped = desired.profile().decode()
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


def priced(
    driver: str,
    *,
    before: bool,
    carries: Answer | LimitExceeded = b"",
    stored: bytes = STORED,
    kept: bytes = b"",
    units: bytes = b"",
) -> str:
    #: By the first words that the command holds.
    says: dict[str, Answer | LimitExceeded] = {
        "perl -e": carries,
        "save look": carries,
        "systemctl show -p ExecStart": b"",
        "docker info": f"{driver}\n".encode(),
        "set -- docker.service": units,
        "docker inspect": b"",
        "docker ps -a": b"b\na\n",
        "docker images": b"hello:1\n",
        "docker volume": b"kept\n",
        "docker network": b"none\nmine\nhost\nbridge\n",
        "cat -- /etc/docker/daemon.json": (1, b"", b"No such file or directory"),
        "systemctl is-enabled docker": b"enabled\n",
        "systemctl is-active -q docker": b"",
        "find -H": stored + kept,
    }

    def answer(argv: list[str]) -> Answer:
        found = next(said for words, said in says.items() if words in " ".join(argv))
        if isinstance(found, LimitExceeded):
            raise found
        return found

    action = StorageDriver(
        *("driver", "driver", "STEP-3.1", "fuse-overlayfs", "/etc/docker/daemon.json"),
        daemon_json,
        data_root,
        elsewhere=lambda place: f"said of {place}",
    )
    state = action.before(FileState(), "active active enabled", ("overlay2",)) if before else None
    state = state and replace(state, needing=("app.service",))
    return " | ".join(map(str, action.side_effects(Answering(answer, "pve1"), state)))


def test_apply_says_what_hides_and_what_stays() -> None:
    assert priced("overlay2", before=False) == (
        "Docker in pve1 is restarted on fuse-overlayfs; container a, container b, image hello:1 "
        "stay on disk, unseen until a rollback, and are not carried over: Docker does not keep "
        "them in its classic image store; these stay, and are seen: volume kept, "
        "network mine | said of /var/lib/docker"
    )
    assert "container a" not in priced("fuse-overlayfs", before=False, carries=b"12 3 52\n")


HIDES = "image hello:1 stay on disk, unseen until a rollback, and are not carried over: "
#: From another driver, images are carried over by their names.
SAVES = {"carries": b"2 0 5242880\n", "stored": b""}


@pytest.mark.parametrize(
    ("driver", "how", "told"),
    [
        (
            "overlay2",
            {"carries": b"12 1 5242880\n"},
            "12 images and 1 container are carried over: 5",
        ),
        ("overlay2", {"carries": b"12 1 5242880\n"}, "Docker is stopped until that is done"),
        ("overlay2", {"carries": b"no it has no room\n"}, f"{HIDES}it has no room"),
        (
            "overlay2",
            {"carries": too_late("pve1", ["perl"], 600)},
            f"{HIDES}it took longer than 10 minutes to look through",
        ),
        *(
            (driver, SAVES, said)
            for driver in ("vfs", "overlayfs")
            for said in (
                "2 images of 5.0 MiB are carried over by docker save and docker load",
                "container a, container b stay on disk, unseen",
                "not carried over: docker save keeps no containers; create them again",
            )
        ),
        ("vfs", SAVES | {"carries": b"no room\n"}, f"{HIDES}room;"),
        (
            "vfs",
            {"carries": SAVES["carries"]},
            f"{HIDES}{DATA} has data of fuse-overlayfs already;",
        ),
        ("btrfs", SAVES, f"{HIDES}that is not possible from btrfs;"),
    ],
)
def test_apply_says_what_it_carries_over_or_why_it_does_not(
    driver: str, how: Any, told: str
) -> None:
    assert told in priced(driver, before=False, **how)


def test_apply_and_rollback_name_the_units_that_need_docker() -> None:
    units = b"app.service\n$(id).service\nlater.service\n"
    said = priced("overlay2", before=False, units=units)
    assert "units that need Docker are restarted with it: app.service, later.service" in said
    said = priced("fuse-overlayfs", before=True, units=units)
    assert "units that need Docker stay stopped: later.service" in said
    assert "app.service" not in said


def test_rollback_says_what_moves_what_comes_back_and_that_no_volume_moves() -> None:
    """Containers and images that Docker shows on its former driver do not move either."""
    for driver in ("fuse-overlayfs", "overlay2"):
        found = priced(driver, before=True)
        assert found.endswith("; these stay, and are seen: volume kept, network mine")
        assert "on fuse-overlayfs is moved to /var/lib/docker/rolled-back-*" in found
        assert ("container a" in found) is (driver == "fuse-overlayfs")
    kept = f"{DATA}/docker-lxc-gate\n".encode()
    for driver in ("fuse-overlayfs", "vfs"):  # it was carried over
        found = priced(driver, before=True, kept=kept)
        assert "rolled-back-*: container a, container b, image hello:1;" in found
        assert "images and containers from before apply come back as they were then" in found


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
