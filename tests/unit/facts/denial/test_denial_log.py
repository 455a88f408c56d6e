"""A node's denials, and whose they are: by the profile's name, by the log, or by the notes."""

import gzip
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts.audit.audit_records import parse
from docker_lxc_gate.facts.denial import denial_log
from docker_lxc_gate.facts.denial.denial_log import Owner, attribute, running_under
from docker_lxc_gate.facts.process_tree import ProcessNotes
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Local
from tests.doubles.apparmor.denials import LAB_PRINTED
from tests.doubles.foreign import Foreign
from tests.doubles.naming import naming
from tests.doubles.programs.processes import until
from tests.doubles.samples import sample

NAME = "lxc-phoenix-v2"
DENIED = (
    f'type=AVC msg=audit(1000.5:%d): apparmor="DENIED" operation="open" profile="{NAME}" '
    'name="/x" pid=%d comm="cat" denied_mask="r"'
)
SYSCALL = (
    "type=SYSCALL msg=audit(1000.5:%d): arch=c000003e syscall=257 success=no ppid=%d pid=7 "
    'comm="cat" exe="/usr/bin/cat" key="secret"'
)
#: In place of audit.pl: what a node with auditd answers, with another program, and with none.
AUDITD = 'print "lost 0\\nreader 7\\nrule -F uid=1\\nprocess S auditd\\n"'
ANOTHER = 'print "lost 0\\nreader 7\\nprocess S go-audit\\n"'
NOBODY = 'print "lost 0\\nreader 0\\n"'


def script(state: str, folder: Path) -> CommandResult:
    """Run what the node runs, here, over a folder of our own."""
    argv = ["sh", "-c", denial_log._READ, "denials", state, f"{folder}/audit.log", "", "99999"]
    return Local().run(argv)


def test_read_of_auditds_log_takes_every_rotated_file_and_no_other_record(tmp_path: Path) -> None:
    (tmp_path / "audit.log.2.gz").write_bytes(gzip.compress((DENIED % (1, 11)).encode() + b"\n"))
    killed = (DENIED % (2, 12)).replace("DENIED", "KILLED")
    (tmp_path / "audit.log.1").write_text(f"{killed}\n{SYSCALL % (2, 77)}\n")
    (tmp_path / "audit.log").write_text(
        f'type=EXECVE msg=audit(1000.5:3): a0="secret"\n{DENIED % (3, 13)}\n'
        'type=EXECVE msg=audit(1000.5:4): a0="secret"\n'
    )
    told = script(AUDITD, tmp_path)
    found = denial_log._parsed(denial_log._parts_of(told.stdout), "")
    assert found.source == "auditd"
    assert [b"(1000.5:%d)" % n in line for n, line in enumerate(found.lines, 1)] == [True] * 3
    assert found.parents == {"1000.5:2": 77}
    assert b"secret" not in told.stdout
    assert told.stderr == b""
    assert len(found.started) > 1


def test_read_knows_the_start_of_a_process_that_another_imitates(tmp_path: Path) -> None:
    def started() -> float:
        parts = denial_log._parts_of(script(AUDITD, tmp_path).stdout)
        return denial_log._parsed(parts, "").started[os.getpid()]

    (tmp_path / "audit.log").touch()
    before = started()
    forger = r"printf '\n%s (a' $PPID > /proc/$$/comm; read -r x"
    with subprocess.Popen(["sh", "-c", forger], stdin=subprocess.PIPE) as child:
        until(lambda: Path(f"/proc/{child.pid}/comm").read_bytes().startswith(b"\n"))
        assert b"\n%d (a) S " % os.getpid() in Path(f"/proc/{child.pid}/stat").read_bytes()
        assert started() == before
        child.communicate(b"\n")


def test_read_of_a_log_that_is_cut_says_so(tmp_path: Path) -> None:
    packed = gzip.compress((DENIED % (1, 11)).encode() * 50)
    (tmp_path / "audit.log.1.gz").write_bytes(packed[:-20])
    assert b"audit.log is not there" in script(AUDITD, tmp_path).stderr
    (tmp_path / "audit.log").touch()
    told = script(AUDITD, tmp_path)
    assert b"unexpected end of file" in told.stderr
    assert b"not there" not in told.stderr


def test_read_of_the_kernels_log_knows_the_parent_and_no_command_line(
    tmp_path: Path, stub: Callable[[str, str], Path]
) -> None:
    stub("journalctl", f"cat {LAB_PRINTED}")
    told = script(NOBODY, tmp_path)
    found = denial_log._parsed(denial_log._parts_of(told.stdout), "")
    denied, _system_call, command_line = LAB_PRINTED.read_bytes().splitlines()
    assert found.lines == (denied,)
    assert found.parents == {"1795775363.377:299": 3128}
    assert b"proctitle=" in command_line
    assert b"proctitle" not in told.stdout
    assert b"python3.13" not in told.stdout
    assert "up to three of one denial" in found.note


@pytest.mark.parametrize("state", [NOBODY, ANOTHER, "exit 1"])
def test_read_without_auditd_is_of_the_kernels_log(
    state: str, tmp_path: Path, stub: Callable[[str, str], Path]
) -> None:
    stub("journalctl", f"echo '{DENIED % (1, 11)}'\necho noise")
    told = script(state, tmp_path)
    found = denial_log._parsed(denial_log._parts_of(told.stdout), "")
    assert (found.source, len(found.lines)) == ("kernel", 1)
    assert "ten records in five seconds" in found.note
    whose = {"exit 1": "nobody says who takes", ANOTHER: "process 7 takes"}.get(state, "")
    assert found.unread.startswith(whose)
    assert bool(found.unread) == bool(whose)


