"""The same plan with other tools: the same snapshot before, the same end state, ratios.

pyinfra, ansible-core and testinfra are installed from their own lock file into the lab's folder.
Their plays are in ``bench/peers``. Each tool starts from the same snapshot, a container with Docker
on overlay2, and has the same edited files. Afterwards the state of node and container is compared
with the one that ``apply`` left.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.clock import median
from bench.stages import edited, nothing_to_do, run
from facts import machine_state
from lab.address import lab_address
from lab.machine import Lab
from lab.node import READY
from remediation import desired
from remediation.edits.daemon_json import daemon_json
from targets import connect
from targets.errors import FactError
from targets.runtime.pct import Pct
from targets.runtime.waiting import wait_until_booted, wait_until_online
from targets.ssh.connection import Ssh
from targets.target import DEFAULT, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.clock import Clock

PEERS = Path(__file__).with_name("peers")
_LOCK = PEERS / "requirements.txt"
_TARGET = parse(DEFAULT)
_CTID = _TARGET.ctid
#: The snapshot that every tool starts from.
_START = "bench-docker"
#: The limit for one run of a tool under emulation (seconds).
_PATIENCE = 1800.0
#: The mode of the edited files, phoenix's scripts among them: apply leaves it as it is.
_MODE = "644"
#: How many differences of two end states are told.
_TOLD = 8
VERBS = ("first apply", "second apply", "plan", "status")
OURS = "ours"


@dataclass(frozen=True)
class Tool:
    """A tool: its name, and how each of :data:`VERBS` is run; a verb that it lacks is absent.

    ``before`` is run after each restore, and not timed.
    """

    name: str
    verbs: dict[str, Callable[[], object]]


@dataclass(frozen=True)
class _Staged:
    """What the tools are given, in a folder: edited files, inventories, settings of SSH."""

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


def compare(clock: Clock, *, times: int = 3) -> None:
    """Measure every tool on the lab; one that fails is told, and the others go on.

    Args:
        clock: is told the figures.
        times: each figure is the median of so many runs.
    """
    lab = Lab.open().up()
    if not clock.stage("peers: the snapshot to start from", lambda: _start(lab)):
        return
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as place:
        staged = _Staged(Path(place))
        if not clock.stage("peers: edited files", lambda: _stage(lab, staged)):
            return
        tools = [_ours(), _typed(lab, staged)]
        installed: list[Path] = []
        if clock.stage("peers: installation", lambda: installed.append(install(lab.home))):
            tools += [_pyinfra(installed[0], staged), _ansible(installed[0], staged)]
        states: dict[str, dict[str, str]] = {}
        for tool in tools:
            _measure(clock, lab, tool, states, times)
        _gates(clock, lab, staged, installed, times)
    _ratios(clock, [tool.name for tool in tools])


def install(home: Path) -> Path:
    """Install the peers, unless that was done, and return their programs' folder.

    Args:
        home: of the lab. The folder's name there changes with the lock file and with Python.

    Raises:
        ClickException: pip failed.
    """
    version = sys.version.encode()
    digest = hashlib.sha256(_LOCK.read_bytes() + version).hexdigest()[:12]
    folder = home / f"peers-{digest}"
    if not (folder / "installed").exists():
        _called([sys.executable, "-m", "venv", "--clear", str(folder)])
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet"]
        options = ["--disable-pip-version-check", "--only-binary", ":all:", "--require-hashes"]
        _called([*pip, *options, "-r", str(_LOCK)])
        (folder / "installed").touch()
    return folder / "bin"


def _start(lab: Lab) -> None:
    """Make the snapshot, unless the lab has it: the plan is not applied, Docker uses overlay2."""
    if _START in lab.snapshots():
        return
    with lab.restored(READY) as node:
        node.run(_TARGET.creation(_CTID, features=("nesting",)), timeout=_PATIENCE).require()
        runtime = Pct(node)
        runtime.start(_CTID)
        inside = runtime.inside(_CTID)
        wait_until_booted(inside)
        wait_until_online(inside)
        inside.run(["docker", "run", "--rm", "hello-world"], timeout=_PATIENCE).require()
        inside.run(["sync"]).require()
    lab.snapshot(_START)


def _stage(lab: Lab, staged: _Staged) -> None:
    """Write what the tools are given: not timed, since a user's editor is not either."""
    with lab.restored(_START) as node:
        files = edited(node, _CTID)
        settings = daemon_json(Pct(node).inside(_CTID).read(desired.DAEMON_JSON))
    rows = []
    for number, (path, content) in enumerate(files.items()):
        (staged / f"{number}").write_bytes(content)
        rows.append({"src": str(staged / f"{number}"), "dest": path, "mode": _MODE})
    (staged / "daemon.json").write_bytes(settings)
    data = {"ctid": _CTID, "plan_files": rows, "daemon_json": str(staged / "daemon.json")}
    (staged / "data.json").write_text(json.dumps(data))
    listed = "".join(f"{Path(row['src']).name} {row['mode']} {row['dest']}\n" for row in rows)
    (staged / "list").write_text(listed)
    _reach(lab, staged, data)


