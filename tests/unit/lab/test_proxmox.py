from __future__ import annotations

import os
import socket
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from lab import image, machine, progress, provision, proxmox, recipe, repository
from lab.__main__ import main
from lab.errors import Unreachable
from lab.image import Images
from lab.sources import Archives
from targets.errors import UsageError
from targets.transport import Base, CommandResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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
def test_machine_file(tmp_path: Path, source: str) -> None:
    path = _written(tmp_path, source, "release = 'forky'\npackages = ['vim']\n")
    found = proxmox.machine(path)
    (archive,) = found.repositories
    assert (archive.uris, archive.suites) == (("http://p.example/pve",), ("trixie",))
    assert archive.components == ("some-component",)
    assert found.release == "forky"
    assert {"proxmox-ve", "proxmox-default-kernel", "openssh-server", "vim"} <= {*found.packages}
    assert not {"lxc", "lxcfs", "linux-image-cloud-amd64"} & {*found.packages}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "repository =",
            r"is not TOML: Invalid value .*; expected keys: repository, key, release, packages",
        ),
        ("key = 'proxmox.gpg'", "missing required field `repository`"),
        (f"repository = '{ONE_LINE}'", "missing required field `key`"),
        ("repository = 1\nkey = 'k'", r"Expected `str`, got `int` - at `\$.repository`"),
        (f"repository = '{ONE_LINE}'\nkey = 'k'\nkye = 1", "unknown field `kye`"),
        (f"repository = '{ONE_LINE}'\nkey = 'k'\nrelease = '13'", r"at `\$.release`"),
        (f"repository = '{ONE_LINE}'\nkey = 'k'\npackages = ['a,b']", r"at `\$.packages"),
        (f"repository = '{ONE_LINE}'\nkey = 'absent.gpg'", "key: .*absent.gpg: No such file"),
        (f"repository = '{ONE_LINE}'\nkey = 'page.html'", "key: expected an OpenPGP public key"),
        ("repository = ''\nkey = 'proxmox.gpg'", "repository: expected an apt source: deb"),
        ("repository = 'deb http://p'\nkey = 'proxmox.gpg'", "repository: expected"),
        ("repository = 'deb http://p ./'\nkey = 'proxmox.gpg'", "repository: expected"),
        *(
            (
                f"repository = 'deb {source}'\nkey = 'absent.gpg'",
                rf"still has the example's {left}; ex",
            )
            for source, left in (
                ("https://HOST/PATH trixie COMPONENT", "HOST, PATH, COMPONENT"),
                ("https://p.example/pve trixie COMPONENT", "COMPONENT"),
                ("https://p.example/PATH trixie main", "PATH"),
            )
        ),
        ("repository = 'deb file:/p trixie c'\nkey = 'proxmox.gpg'", "repository: expected"),
        *(
            (f"repository = 'deb {uri} trixie c'\nkey = 'proxmox.gpg'", "names no host; expected")
            for uri in ("http:///p", "http://p:x/", "http://-p/", "http://p:99999/")
        ),
        (f"repository = '{ONE_LINE}'\nkey = 'secret.gpg'", "expected an OpenPGP public key"),
        (f"repository = '{ONE_LINE}'\nkey = 'half.asc'", "key: it is cut off; expected"),
    ],
)
def test_machine_file_errors_name_file_key_and_what_was_expected(
    file: Path, text: str, said: str
) -> None:
    file.write_text(text)
    (file.parent / "page.html").write_text("<html>")
    (file.parent / "secret.gpg").write_bytes(b"\x94" + KEY)
    (file.parent / "half.asc").write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEAA")
    with pytest.raises(UsageError, match=said) as caught:
        proxmox.machine(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "xpected" in str(caught.value)


def test_a_machine_file_that_is_no_text(file: Path) -> None:
    file.write_bytes(b"repository = '\xff'")
    with pytest.raises(UsageError, match="is not TOML: "):
        proxmox.machine(file)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--machine", "proxmox"], "expected --machine-file FILE"),
        (["--machine", "proxmox", "--machine-file", "absent.toml"], "absent.toml: No such file"),
        (["--machine-file", "x.toml"], "x.toml: a machine file is for --machine proxmox"),
        (["--machine", "other"], "'other' is not one of"),
    ],
)
def test_usage_errors_exit_2(home: Path, arguments: list[str], said: str) -> None:
    code, output = _up(*arguments)
    assert (code, said in output) == (2, True), output
    assert not home.exists()


