"""The profile where it does not load, and ``phoenix setup``, which the lab never runs."""

from __future__ import annotations

import pytest
from phoenix_node import DATA, PROFILE, SETUP_APPARMOR, Node


def test_create_with_a_profile_that_does_not_load_copies_nothing(node: Node) -> None:
    node.describe(apparmor_profile=PROFILE)
    node.breaks("parser")
    assert node.phoenix("create", "950").returncode == 1
    assert node.verbs() == ["apparmor_parser"]
    assert not (node.apparmor_d / PROFILE).exists()


def test_create_with_a_profile_of_another_name_copies_nothing(node: Node) -> None:
    node.describe(apparmor_profile=PROFILE)
    source = node.home / "etc/apparmor" / PROFILE
    source.write_text(source.read_text().replace(f"profile {PROFILE}", "profile lxc_phoenix_v2"))
    assert node.phoenix("create", "950").returncode == 1
    assert node.verbs() == ["apparmor_parser"]
    assert not (node.apparmor_d / PROFILE).exists()


@pytest.mark.parametrize("fault", ["reload", "reload-halfway"])
def test_setup_without_the_profile_loaded_fails(node: Node, fault: str) -> None:
    node.breaks(fault)
    assert node.phoenix("setup").returncode == 1


def test_setup_after_the_plan_writes_tunable_and_profile(node: Node) -> None:
    (node.apparmor_d / "tunables").mkdir()
    script = (DATA / "setup_apparmor.after.sh").read_text()
    assert script.count("> /etc/apparmor.d/tunables/nesting") == 1
    (node.home / SETUP_APPARMOR).write_text(
        script.replace("> /etc/apparmor.d/", f"> {node.apparmor_d}/"),
    )
    assert node.phoenix("setup").returncode == 0
    assert node.changes() == [("systemctl", "reload", "apparmor")]
    tunable, deployed = node.apparmor_d / "tunables/nesting", node.apparmor_d / PROFILE
    assert tunable.read_text() == "@{apparmor_nesting_profiles} = lxc-phoenix-v2\n"
    assert deployed.read_bytes() == (node.home / "etc/apparmor" / PROFILE).read_bytes()
