"""Small machines with a state: files are real, all else is a double that fails on the unknown."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from remediation import apparmor
from remediation.transport import Base, CommandResult, Local

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SCRIPTS = {"restore", "remove", "tidy", "write", "journal", "store", "keep"}


class Machine(Base):
    """Real files, through the same commands as everywhere; ``answer`` knows the rest."""

    machine = "double"

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        words = list(argv)
        answer = self.answer(words, stdin)
        if answer is None and _of_files(words):
            return Local().run(words, stdin=stdin, timeout=timeout)
        if answer is None:
            raise AssertionError(f"nobody said what {words} answers")
        code, out, err = answer
        return CommandResult(tuple(words), code, out, err, self.machine, 0.0, 0.0)

    def answer(self, words: list[str], stdin: bytes) -> tuple[int, bytes, bytes] | None:
        raise NotImplementedError


def _of_files(words: list[str]) -> bool:
    if words[:2] == ["sh", "-c"]:
        return words[3] in _SCRIPTS
    if words[:2] == ["env", "LC_ALL=C"]:
        return words[2] in {"tar", "cat"}
    return words[0] in {"sha256sum", "mkdir", "rmdir", "find", "test", "mv"}


class Kernel(Machine):
    """A node whose kernel holds AppArmor's policies; the compiler is the real one."""

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self.policy = b""
        self.users: list[int] = []
        self.refuses = False
        self.place = 1

    def answer(self, words: list[str], stdin: bytes) -> tuple[int, bytes, bytes] | None:  # noqa: PLR0911 - a table
        under = f"{apparmor._POLICY}/{self._profile}.{self.place}"
        match words:
            case ["find", apparmor._POLICY, "-maxdepth", "1", "-name", pattern]:
                assert pattern == f"{self._profile}.*"
                others = f"{apparmor._POLICY}/{self._profile}.d.7\n"
                return 0, (others + (f"{under}\n" if self.policy else "")).encode(), b""
            case ["env", "LC_ALL=C", "cat", "--", path] if path == f"{under}/raw_data":
                return 0, self.policy, b""
            case ["env", "LC_ALL=C", "cat", "--", path] if path == f"{under}/raw_sha256":
                return 0, hashlib.sha256(self.policy).hexdigest().encode() + b"\n", b""
            case ["apparmor_parser", "-S", "-K", path]:
                compiled = Local().run(words)
                return compiled.exit_code, compiled.stdout, compiled.stderr
            case ["apparmor_parser", "-r", "-T", "-W", path]:
                compiled = Local().run(["apparmor_parser", "-S", "-K", path])
                return self._load(compiled.stdout if compiled.ok else b"")
            case ["sh", "-c", script] if "apparmor_parser -r -K -B" in script:
                return self._load(stdin)
            case ["apparmor_parser", "-R", "-K"]:
                assert not self.users, "unloaded, and what runs under it is now unconfined"
                if stdin != f"profile {self._profile} {{ }}\n".encode():
                    return 1, b"", b"AppArmor parser error: syntax error"
                self.policy = b""
                return 0, b"", b""
            case ["sh", "-c", _, "under", _]:
                return 0, "".join(f"/proc/{p}/attr/current\n" for p in self.users).encode(), b""
        return None

    def _load(self, policy: bytes) -> tuple[int, bytes, bytes]:
        if self.refuses or not policy:
            return 1, b"", b"apparmor_parser: Unable to replace"
        self.policy = policy
        self.place += 1
        return 0, b"", b""


class Container(Machine):
    """A node with one container, which runs with the configuration that it was started with."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self.effective: str | None = None  # None: it does not run

    def start(self) -> None:
        self.effective = repr(self._config.read_bytes() if self._config.exists() else None)

    def answer(self, words: list[str], stdin: bytes) -> tuple[int, bytes, bytes] | None:
        match words:
            case ["container", "running"]:
                return int(self.effective is None), b"", b""
            case ["container", "effective"]:
                assert self.effective is not None, "asked of a container that does not run"
                return 0, self.effective.encode(), b""
            case ["container", "start"]:
                assert self.effective is None, "started twice"
                self.start()
                return 0, b"", b""
            case ["container", "shutdown"]:
                assert self.effective is not None, "shut down twice"
                self.effective = None
                return 0, b"", b""
        return None


class Docker(Machine):
    """A container with Docker: its settings and directories are real, the engine is not."""

    #: As dockerd tries them when no driver is named and none has layers.
    _DEFAULT = "overlay2"

    def __init__(self, root: Path, settings: Path) -> None:
        self._root, self._settings = root, settings
        self.installed = True
        self.broken = ""  # a driver that cannot start here
        self.boot = "enabled"
        self.driver = ""  # empty: it does not run

    def start(self) -> tuple[int, bytes, bytes]:
        if not self.installed:
            return 5, b"", b"Unit docker.service not found."
        if self.driver:
            return 0, b"", b""
        driver = self._chosen()
        if driver in {"", self.broken}:
            return 1, b"", b"Job for docker.service failed"
        for each in (driver, f"image/{driver}"):
            (self._root / each).mkdir(parents=True, exist_ok=True)
        self.driver = driver
        return 0, b"", b""

    def _chosen(self) -> str:
        try:
            settings = json.loads(self._settings.read_bytes()) if self._settings.exists() else {}
        except (ValueError, OSError):
            return ""
        if "storage-driver" in settings:
            return str(settings["storage-driver"])
        there = [each.name for each in self._root.glob("*") if "overlay" in each.name]
        return {0: self._DEFAULT, 1: there[0] if there else ""}.get(len(there), "")

    def answer(self, words: list[str], stdin: bytes) -> tuple[int, bytes, bytes] | None:  # noqa: PLR0911 - a table
        match words:
            case ["systemctl", "is-active", "-q", "docker"]:
                return 0 if self.driver else 3, b"", b""
            case ["systemctl", "is-enabled", "docker"]:
                return (0, f"{self.boot}\n".encode(), b"") if self.installed else (4, b"", b"no")
            case ["systemctl", "reset-failed", "docker"]:
                return int(not self.installed), b"", b""
            case ["systemctl", "restart", "docker"]:
                self.driver = ""
                return self.start()
            case ["systemctl", "start", "docker"]:
                return self.start()
            case ["systemctl", "stop", "docker.socket", "docker"]:
                self.driver = ""
                return 0 if self.installed else 5, b"", b""
            case ["docker", "info", "-f", "{{.Driver}}"]:
                return (0, f"{self.driver}\n".encode(), b"") if self.driver else (1, b"", b"down")
        return None