def test_machine_is_chosen_by_environment_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.chosen() is recipe.DEFAULT
    monkeypatch.setenv("LAB_MACHINE_FILE", str(file))
    assert machine.chosen() is recipe.DEFAULT
    monkeypatch.setenv("LAB_MACHINE", "proxmox")
    assert machine.chosen().name == "proxmox"
    assert machine.chosen("default") is recipe.DEFAULT
    monkeypatch.setenv("LAB_MACHINE", "other")
    with pytest.raises(UsageError, match="default or proxmox"):
        machine.chosen()


def test_dry_run_says_what_and_from_where_and_does_nothing(home: Path, file: Path) -> None:
    code, output = _up("--machine", "proxmox", "--machine-file", str(file), "--dry-run")
    assert code == 0, output
    rows = output.splitlines()
    assert rows[0] == "machine    proxmox, Debian trixie"
    assert rows[1].startswith("image      node-proxmox-trixie-")
    assert rows[1].endswith(" (would be built)")
    assert "from       deb http://a.example/debian trixie main" in rows
    assert "           http://p.example/pve trixie some-component" in rows
    assert {"proxmox-ve", "proxmox-default-kernel"} <= {*output.split()}
    assert rows[-2:] == [
        "pct        the packages' own",
        (
            "unchecked  whether these archives answer, are signed by the key, and have the "
            "packages: a dry run uses no network"
        ),
    ]
    assert not home.exists()


def test_dry_run_of_the_default_machine(home: Path) -> None:
    code, output = _up("--dry-run", "--release", "bookworm")
    assert code == 0, output
    assert "machine    default, Debian bookworm" in output
    assert "linux-image-cloud-amd64" in output
    assert "pct        our front end over LXC" in output
    assert "unchecked  whether these archives answer, and have the packages" in output
    assert not home.exists()


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_a_repository_for_another_release_is_refused_offline(
    home: Path, tmp_path: Path, dry: tuple[str, ...]
) -> None:
    file = _written(tmp_path, "deb http://p.invalid/pve bookworm c")
    code, output = _up("--machine", "proxmox", "--machine-file", str(file), *dry)
    assert code == 2
    assert output == (
        "lab: repository http://p.invalid/pve bookworm c: its packages are for bookworm, but the "
        'node is Debian trixie; write release = "bookworm" into the machine file, or name the '
        "repository's suite for trixie\n"
    )
    assert not home.exists()


def test_a_dry_run_refuses_what_is_no_release(home: Path) -> None:
    code, output = _up("--dry-run", "--release", "13")
    assert (code, output) == (2, "lab: not a release of Debian: '13' (for instance trixie)\n")


def test_unreachable_repository_is_one_line_and_leaves_nothing(home: Path, tmp_path: Path) -> None:
    with socket.socket() as bound:  # and does not listen: a connection is refused
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/pve"
        file = _written(tmp_path, f"deb {url} trixie c")
        code, output = _up("--machine", "proxmox", "--machine-file", str(file))
    assert code == 3
    assert output.startswith(f"lab: cannot reach {url}/dists/trixie/Release: ")
    assert output.endswith("; nothing was built\n")
    assert output.count("\n") == 1
    assert not home.exists()


def test_repository_is_not_asked_for_an_image_that_is_there(tmp_path: Path, file: Path) -> None:
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


def test_release_files_are_asked_for(port: int) -> None:
    _named(f"deb http://127.0.0.1:{port}/pve trixie c").require_reachable(())
    with pytest.raises(Unreachable, match="dists/forky/Release: Not Found"):
        _named(f"deb http://127.0.0.1:{port}/pve forky c").require_reachable(())


def test_apts_proxies_are_used(port: int) -> None:
    proxy = f'Acquire::http::Proxy "http://127.0.0.1:{port}";'
    unknown = _named("deb http://p.invalid/pve trixie c")
    unknown.require_reachable((proxy,))
    with pytest.raises(Unreachable):
        unknown.require_reachable((proxy, 'Acquire::http::Proxy::p.invalid "DIRECT";'))


def test_https_goes_by_https_proxy_then_by_http_proxy() -> None:
    http, https = 'Acquire::http::Proxy "http://a:1";', 'Acquire::https::Proxy "http://b:2";'
    assert repository._proxies("https://p/pve", (http, https)) == {"https": "http://b:2"}
    assert repository._proxies("https://p/pve", (http,)) == {"https": "http://a:1"}
    assert repository._proxies("http://p/pve", (https,)) == {}


def test_source_carries_its_key() -> None:
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


