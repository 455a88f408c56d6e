"""The profile, by ``phoenix create`` and ``phoenix setup``."""

from __future__ import annotations

import pytest
from phoenix_node import (
    DATA,
    PROFILE,
    SETUP_APPARMOR,
    Node,
)


def test_profile_is_loaded_again_only_when_it_differs(node: Node) -> None:
    node.describe(features=[], apparmor_profile=PROFILE)
    assert node.phoenix("create", "950").returncode == 0
    node.forget()
    source = node.home / "etc/apparmor" / PROFILE
    source.write_text(source.read_text().replace("}", "  mount,\n}"))

    assert node.phoenix("create", "950").returncode == 0

    assert node.verbs() == ["apparmor_parser"]
    assert (node.apparmor_d / PROFILE).read_bytes() == source.read_bytes()
    assert [path.name for path in node.apparmor_d.iterdir()] == [PROFILE]


def test_profile_that_is_not_loaded_is_loaded_and_not_rewritten(node: Node) -> None:
    node.describe(features=[], apparmor_profile=PROFILE)
    assert node.phoenix("create", "950").returncode == 0
    node.forget()
    (node.fake / "apparmor/profiles").write_text("other (enforce)\n")
    before = (node.apparmor_d / PROFILE).stat().st_mtime_ns

    assert node.phoenix("create", "950").returncode == 0

    assert node.verbs() == ["apparmor_parser"]
    assert (node.apparmor_d / PROFILE).stat().st_mtime_ns == before


def test_profile_that_does_not_load_stops_everything(node: Node) -> None:
    node.describe(features=[], apparmor_profile=PROFILE)
    node.breaks("parser")
    assert node.phoenix("create", "950").returncode == 1
    assert node.verbs() == ["apparmor_parser"]
    assert not (node.apparmor_d / PROFILE).exists()


def test_profile_of_another_name_is_an_error(node: Node) -> None:
    node.describe(features=[], apparmor_profile=PROFILE)
    source = node.home / "etc/apparmor" / PROFILE
    source.write_text(source.read_text().replace(f"profile {PROFILE}", "profile lxc_phoenix_v2"))
    result = node.phoenix("create", "950")
    assert result.returncode == 1
    assert f"defines no profile named {PROFILE}" in result.stderr


def test_setup_installs_the_profile_and_reloads(node: Node) -> None:
    assert node.phoenix("setup").returncode == 0
    assert node.changes() == [("systemctl", "reload", "apparmor")]
    deployed = node.apparmor_d / PROFILE
    assert deployed.read_bytes() == (node.home / "etc/apparmor" / PROFILE).read_bytes()
    written = deployed.stat().st_mtime_ns
    assert node.phoenix("setup").returncode == 0
    assert deployed.stat().st_mtime_ns == written


@pytest.mark.parametrize("fault", ["reload", "reload-halfway"])
def test_setup_fails_when_the_profile_is_not_loaded(node: Node, fault: str) -> None:
    node.breaks(fault)
    assert node.phoenix("setup").returncode == 1


def test_setup_after_the_plan_writes_the_tunable(node: Node) -> None:
    (node.apparmor_d / "tunables").mkdir()
    script = (DATA / "setup_apparmor.after.sh").read_text()
    assert script.count("> /etc/apparmor.d/tunables/nesting") == 1
    (node.home / SETUP_APPARMOR).write_text(
        script.replace("> /etc/apparmor.d/", f"> {node.apparmor_d}/"),
    )
    assert node.phoenix("setup").returncode == 0
    tunable = node.apparmor_d / "tunables/nesting"
    assert tunable.read_text() == "@{apparmor_nesting_profiles} = lxc-phoenix-v2\n"
