"""What the next boot starts, from systemd's own words; proof/faults/rows/next_boot.toml is real."""

from collections.abc import Callable
from pathlib import Path

import pytest

from docker_lxc_gate.facts import next_boot
from docker_lxc_gate.facts.dockerd import Daemon
from docker_lxc_gate.machines.transport import Local
from tests.doubles.canned import Machine, Runtime
from tests.doubles.scripted import Scripted

SHOW = (
    "systemctl show docker -pExecStart -pNeedDaemonReload -pEnvironment -pUnsetEnvironment "
    "-pEnvironmentFiles"
)
UNIT = (
    "ExecStart={{ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd {} ; ignore_errors=no }}\n"
    "NeedDaemonReload=no\n"
)
FILES = "Environment=TERM=linux\nEnvironmentFiles=/etc/default/docker (ignore_errors=yes)\n"


def difference(unit: str, runs: str, file: str = "", environ: str = "") -> str:
    inside = Machine({"/etc/default/docker": file}, {SHOW: unit})
    names = "TERM|DOCKER_OPTS" if "DOCKER_OPTS" in file else "TERM"
    node = Machine(answers={f"grep -azE '^({names})=' /proc/7/environ": environ})
    argv = ("/usr/sbin/dockerd", *runs.split())
    return next_boot.difference(inside, Daemon(Runtime(node), 950, 7, argv))


def test_what_the_unit_would_start_is_what_runs() -> None:
    options = UNIT.format("-H fd:// $DOCKER_OPTS") + FILES
    assert difference("", "-s vfs") == ""  # no unit: nothing is known
    assert difference(options, "-H fd://", environ="TERM=linux\0") == ""
    file, environ = 'DOCKER_OPTS="--debug -s vfs"', "TERM=linux\0DOCKER_OPTS=--debug -s vfs\0"
    assert difference(options, "-H fd:// --debug -s vfs", file, environ) == ""


@pytest.mark.parametrize(
    ("unit", "runs", "file", "environ", "named"),
    [
        (UNIT.format("-H fd://").replace("=no\n", "=yes\n"), "-H fd://", "", "", "not read"),
        (UNIT.format("-H fd:// -s vfs"), "-H fd://", "", "", "-s vfs', but"),
        (UNIT.format("$DOCKER_OPTS") + FILES, "", "DOCKER_OPTS=-s vfs", "", "$DOCKER_OPTS', but"),
        (UNIT.format("-x $DOCKER_OPTS") + FILES, "-y", "", "", "-x $DOCKER_OPTS', but"),
        (UNIT.format("-x") + FILES, "-x", "DOCKER_OPTS=y", "TERM=linux\0", "lacks its DOCKER_OPTS"),
        (UNIT.format("-x") + FILES, "-x", "", "TERM=dumb\0", "lacks its TERM"),
    ],
)
def test_another_command_line_or_environment_is_a_difference(
    unit: str, runs: str, file: str, environ: str, named: str
) -> None:
    assert named in difference(unit, runs, file, environ)


def test_environment_files_are_read_as_systemd_reads_them() -> None:
    text = '# A=1\n;B=2\n C = x y \nD=\'a "b"\'\nE="1 2"\nC=last\n2F=no\nH=\n'
    odd = "G='open\nI=a\\ b\nJ=\"1 \\\n2\"\nK=a'b'\n"  # systemd reads them; we do not try
    plain = {"C": "last", "D": 'a "b"', "E": "1 2", "H": ""}
    assert next_boot.assignments(text + odd) == plain


FAILED = "Conditions failed.\n"
SOCK = "--containerd=/run/containerd/containerd.sock"
MASKED = "\nId=containerd.service\nLoadState=masked\n"
LOADED = "Id=docker.socket\nLoadState=loaded\n\nId=docker.service\nLoadState=loaded\n"


@pytest.mark.parametrize(
    ("unit", "said", "named"),
    [
        ("", LOADED, ""),
        ("", f"docker.service: ConditionX=/x y failed.\n{FAILED}{LOADED}", "ConditionX=/x y"),
        ("", f"docker.service: ConditionX=|/x failed.\n{LOADED}", ""),  # another one is enough
        ("", LOADED.replace("loaded", "bad-setting"), "bad-setting"),
        ("--containerd=/run/k3s/x", LOADED, ""),
        ("", f"rescue.target does not start it\n{LOADED}", "rescue.target"),
        ("", LOADED.replace("loaded", "masked", 1), "docker.socket, which is masked"),
        ("", f"/opt/wait cannot be run\n{LOADED}", "runs /opt/wait, which"),
        (SOCK, LOADED + MASKED, "containerd"),
        (SOCK, f"{LOADED}{MASKED}UnitFileState=masked\n", "containerd"),
        (SOCK, f"{LOADED}{MASKED}UnitFileState=masked-runtime\n", ""),  # no boot keeps /run
    ],
)
def test_obstacle_names_what_keeps_a_boot_from_starting_docker(
    unit: str, said: str, named: str
) -> None:
    needs = ["containerd.service"] * (unit == SOCK)
    answers = {
        tuple(SHOW.split()): (0, UNIT.format(unit).encode(), b""),
        ("sh", "next-boot", "docker.service", *needs): (0, said.encode(), b""),
    }
    found = next_boot.obstacle(Scripted(answers), next_boot.DOCKER)
    assert named in found
    assert bool(named) == bool(found)


@pytest.mark.parametrize(
    ("enabled", "needed_by", "started", "starts"),
    [
        ("enabled", "", "docker.service", True),
        ("static", "", "docker.service", True),  # a target wants it
        ("enabled", "", "ssh.service", False),
        ("disabled", "", "docker.service", False),  # systemd has not read that yet
        ("enabled-runtime", "", "docker.service", False),
        ("disabled", "compose.service x.target", "compose.service", True),
        ("disabled", "compose.service x.target", "x.target", False),  # as a mount's, for example
    ],
)
def test_boot_starts_docker_by_itself_or_by_a_unit_that_needs_it(
    stub: Callable[[str, str], Path], enabled: str, needed_by: str, started: str, starts: bool
) -> None:
    stub("systemd-analyze", "")
    stub(
        "systemctl",
        f"case $* in list-dep*) echo '  {started}';; get-default) echo graphical.target;;\n"
        f"is-enabled*) echo {enabled};; *RequiredBy*) echo; echo {needed_by};;\n"
        "*LoadState*) echo Id=docker.service; echo LoadState=loaded;; esac",
    )
    found = next_boot.obstacle(Local(), next_boot.DOCKER)
    assert ("graphical.target, which does not start docker" in found) != starts
