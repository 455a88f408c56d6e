"""What can be seen of injections without a node: on copies of the files that they change."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import backups, repository
from docker_lxc_gate.machines import target
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Command, Local, Transport
from proof.faults.catalogue import BY_ID, written
from proof.faults.fault import CTID, PRELUDE, RED
from proof.faults.run import STRICT
from remediation import desired, phoenix
from remediation.phoenix.scripts import install_script, setup_script
from steps import configuration, files
from steps import prerequisites as judged
from tests.doubles import canned
from tests.doubles.samples import ROOT

GUEST = ROOT / "docker_lxc_gate/lab/guest/phoenix_hypervisor"
PROFILE = "etc/apparmor.d/lxc-phoenix-v2"
CONF = f"etc/pve/lxc/{CTID}.conf"
WRITTEN = """arch: amd64
features: nesting=1,keyctl=1,fuse=1
hostname: docker-950
unprivileged: 1
lxc.apparmor.profile: lxc-phoenix-v2
"""
#: What is not there, or would be the machine's own.
DOUBLES = """
pct() { :; }; apparmor_parser() { :; }; systemctl() { :; }; settled() { :; }; inside() { :; }
"""
TARGET = target.parse(target.DEFAULT)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A node's files, the plan applied."""
    shutil.copytree(GUEST, tmp_path / phoenix.REPOSITORY.lstrip("/"))
    for name, how in (
        (phoenix.SETUP_SCRIPT, setup_script),
        (phoenix.INSTALL_SCRIPT, install_script),
        (f"etc/apparmor/{desired.PROFILE}", desired.profile),
    ):
        file = tmp_path / phoenix.REPOSITORY.lstrip("/") / name
        file.write_bytes(how(file.read_bytes()))
    for path, text in (
        (PROFILE, desired.content(desired.PROFILE)),
        ("etc/apparmor.d/tunables/nesting", desired.TUNABLE.decode()),
        (CONF, WRITTEN),
        ("etc/lxc/default.conf", ""),
        ("root/.profile", ""),
        ("run/lock", ""),
    ):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def ran(root: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run shell on the copies: every absolute path of a node's is below ``root``."""
    moved = r"(?<![\w$.\"'/])/(usr/local|etc|root|var/lib/vz|var/lib/lxc|var/tmp|srv|tmp|run)/"
    there = re.sub(moved, rf"{root}/\1/", PRELUDE + DOUBLES + script)
    there = there.replace("-C / etc", f"-C {root} etc")
    argv = ["bash", "-c", there, "fault", str(CTID)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def run(root: Path, script: str) -> None:
    done = ran(root, script)
    assert done.returncode == 0, done.stderr


def inject(root: Path, ident: str) -> None:
    run(root, f"{STRICT}{BY_ID[ident].inject}\nchanged")


def cause(ident: str) -> list[str]:
    """Return what the first scenario of a fault must say."""
    words = next(iter(BY_ID[ident].expect.values())).words
    return [word.replace("{ctid}", str(CTID)) for word in words]


class Below(Transport):
    """A machine whose files are below a directory."""

    machine = "the node"

    def __init__(self, root: Path) -> None:
        self.root, self.local = root, Local()

    def execute(self, command: Command) -> CommandResult:
        moved = [re.sub("^/(?=usr/local/)", f"{self.root}/", word) for word in command.argv]
        return self.local.execute(replace(command, argv=tuple(moved)))


SCRIPTS = [
    *("F54", "F55", "F55-check", "F55-syntax", "F55-exit", "F55-text", "F55-function"),
    *("F54-substituted", "F55-main"),
]
SETUPS = ["F24", "F24-twice", "F24-late"]


def judge_script(node: Below) -> None:
    files.install_script_stops(node, TARGET)
    files.install_script_installs_once(node, TARGET)
    files.install_script_enters(node, TARGET)


def judge_setup(node: Below) -> None:
    files.setup_script_writes_tunable(node, TARGET)


def test_scripts_without_a_fault_are_compliant(root: Path) -> None:
    judge_script(Below(root))
    judge_setup(Below(root))


@pytest.mark.parametrize("ident", [*SCRIPTS, *SETUPS])
def test_scripts_with_a_fault_are_red_in_its_words(root: Path, ident: str) -> None:
    inject(root, ident)
    judge = judge_script if ident in SCRIPTS else judge_setup
    with pytest.raises(AssertionError) as red:
        judge(Below(root))
    for word in cause(ident):
        assert word in str(red.value)


CHANGES = [
    'save "$install"; sed -i s/nowhere// "$install"',
    "keep; sed -i s/nowhere// $conf",
    "false | true",
    "echo $nowhere",
]


@pytest.mark.parametrize("script", CHANGES)
def test_injection_that_changes_nothing_or_fails_has_no_effect(root: Path, script: str) -> None:
    assert ran(root, f"{STRICT}{script}\nchanged").returncode != 0
    run(root, f'{STRICT}keep; save "$install"; echo "# other" | tee -a "$conf" "$install"\nchanged')


def test_wrapped_program_leaves_its_mark_when_it_intercepts(root: Path) -> None:
    (root / "var/tmp").mkdir(parents=True)
    program = root / "etc/program"
    program.write_text("#!/bin/sh\necho real $*\n")
    program.chmod(0o755)

    def said(*words: str) -> str:
        return subprocess.run([program, *words], capture_output=True, text=True, check=False).stdout

    inside = "inside() { false; }\n"
    run(root, """wrap /etc/program '" exec "*" purge "*' 'echo wrapped; "$real" instead; exit'""")
    assert said("exec", "950", "apt-get", "list") == "real exec 950 apt-get list\n"
    assert ran(root, f"{inside}marked").returncode != 0
    assert said("exec", "950", "apt-get", "purge") == "wrapped\nreal instead\n"
    run(root, f"{inside}marked")


#: What is broken in the container's file alone, by how Proxmox reads it.
CONFIGURED = ["F02", "F03", "F05", "F05-line", *(fault.id for fault in written("proxmox"))]


@pytest.mark.parametrize("ident", CONFIGURED)
def test_configuration_is_red_in_the_rows_words_and_rolled_back(root: Path, ident: str) -> None:
    def judge() -> None:
        runtime = canned.Runtime(canned.Machine({f"/{CONF}": (root / CONF).read_text()}))
        configuration.container_is_given(runtime, CTID, "nesting, fuse")
        configuration.every_line_is_in_effect(runtime, CTID)

    judge()
    inject(root, ident)
    with pytest.raises(AssertionError) as red:
        judge()
    for word in cause(ident):
        assert word in str(red.value)
    run(root, BY_ID[ident].rollback)
    assert (root / CONF).read_text() == WRITTEN
    assert not (root / "run/docker-lxc-gate.conf").exists()


@pytest.fixture
def backed_up(root: Path) -> Path:
    """The same, with backups that a snapshot has aged."""
    for folder in ("tmp", "ct/etc", "ct/usr", "ct/root", "ct/var/lib/dpkg", f"var/lib/lxc/{CTID}"):
        (root / folder).mkdir(parents=True)
    (root / "ct/var/lib/dpkg/status").touch()
    (root / f"var/lib/lxc/{CTID}/config").write_text(f"lxc.rootfs.path = dir:{root}/ct\n")
    run(root, program("proof.faults", "back_up.bash"))
    dump = root / "var/lib/vz/dump"
    for file in dump.iterdir():
        file.rename(dump / re.sub(r"\d{4}_\d\d_\d\d-", "2024_01_01-", file.name))
    run(root, program("proof.faults", "date_anew.bash"))
    return root


def judge_backups(root: Path) -> dict[str, str]:
    node, asked = Local(), target.parse(f"lab/{CTID}")
    found = backups.find(node, CTID, str(root / "var/lib/vz/dump"))
    runtime: Any = SimpleNamespace(
        config_path=lambda _: str(root / CONF),
        inside=lambda _: None,
        node=node,
        state=lambda _: "stopped",
    )
    red = {}
    try:
        judged.container_is_backed_up(node, found, asked, runtime, reads_archives=True)
    except AssertionError as error:
        red["container-backup"] = str(error)
    try:
        judged.node_is_backed_up(node, found, asked)
    except AssertionError as error:
        red["node-backup"] = str(error)
    return red


def test_backups_of_an_old_snapshot_are_compliant(backed_up: Path) -> None:
    assert judge_backups(backed_up) == {}
    assert len(list((backed_up / "var/lib/vz/dump").iterdir())) == 3


@pytest.mark.parametrize("ident", [each for each in BY_ID if each.startswith("F80")])
def test_backups_with_a_fault_are_red_in_its_words(backed_up: Path, ident: str) -> None:
    inject(backed_up, ident)
    red = judge_backups(backed_up)
    assert set(red) == set(BY_ID[ident].expect)
    for word in cause(ident):
        assert word in red[next(iter(BY_ID[ident].expect))]


@pytest.fixture
def cloned(root: Path) -> Path:
    """The same, with the repository a clone of one that lies beside it."""
    repository, upstream = (
        root / "usr/local/phoenix_hypervisor",
        root / "srv/phoenix_hypervisor.git",
    )
    upstream.parent.mkdir()
    who = ["-c", "user.name=lab", "-c", "user.email=lab@localhost"]
    for argv in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["commit", "-q", "-m", "phoenix_hypervisor"],
        ["clone", "-q", "--bare", ".", str(upstream)],
        ["remote", "add", "origin", str(upstream)],
        ["fetch", "-q"],
        ["branch", "-q", "--set-upstream-to=origin/main"],
    ):
        subprocess.run(["git", *who, *argv], cwd=repository, check=True, capture_output=True)
    return root


def judge_repository(root: Path) -> None:
    node = Local()
    checkout = repository.checkout(node, str(root / "usr/local/phoenix_hypervisor"))
    judged.is_clean(checkout, target.parse(f"lab/{CTID}"))
    judged.is_current(node, checkout)


def test_repository_without_a_fault_is_compliant(cloned: Path) -> None:
    judge_repository(cloned)


@pytest.mark.parametrize("ident", [each for each in BY_ID if each.startswith("F81")])
def test_repository_with_a_fault_is_judged_in_its_words(cloned: Path, ident: str) -> None:
    inject(cloned, ident)
    with pytest.raises(AssertionError if BY_ID[ident].expected(RED) else FactError) as found:
        judge_repository(cloned)
    for word in cause(ident):
        assert word in str(found.value)
