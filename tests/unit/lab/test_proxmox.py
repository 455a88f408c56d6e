from __future__ import annotations

import os
import socket
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.lab import machine, progress, provision, proxmox, recipe, repository
from docker_lxc_gate.lab.__main__ import main
from docker_lxc_gate.lab.errors import Unreachable
from docker_lxc_gate.lab.image import Images
from docker_lxc_gate.lab.sources import Archives
from tests.doubles.answering import Answering

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE = Archives(("http://a.example/debian",), ("http://a.example/debian-security",))
KEY = b"\x98\x33\x04" + bytes(range(100))  # begins as a public key's packet does
ONE_LINE = "deb http://p.example/pve trixie some-component"
DEB822 = """
Types: deb
URIs: http://p.example/pve
Suites: trixie
Components: some-component
Signed-By: /usr/share/keyrings/elsewhere.gpg
"""

WRONG_KEYS = {
    "page.html": b"<html>",
    "secret.gpg": b"\x94" + KEY,
    "half.asc": b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEAA",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LAB_MACHINE", "LAB_MACHINE_FILE", "LAB_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "")
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return _written(tmp_path)


def _written(folder: Path, source: str = ONE_LINE, more: str = "") -> Path:
    (folder / "proxmox.gpg").write_bytes(KEY)
    path = folder / "proxmox.toml"
    path.write_text(f"repository = '''{source}'''\nkey = 'proxmox.gpg'\n{more}")
    return path


def _up(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["--mirror", HERE.main[0], "up", *arguments])
    return done.exit_code, done.output


@pytest.mark.parametrize("source", [ONE_LINE, DEB822])
def test_machine_of_a_file_has_its_repository_release_and_packages(
    tmp_path: Path, source: str
) -> None:
    path = _written(tmp_path, source, "release = 'forky'\npackages = ['vim']\n")
    found = proxmox.machine(path)
    (archive,) = found.repositories
    assert (archive.uris, archive.suites) == (("http://p.example/pve",), ("trixie",))
    assert archive.components == ("some-component",)
    assert found.release == "forky"
    assert {"proxmox-ve", "proxmox-default-kernel", "openssh-server", "vim"} <= {*found.packages}
    assert not {"lxc", "lxcfs", "linux-image-cloud-amd64"} & {*found.packages}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("repository =", "TOML"),
        ("repository = '\xff'", "TOML"),
        ("key = 'proxmox.gpg'", "`repository`"),
        (f"repository = '{ONE_LINE}'", "`key`"),
        ("repository = 1\nkey = 'k'", "$.repository"),
        (f"repository = '{ONE_LINE}'\nkey = 'k'\nkye = 1", "`kye`"),
        (f"repository = '{ONE_LINE}'\nkey = 'k'\nrelease = '13'", "$.release"),
        (f"repository = '{ONE_LINE}'\nkey = 'k'\npackages = ['a,b']", "$.packages"),
        (f"repository = '{ONE_LINE}'\nkey = 'absent.gpg'", "absent.gpg"),
        *((f"repository = '{ONE_LINE}'\nkey = '{key}'", "key: ") for key in WRONG_KEYS),
        ("repository = ''\nkey = 'proxmox.gpg'", "repository: "),
        ("repository = 'deb http://p'\nkey = 'proxmox.gpg'", "repository: "),
        ("repository = 'deb http://p ./'\nkey = 'proxmox.gpg'", "repository: "),
        ("repository = 'deb file:/p trixie c'\nkey = 'proxmox.gpg'", "repository: "),
        *(
            (f"repository = 'deb {source}'\nkey = 'absent.gpg'", f"example's {left};")
            for source, left in (
                ("https://HOST/PATH trixie COMPONENT", "HOST, PATH, COMPONENT"),
                ("https://p.example/pve trixie COMPONENT", "COMPONENT"),
                ("https://p.example/PATH trixie main", "PATH"),
            )
        ),
    ],
)
def test_machine_of_a_wrong_file_is_refused_and_names_file_and_key(
    file: Path, text: str, named: str
) -> None:
    file.write_text(text, "latin-1")
    for name, content in WRONG_KEYS.items():
        (file.parent / name).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        proxmox.machine(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--machine", "proxmox"], "--machine-file"),
        (["--machine", "proxmox", "--machine-file", "absent.toml"], "absent.toml"),
        (["--machine-file", "x.toml"], "x.toml"),
        (["--machine", "other"], "'other'"),
        (["--dry-run", "--release", "13"], "'13'"),
    ],
)
def test_up_with_wrong_options_ends_with_2_and_builds_nothing(
    home: Path, arguments: list[str], named: str
) -> None:
    code, output = _up(*arguments)
    assert (code, named in output) == (2, True), output
    assert not home.exists()


