"""Small machines with a state: files are real, all else is a double that fails on the unknown."""

import hashlib
import json
import os
import shutil
from pathlib import Path

from docker_lxc_gate.facts import apparmor, docker
from docker_lxc_gate.lab.guest.pct import config as pct_config
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Command, Local, Transport
from remediation.engine.rollback import SYNC
from tests.doubles.samples import DATA

#: What is run on real files: scripts by their names, programs with ``LC_ALL=C``, and others.
SCRIPTS = {"restore", "remove", "tidy", "write", "journal", "store", "keep"}
SCRIPTS |= {"list", "held", "clear", "aside", "put_back"}
FILES = {"tar"}
COMMANDS = {"cat", "sha256sum", "mkdir", "rmdir", "find", "test", "mv", "rm", "lsattr"}
_CACHE = "/var/cache/apparmor"
_RESET = "systemctl reset-failed docker 2>/dev/null; exec "
_IF_IT_RUNS = "systemctl is-active -q docker || exit 3; "


class Stateful(Transport):
    """Real files, through the same commands as everywhere; ``answer`` knows the rest."""

    machine = "double"

    def execute(self, command: Command) -> CommandResult:
        words, stdin = list(command.words), command.stdin
        if words[:2] == ["sh", "-c"] and words[2].startswith(_RESET):
            words = words[2].removeprefix(_RESET).split()
        answer = self.answer(words, stdin)
        if words == list(SYNC):
            answer = 0, b"", b""  # of this machine's whole disk, it would take long
        if answer is None and words[:2] == ["perl", "-e"] and words[3] == "look":
            answer = 0, b"", b""  # Docker has no image and no container
        if answer is None and _of_files(words):
            return Local().run(words, stdin=stdin, timeout=command.timeout)
        if answer is None:
            raise AssertionError(f"nobody said what {words} answers")
        code, out, err = answer
        return CommandResult(tuple(words), code, out, err, self.machine, 0.0, 0.0)

    def answer(self, words: list[str], stdin: bytes) -> tuple[int, bytes, bytes] | None:
        raise NotImplementedError


def _of_files(words: list[str]) -> bool:
    if words[:2] == ["sh", "-c"]:
        return len(words) > 3 and words[3] in SCRIPTS
    if words[:2] == ["env", "LC_ALL=C"]:
        return words[2] in FILES
    return words[0] in COMMANDS


def _answer(result: CommandResult) -> tuple[int, bytes, bytes]:
    return result.exit_code, result.stdout, result.stderr


class Kernel(Stateful):
    """A node whose kernel holds AppArmor's policies; the compiler is the real one.

    Args:
        profile: its name; the kernel holds another one's, too, whose name begins like it.
        folder: where what securityfs shows and what the parser caches are laid.
    """

    def __init__(self, profile: str, folder: Path) -> None:
        self._profile = profile
        self._shown, self._cache = folder / "policy", folder / "cache"
        self._cache.mkdir()
        self.policy = b""
        self.users: list[int] = []
        self.refuses = False
        self.place = 1

    def answer(self, words: list[str], stdin: bytes) -> tuple[int, bytes, bytes] | None:  # noqa: PLR0911 - a table
        match words:
            case ["find", path, *_] | ["cat", "--", path] if path.startswith(apparmor._POLICY):
                return self._show(words)
            case ["apparmor_parser", "-S", "-K", path]:
                return _answer(Local().run(words))
            case ["apparmor_parser", "-r", "-T", "-W", path]:
                compiled = Local().run(["apparmor_parser", "-S", "-K", path])
                if compiled.ok:
                    (self._cache / Path(path).name).write_bytes(compiled.stdout)
                return self._load(compiled.stdout if compiled.ok else b"")
            case ["sh", "-c", script, "renew", path]:
                return self._renew(script, path)
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

    def _show(self, words: list[str]) -> tuple[int, bytes, bytes]:
        """Lay what securityfs shows below a folder, and look there instead."""
        policies = {f"{self._profile}.d.7": b"another one's"}
        if self.policy:
            policies[f"{self._profile}.{self.place}"] = self.policy
        for name, policy in policies.items():
            (self._shown / name).mkdir(parents=True)
            (self._shown / name / "raw_data").write_bytes(policy)
            digest = hashlib.sha256(policy).hexdigest()
            (self._shown / name / "raw_sha256").write_text(f"{digest}\n")
        found = Local().run([word.replace(apparmor._POLICY, str(self._shown)) for word in words])
        shutil.rmtree(self._shown)
        out = found.stdout.replace(str(self._shown).encode(), apparmor._POLICY.encode())
        return found.exit_code, out, found.stderr

    def _renew(self, script: str, path: str) -> tuple[int, bytes, bytes]:
        """Run the script; where the parser would write its cache, which it does not do here."""
        parser = 'apparmor_parser -Q -T -W "$1"'
        assert parser in script
        assert _CACHE in script
        instead = f'apparmor_parser -S -K "$1" >"{self._cache}/$(basename "$1")"'
        script = script.replace(parser, instead).replace(_CACHE, str(self._cache))
        return _answer(Local().run(["sh", "-c", script, "renew", path]))

    def cached(self) -> bytes:
        """Return what the parser would take from its cache at the next boot; empty: nothing."""
        cache = self._cache / self._profile
        return cache.read_bytes() if cache.exists() else b""

    def _load(self, policy: bytes) -> tuple[int, bytes, bytes]:
        if self.refuses or not policy:
            return 1, b"", b"apparmor_parser: Unable to replace"
        self.policy = policy
        self.place += 1
        return 0, b"", b""


