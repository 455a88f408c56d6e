from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lab import recipe
from lab.sources import Archives

HERE = Archives(("http://a/debian",), ("http://a/debian-security",))
THERE = Archives(("http://b/debian",), ("http://b/debian-security",))


@pytest.mark.parametrize("digest", [recipe.node_digest, recipe.template_digest])
def test_digest_depends_on_release_and_archives(digest: object) -> None:
    assert callable(digest)
    digests = {digest("trixie", HERE), digest("bookworm", HERE), digest("trixie", THERE)}
    assert len(digests) == 3
    assert digest("trixie", HERE) in digests


def test_digest_depends_on_packages() -> None:
    more = replace(recipe.DEFAULT, packages=(*recipe.DEFAULT.packages, "vim"))
    assert recipe.node_digest("trixie", HERE, more) != recipe.node_digest("trixie", HERE)


def test_digest_does_not_depend_on_guest_files(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe.node_digest("trixie", HERE), recipe.template_digest("trixie", HERE)
    monkeypatch.setattr(recipe, "guest_tree", dict)
    assert (recipe.node_digest("trixie", HERE), recipe.template_digest("trixie", HERE)) == before


def test_apt_options_let_testing_be_past_its_date_and_stable_not() -> None:
    assert recipe.STALE_RELEASE in recipe.apt_options("testing")
    assert recipe.STALE_RELEASE not in recipe.apt_options("trixie")


def test_container_tree_has_a_daemon_json_with_mirror_and_foreign_key() -> None:
    content = recipe.container_tree(HERE)["/etc/docker/daemon.json"].content
    settings = json.loads(content)
    assert settings["registry-mirrors"] == ["http://10.0.3.1:5000"]
    assert settings["log-driver"]
    assert "storage-driver" not in settings
    assert b"\n  " in content


@pytest.mark.parametrize("variant", recipe.VARIANTS)
def test_container_tree_masks_no_unit(variant: str) -> None:
    files = recipe.container_tree(HERE, variant)
    assert files
    assert not [path for path, entry in files.items() if entry.link == "/dev/null"]


def test_container_tree_of_standard_is_ifupdowns_and_of_docker_networkds() -> None:
    standard, docker = (recipe.container_tree(HERE, name) for name in ("standard", "docker"))
    assert "/etc/network/interfaces" in standard
    assert "/etc/network/.pve-ignore.interfaces" in docker
    assert not [path for path in standard if "networkd" in path]
    enabled = {path.rpartition("/")[2] for path in docker if ".wants/" in path}
    assert enabled == {"systemd-networkd.service", "systemd-networkd-wait-online.service"}


def test_trees_have_an_empty_machine_id() -> None:
    for files in (recipe.node_tree(HERE), recipe.container_tree(HERE)):
        assert files["/etc/machine-id"].content == b""


def test_trees_behind_a_proxy_name_it() -> None:
    proxied = Archives(HERE.main, HERE.security, ('Acquire::http::Proxy "http://localhost:1";',))
    for files in (recipe.node_tree(proxied), recipe.container_tree(proxied)):
        assert b"10.0.2.2:1" in files["/etc/apt/apt.conf.d/50lab-proxy"].content


def test_recipe_names_no_mirror() -> None:
    for path in Path(recipe.__file__).parent.rglob("*"):
        if path.suffix in {".py", ".list", ".sources"}:
            assert b"debian.org" not in path.read_bytes(), path
