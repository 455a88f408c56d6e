"""Stands in for pct, apparmor_parser and systemctl, and for what must not run on a node.

It answers to the name that it is started by, and fails on what it was not told about. State lies
in files under $FAKE, so that a test can read and break it.
"""

import hashlib
import json
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import NoReturn

FAKE = Path(os.environ["FAKE"])
name, argv = Path(sys.argv[0]).name, sys.argv[1:]


def record(*, mutates: bool) -> None:
    with (FAKE / "log").open("a") as log:
        log.write(json.dumps({"argv": [name, *argv], "mutates": mutates}) + "\n")


def unknown() -> NoReturn:
    with (FAKE / "unknown").open("a") as log:
        log.write(" ".join([name, *argv]) + "\n")
    sys.exit(f"fake {name}: not told about {argv}")


def broken(what: str) -> bool:
    return (FAKE / "broken" / what).exists()


def finish(code: int = 0, out: str = "", err: str = "") -> NoReturn:
    sys.stdout.write(out)
    sys.stderr.write(err)
    sys.exit(code)


def quiet_stdin() -> None:
    if not stat.S_ISCHR(os.fstat(0).st_mode):
        unknown()


def pct_exec(  # noqa: C901, PLR0912, PLR0915 - a case a command
    root: Path, command: list[str]
) -> NoReturn:
    quiet_stdin()
    if command[:2] == ["timeout", "-k"]:
        command = command[4:]
    if command[0] == "env":
        command = command[1:]
        while "=" in command[0]:
            command = command[1:]

    def inside(path: str) -> Path:
        return root / path.lstrip("/")

    packages = root / "packages"
    docker = root / "docker"  # its driver and "enabled", while it runs
    match command:
        case ["true"]:
            record(mutates=False)
            finish()
        case ["systemctl", "is-system-running"]:
            record(mutates=False)
            state = (FAKE / "systemd").read_text()
            finish(0 if state == "running" else 1, state + "\n")
        case ["systemctl", "is-enabled", "--quiet", "docker"]:
            record(mutates=False)
            finish(0 if (root / "enabled").exists() else 1)
        case ["systemctl", "is-active", "--quiet", "docker"]:
            record(mutates=False)
            finish(0 if docker.exists() else 3)
        case ["systemctl", "enable", "docker"]:
            record(mutates=True)
            (root / "enabled").touch()
            finish()
        case ["systemctl", "start" | "restart", "docker"]:
            record(mutates=True)
            if broken("docker-start"):
                finish(1)
            start_docker(root)
            finish()
        case ["cat", path]:
            record(mutates=False)
            if not inside(path).exists():
                finish(1, err="cat: absent\n")
            if broken("cat-endless"):
                endless()
            finish(0, inside(path).read_text())
        case ["test", "-e" | "-x", path]:
            record(mutates=False)
            finish(0 if inside(path).exists() else 1)
        case ["stat", "-c", "%a", path]:
            record(mutates=False)
            if (FAKE / "mode").exists():
                finish(0, (FAKE / "mode").read_text())
            finish(0, "%o\n" % (inside(path).stat().st_mode & 0o777))
        case ["sha256sum", path]:
            record(mutates=False)
            if not inside(path).exists():
                finish(1)
            finish(0, hashlib.sha256(inside(path).read_bytes()).hexdigest() + f"  {path}\n")
        case ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}", package]:
            record(mutates=False)
            known = dict(line.split() for line in packages.read_text().splitlines())
            finish(0 if package in known else 1, known.get(package, "") + " ")
        case ["docker", "info", "--format", "{{.Driver}}"]:
            record(mutates=False)
            finish(0, docker.read_text() + "\n") if docker.exists() else finish(1)
        case ["apt-cache", "show", "docker-cli"]:
            record(mutates=False)
            finish(0 if (FAKE / "trixie").exists() else 100)
        case ["apt-get", "update"]:
            record(mutates=True)
            finish(100 if broken("apt-update") else 0)
        case ["apt-get", "install", "-y", *wanted]:
            record(mutates=True)
            wanted = [package for package in wanted if package != "--no-install-recommends"]
            if not set(wanted) <= {
                "docker.io",
                "docker-cli",
                "ca-certificates",
                "iptables",
                "fuse-overlayfs",
            }:
                unknown()
            if broken("apt-install"):
                finish(100)
            with packages.open("a") as book:
                book.writelines(f"{package} ii\n" for package in wanted)
            if "docker-cli" in wanted or ("docker.io" in wanted and not (FAKE / "trixie").exists()):
                inside("/usr/bin/docker").parent.mkdir(parents=True, exist_ok=True)
                inside("/usr/bin/docker").touch()
            if "docker.io" in wanted:
                (root / "enabled").touch()
                start_docker(root)
            finish()
        case ["mkdir", "-p", path]:
            record(mutates=True)
            inside(path).mkdir(parents=True, exist_ok=True)
            finish()
        case ["mv", old, new]:
            record(mutates=True)
            inside(old).rename(inside(new))
            finish()
        case ["rm", "-f", path]:
            record(mutates=True)
            inside(path).unlink(missing_ok=True)
            finish()
    unknown()


def endless() -> NoReturn:
    """Print for as long as anybody reads, or until that is too much for a test."""
    for _ in range(64):
        sys.stdout.write(" " * (1 << 20))
    (FAKE / "read to the end").touch()
    finish()


def start_docker(root: Path) -> None:
    settings = root / "etc/docker/daemon.json"
    driver = json.loads(settings.read_text()).get("storage-driver") if settings.exists() else None
    (root / "docker").write_text("overlay2" if broken("driver") else driver or "overlay2")


def pct() -> NoReturn:
    command, ctid, rest = argv[0], argv[1], argv[2:]
    conf = FAKE / "pve/lxc" / f"{ctid}.conf"
    up = FAKE / "running" / ctid
    root = FAKE / "ct" / ctid
    if not conf.exists():
        finish(2, err=f"Configuration file 'nodes/node/lxc/{ctid}.conf' does not exist\n")
    match command, rest:
        case "config", [] | ["--current"]:
            record(mutates=False)
            finish(0, conf.read_text())
        case "status", []:
            record(mutates=False)
            finish(0, "status: running\n" if up.exists() else "status: stopped\n")
        case "start", [] if not up.exists():
            record(mutates=True)
            finish(255)
        case "shutdown", ["--timeout", _] if up.exists():
            record(mutates=True)
            finish(255)
        case "push", [source, target, "--perms", mode]:
            record(mutates=True)
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
        record(mutates=True)
        if broken("parser"):
            finish(1, err="AppArmor parser error\n")
        with (FAKE / "apparmor/profiles").open("a") as loaded:
            for line in Path(path).read_text().splitlines():
                if line.startswith("profile "):
                    loaded.write(line.split()[1] + " (enforce)\n")
        finish()
    case "systemctl", ["reload", "apparmor"]:
        record(mutates=True)
        if broken("reload"):
            finish(1)
        if not broken("reload-halfway"):
            (FAKE / "apparmor/profiles").write_text("lxc-phoenix-v2 (enforce)\n")
        finish()
unknown()
