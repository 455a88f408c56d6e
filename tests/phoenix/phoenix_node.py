"""A node made of files, with container 950, and a stand-in for the programs of a node."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.doubles.samples import DATA, ROOT

MIRRORS = '{"registry-mirrors": ["http://10.0.3.1:5000"]}\n'
STAND_IN = ROOT / "tests/phoenix/stand_in.py"
#: pct is stood in for; the others must not run on a node.
PROGRAMS = ("pct", "apt-get", "apt-cache", "dpkg-query", "docker", "fuse-overlayfs", "systemctl")


class Node:
    """A node made of files: container 950, and the stand-in."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.fake = base / "fake"
        for folder in ("ct/950", "broken"):
            (self.fake / folder).mkdir(parents=True)
        self.inside("packages").write_text("dpkg ii\nfuse rc\n")
        (base / "bin").mkdir()
        for name in PROGRAMS:
            program = base / "bin" / name
            program.write_text(f"#!{sys.executable} -ISE\n{STAND_IN.read_text()}")
            program.chmod(0o755)

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            env={
                "PATH": f"{self.base / 'bin'}:{os.environ['PATH']}",
                "FAKE": str(self.fake),
                "TMPDIR": str(self.base),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def install_docker(self) -> subprocess.CompletedProcess[str]:
        return self.run("bash", str(DATA / "install_docker.after.sh"), "950")

    def changes(self) -> list[list[str]]:
        """Return the commands that change something, in order."""
        log = self.fake / "log"
        return [*map(json.loads, log.read_text().splitlines())] if log.exists() else []

    def done_inside(self) -> list[str]:
        """Return what was changed inside the container, in order."""
        return [
            " ".join(argv[argv.index("DEBIAN_FRONTEND=noninteractive") + 1 :])
            for argv in self.changes()
            if argv[:2] == ["pct", "exec"]
        ]

    def forget(self) -> None:
        (self.fake / "log").unlink(missing_ok=True)

    def unknown(self) -> str:
        log = self.fake / "unknown"
        return log.read_text() if log.exists() else ""

    def breaks(self, what: str) -> None:
        (self.fake / "broken" / what).touch()

    def inside(self, path: str) -> Path:
        return self.fake / "ct/950" / path.lstrip("/")