def test_machines_share_no_image(tmp_path: Path, file: Path) -> None:
    def digest(kind: recipe.Machine) -> str:
        return recipe.node_digest("trixie", HERE, kind)

    first = digest(proxmox.machine(file))
    assert recipe.node_digest("trixie", HERE) == digest(recipe.DEFAULT) != first
    other = digest(proxmox.machine(_written(tmp_path, ONE_LINE, "packages = ['vim']")))
    (tmp_path / "proxmox.gpg").write_bytes(KEY + b"1")
    assert len({first, other, digest(proxmox.machine(file))}) == 3


def test_front_end_is_not_installed_beside_proxmoxs_own(file: Path) -> None:
    ours, theirs = recipe.guest_tree(), recipe.guest_tree(proxmox.machine(file))
    assert "/usr/sbin/pct" in ours
    assert {path for path in ours if "pct" in path or "pve" in path} == ours.keys() - theirs.keys()
    assert "/usr/local/bin/phoenix" in theirs


def test_nodes_name_is_not_on_loopback(file: Path) -> None:
    files = recipe.node_tree(HERE, proxmox.machine(file))
    name = files["/etc/hostname"].content.decode().strip()
    hosts = [line.split() for line in files["/etc/hosts"].content.decode().splitlines()]
    network = files["/etc/systemd/network/10-eth0.network"].content.decode()
    (address,) = [words[0] for words in hosts if name in words[1:]]
    assert f"Address={address}/" in network


def test_bridge_is_the_other_machines_and_has_one_owner(file: Path) -> None:
    files = recipe.node_tree(HERE, proxmox.machine(file))
    network = files["/etc/systemd/network/20-lxcbr0.network"].content.decode()
    assert f"Address={provision.REGISTRY.partition(':')[0]}/24" in network
    assert b'USE_LXC_BRIDGE="false"' in files["/etc/default/lxc-net"].content
    assert b'USE_LXC_BRIDGE="true"' in recipe.node_tree(HERE)["/etc/default/lxc-net"].content
    pam = "/etc/ssh/sshd_config.d/pam.conf"  # emulation is slow enough; Proxmox's own stays
    assert b"UsePAM no" in recipe.node_tree(HERE)[pam].content
    assert pam not in files


def test_templates_with_networkd_keep_it_on_proxmox_too() -> None:
    """Whose ``pct create`` disables networkd by a preset, and writes ifupdown's file."""
    files, presets = recipe.container_tree(HERE, "docker"), "/etc/systemd/system-preset/"
    ours = [path for path in files if b"systemd-networkd.service" in files[path].content]
    assert ours
    assert max(ours) < f"{presets}00-pve.preset"
    assert "/etc/network/.pve-ignore.interfaces" in files


class _Node(Base):
    machine = "the node"

    def __init__(self) -> None:
        self.scripts: list[str] = []

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        self.scripts.append(argv[-1])
        return CommandResult(tuple(argv), 0, b"", b"", self.machine, 0.0, 0.0)


@pytest.mark.parametrize("kind", ["default", "proxmox"])
def test_node_is_prepared_before_it_is_stocked(file: Path, kind: str) -> None:
    node, chosen = _Node(), machine.chosen(kind, str(file) if kind == "proxmox" else "")
    wanted = provision.from_here({}, chosen)
    wanted.fill(node, wanted.stock, progress.silent)
    assert node.scripts == ([chosen.prepare] if kind == "proxmox" else [])


def test_mmdebstrap_is_given_the_machines_options_and_source(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}
    argvs: list[Sequence[str]] = []

    def run(argv: Sequence[str], hint: str = "") -> None:
        argvs.append(argv)
        seen.update({path.name: path.read_text() for path in tmp_path.glob("lab.*")})

    monkeypatch.setattr(image, "_run", run)
    monkeypatch.setattr(image, "_keyring", list)
    kind = proxmox.machine(file)
    images = Images(tmp_path / "images", HERE, progress.silent, kind)
    into = tmp_path / "root.tar"
    images._bootstrap(into, "trixie", kind.packages, kind.options, kind.repositories[0].source)
    assert {*kind.options} < {*argvs[0]}
    assert argvs[0][-3:] == [str(into), f"{tmp_path}/lab.list", f"{tmp_path}/lab.sources"]
    assert seen["lab.sources"] == kind.repositories[0].source
    assert not list(tmp_path.glob("lab.*"))
    images._bootstrap(into, "trixie", recipe.DEFAULT.packages)
    assert argvs[1][-2:] == [str(into), f"{tmp_path}/lab.list"]


def test_hooks_do_as_the_installer_does(tmp_path: Path, file: Path) -> None:
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
