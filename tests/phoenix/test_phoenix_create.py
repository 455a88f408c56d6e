"""``phoenix create``: the container is made, configured as described, and started."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
from phoenix_node import (
    DATA,
    FUSE_ENTRY,
    INSTALL_DOCKER,
    PROFILE,
    Node,
    remediated,
)


def test_create_makes_configures_and_starts(node: Node) -> None:
    result = node.phoenix("create", "950")
    assert result.returncode == 0, result.stderr
    assert node.verbs() == ["create", "set", "start"]
    create = node.changes()[0]
    assert create[create.index("--unprivileged") + 1] == "1"
    assert "features: nesting=1" in node.conf().read_text().splitlines()
    assert (node.fake / "running/950").exists()
    assert node.inside("docker").read_text() == "overlay2"


@pytest.mark.parametrize("plan_applied", [False, True], ids=["before the plan", "after the plan"])
def test_second_run_changes_nothing(node: Node, *, plan_applied: bool) -> None:
    if plan_applied:
        remediated(node)
        shutil.copyfile(DATA / "install_docker.after.sh", node.home / INSTALL_DOCKER)
    assert node.phoenix("create", "950").returncode == 0
    node.forget()
    before = node.files()

    result = node.phoenix("create", "950")

    assert result.returncode == 0, result.stderr
    assert node.calls() != []
    assert node.changes() == []
    assert node.files() == before


def test_lines_go_before_the_first_section(created: Node) -> None:
    sections = "\n[pve:pending]\nmemory: 1024\n\n[snapshot]\nmemory: 2048\nlxc.cap.drop: mknod\n"
    with created.conf().open("a") as conf:
        conf.write(sections)
    remediated(created)

    result = created.phoenix("create", "950")

    assert result.returncode == 0, result.stderr
    text = created.conf().read_text()
    main, _, rest = text.partition("\n[pve:pending]\n")
    assert "\n[pve:pending]\n" + rest == sections
    assert main.splitlines()[-3:] == [
        "lxc.apparmor.allow_nesting: 1",
        FUSE_ENTRY,
        f"lxc.apparmor.profile: {PROFILE}",
    ]
    assert created.phoenix("create", "950").returncode == 0
    assert created.conf().read_text() == text


def test_lines_of_others_stay_and_the_profile_is_replaced(created: Node) -> None:
    text = f"{created.conf().read_text()}lxc.apparmor.profile = unconfined\nlxc.cap.drop: mknod\n"
    created.conf().write_text(text)
    created.conf().chmod(0o640)
    remediated(created)

    assert created.phoenix("create", "950").returncode == 0

    lines = created.conf().read_text().splitlines()
    assert "lxc.cap.drop: mknod" in lines
    assert [line for line in lines if line.startswith("lxc.apparmor.profile")] == [
        f"lxc.apparmor.profile: {PROFILE}",
    ]
    assert created.conf().stat().st_mode & 0o777 == 0o640


def test_running_container_is_stopped_before_it_is_changed(created: Node) -> None:
    remediated(created)
    result = created.phoenix("create", "950")
    assert result.returncode == 0, result.stderr
    assert created.verbs() == ["apparmor_parser", "shutdown", "set", "start"]
    assert "restarting" in result.stdout


def test_container_that_does_not_shut_down_keeps_its_configuration(created: Node) -> None:
    remediated(created)
    created.breaks("shutdown")
    before = created.conf().read_text()
    assert created.phoenix("create", "950").returncode == 1
    assert created.conf().read_text() == before


@pytest.mark.parametrize("features", [["nesting"], ["nesting=1", "fuse=0"]], ids=",".join)
def test_features_that_mean_the_same_are_not_set(created: Node, features: list[str]) -> None:
    created.describe(pct_features=features)
    assert created.phoenix("create", "950").returncode == 0
    assert created.changes() == []


def test_pending_features_are_seen(created: Node) -> None:
    with created.conf().open("a") as conf:
        conf.write("\n[pve:pending]\nfeatures: nesting=1,mknod=1\n")
    assert created.phoenix("create", "950").returncode == 0
    assert created.verbs() == ["shutdown", "set", "start"]


def test_options_are_kept_at_their_values(created: Node) -> None:
    created.describe(pct_options={"cores": 2, "onboot": True})
    assert created.phoenix("create", "950").returncode == 0
    assert {"cores: 2", "onboot: 1"} <= set(created.conf().read_text().splitlines())
    created.forget()
    assert created.phoenix("create", "950").returncode == 0
    assert created.changes() == []


def test_stopped_container_is_started(created: Node) -> None:
    (created.fake / "running/950").unlink()
    assert created.phoenix("create", "950").returncode == 0
    assert created.verbs() == ["start"]


def test_container_is_cloned(created: Node) -> None:
    path = created.home / "etc/phoenix_lxc_configs.json"
    configs = json.loads(path.read_text())
    configs["lxc_configs"]["953"] = {
        "name": "copy",
        "clone_from": 950,
        "unprivileged": True,
        "memory": 512,
    }
    path.write_text(json.dumps(configs))
    result = created.phoenix("create", "953")
    assert result.returncode == 0, result.stderr
    assert created.changes()[0][:4] == ("pct", "clone", "950", "953")
    assert "memory: 512" in created.conf(953).read_text().splitlines()


def test_failing_feature_fails_create_and_stops_it(created: Node) -> None:
    created.feature("bad", 'echo "$1" >"$FAKE/bad"; exit 7')
    created.feature("later", 'touch "$FAKE/later"')
    created.describe(features=["bad", "later"])
    result = created.phoenix("create", "950")
    assert result.returncode == 1
    assert "'bad' failed (exit 7)" in result.stderr
    assert (created.fake / "bad").read_text() == "950\n"
    assert not (created.fake / "later").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lxc_options", ["dev/fuse"]),
        ("lxc_options", FUSE_ENTRY),
        ("lxc_options", [f"lxc.apparmor.profile: {PROFILE}"]),
        ("pct_options", {"cores": [2]}),
        ("features", ["nosuch"]),
        ("apparmor_profile", "lxc_phoenix_v2"),
        ("apparmor_profile", "unconfined"),
        ("unprivileged", "yes"),
        ("name", None),
    ],
)
def test_bad_description_is_refused_before_anything_runs(node: Node, key: str, value: Any) -> None:
    node.describe(**{key: value})
    result = node.phoenix("create", "950")
    assert result.returncode == 1
    assert "container 950" in result.stderr
    assert node.calls() == []


def test_other_privilege_is_an_error(created: Node) -> None:
    created.conf().write_text(created.conf().read_text().replace("unprivileged: 1\n", ""))
    before = created.files()
    result = created.phoenix("create", "950")
    assert result.returncode == 1
    assert "unprivileged is 0, not 1" in result.stderr
    assert created.files() == before


@pytest.mark.parametrize("state", ["starting", "offline"])
def test_container_that_gets_not_ready(created: Node, state: str) -> None:
    (created.fake / "systemd").write_text(state)
    result = created.phoenix("create", "950", PHOENIX_READY_TIMEOUT="0")
    assert result.returncode == 1
    assert f"'{state}'" in result.stderr


def test_container_without_a_route_is_not_ready(created: Node) -> None:
    created.inside("/proc/net/route").write_text("Iface\tDestination\n")
    result = created.phoenix("create", "950", PHOENIX_READY_TIMEOUT="0")
    assert result.returncode == 1
    assert "no default route" in result.stderr


def test_degraded_container_is_ready_and_said(created: Node) -> None:
    (created.fake / "systemd").write_text("degraded")
    result = created.phoenix("create", "950")
    assert result.returncode == 0
    assert "some units failed" in result.stdout


def test_container_that_does_not_start(created: Node) -> None:
    (created.fake / "running/950").unlink()
    created.breaks("start")
    result = created.phoenix("create", "950")
    assert result.returncode == 1
    assert "pct start 950 --debug" in result.stderr
