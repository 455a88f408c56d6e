import pytest

from docker_lxc_gate.lab import recipe
from docker_lxc_gate.lab.sources import Archives

HERE = Archives(("http://a/debian",), ("http://a/debian-security",))
THERE = Archives(("http://b/debian",), ("http://b/debian-security",))


@pytest.mark.parametrize("digest", [recipe.node_digest, recipe.template_digest])
def test_digest_depends_on_release_and_archives(digest: object) -> None:
    assert callable(digest)
    digests = {digest("trixie", HERE), digest("bookworm", HERE), digest("trixie", THERE)}
    assert len(digests) == 3
    assert digest("trixie", HERE) in digests


def test_trees_behind_a_proxy_name_it() -> None:
    proxied = Archives(HERE.main, HERE.security, ('Acquire::http::Proxy "http://localhost:1";',))
    for files in (recipe.node_tree(proxied), recipe.container_tree(proxied)):
        assert b"10.0.2.2:1" in files["/etc/apt/apt.conf.d/50lab-proxy"].content


def test_container_tree_with_networkd_keeps_it_on_proxmox() -> None:
    """Whose ``pct create`` disables networkd by a preset, and writes ifupdown's file."""
    files, presets = recipe.container_tree(HERE, "docker"), "/etc/systemd/system-preset/"
    ours = [path for path in files if b"systemd-networkd.service" in files[path].content]
    assert ours
    assert max(ours) < f"{presets}00-pve.preset"
    assert "/etc/network/.pve-ignore.interfaces" in files
