"""``phoenix create`` where it must fail, as it never does on the lab."""

from __future__ import annotations

from typing import Any

import pytest
from phoenix_node import FUSE_ENTRY, PROFILE, Node


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lxc_options", ["dev/fuse"]),
        ("lxc_options", FUSE_ENTRY),
        ("lxc_options", [f"lxc.apparmor.profile: {PROFILE}"]),
        ("pct_options", {"cores": [2]}),
        ("features", ["nosuch"]),
        ("apparmor_profile", "unconfined"),
        ("unprivileged", "yes"),
        ("name", None),
    ],
)
def test_create_from_a_bad_description_runs_nothing(node: Node, key: str, value: Any) -> None:
    node.describe(**{key: value})
    assert node.phoenix("create", "950").returncode == 1
    assert node.calls() == []


def test_create_over_a_privileged_container_changes_nothing(created: Node) -> None:
    created.conf().write_text(created.conf().read_text().replace("unprivileged: 1\n", ""))
    assert created.phoenix("create", "950").returncode == 1
    assert created.changes() == []


def test_create_of_a_container_that_does_not_shut_down_keeps_its_file(created: Node) -> None:
    created.describe(pct_features=["nesting=1", "fuse=1"], lxc_options=[FUSE_ENTRY])
    before = created.conf().read_text()
    assert created.phoenix("create", "950").returncode == 1
    assert created.verbs() == ["shutdown"]
    assert created.conf().read_text() == before


def test_create_of_a_container_that_does_not_start_fails(created: Node) -> None:
    (created.fake / "running/950").unlink()
    assert created.phoenix("create", "950").returncode == 1
    assert created.verbs() == ["start"]


@pytest.mark.parametrize(
    ("state", "routes", "code"),
    [("degraded", True, 0), ("starting", True, 1), ("offline", True, 1), ("running", False, 1)],
)
def test_create_waits_for_systemd_and_a_route(
    created: Node, state: str, *, routes: bool, code: int
) -> None:
    (created.fake / "systemd").write_text(state)
    if not routes:
        created.inside("/proc/net/route").write_text("Iface\tDestination\n")
    assert created.phoenix("create", "950", PHOENIX_READY_TIMEOUT="0").returncode == code


def test_create_with_a_failing_feature_fails_and_stops_there(created: Node) -> None:
    created.feature("bad", 'echo "$1" >"$FAKE/bad"; exit 7')
    created.feature("later", 'touch "$FAKE/later"')
    created.describe(features=["bad", "later"])
    assert created.phoenix("create", "950").returncode == 1
    assert (created.fake / "bad").read_text() == "950\n"
    assert not (created.fake / "later").exists()
