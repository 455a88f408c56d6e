"""Stands in for pct, and for what must not run on a node.

It answers to the name that it is started by, and fails on what it was not told about. State lies
in files under $FAKE, so that a test can read and break it.
"""

import json
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import NoReturn

FAKE = Path(os.environ["FAKE"])
name, argv = Path(sys.argv[0]).name, sys.argv[1:]


def record() -> None:
    """Note a command that changes something."""
    with (FAKE / "log").open("a") as log:
        log.write(json.dumps([name, *argv]) + "\n")


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


def pct_exec(root: Path, command: list[str]) -> NoReturn:  # noqa: C901, PLR0912 - a case a command
    quiet_stdin()
    if command[:2] == ["timeout", "-k"]:
        command = command[4:]
    if command[0] == "env":
        command = command[1:]
        while "=" in command[0]:
            command = command[1:]

    packages = root / "packages"
    docker = root / "docker"  # its driver and "enabled", while it runs
    match command:
        case ["true"] | ["systemctl", "is-enabled", "--quiet", "docker"]:
            finish()
        case ["systemctl", "is-active", "--quiet", "docker"]:
            finish(0 if docker.exists() else 3)
        case ["systemctl", "restart", "docker"]:
            record()
            if broken("docker-start"):
                finish(1)
            start_docker(root)
            finish()
        case ["cat", _] if broken("cat-endless"):
            endless()
        case ["stat", *_] if (FAKE / "mode").exists():
            finish(0, (FAKE / "mode").read_text())
        case ["cat" | "test" | "stat" | "sha256sum" | "mkdir" | "mv" | "rm" as program, *words]:
            if program in {"mkdir", "mv", "rm"}:
                record()
            moved = [
                str(root / word.lstrip("/")) if word.startswith("/") else word for word in words
            ]
            os.execvp(program, [program, *moved])  # noqa: S606 - a program of this machine
        case ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}", package]:
            known = dict(line.split() for line in packages.read_text().splitlines())
            finish(0 if package in known else 1, known.get(package, "") + " ")
        case ["docker", "info", "--format", "{{.Driver}}"]:
            finish(0, docker.read_text() + "\n") if docker.exists() else finish(1)
        case ["apt-cache", "show", "docker-cli"]:
            finish()
        case ["apt-get", "update"]:
            record()
            finish()
        case ["apt-get", "install", "-y", *wanted]:
            record()
            with packages.open("a") as book:
                book.writelines(f"{package} ii\n" for package in wanted)
            if "docker.io" in wanted:
                start_docker(root)
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


def pct(root: Path) -> NoReturn:
    match argv:
        case ["push", _, source, target, "--perms", mode]:
            record()
            quiet_stdin()
            if broken("push"):
                finish(0, err="failed to create file\n")
            shutil.copyfile(source, root / target.lstrip("/"))
            (root / target.lstrip("/")).chmod(int(mode, 8))
            finish()
        case ["exec", _, "--keep-env", "0", "--", *inner]:
            pct_exec(root, inner)
    unknown()


if name == "pct":
    pct(FAKE / "ct" / argv[1])
unknown()