def _reach(lab: Lab, staged: _Staged, data: dict[str, Any]) -> None:
    """Write the inventories and the settings of SSH, with the lab's key and pinned host key."""
    at = lab.address
    (staged / "ssh_config").write_text(
        f"Host node\n  HostName {at.host}\n  Port {at.port}\n  User root\n"
        f"  IdentityFile {at.identity}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {at.known_hosts}\n  StrictHostKeyChecking yes\n"
    )
    of_pyinfra = {
        "ssh_hostname": at.host,
        "ssh_port": at.port,
        "ssh_user": "root",
        "ssh_key": str(at.identity),
        "ssh_known_hosts_file": str(at.known_hosts),
        "ssh_strict_host_key_checking": "yes",
        **data,
    }
    (staged / "inventory.py").write_text(f"node = [('node', {of_pyinfra!r})]\n")
    options = f"-o UserKnownHostsFile={at.known_hosts} -o StrictHostKeyChecking=yes"
    (staged / "inventory.ini").write_text(
        f"node ansible_host={at.host} ansible_port={at.port} ansible_user=root "
        f"ansible_ssh_private_key_file={at.identity} "
        f"ansible_ssh_common_args='-F none -o IdentitiesOnly=yes {options}' "
        "ansible_python_interpreter=/usr/bin/python3\n"
    )


def _ours() -> Tool:
    return Tool(
        OURS,
        {
            "first apply": partial(run, "remediation", "apply", "--yes", "--target", DEFAULT),
            "second apply": partial(nothing_to_do, "apply", "--yes"),
            "plan": partial(nothing_to_do, "plan"),
            "status": partial(nothing_to_do, "status"),
        },
    )


def _typed(lab: Lab, staged: _Staged) -> Tool:
    def first() -> None:
        with _connected(lab) as node:
            node.run(
                ["bash", "-s", "--", str(_CTID)],
                stdin=(PEERS / "typed.sh").read_bytes(),
                timeout=_PATIENCE,
            ).require()

    def push() -> None:
        with _connected(lab) as node:
            node.run(["mkdir", "-p", "/root/plan"]).require()
            for path in filter(Path.is_file, staged.folder.iterdir()):
                node.write(f"/root/plan/{path.name}", path.read_bytes())

    return Tool("shell", {"before": push, "first apply": first})


def _pyinfra(programs: Path, staged: _Staged) -> Tool:
    base = [str(programs / "pyinfra"), str(staged / "inventory.py"), str(PEERS / "deploy.py")]

    def called(*options: str) -> Callable[[], object]:
        return partial(_called, [*base, *options], staged)

    return Tool(
        "pyinfra",
        {
            "first apply": called("-y"),
            "second apply": called("-y"),
            "plan": called("--dry", "--diff"),
            "status": called("--dry"),
        },
    )


def _ansible(programs: Path, staged: _Staged) -> Tool:
    base = [str(programs / "ansible-playbook"), "-i", str(staged / "inventory.ini")]
    base += ["-e", f"@{staged / 'data.json'}", str(PEERS / "play.yml")]

    def called(*options: str) -> Callable[[], object]:
        return partial(_called, [*base, *options], staged)

    def forget() -> None:
        """A restore cuts the connections that ansible's ssh would still use."""
        shutil.rmtree(staged / "ansible" / "cp", ignore_errors=True)

    return Tool(
        "ansible-core",
        {
            "before": forget,
            "first apply": called(),
            "second apply": called(),
            "plan": called("--check", "--diff"),
            "status": called("--check"),
        },
    )


