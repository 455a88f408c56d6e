"""The lab's phoenix checkout, against a strict stand-in for the programs of a node.

The stand-in fails on anything it was not told about, and so does a test in which that happened.
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHECKOUT = ROOT / "lab/guest/phoenix_hypervisor"
DATA = Path(__file__).resolve().parent / "data"
INSTALL_DOCKER = Path("bin/lxc_setup/phoenix_hypervisor_feature_install_docker.sh")
SETUP_APPARMOR = Path("bin/hypervisor_setup/hypervisor_feature_setup_apparmor.sh")
SCRIPTS = sorted(
    [CHECKOUT / "bin/phoenix", *CHECKOUT.glob("bin/*/*.sh"), *DATA.glob("*.after.sh")],
)
MIRRORS = '{"registry-mirrors": ["http://10.0.3.1:5000"]}\n'
PROFILE = "lxc-phoenix-v2"
FUSE_ENTRY = "lxc.mount.entry: /dev/fuse dev/fuse none bind,create=file 0 0"

# Answers to pct, apparmor_parser and systemctl; every other name is a program that must not run
# on the node. State lives in files under $FAKE, so that a test can read and break it.
FAKE_NODE = r"""
import hashlib, json, os, shutil, stat, sys
from pathlib import Path

FAKE = Path(os.environ["FAKE"])
name, argv = Path(sys.argv[0]).name, sys.argv[1:]


def record(mutates):
    with (FAKE / "log").open("a") as log:
        log.write(json.dumps({"argv": [name, *argv], "mutates": mutates}) + "\n")


def unknown():
    with (FAKE / "unknown").open("a") as log:
        log.write(" ".join([name, *argv]) + "\n")
    sys.exit(f"fake {name}: not told about {argv}")


def broken(what):
    return (FAKE / "broken" / what).exists()


def finish(code=0, out="", err=""):
    sys.stdout.write(out)
    sys.stderr.write(err)
    sys.exit(code)


def quiet_stdin():
    if not stat.S_ISCHR(os.fstat(0).st_mode):
        unknown()


def sections(conf):
    lines = conf.read_text().splitlines()
    cut = next((i for i, line in enumerate(lines) if line.startswith("[")), len(lines))
    return [line for line in lines[:cut] if line], lines[cut:]


