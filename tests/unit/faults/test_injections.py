"""What can be seen of injections without a node: on copies of the files that they change."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from facts import backups, repository
from faults import states
from faults.catalogue import FAULTS
from faults.fault import CTID, PRELUDE, RED
from faults.rows import proxmox
from remediation import desired
from remediation.edits.phoenix_scripts import install_script, setup_script
from steps import configuration, files
from steps import prerequisites as judged
from targets import target
from targets.errors import FactError
from targets.runtime import container_config
from targets.transport import Base, CommandResult, Local
from tests.doubles import canned

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[3]
GUEST = ROOT / "lab/guest/phoenix_hypervisor"
PROFILE = "etc/apparmor.d/lxc-phoenix-v2"
CONF = f"etc/pve/lxc/{CTID}.conf"
WRITTEN = """arch: amd64
features: nesting=1,keyctl=1,fuse=1
hostname: docker-950
unprivileged: 1
lxc.apparmor.profile: lxc-phoenix-v2
"""
PARSER = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin:/bin")
#: What is not there, or would be the machine's own.
DOUBLES = """
pct() { :; }; apparmor_parser() { :; }; systemctl() { :; }; settled() { :; }; inside() { :; }
"""
TARGET = target.parse(target.DEFAULT)
BY_ID = {fault.id: fault for fault in FAULTS}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A node's files, the plan applied."""
    shutil.copytree(GUEST, tmp_path / desired.REPOSITORY.lstrip("/"))
    for name, how in (
        (desired.SETUP_SCRIPT, setup_script),
        (desired.INSTALL_SCRIPT, install_script),
        (f"etc/apparmor/{desired.PROFILE}", desired.profile),
    ):
        file = tmp_path / desired.REPOSITORY.lstrip("/") / name
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


