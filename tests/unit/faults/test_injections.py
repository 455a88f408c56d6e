"""What can be seen of injections without a node: on copies of the files that they change."""

import re
import subprocess
from pathlib import Path

import pytest

from proof.faults.catalogue import BY_ID, written
from proof.faults.fault import CTID, PRELUDE
from proof.faults.run import STRICT
from remediation import phoenix
from steps import configuration
from tests.doubles import canned

INSTALL = f"{phoenix.REPOSITORY.lstrip('/')}/{phoenix.INSTALL_SCRIPT}"
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


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A node's files: a container's configuration, and a script of phoenix's."""
    for path, text in ((CONF, WRITTEN), (INSTALL, ""), ("run/lock", "")):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def ran(root: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run shell on the copies: every absolute path of a node's is below ``root``."""
    moved = r"(?<![\w$.\"'/])/(usr/local|etc|root|var/lib/vz|var/lib/lxc|var/tmp|srv|tmp|run)/"
    there = re.sub(moved, rf"{root}/\1/", PRELUDE + DOUBLES + script)
    argv = ["bash", "-c", there, "fault", str(CTID)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def run(root: Path, script: str) -> None:
    done = ran(root, script)
    assert done.returncode == 0, done.stderr


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
CONFIGURED = ["F02", "F03", "F05", *(fault.id for fault in written("proxmox"))]


@pytest.mark.parametrize("ident", CONFIGURED)
def test_configuration_is_red_in_the_rows_words_and_rolled_back(root: Path, ident: str) -> None:
    def judge() -> None:
        files = {f"/{CONF}": (root / CONF).read_text(), f"/var/lib/lxc/{CTID}/config": None}
        runtime = canned.Runtime(canned.Machine(files))
        configuration.container_is_given(runtime, CTID, "nesting, fuse")
        configuration.every_line_is_in_effect(runtime, CTID)

    judge()
    run(root, f"{STRICT}{BY_ID[ident].inject}\nchanged")
    with pytest.raises(AssertionError) as red:
        judge()
    for word in next(iter(BY_ID[ident].expect.values())).words:  # the first one names the cause
        assert word.replace("{ctid}", str(CTID)) in str(red.value)
    run(root, BY_ID[ident].rollback)
    assert (root / CONF).read_text() == WRITTEN
    assert not (root / "run/docker-lxc-gate.conf").exists()