def pct_exec(root, command):
    quiet_stdin()
    if command[:2] == ["timeout", "-k"]:
        command = command[4:]
    if command[0] == "env":
        command = command[1:]
        while "=" in command[0]:
            command = command[1:]
    inside = lambda path: root / path.lstrip("/")
    packages = root / "packages"
    docker = root / "docker"  # its driver and "enabled", while it runs
    match command:
        case ["true"]:
            record(False)
            finish()
        case ["systemctl", "is-system-running"]:
            record(False)
            state = (FAKE / "systemd").read_text()
            finish(0 if state == "running" else 1, state + "\n")
        case ["systemctl", "is-enabled", "--quiet", "docker"]:
            record(False)
            finish(0 if (root / "enabled").exists() else 1)
        case ["systemctl", "is-active", "--quiet", "docker"]:
            record(False)
            finish(0 if docker.exists() else 3)
        case ["systemctl", "enable", "docker"]:
            record(True)
            (root / "enabled").touch()
            finish()
        case ["systemctl", "start" | "restart", "docker"]:
            record(True)
            if broken("docker-start"):
                finish(1)
            start_docker(root)
            finish()
        case ["cat", path]:
            record(False)
            if not inside(path).exists():
                finish(1, err="cat: absent\n")
            finish(0, inside(path).read_text())
        case ["test", "-e" | "-x", path]:
            record(False)
            finish(0 if inside(path).exists() else 1)
        case ["stat", "-c", "%a", path]:
            record(False)
            finish(0, "%o\n" % (inside(path).stat().st_mode & 0o777))
        case ["sha256sum", path]:
            record(False)
            if not inside(path).exists():
                finish(1)
            finish(0, hashlib.sha256(inside(path).read_bytes()).hexdigest() + f"  {path}\n")
        case ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}", package]:
            record(False)
            known = dict(line.split() for line in packages.read_text().splitlines())
            finish(0 if package in known else 1, known.get(package, "") + " ")
        case ["docker", "info", "--format", "{{.Driver}}"]:
            record(False)
            finish(0, docker.read_text() + "\n") if docker.exists() else finish(1)
        case ["apt-cache", "show", "docker-cli"]:
            record(False)
            finish(0 if (FAKE / "trixie").exists() else 100)
        case ["apt-get", "update"]:
            record(True)
            finish(100 if broken("apt-update") else 0)
        case ["apt-get", "install", "-y", *wanted]:
            record(True)
            wanted = [package for package in wanted if package != "--no-install-recommends"]
            if not set(wanted) <= {"docker.io", "docker-cli", "ca-certificates", "iptables",
                                   "fuse-overlayfs"}:
                unknown()
            if broken("apt-install"):
                finish(100)
            with packages.open("a") as known:
                known.writelines(f"{package} ii\n" for package in wanted)
            if "docker-cli" in wanted or "docker.io" in wanted and not (FAKE / "trixie").exists():
                inside("/usr/bin/docker").parent.mkdir(parents=True, exist_ok=True)
                inside("/usr/bin/docker").touch()
            if "docker.io" in wanted:
                (root / "enabled").touch()
                start_docker(root)
            finish()
        case ["mkdir", "-p", path]:
            record(True)
            inside(path).mkdir(parents=True, exist_ok=True)
            finish()
        case ["mv", old, new]:
            record(True)
            inside(old).rename(inside(new))
            finish()
        case ["rm", "-f", path]:
            record(True)
            inside(path).unlink(missing_ok=True)
            finish()
    unknown()


def start_docker(root):
    settings = root / "etc/docker/daemon.json"
    driver = json.loads(settings.read_text()).get("storage-driver") if settings.exists() else None
    (root / "docker").write_text("overlay2" if broken("driver") else driver or "overlay2")


def pct():
    command, ctid, rest = argv[0], argv[1], argv[2:]
    conf = FAKE / "pve/lxc" / f"{ctid}.conf"
    up = FAKE / "running" / ctid
    root = FAKE / "ct" / ctid
    if command in ("create", "clone"):
        record(True)
        quiet_stdin()
        if command == "clone" and conf.exists():
            conf, root = FAKE / "pve/lxc" / f"{rest[0]}.conf", FAKE / "ct" / rest[0]
        if conf.exists():
            unknown()
        options = dict(zip(rest[1::2], rest[2::2]))
        if command == "create":
            if not {"--hostname", "--rootfs", "--unprivileged"} <= set(options):
                unknown()
            options = {key.removeprefix("--"): value for key, value in options.items()}
        else:
            options = {"unprivileged": "1"}
        conf.write_text("".join(f"{key}: {value}\n" for key, value in sorted(options.items())))
        root.mkdir(parents=True)
        (root / "packages").write_text("dpkg ii\nfuse rc\n")
        (root / "proc/net").mkdir(parents=True)
        (root / "proc/net/route").write_text(
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
            "eth0\t00000000\t0103000A\t0003\t0\t0\t0\t00000000\n")
        finish()
    if not conf.exists():
        finish(2, err=f"Configuration file 'nodes/node/lxc/{ctid}.conf' does not exist\n")
    main, others = sections(conf)
    match command, rest:
        case "config", [] | ["--current"]:
            record(False)
            lines = [line for line in main if not line.startswith("#")]
            if not rest and others[:1] == ["[pve:pending]"]:
                end = next((i for i, l in enumerate(others) if i and l[:1] == "["), len(others))
                pending = [line for line in others[1:end] if line]
                keys = {line.split(":")[0] for line in pending}
                lines = [line for line in lines if line.split(":")[0] not in keys] + pending
            finish(0, "".join(line + "\n" for line in lines))
        case "status", []:
            record(False)
            finish(0, "status: running\n" if up.exists() else "status: stopped\n")
        case "set", [key, value, *more] if not up.exists():
            record(True)
            pairs = [(key, value), *zip(more[::2], more[1::2])]
            for key, value in pairs:
                if key == "--delete":
                    main = [line for line in main if not line.startswith(f"{value}: ")]
                    continue
                if key not in ("--features", "--memory", "--net0", "--cores", "--onboot"):
                    unknown()
                key = key.removeprefix("--")
                main = [line for line in main if not line.startswith(f"{key}: ")]
                main.insert(0, f"{key}: {value}")
            raw = [line for line in main if line.startswith("lxc.")]
            main = sorted(line for line in main if line not in raw) + raw
            conf.write_text("\n".join(main) + "\n" + "".join(f"{line}\n" for line in others))
            finish()
        case "start", [] if not up.exists():
            record(True)
            if broken("start"):
                finish(255)
            up.touch()
            finish()
        case "shutdown", ["--timeout", _] if up.exists():
            record(True)
            if broken("shutdown"):
                finish(255)
            up.unlink()
            finish()
        case "push", [source, target, "--perms", mode]:
            record(True)
            quiet_stdin()
            if broken("push"):
                finish(0, err="failed to create file\n")
            shutil.copyfile(source, root / target.lstrip("/"))
            (root / target.lstrip("/")).chmod(int(mode, 8))
            finish()
        case "exec", ["--keep-env", "0", "--", *inner] if up.exists():
            pct_exec(root, inner)
    unknown()