class Container(Stateful):
    """A node with one container, which runs with the configuration that it was started with.

    Args:
        config: its file, which Proxmox writes anew at every stop, in its own form.
    """

    def __init__(self, config: Path) -> None:
        self._config = config
        self.effective: str | None = None  # None: it does not run
        self.quorate, self.resources = True, b""  # of HA

    def stop(self) -> None:
        """Stop it, and write its file as Proxmox does: at another time, whatever it said."""
        self.effective = None
        if self._config.is_file() and not self._config.is_symlink():
            written = self._config.read_bytes().decode(errors="surrogateescape")
            normal = pct_config.serialise(pct_config.parse("950", written)[0])
            self._config.write_bytes(normal.encode(errors="surrogateescape"))

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
                self.stop()
                return 0, b"", b""
            case ["sh", "-c", _, "control"]:
                return 0, (b"755\n" if self.quorate else b"555\n") + self.resources, b""
        return None


class Docker(Stateful):
    """A container with Docker: its settings and directories are real, the engine is not."""

    #: As dockerd tries them when no driver is named and none has layers.
    _DEFAULT = "overlay2"

    def __init__(self, root: Path, settings: Path) -> None:
        self._root, self._settings = root, settings
        self.installed = True
        self.daemon = "/usr/sbin/dockerd"
        self.broken = ""  # a driver that cannot start here
        self.driver = ""  # empty: it does not run
        self.socket = False
        self.boots = False
        self.data = str(root)  # where it says that its data is
        self.containers: set[str] = set()  # that run
        self.stored: set[str] = set()  # that are there, running or not
        self.started: list[str] = []
        self.needing: set[str] = set()  # units that need it, and run
        self.refuses = b""  # why no container starts
        self.fails = ""  # how the command of images begins that fails
        self.synced: list[str] = []
        self.told = b""  # its unit, and the file of options beside it

    def start(self) -> tuple[int, bytes, bytes]:
        if not self.installed:
            return 5, b"", b"Unit docker.service not found."
        self.socket = True  # the service needs it, also where it then fails
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

    def _shows(self, container: str) -> bool:
        """Whether Docker shows a container: only those of its driver."""
        settings = self._root / f"containers/{container}/config.v2.json"
        return not settings.exists() or json.loads(settings.read_text())["Driver"] == self.driver

    def answer(self, words: list[str], stdin: bytes) -> tuple[int, bytes, bytes] | None:  # noqa: C901, PLR0911, PLR0912 - a table
        match words:
            case ["sh", "-c", "command -v dockerd"]:
                there = self.installed or "local" in self.daemon
                return (0, f"{self.daemon}\n".encode(), b"") if there else (127, b"", b"")
            case ["dpkg-query", "-W", *_]:
                debians = self.installed and self.daemon == "/usr/sbin/dockerd"
                return 0, b"docker.io ii \n" if debians else b"docker.io rc \n", b""
            case ["systemctl", "is-active", "-q", "docker"]:
                return 0 if self.driver else 3, b"", b""
            case ["systemctl", "is-active", "-q", "docker.socket"]:
                return 0 if self.socket else 3, b"", b""
            case ["systemctl", "start", "docker.socket"]:
                assert self.installed
                self.socket = True
                return 0, b"", b""
            case ["systemctl", "is-enabled", "docker"]:
                return (0, b"enabled\n", b"") if self.installed else (4, b"", b"no")
            case ["systemctl", "restart", "docker"]:  # and what needs it
                self.driver = ""
                self.containers.clear()
                return self.start()
            case ["systemctl", "start", "docker", *_]:
                return self.start()
            case ["systemctl", "stop", "docker.socket", "docker"]:
                self.driver, self.socket = "", False
                self.containers.clear()
                self.needing.clear()
                return 0 if self.installed else 5, b"", b""
            case ["perl", "-e", program, verb, root, old, new, "/proc"]:
                if verb == "carry":
                    assert not self.driver, "what runs cannot be copied"
                    assert not self.socket, "it would start it"
                proc = str(self._root.parent / "proc")  # of an unprivileged container
                program = program.replace('"systemctl"', '"false"')  # this machine's Docker may run
                return _answer(Local().run(["perl", "-e", program, verb, root, old, new, proc]))
            case ["sh", "-c", program, "save", *words]:
                assert self.driver, "docker save and docker load need a Docker that runs"
                store = f"{self._root}/image/{self.driver}"
                path = f"{DATA}/programs/images:{os.environ['PATH']}"
                env = (f"STORE={store}", f"PATH={path}", f"FAILS={self.fails or '?'}")
                return _answer(Local().run(["env", *env, "sh", "-c", program, "save", *words]))
            case ["sh", "-c", script, "aside", *words]:
                script = script.replace("systemctl is-active -q docker", f"[ '{self.driver}' ]")
                return _answer(Local().run(["sh", "-c", script, "aside", *words]))
            case ["sh", "-c", script] if script == docker.NEEDING.argv[2]:
                return 0, "".join(f"{each}\n" for each in self.needing).encode(), b""
            case ["systemctl", "start", "--", *units]:
                assert self.driver or self.socket, "they need it"
                self.needing |= set(units)
                return 0, b"", b""
            case ["sync", "-f", place]:
                self.synced.append(place)
                return 0, b"", b""
            case ["sh", "-c", docker.OPTIONS_SCRIPT]:
                return 0, self.told, b""
            case ["sh", "-c", script] if script == docker.BOOTING.argv[2]:
                return 0, b"starting\nJob=7\n" if self.boots else b"running\n", b""
            case ["sh", "-c", script] if script.startswith(_IF_IT_RUNS):
                said = {
                    'docker info -f "{{.Driver}}"': self.driver,
                    'docker info -f "{{.Driver}} {{.DockerRootDir}}"': f"{self.driver} {self.data}",
                    "docker ps -q --no-trunc": "\n".join(sorted(self.containers, reverse=True)),
                    docker.CONTAINERS.argv[2].removeprefix(_IF_IT_RUNS): "\n".join(
                        sorted(filter(self._shows, self.stored))
                    ),
                }[script.removeprefix(_IF_IT_RUNS)]
                return (0, f"{said}\n".encode(), b"") if self.driver else (3, b"", b"")
            case ["docker", "start", *ids]:
                assert self.driver, "its socket would start it"
                if self.refuses:
                    return 1, b"", self.refuses
                self.started += ids
                self.containers |= set(ids) & self.stored
                return int(not set(ids) <= self.stored), b"", b"No such container"
        return None
