"""A node made of files, with a phoenix checkout and a stand-in for the programs of a node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT = ROOT / "lab/guest/phoenix_hypervisor"
DATA = ROOT / "tests/data"
INSTALL_DOCKER = Path("bin/lxc_setup/phoenix_hypervisor_feature_install_docker.sh")
SETUP_APPARMOR = Path("bin/hypervisor_setup/hypervisor_feature_setup_apparmor.sh")
SCRIPTS = sorted(
    [CHECKOUT / "bin/phoenix", *CHECKOUT.glob("bin/*/*.sh"), *DATA.glob("*.after.sh")],
)
AFTER = DATA / "install_docker.after.sh"
MIRRORS = '{"registry-mirrors": ["http://10.0.3.1:5000"]}\n'
PROFILE = "lxc-phoenix-v2"
FUSE_ENTRY = "lxc.mount.entry: /dev/fuse dev/fuse none bind,create=file 0 0"
_ROUTES = """\
Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask
eth0\t00000000\t0103000A\t0003\t0\t0\t0\t00000000
"""

STAND_IN = ROOT / "tests/phoenix/stand_in.py"
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
            program.write_text(f"#!{sys.executable} -ISE\n{STAND_IN.read_text()}")
            program.chmod(0o755)
        (base / "local").mkdir()
        (base / "local/phoenix").symlink_to(self.home / "bin/phoenix")

    def create(self) -> None:
        """Make container 950 as it is described, and start it."""
        options = "features: nesting=1\nmemory: 2048\nnet0: name=eth0,ip=dhcp\nunprivileged: 1\n"
        self.conf().write_text(options)
        (self.fake / "running/950").touch()
        routes = self.inside("/proc/net/route")
        routes.parent.mkdir(parents=True)
        routes.write_text(_ROUTES)
        self.inside("packages").write_text("dpkg ii\nfuse rc\n")

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
            timeout=600,
            check=False,
        )

    def phoenix(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run("phoenix", *args, **env)

    def install_docker(self) -> subprocess.CompletedProcess[str]:
        return self.run("bash", str(AFTER), "950")

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

    def conf(self) -> Path:
        return self.fake / "pve/lxc/950.conf"

    def inside(self, path: str) -> Path:
        return self.fake / "ct/950" / path.lstrip("/")

    def describe(self, **keys: Any) -> None:
        path = self.home / "etc/phoenix_lxc_configs.json"
        configs = json.loads(path.read_text())
        configs["lxc_configs"]["950"] |= keys
        path.write_text(json.dumps(configs))

    def feature(self, name: str, body: str) -> None:
        script = self.home / f"bin/lxc_setup/phoenix_hypervisor_feature_install_{name}.sh"
        script.write_text(f"#!/bin/bash\n{body}\n")