match name, argv:
    case "pct", [_, _, *_]:
        pct()
    case "apparmor_parser", ["-r", "-K", path]:
        record(True)
        if broken("parser"):
            finish(1, err="AppArmor parser error\n")
        with (FAKE / "apparmor/profiles").open("a") as loaded:
            for line in Path(path).read_text().splitlines():
                if line.startswith("profile "):
                    loaded.write(line.split()[1] + " (enforce)\n")
        finish()
    case "systemctl", ["reload", "apparmor"]:
        record(True)
        if broken("reload"):
            finish(1)
        if not broken("reload-halfway"):
            (FAKE / "apparmor/profiles").write_text("lxc-phoenix-v2 (enforce)\n")
        finish()
unknown()
"""
FAKED = ("pct", "apparmor_parser", "systemctl")
FORBIDDEN = ("apt-get", "apt-cache", "dpkg-query", "docker", "reboot", "fuse-overlayfs")


@dataclass(frozen=True)
class Call:
    argv: tuple[str, ...]
    mutates: bool


class Node:
    """A node made of files: a phoenix checkout, /etc/pve, /etc/apparmor.d, and the stand-in."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.fake = base / "fake"
        self.home = base / "phoenix_hypervisor"
        self.apparmor_d = base / "apparmor.d"
        for folder in ("pve/lxc", "running", "ct", "broken", "apparmor"):
            (self.fake / folder).mkdir(parents=True)
        (self.fake / "apparmor/profiles").write_text("other (enforce)\n")
        (self.fake / "systemd").write_text("running")
        (self.fake / "trixie").touch()
        self.apparmor_d.mkdir()
        shutil.copytree(CHECKOUT, self.home)
        (base / "bin").mkdir()
        for name in (*FAKED, *FORBIDDEN):
            program = base / "bin" / name
            program.write_text(f"#!{sys.executable} -ISE\n{FAKE_NODE}")
            program.chmod(0o755)
        (base / "local").mkdir()
        (base / "local/phoenix").symlink_to(self.home / "bin/phoenix")

    def run(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            env={
                "PATH": f"{self.base / 'local'}:{self.base / 'bin'}:{os.environ['PATH']}",
                "FAKE": str(self.fake),
                "TMPDIR": str(self.base),
                "PHOENIX_ETC_PVE": str(self.fake / "pve"),
                "PHOENIX_APPARMOR_D": str(self.apparmor_d),
                "PHOENIX_APPARMOR_FS": str(self.fake / "apparmor"),
                **env,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def phoenix(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run("phoenix", *args, **env)

    def install_docker(self, script: Path) -> subprocess.CompletedProcess[str]:
        return self.run("bash", str(script), "950")

    def calls(self) -> list[Call]:
        log = self.fake / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [Call(tuple(call["argv"]), call["mutates"]) for call in map(json.loads, lines)]

    def changes(self) -> list[tuple[str, ...]]:
        return [call.argv for call in self.calls() if call.mutates]

    def verbs(self) -> list[str]:
        """What was done on the node itself, in order: "create", "set", "apparmor_parser", …"""
        named = [argv[1] if argv[0] == "pct" else argv[0] for argv in self.changes()]
        return [verb for verb in named if verb not in ("exec", "push")]

    def done_inside(self) -> list[str]:
        """What was changed inside the container, in order."""
        return [
            " ".join(argv[argv.index("DEBIAN_FRONTEND=noninteractive") + 1 :])
            for argv in self.changes()
            if argv[:2] == ("pct", "exec")
        ]

    def forget(self) -> None:
        (self.fake / "log").unlink(missing_ok=True)

    def unknown(self) -> str:
        log = self.fake / "unknown"
        return log.read_text() if log.exists() else ""

    def breaks(self, what: str) -> None:
        (self.fake / "broken" / what).touch()

    def files(self) -> dict[str, tuple[int, int, bytes]]:
        """Every file but the log, with its time of change: a rewrite shows, the same or not."""
        found = {}
        for path in self.base.rglob("*"):
            if path.is_file() and path != self.fake / "log":
                state = path.stat()
                found[str(path)] = (state.st_mtime_ns, state.st_ino, path.read_bytes())
        return found

    def conf(self, ctid: int = 950) -> Path:
        return self.fake / f"pve/lxc/{ctid}.conf"

    def inside(self, path: str, ctid: int = 950) -> Path:
        return self.fake / f"ct/{ctid}" / path.lstrip("/")

    def describe(self, **keys: Any) -> None:
        path = self.home / "etc/phoenix_lxc_configs.json"
        configs = json.loads(path.read_text())
        configs["lxc_configs"]["950"] |= keys
        path.write_text(json.dumps(configs))

    def feature(self, name: str, body: str) -> None:
        script = self.home / f"bin/lxc_setup/phoenix_hypervisor_feature_install_{name}.sh"
        script.write_text(f"#!/bin/bash\n{body}\n")


@pytest.fixture
def node(tmp_path: Path) -> Any:
    node = Node(tmp_path)
    yield node
    assert node.unknown() == ""


@pytest.fixture
def created(node: Node) -> Node:
    """A node with container 950 running, no features; nothing recorded yet."""
    node.describe(features=[])
    assert node.phoenix("create", "950").returncode == 0
    node.forget()
    return node


def remediated(node: Node) -> None:
    node.describe(
        pct_features=["nesting=1", "keyctl=1", "fuse=1"],
        apparmor_profile=PROFILE,
        lxc_options=["lxc.apparmor.allow_nesting: 1", FUSE_ENTRY],
    )


# --- the scripts as text ---


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_clean(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    found = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_modes_are_those_of_the_repository() -> None:
    assert os.access(CHECKOUT / "bin/phoenix", os.X_OK)
    assert not any(path.stat().st_mode & 0o111 for path in CHECKOUT.glob("bin/*/*.sh"))


@pytest.mark.parametrize(
    ("before", "after", "blocks"),
    [
        (INSTALL_DOCKER, "install_docker.after.sh", 2),
        (SETUP_APPARMOR, "setup_apparmor.after.sh", 1),
    ],
)
def test_the_plan_only_inserts(before: Path, after: str, blocks: int) -> None:
    old = (CHECKOUT / before).read_text().splitlines()
    new = (DATA / after).read_text().splitlines()
    kinds = [
        operation[0]
        for operation in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if operation[0] != "equal"
    ]
    assert kinds == ["insert"] * blocks


def test_state_before_the_plan() -> None:
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


# --- phoenix: usage ---


@pytest.mark.parametrize(
    "args",
    [[], ["frobnicate"], ["create"], ["create", "x"], ["create", "123"], ["setup", "950"]],
    ids=" ".join,
)
def test_wrong_usage_is_one_error(node: Node, args: list[str]) -> None:
    result = node.phoenix(*args)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert node.calls() == []


def test_help_names_every_variable(node: Node) -> None:
    result = node.phoenix("--help")
    assert result.returncode == 0
    for name in ("ETC_PVE", "APPARMOR_D", "APPARMOR_FS", "READY_TIMEOUT"):
        assert f"PHOENIX_{name}" in result.stdout


# --- phoenix create ---


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


# --- phoenix create: the profile ---


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


# --- phoenix setup ---


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


# --- the docker feature ---

BEFORE, AFTER = CHECKOUT / INSTALL_DOCKER, DATA / "install_docker.after.sh"
DOCKER_PACKAGES = "docker.io ca-certificates iptables docker-cli"


def with_docker(node: Node) -> None:
    assert node.install_docker(BEFORE).returncode == 0
    assert node.inside("docker").read_text() == "overlay2"
    node.forget()


def with_daemon_json(node: Node, text: str) -> Path:
    path = node.inside("/etc/docker/daemon.json")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_before_installs_docker_and_leaves_settings_alone(created: Node) -> None:
    settings = with_daemon_json(created, MIRRORS)
    result = created.install_docker(BEFORE)
    assert result.returncode == 0, result.stderr
    assert created.done_inside() == [
        "apt-get update",
        f"apt-get install -y --no-install-recommends {DOCKER_PACKAGES}",
    ]
    assert settings.read_text() == MIRRORS


def test_before_installs_docker_of_debian_12(created: Node) -> None:
    (created.fake / "trixie").unlink()
    assert created.install_docker(BEFORE).returncode == 0
    assert created.done_inside()[-1].endswith("docker.io ca-certificates iptables")
    assert created.inside("/usr/bin/docker").exists()


def test_removed_package_is_not_an_installed_one(created: Node) -> None:
    with created.inside("packages").open("a") as packages:
        packages.write("docker.io rc\nfuse-overlayfs rc\n")
    assert created.install_docker(AFTER).returncode == 0
    assert "apt-get install -y fuse-overlayfs" in created.done_inside()


@pytest.mark.parametrize("script", [BEFORE, AFTER], ids=["before", "after"])
def test_stopped_service_is_enabled_and_started(created: Node, script: Path) -> None:
    assert created.install_docker(script).returncode == 0
    created.inside("docker").unlink()
    created.inside("enabled").unlink()
    created.forget()
    assert created.install_docker(script).returncode == 0
    assert created.done_inside() == ["systemctl enable docker", "systemctl start docker"]


@pytest.mark.parametrize("fault", ["apt-update", "apt-install", "push"])
@pytest.mark.parametrize("script", [BEFORE, AFTER], ids=["before", "after"])
def test_install_fails_when_a_step_fails(created: Node, script: Path, fault: str) -> None:
    if script == BEFORE and fault == "push":
        fault = "apt-install"
    created.breaks(fault)
    assert created.install_docker(script).returncode not in (0, 2)
    assert not created.inside("docker").exists()


@pytest.mark.parametrize("script", [BEFORE, AFTER], ids=["before", "after"])
def test_docker_that_does_not_start_is_a_failure(created: Node, script: Path) -> None:
    assert created.install_docker(script).returncode == 0
    created.inside("docker").unlink()
    created.breaks("docker-start")
    assert created.install_docker(script).returncode == 1


@pytest.mark.parametrize("script", [BEFORE, AFTER], ids=["before", "after"])
def test_install_needs_a_container(node: Node, script: Path) -> None:
    assert node.run("bash", str(script)).returncode == 2
    result = node.install_docker(script)
    assert result.returncode == 1
    assert "cannot run commands in container 950" in result.stderr


def test_after_sets_the_driver_before_docker_is_there(created: Node) -> None:
    settings = with_daemon_json(created, MIRRORS)
    settings.chmod(0o600)
    result = created.install_docker(AFTER)
    assert result.returncode == 0, result.stderr
    done = created.done_inside()
    assert done.index("apt-get install -y fuse-overlayfs") < done.index(
        f"apt-get install -y --no-install-recommends {DOCKER_PACKAGES}",
    )
    assert "systemctl restart docker" not in done
    assert json.loads(settings.read_text()) == {
        **json.loads(MIRRORS),
        "storage-driver": "fuse-overlayfs",
    }
    assert settings.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in settings.parent.iterdir()] == ["daemon.json"]
    assert created.inside("docker").read_text() == "fuse-overlayfs"


@pytest.mark.parametrize("text", ["", None], ids=["empty", "absent"])
def test_after_without_settings(created: Node, text: str | None) -> None:
    if text is not None:
        with_daemon_json(created, text)
    assert created.install_docker(AFTER).returncode == 0
    settings = created.inside("/etc/docker/daemon.json")
    assert json.loads(settings.read_text()) == {"storage-driver": "fuse-overlayfs"}


def test_after_restarts_a_running_docker_once(created: Node) -> None:
    with_docker(created)
    assert created.install_docker(AFTER).returncode == 0
    assert created.done_inside().count("systemctl restart docker") == 1
    assert created.inside("docker").read_text() == "fuse-overlayfs"
    created.forget()
    before = created.files()
    assert created.install_docker(AFTER).returncode == 0
    assert created.changes() == []
    assert created.files() == before


def test_after_makes_up_for_a_restart_that_was_missed(created: Node) -> None:
    with_docker(created)
    created.breaks("docker-start")
    assert created.install_docker(AFTER).returncode == 1
    (created.fake / "broken/docker-start").unlink()
    created.forget()
    assert created.install_docker(AFTER).returncode == 0
    assert created.done_inside() == ["systemctl restart docker"]


def test_after_fails_when_docker_keeps_another_driver(created: Node) -> None:
    with_docker(created)
    created.breaks("driver")
    result = created.install_docker(AFTER)
    assert result.returncode == 1
    assert "another driver" in result.stderr


@pytest.mark.parametrize("text", ['{"debug": true,}', "[]", '"text"'])
def test_after_leaves_settings_that_it_cannot_read(created: Node, text: str) -> None:
    with_docker(created)
    settings = with_daemon_json(created, text)
    result = created.install_docker(AFTER)
    assert result.returncode == 1
    assert "not a JSON object" in result.stderr
    assert settings.read_text() == text
    assert created.inside("docker").read_text() == "overlay2"


def test_after_notices_a_push_that_failed_silently(created: Node) -> None:
    with_docker(created)
    settings = with_daemon_json(created, MIRRORS)
    created.breaks("push")
    result = created.install_docker(AFTER)
    assert result.returncode == 1
    assert "could not write" in result.stderr
    assert settings.read_text() == MIRRORS
    assert "systemctl restart docker" not in created.done_inside()


def test_adding_only_set_e_breaks_nothing(created: Node, tmp_path: Path) -> None:
    script = tmp_path / "strict.sh"
    script.write_text(BEFORE.read_text().replace("#!/bin/bash\n", "#!/bin/bash\nset -e\n", 1))
    assert created.install_docker(script).returncode == 0
    created.forget()
    assert created.install_docker(script).returncode == 0
    assert created.changes() == []