def run(root: Path, script: str) -> None:
    """Run shell on the copies: every absolute path of a node's is below ``root``."""
    there = re.sub(r"(?<![\w$.\"'/])/(usr/local|etc|root|var/lib/vz|srv|tmp|run)/", rf"{root}/\1/",
                   PRELUDE + DOUBLES + script)  # fmt: skip
    there = there.replace("-C / etc", f"-C {root} etc")
    argv = ["bash", "-c", there, "fault", str(CTID)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def inject(root: Path, ident: str, *, rollback: bool = False) -> None:
    fault = BY_ID[ident]
    assert isinstance(fault.inject, str)
    run(root, fault.rollback if rollback else fault.inject)


def cause(ident: str) -> list[str]:
    """Return what the first scenario of a fault must say."""
    words = next(iter(BY_ID[ident].expect.values())).words
    return [word.replace("{ctid}", str(CTID)) for word in words]


class Below(Base):
    """A machine whose files are below a directory."""

    machine = "the node"

    def __init__(self, root: Path) -> None:
        self.root, self.local = root, Local()

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        moved = [re.sub("^/(?=usr/local/)", f"{self.root}/", word) for word in argv]
        return self.local.run(moved, stdin=stdin, timeout=timeout)


SCRIPTS = ["F54", "F55", "F55-check", "F55-syntax", "F55-exit", "F55-text", "F55-function"]
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


@pytest.mark.parametrize("ident", ["F51", "F51-append", "F51-rewrite", "F51-fails", "F52"])
def test_scripts_with_a_fault_of_the_second_run_are_compliant(root: Path, ident: str) -> None:
    before = (root / "usr/local/phoenix_hypervisor" / desired.INSTALL_SCRIPT).read_text()
    inject(root, ident)
    after = (root / "usr/local/phoenix_hypervisor" / desired.INSTALL_SCRIPT).read_text()
    assert after != before
    judge_script(Below(root))


def test_f53_lets_create_go_on_after_a_failing_feature(root: Path) -> None:
    inject(root, "F53")
    phoenix = (root / "usr/local/phoenix_hypervisor/bin/phoenix").read_text()
    assert "((status == 0)) ||" not in phoenix
    script = (root / "usr/local/phoenix_hypervisor" / desired.INSTALL_SCRIPT).read_text()
    assert "\nexit 1\n" in script
    for text in (phoenix, script):
        done = subprocess.run(["bash", "-n"], input=text, text=True, check=False)
        assert done.returncode == 0


def parse(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert PARSER, "apparmor_parser is missing: apt-get install apparmor"
    argv = [PARSER, "--skip-kernel-load", "--skip-cache", *options, str(path)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


RULES = {
    "F03-proc": "  audit deny mount fstype=proc,",
    "F16-denied": "  audit deny mount fstype=fuse.*,",
    "F17": "  audit deny mount options=(rw, move),",
    "F18": "  audit deny mount options=(rw, rbind) -> /var/lib/docker/**,",
    "F19": "  deny mount fstype=fuse.*,",
}


@pytest.mark.parametrize("ident", RULES)
def test_profile_with_a_rule_is_in_the_repository_too_and_compiles(root: Path, ident: str) -> None:
    inject(root, ident)
    deployed = (root / PROFILE).read_text()
    assert RULES[ident] in deployed.splitlines()
    repository = root / "usr/local/phoenix_hypervisor/etc/apparmor/lxc-phoenix-v2"
    assert repository.read_text() == deployed
    assert parse(root / PROFILE).returncode == 0


def test_profile_without_the_rules_for_fuse_compiles(root: Path) -> None:
    inject(root, "F16")
    assert "fstype=fuse" not in "".join(
        line for line in (root / PROFILE).read_text().splitlines() if "#" not in line[:3]
    ).replace("fstype=fusectl", "")
    assert parse(root / PROFILE).returncode == 0


def test_profile_of_another_name_compiles(root: Path) -> None:
    inject(root, "F11")
    assert parse(root / PROFILE, "--names").stdout.split() == ["lxc_phoenix_v2"]


def test_profile_of_f15_does_not_compile(root: Path) -> None:
    inject(root, "F15-own")
    assert parse(root / PROFILE).returncode != 0


def test_include_of_f06_stands_after_the_profile(root: Path) -> None:
    inject(root, "F06")
    assert parse(root / "etc/apparmor.d/lxc-other", "--names").stdout.split() == ["lxc-other"]
    keys = [option.key for option in container_config.parse("", (root / CONF).read_text()).options]
    assert keys[-2:] == ["lxc.apparmor.profile", "lxc.include"]


@pytest.mark.parametrize(
    ("ident", "lost"),
    [
        ("F02", ("features", "nesting=1,keyctl=1")),
        ("F03", ("features", "nesting=0,keyctl=1,fuse=1")),
        ("F04", ("features", "nesting=1,keyctl=0,fuse=1")),
        ("F13", ("lxc.apparmor.profile", "unconfined")),
        ("F07", ("lxc.apparmor.profile", "lxc-phoenix-v2")),
    ],
)
def test_configuration_with_a_fault_has_the_other_value(
    root: Path, ident: str, lost: tuple[str, str]
) -> None:
    inject(root, ident)
    assert container_config.parse("", (root / CONF).read_text()).current()[lost[0]] == lost[1]


def test_configuration_with_f05_has_the_option_out_of_effect(root: Path) -> None:
    inject(root, "F05")
    written = container_config.parse("", (root / CONF).read_text())
    assert [option.section for option in written.elsewhere("lxc.apparmor.profile")] == ["pre"]
    assert not written.all("lxc.apparmor.profile")
    inject(root, "F05", rollback=True)
    inject(root, "F05-line")
    assert container_config.parse("", (root / CONF).read_text()).unreadable == ((1, "nesting 1"),)


#: What is broken in the file alone, by how Proxmox reads it.
PROXMOXS = [fault.id for fault in proxmox.FAULTS]


@pytest.mark.parametrize("ident", PROXMOXS)
def test_configuration_as_proxmox_reads_it_is_red_in_the_rows_words(root: Path, ident: str) -> None:
    runtime = canned.Runtime(canned.Machine({f"/{CONF}": WRITTEN}))
    configuration.container_is_given(runtime, CTID, "nesting, keyctl, fuse")
    configuration.every_line_is_in_effect(runtime, CTID)
    inject(root, ident)
    runtime = canned.Runtime(canned.Machine({f"/{CONF}": (root / CONF).read_text()}))
    said = ""
    try:
        configuration.container_is_given(runtime, CTID, "nesting, keyctl, fuse")
        configuration.every_line_is_in_effect(runtime, CTID)
    except AssertionError as red:
        said = str(red)
    for word in cause(ident):
        assert word in said


@pytest.mark.parametrize("ident", [*("F02", "F03", "F04", "F05", "F05-line", "F08"), *PROXMOXS])
def test_configuration_after_the_undo_is_the_same(root: Path, ident: str) -> None:
    inject(root, ident)
    assert (root / CONF).read_text() != WRITTEN
    inject(root, ident, rollback=True)
    assert (root / CONF).read_text() == WRITTEN
    assert not (root / "run/docker-lxc-gate.conf").exists()


@pytest.fixture
def backed_up(root: Path) -> Path:
    """The same, with backups that a snapshot has aged."""
    (root / "tmp").mkdir()
    run(root, states._BACK_UP)
    dump = root / "var/lib/vz/dump"
    for file in dump.iterdir():
        file.rename(dump / re.sub(r"\d{4}_\d\d_\d\d-", "2024_01_01-", file.name))
    run(root, states._DATE_ANEW)
    return root


def judge_backups(root: Path) -> dict[str, str]:
    node, asked = Local(), target.parse(f"lab/{CTID}")
    found = backups.find(node, CTID, str(root / "var/lib/vz/dump"))
    runtime: Any = SimpleNamespace(config_path=lambda _: str(root / CONF))
    red = {}
    try:
        judged.container_is_backed_up(node, CTID, found, asked, runtime)
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
    judged.is_clean(checkout)
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