def test_read_of_a_node_that_says_nothing_is_an_error() -> None:
    with naming(FactError, "sh: not found"):
        denial_log.read(Foreign([(127, b"", b"sh: not found")]))


ANSWER = sample("denials/node_answer.txt").encode()

PARENT = "\nparent 1000.5:1 7"


@pytest.mark.parametrize(
    ("pid", "profile", "at", "more", "expected"),
    [
        (7, NAME, 1000.5, "", Owner(950, "process's cgroup")),  # the outermost
        (7, "lxc-953_</var/lib/lxc>", 1000.5, "", Owner(953, "generated profile")),
        (7, 'x" namespace="root//lxc-web_<-a>', 1000.5, "", Owner("web", "policy namespace")),
        (8, NAME, 1000.5, "", None),  # the number was given again since then
        (8, NAME, None, "", None),
        (8, NAME, 2000, "", Owner("web", "process's cgroup")),
        (9, "lxc-only", 1000.5, "", None),  # a process of the node
        (70, NAME, 1000.5, "", None),  # gone; 950 and 952 have the profile
        (70, NAME, 1000.5, PARENT, Owner(950, "parent process's cgroup")),
        (70, "docker-default", 1000.5, "", None),
        (
            *(70, "lxc-only", 1000.5, ""),
            Owner("web", "profile, which no other container here has now"),
        ),
        (70, 'lxc-only" namespace="root//snap', 1000.5, "", None),  # whoever made it names them
    ],
)
def test_owner_is_told_by_the_record_then_the_process_then_its_parent_then_the_profile(
    pid: int, profile: str, at: float | None, more: str, expected: Owner | None
) -> None:
    line = (DENIED % (1, pid)).replace(NAME, profile)
    log = denial_log.read(Foreign([(0, ANSWER % f"{line}{more}".encode(), b"")]))
    assert log.owner(*parse(line), at) == expected


def test_read_with_a_word_on_standard_error_was_not_to_the_end() -> None:
    said = denial_log.read(Foreign([(0, ANSWER % b"", b"cat: audit.log: Permission denied\n")]))
    assert said.unread == "cat: audit.log: Permission denied"


MOUNT = f'apparmor="DENIED" operation="mount" profile="{NAME}" name="/x" pid=1985 comm="dockerd"'
GENERATED = MOUNT.replace(f'profile="{NAME}"', 'profile="lxc-200_</var/lib/lxc>"')
NAMESPACED = MOUNT.replace(
    f'profile="{NAME}"', 'namespace="root//lxc-201_<-var-lib-lxc>" profile="docker-default"'
)
#: In its own namespace a container names a profile as LXC names another one's.
DISGUISED = NAMESPACED.replace("docker-default", "lxc-200_</var/lib/lxc>")
#: Of a stack the kernel writes all names, in hexadecimal if one has a blank.
STACK = MOUNT.replace("profile=", "label=").replace(NAME, f"{NAME}//&:lxc-201_<-var-lib-lxc>:{{}}")
HEX = STACK.format("a b").encode().partition(b'label="')[2].partition(b'"')[0].hex().upper()


@pytest.mark.parametrize(
    ("line", "whose"),
    [
        (GENERATED, 200),
        (NAMESPACED, 201),
        (DISGUISED, 201),
        (STACK.format("lxc-200_</var/lib/lxc>"), 201),
        (MOUNT.replace(f'profile="{NAME}"', f"label={HEX}"), 201),
        (GENERATED.replace("lxc-200_", "lxc-web_"), "web"),
        (GENERATED.replace("lxc-200_", "lxc-9\uff150_"), "9\uff150"),  # another script's digit
    ],
)
def test_attribute_of_a_generated_profile_is_its_container(line: str, whose: int | str) -> None:
    assert attribute(parse(line), ProcessNotes()) == [whose]
    agreed = ProcessNotes("", {1985: frozenset({str(whose), "?"})})
    if whose == 200:  # the cgroup of that name was still there
        assert attribute(parse(line), ProcessNotes("", {1985: frozenset({"200-1"})})) == [whose]
    assert attribute(parse(line), agreed) == [whose]


@pytest.mark.parametrize("known", [frozenset(), frozenset({"?"}), frozenset({"950", "?"})])
def test_attribute_of_anothers_generated_profile_is_not_known(known: frozenset[str]) -> None:
    for line in (GENERATED, NAMESPACED):
        assert attribute(parse(line), ProcessNotes("", {1985: known})) == [None]
    assert attribute(parse(GENERATED), ProcessNotes("", {})) == [None]


def test_running_under_a_profile_is_its_processes_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid, label, cgroup in (
        (7, f"{NAME} (enforce)", "/lxc/950/ns/init.scope"),
        (8, f"{NAME}//&x (enforce)", "/lxc/web"),
        (9, f"{NAME} (enforce)", "/system.slice/x.service"),
        (11, f"{NAME} (enforce)", "/user.slice/user-1000.slice/user@1000.service/lxc/952"),
        (10, f"{NAME}-other (enforce)", "/lxc/951"),
    ):
        (tmp_path / f"proc/{pid}/attr/apparmor").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/attr/apparmor/current").write_text(f"{label}\n")
        (tmp_path / f"proc/{pid}/cgroup").write_text(f"0::{cgroup}\n")

    def look(argv: list[str]) -> CommandResult:
        told = Local().run([each.replace("/proc", f"{tmp_path}/proc") for each in argv])
        return CommandResult(**{**vars(told), "stdout": told.stdout.replace(bytes(tmp_path), b"")})

    monkeypatch.setattr(Local, "look", lambda _, argv, **__: look(argv))
    assert running_under(Local(), NAME) == {"950", "web"}
    assert running_under(Local(), "lxc-nobody") == frozenset()
