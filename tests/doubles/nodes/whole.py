"""A node and its container, for the whole plan: files are real, below a folder, all else is double.

As a program it applies the plan there, and leaves the journal with what lies beside it in folders
for test_golden_journals.py. Run it before the journal's format changes, to keep the last form, and
for each new action. NAME is new: a stored journal is never changed or replaced::

    python -m tests.doubles.nodes.whole tests/data/journals/v3-doubles-NAME
"""

import os
import shutil
import sys
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.facts import apparmor
from docker_lxc_gate.machines import files
from docker_lxc_gate.machines.transport import Local
from remediation import desired, docker_in_lxc, phoenix
from remediation.engine.apply import apply
from remediation.engine.plan import Plan
from remediation.engine.rollback import SYNC, roll_back
from remediation.plan_file import PlanFile
from tests.doubles.nodes.machines import COMMANDS, FILES, SCRIPTS, Container, Kernel, Stateful
from tests.doubles.nodes.world import OfFolder
from tests.doubles.put import put
from tests.doubles.samples import PHOENIX
from tests.unit.remediation.actions.test_docker_package import Guest

CTID = 950
_GATE = "/var/lib/docker-lxc-gate"
_CONFIGURATION = b"arch: amd64\nfeatures: nesting=1\nhostname: docker\nunprivileged: 1\n"
_TIME = 1_795_717_106_123_456_789


class _Rooted(Stateful):
    """Has its files below a folder, wherever they are, and root for their owner."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def below(self, word: str) -> str:
        if not word.startswith("/") or word.startswith(("/proc", apparmor._POLICY)):
            return word
        # The tests' own guard forbids any path with that name in it.
        return f"{self.root}{word.replace(_GATE, '/var/lib/gate')}"

    def _as_root(self) -> list[str]:
        """Return what lets tar pass the folder for the root of a machine of root's."""
        return ["--owner=0", "--group=0", f"--transform=s|^{self.root}||r"]

    def answer(self, words: list[str], stdin: bytes) -> tuple[int, bytes, bytes] | None:
        if words == list(SYNC):
            return 0, b"", b""
        script = words[:2] == ["sh", "-c"]
        if script and words[3:4] and words[3] in SCRIPTS:
            words = [*words[:2], words[2].replace("--same-owner", "--no-same-owner"), *words[3:]]
        elif words[:2] == ["env", "LC_ALL=C"] and words[2] in FILES:
            if words[2] == "tar":
                words = [*words[:3], *self._as_root(), *words[3:]]
        elif words[0] not in COMMANDS:
            return None
        found = Local().run(
            [*words[:3], *map(self.below, words[3:])]
            if script
            else [self.below(word) for word in words],
            stdin=stdin,
        )
        out = found.stdout
        if words[0] == "find" or words[3:4] in (["list"], ["held"]):
            out = out.replace(str(self.root).encode(), b"")
        return found.exit_code, out, found.stderr


class Node(_Rooted):
    """Has phoenix's checkout, AppArmor, and the configuration of one container."""

    machine = "node"

    def __init__(self, folder: Path, config: str) -> None:
        super().__init__(root := folder / "node")
        (folder / "kernel").mkdir(parents=True)
        self.kernel = Kernel(desired.PROFILE, folder / "kernel")
        self.container = Container(Path(self.below(config)))
        shutil.copytree(PHOENIX, self.below(phoenix.REPOSITORY))
        for place in ("/etc/pve/lxc", "/etc/apparmor.d/tunables", "/var/lib"):
            Path(self.below(place)).mkdir(parents=True, exist_ok=True)
        Path(self.below(config)).write_bytes(_CONFIGURATION)
        for path in root.rglob("*"):
            if path.is_file():
                path.chmod(0o755 if path.suffix == ".sh" else 0o644)
                os.utime(path, ns=(_TIME, _TIME))
        self.container.start()

    def answer(self, words: list[str], stdin: bytes) -> tuple[int, bytes, bytes] | None:
        if words == ["systemctl", "reload", "apparmor"]:
            return 0, b"", b""
        told = self.kernel.answer([self.below(word) for word in words], stdin)
        return told or self.container.answer(words, stdin) or super().answer(words, stdin)


class Inside(_Rooted):
    """A container of Debian's, without Docker."""

    def __init__(self, root: Path, ctid: int) -> None:
        super().__init__(root)
        self.machine = f"container {ctid}"
        self.guest = Guest(root)
        for folder in ("etc", "var/lib/dpkg/updates", "opt", "usr/share/docker.io/contrib"):
            (root / folder).mkdir(parents=True)

    def answer(self, words: list[str], stdin: bytes) -> tuple[int, bytes, bytes] | None:
        found = super().answer(words, stdin)
        if found is not None:
            return found
        if words[:2] == ["sh", "-c"] and "docker0" in words[2]:
            return 1, b"", b""
        if words[:2] == ["sh", "-c"] and "is-system-running" in words[2]:
            return 0, b"running\n", b""
        return self.guest.answer(words, stdin)


class Whole(OfFolder):
    """The runtime of one container, which runs; a folder holds all there is."""

    def __init__(self, folder: Path, ctid: int = CTID) -> None:
        self.ctid = ctid
        config = Path(f"/etc/pve/lxc/{ctid}.conf")
        self.on_node = Node(folder, str(config))
        self.in_container = Inside(folder / "container", ctid)
        super().__init__(self.on_node, config, self.in_container)

    def plan(self, wanted: PlanFile | None = None, *, every: bool = False) -> Plan:
        plan = docker_in_lxc.plan(self, self.ctid, tell=lambda _: None, wanted=wanted, every=every)
        return replace(plan, exclusive=lambda _: nullcontext())

    @property
    def journal(self) -> Path:
        """The folder in which the node keeps its journal."""
        return Path(self.on_node.below(_GATE))


def applied(whole: Whole) -> None:
    """The plan, applied to its end."""
    apply(whole.plan())


def history(whole: Whole) -> None:
    """Applied, rolled back, applied; a run that failed at its end; a torn line; one is accepted."""
    apply(whole.plan())
    roll_back(whole.plan())
    apply(whole.plan())
    path = desired.TUNABLE_PATH
    as_left = files.capture(whole.on_node, path)
    put(whole.on_node, path, b"somebody's")

    def fails(stage: str, _: str) -> None:
        if stage == "finish":
            raise RemediationError("no")

    with suppress(RemediationError):
        apply(replace(whole.plan(), at=fails))
    files.restore(whole.on_node, path, as_left)
    lines = whole.journal / "journal.jsonl"
    lines.write_bytes(lines.read_bytes() + b'{"v":')
    journal = whole.plan().journal
    (one,) = (each for each in journal.entries() if each.path.endswith("install_docker.sh"))
    journal.accept([one.action])


def main(folder: str) -> None:
    """Leave a journal of each story in a folder, whose name is continued by the story's.

    Raises:
        SystemExit: such a folder exists; a stored journal is never replaced.
    """
    stories = {f"{folder}-{story.__name__}": story for story in (applied, history)}
    if existing := [kept for kept in stories if Path(kept).exists()]:
        sys.exit(f"{', '.join(existing)} existed before, and is never replaced: use a new name")
    for kept, story in stories.items():
        with TemporaryDirectory() as place:
            story(whole := Whole(Path(place)))
            shutil.copytree(whole.journal, kept)


if __name__ == "__main__":
    main(*sys.argv[1:])