def test_chosen_by_environment_is_that_machine(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.chosen() is recipe.DEFAULT
    monkeypatch.setenv("LAB_MACHINE_FILE", str(file))
    assert machine.chosen() is recipe.DEFAULT
    monkeypatch.setenv("LAB_MACHINE", "proxmox")
    assert machine.chosen().name == "proxmox"
    assert machine.chosen("default") is recipe.DEFAULT
    monkeypatch.setenv("LAB_MACHINE", "other")
    with pytest.raises(UsageError):
        machine.chosen()


def test_up_dry_run_says_what_and_from_where_and_does_nothing(home: Path, file: Path) -> None:
    code, output = _up("--machine", "proxmox", "--machine-file", str(file), "--dry-run")
    assert code == 0, output
    rows = output.splitlines()
    assert rows[0] == "machine    proxmox, Debian trixie"
    assert rows[1].startswith("image      node-proxmox-trixie-")
    assert rows[1].endswith(" (would be built)")
    assert "from       deb http://a.example/debian trixie main" in rows
    assert "           http://p.example/pve trixie some-component" in rows
    assert {"proxmox-ve", "proxmox-default-kernel"} <= {*output.replace(",", " ").split()}
    assert [row.split()[0] for row in rows[-2:]] == ["pct", "unchecked"]
    assert not home.exists()


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_up_with_a_repository_for_another_release_is_refused_offline(
    home: Path, tmp_path: Path, dry: tuple[str, ...]
) -> None:
    file = _written(tmp_path, "deb http://p.invalid/pve bookworm c")
    code, output = _up("--machine", "proxmox", "--machine-file", str(file), *dry)
    assert (code, "http://p.invalid/pve bookworm c" in output) == (2, True)
    assert not home.exists()


def test_up_with_an_unreachable_repository_is_one_line_and_leaves_nothing(
    home: Path, tmp_path: Path
) -> None:
    with socket.socket() as bound:  # and does not listen: a connection is refused
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/pve"
        file = _written(tmp_path, f"deb {url} trixie c")
        code, output = _up("--machine", "proxmox", "--machine-file", str(file))
    assert code == 3
    assert f"{url}/dists/trixie/Release" in output
    assert output.count("\n") == 1
    assert not home.exists()


def test_require_reachable_for_an_image_that_is_there_asks_nobody(
    tmp_path: Path, file: Path
) -> None:
    images = Images(tmp_path / "images", HERE, progress.silent, proxmox.machine(file))
    (images.folder / images.node_name("trixie")).mkdir(parents=True)
    images.require_reachable("trixie")


class _Archive(BaseHTTPRequestHandler):
    """Has one Release file, also for those who ask it as a proxy."""

    def do_GET(self) -> None:
        there = self.path.endswith("/pve/dists/trixie/Release")
        self.send_response(200 if there else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Archive) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def _named(source: str) -> repository.Repository:
    (one,) = repository.named(source, KEY)
    return one


def test_require_reachable_asks_for_release_files(port: int) -> None:
    _named(f"deb http://127.0.0.1:{port}/pve trixie c").require_reachable(())
    with pytest.raises(Unreachable):
        _named(f"deb http://127.0.0.1:{port}/pve forky c").require_reachable(())


def test_require_reachable_goes_through_apts_proxy(port: int) -> None:
    unknown = _named("deb http://p.invalid/pve trixie c")
    with pytest.raises(Unreachable):
        unknown.require_reachable(())
    unknown.require_reachable((f'Acquire::http::Proxy "http://127.0.0.1:{port}";',))


def test_source_of_a_repository_carries_its_key() -> None:
    one = _named(ONE_LINE)
    lines = one.source.splitlines()
    assert lines[:4] == [
        "Types: deb",
        "URIs: http://p.example/pve",
        "Suites: trixie",
        "Components: some-component",
    ]
    assert lines[4:7] == ["Signed-By:", " -----BEGIN PGP PUBLIC KEY BLOCK-----", " ."]
    assert all(line.startswith(" ") for line in lines[5:])
    armoured = one.key.encode()
    assert repository.named(ONE_LINE, armoured) == (one,)


def test_node_digest_of_each_machine_is_another(tmp_path: Path, file: Path) -> None:
    def digest(kind: recipe.Machine) -> str:
        return recipe.node_digest("trixie", HERE, kind)

    first = digest(proxmox.machine(file))
    assert recipe.node_digest("trixie", HERE) == digest(recipe.DEFAULT) != first
    other = digest(proxmox.machine(_written(tmp_path, ONE_LINE, "packages = ['vim']")))
    (tmp_path / "proxmox.gpg").write_bytes(KEY + b"1")
    assert len({first, other, digest(proxmox.machine(file))}) == 3


def test_guest_tree_of_proxmox_has_no_front_end(file: Path) -> None:
    ours, theirs = recipe.guest_tree(), recipe.guest_tree(proxmox.machine(file))
    assert "/usr/sbin/pct" in ours
    assert {path for path in ours if "pct" in path or "pve" in path} == ours.keys() - theirs.keys()
    assert "/usr/local/bin/phoenix" in theirs


def test_node_tree_of_proxmox_has_its_name_off_loopback(file: Path) -> None:
    files = recipe.node_tree(HERE, proxmox.machine(file))
    name = files["/etc/hostname"].content.decode().strip()
    hosts = [line.split() for line in files["/etc/hosts"].content.decode().splitlines()]
    network = files["/etc/systemd/network/10-eth0.network"].content.decode()
    (address,) = [words[0] for words in hosts if name in words[1:]]
    assert f"Address={address}/" in network


def test_node_tree_of_proxmox_has_one_owner_of_the_bridge(file: Path) -> None:
    files = recipe.node_tree(HERE, proxmox.machine(file))
    network = files["/etc/systemd/network/20-lxcbr0.network"].content.decode()
    assert f"Address={provision.REGISTRY.partition(':')[0]}/24" in network
    assert b'USE_LXC_BRIDGE="false"' in files["/etc/default/lxc-net"].content
    assert b'USE_LXC_BRIDGE="true"' in recipe.node_tree(HERE)["/etc/default/lxc-net"].content
    pam = "/etc/ssh/sshd_config.d/pam.conf"  # emulation is slow enough; Proxmox's own stays
    assert b"UsePAM no" in recipe.node_tree(HERE)[pam].content
    assert pam not in files


def test_container_tree_with_networkd_keeps_it_on_proxmox() -> None:
    """Whose ``pct create`` disables networkd by a preset, and writes ifupdown's file."""
    files, presets = recipe.container_tree(HERE, "docker"), "/etc/systemd/system-preset/"
    ours = [path for path in files if b"systemd-networkd.service" in files[path].content]
    assert ours
    assert max(ours) < f"{presets}00-pve.preset"
    assert "/etc/network/.pve-ignore.interfaces" in files


@pytest.mark.parametrize("kind", ["default", "proxmox"])
def test_fill_prepares_the_node_before_it_stocks_it(file: Path, kind: str) -> None:
    node, chosen = (
        Answering(lambda _: b""),
        machine.chosen(kind, str(file) if kind == "proxmox" else ""),
    )
    wanted = provision.Provisioning(recipe.guest_tree(chosen), {}, chosen.prepare)
    wanted.fill(node, wanted.stock, progress.silent)
    assert [argv[-1] for argv in node.ran] == ([chosen.prepare] if kind == "proxmox" else [])


def test_options_of_proxmox_do_as_its_installer_does(tmp_path: Path, file: Path) -> None:
    root, tools, log = tmp_path / "root", tmp_path / "tools", tmp_path / "log"
    (root / "usr/lib/modules/6.14-1-pve").mkdir(parents=True)
    tools.mkdir()
    (tools / "chroot").write_text(f'#!/bin/sh\nshift\necho "$@" >> {log}\n')
    (tools / "chroot").chmod(0o755)
    hooks = [option.partition("-hook=") for option in proxmox.machine(file).options]

    def run(when: str) -> None:
        for script in [script for name, _, script in hooks if name == f"--{when}"]:
            env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
            subprocess.run(["sh", "-c", script, "hook", str(root)], check=True, env=env)

    run("essential")
    assert (root / "proxmox_install_mode").exists()
    run("customize")
    assert not (root / "proxmox_install_mode").exists()
    assert log.read_text().splitlines() == [
        "debconf-set-selections",
        "depmod 6.14-1-pve",
        "update-initramfs -c -k 6.14-1-pve",
    ]
