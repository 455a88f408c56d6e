"""The scripts as text, and the command line of phoenix."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from phoenix_node import (
    CHECKOUT,
    DATA,
    INSTALL_DOCKER,
    PROFILE,
    SCRIPTS,
    SETUP_APPARMOR,
    Node,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_pass_bash_and_shellcheck(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    found = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_checkout_has_the_modes_of_the_repository() -> None:
    assert os.access(CHECKOUT / "bin/phoenix", os.X_OK)
    assert not any(path.stat().st_mode & 0o111 for path in CHECKOUT.glob("bin/*/*.sh"))


@pytest.mark.parametrize(
    ("before", "after", "blocks"),
    [
        (INSTALL_DOCKER, "install_docker.after.sh", 2),
        (SETUP_APPARMOR, "setup_apparmor.after.sh", 1),
    ],
)
def test_plan_only_inserts_blocks_into_the_scripts(before: Path, after: str, blocks: int) -> None:
    old = (CHECKOUT / before).read_text().splitlines()
    new = (DATA / after).read_text().splitlines()
    kinds = [
        operation[0]
        for operation in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if operation[0] != "equal"
    ]
    assert kinds == ["insert"] * blocks


def test_checkout_is_in_the_state_before_the_plan() -> None:
    docker = (CHECKOUT / INSTALL_DOCKER).read_text()
    assert "set -e" not in docker.splitlines()
    assert "fuse" not in docker
    assert "daemon.json" not in docker
    assert "nesting" not in (CHECKOUT / SETUP_APPARMOR).read_text()
    assert "fuse" not in (CHECKOUT / "etc/apparmor" / PROFILE).read_text()
    configs = json.loads((CHECKOUT / "etc/phoenix_lxc_configs.json").read_text())["lxc_configs"]
    assert sorted(configs) == ["950", "951", "952"]
    for config in configs.values():
        assert config["unprivileged"] is True
        assert config["pct_features"] == ["nesting=1"]
        assert "apparmor_profile" not in config


@pytest.mark.parametrize(
    "args",
    [[], ["frobnicate"], ["create"], ["create", "x"], ["create", "123"], ["setup", "950"]],
    ids=" ".join,
)
def test_phoenix_with_wrong_usage_runs_nothing(node: Node, args: list[str]) -> None:
    result = node.phoenix(*args)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert node.calls() == []