def _measure(
    clock: Clock, lab: Lab, tool: Tool, states: dict[str, dict[str, str]], times: int
) -> None:
    """Measure a tool's verbs; after its first apply compare the end state with ours."""

    def first() -> float:
        def once() -> float:
            lab.restore(_START)
            tool.verbs.get("before", lambda: None)()
            return median(tool.verbs["first apply"], 1)

        return median(once, times)

    if not clock.stage(f"{tool.name}: first apply", first):
        return
    for verb in VERBS[1:]:
        if verb in tool.verbs:
            do = tool.verbs[verb]
            clock.stage(f"{tool.name}: {verb}", partial(median, do, times))
    clock.stage(f"{tool.name}: reading the end state", lambda: _state(tool.name, states))
    if tool.name in states and OURS in states and tool.name != OURS:
        found = machine_state.differences(states[OURS], states[tool.name])
        shown = "; ".join(found[:_TOLD]) + ("; …" if len(found) > _TOLD else "")
        said = (
            f"{len(found)} differences to our end state: {shown}"
            if found
            else "the end state is ours"
        )
        clock.note(f"{tool.name}: {said}")


def _state(name: str, states: dict[str, dict[str, str]]) -> None:
    with connect.opened(_TARGET, lab=lab_address) as runtime:
        states[name] = comparable(machine_state.record_target(runtime, _CTID))


def comparable(state: dict[str, str]) -> dict[str, str]:
    """Return the facts that two tools must leave equal: all but times, and the tools' own files."""
    found = {}
    for key, fact in machine_state.comparable_after_rollback(state).items():
        if key.startswith(("node: file /root/", "node: content of /root/")):
            continue
        found[key] = fact.rsplit(" ", 1)[0] if "file /" in key else fact
    return found


def _gates(clock: Clock, lab: Lab, staged: _Staged, installed: list[Path], times: int) -> None:
    """Measure the read-only gate on our end state, testinfra's same questions, and one script."""

    def ready() -> None:
        lab.restore(_START)
        run("remediation", "apply", "--yes", "--target", DEFAULT)

    def script() -> None:
        with _connected(lab) as node:
            asked = (PEERS / "state.sh").read_bytes()
            argv = ["bash", "-s", "--", str(_CTID)]
            node.run(argv, stdin=asked, timeout=_PATIENCE).require()

    if not clock.stage("peers: our end state for the gates", ready):
        return
    gate = ("pytest", "features/", "--no-report", "--target", DEFAULT, "-k", "not PRE-")
    clock.stage(f"{OURS}: read-only gate", partial(median, partial(run, *gate), times))
    clock.stage("shell: read-only gate", partial(median, script, times))
    if installed:
        # Elsewhere, because pytest would load this project's conftest.py above it.
        shutil.copy(PEERS / "test_state.py", staged.folder)
        argv = [str(installed[0] / "pytest"), "-q", "-p", "no:cacheprovider"]
        argv += ["--hosts=paramiko://node", f"--ssh-config={staged / 'ssh_config'}"]
        argv += ["--rootdir", str(staged.folder), str(staged / "test_state.py")]
        clock.stage(
            "testinfra: read-only gate",
            partial(median, partial(_called, argv, staged), times),
        )


def _ratios(clock: Clock, names: list[str]) -> None:
    """Add what each of our figures is in those of the others."""
    for verb in (*VERBS, "read-only gate"):
        ours = clock.seconds(f"{OURS}: {verb}")
        for name in (*names, "testinfra"):
            theirs = clock.seconds(f"{name}: {verb}")
            if name != OURS and ours and theirs:
                clock.counts[f"{verb}: ours / {name}"] = round(ours / theirs, 2)


@contextmanager
def _connected(lab: Lab) -> Iterator[Ssh]:
    node = Ssh(lab.address, name="the lab's node")
    try:
        yield node
    finally:
        node.close()


def _called(argv: list[str], staged: _Staged | None = None) -> str:
    """Run a program of the peers.

    Raises:
        ClickException: it did not end with 0, or not in time; with the end of what it printed.
    """
    environment = os.environ | {
        "CTID": str(_CTID),
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_HOME": str(staged / "ansible") if staged else "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if staged is None:
        del environment["ANSIBLE_HOME"]
    try:
        done = subprocess.run(
            argv,
            cwd=staged.folder if staged else None,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        raise FactError(f"{shlex.join(argv)} did not end within {_PATIENCE:g} s") from error
    if done.returncode:
        said = f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        raise click.ClickException(f"{shlex.join(argv)} ended with {done.returncode}:\n{said}")
    return done.stdout
