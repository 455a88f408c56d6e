"""Attempts to break out: what the program says, who refused, which denials are the gate's own."""

import os
import re
import subprocess
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import confinement, escapes
from docker_lxc_gate.facts.escapes import ATTEMPTS, DONE, NOTHING
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Local
from tests.doubles.apparmor.denials import denial
from tests.doubles.naming import naming

MACHINE = os.uname().machine


def made(*names: str, targets: Sequence[str] = ()) -> dict[str, str]:
    """Make attempts on this machine that only look."""
    return escapes.outcomes(Local().run(escapes.command("control", MACHINE, names, targets)), names)


def answer(text: str, code: int = 0, stderr: str = "") -> CommandResult:
    return CommandResult(("perl",), code, text.encode(), stderr.encode(), "guest 950", 0.0, 1.0)


def test_table_has_each_attempt_of_the_program_and_says_why_it_is_harmless() -> None:
    program = re.findall(r'^    "?([a-z0-9-]+)"? => (?:sub|\\&)', escapes._ESCAPES, re.MULTILINE)
    assert program == [*ATTEMPTS]
    text = (files("docker_lxc_gate.facts") / "escapes.toml").read_bytes()
    reasons = msgspec.toml.decode(text)["harmless"]
    assert {attempt.harmless for attempt in ATTEMPTS.values()} == {*reasons}
    assert all(len(name) <= 15 for name in escapes._PROCESSES)  # the kernel cuts a longer one


@pytest.mark.skipif(MACHINE not in {"x86_64", "aarch64"}, reason="its system calls are not known")
def test_process_that_is_reached_is_the_one_that_was_started_then() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        pid, node = process.pid, Local()
        (parent,) = (word for word in escapes.targets(node, pid) if word.startswith("node="))
        assert parent.startswith(f"node={os.getpid()}:")
        stat = node.run(["cat", f"/proc/{pid}/stat"]).text
        there = [f"node={pid}:{stat.rpartition(')')[2].split()[19]}"]
        assert made("process", targets=there) == {"process": DONE}
        another = [parent.replace(f"={os.getpid()}:", f"={pid}:").replace(":", ":1")]
        assert made("process", targets=another) == {"process": "ESRCH"}
        process.kill()
    assert made("process", targets=there) == {"process": "ESRCH"}
    assert made("process", "neighbour") == {"process": NOTHING, "neighbour": NOTHING}


def test_several_calls_must_all_be_made_by_the_control_and_one_by_who_breaks_out() -> None:
    text = escapes._ESCAPES.replace("core_pattern", "no_such").replace('"modprobe"', '"hostname"')
    for kind, end in (("control", "2 0"), ("attempt", "0 0")):
        if os.geteuid() == 0 or kind == "control":
            done = Local().run(["perl", "-e", text, "--", kind, MACHINE, "helpers"])
            assert done.text == f"helpers {end}\n"


def test_file_or_directory_that_docker_masks_is_not_there(tmp_path: Path) -> None:
    masked = escapes._ESCAPES.replace("/proc/kcore", "/dev/null")
    masked = masked.replace("/sys/kernel/debug", f"{tmp_path}")
    argv = ["perl", "-e", masked, "--", "attempt", MACHINE, "kcore,debugfs"]
    assert Local().run(argv).text == "kcore 2 0\ndebugfs 2 0\n"
    (tmp_path / "file").touch()
    there = Local().run(["perl", "-e", masked.replace("/dev/null", f"{tmp_path}/file"), *argv[3:]])
    assert there.text == "kcore 0 0\ndebugfs 0 0\n"


def test_outcomes_are_the_names_of_errors_and_signals() -> None:
    said = "kcore 0 0\nsysrq 13 0\nhandle 0 31\nkey 200 0\nbpf 199 0\n"
    assert escapes.outcomes(answer(said), ("kcore", "sysrq", "handle", "key", "bpf")) == {
        "kcore": DONE,
        "sysrq": "EACCES",
        "handle": "signal 31",
        "key": NOTHING,
        "bpf": "error 199",
    }


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (answer(""), ["0 of 2", "guest 950"]),
        (answer("sysrq 13 0\nkcore 13 0\n"), ["cannot be read"]),
        (answer("kcore 13 0\nsysrq 13 0\nkcore 13 0\n"), ["3 of 2"]),
        (answer("kcore 13 0\nsysrq 13 0 \n"), ["1 of 2", "sysrq 13 0 "]),
        (answer("kcore 13 0\nsysrq 13 0\n", 255, "fork: EAGAIN"), ["255", "fork: EAGAIN"]),
        (answer("", 127, "timeout: failed to run"), ["no perl", "perl-base", "failed to run"]),
        (answer("kcore 0 14\nsysrq 13 0\n"), ["read the node's memory", "did not end"]),
    ],
)
def test_outcomes_that_are_not_whole_are_undetermined(
    said: CommandResult, words: list[str]
) -> None:
    with naming(FactError, *words):
        escapes.in_time(said, ("kcore", "sysrq"))


def test_program_of_an_unknown_machine_attempts_nothing() -> None:
    done = Local().run(escapes.command("attempt", "riscv64", ["kcore"], []))
    with naming(FactError, "riscv64", "not known"):
        escapes.outcomes(done, ("kcore",))


@pytest.mark.parametrize(
    ("without", "recorded", "who"),
    [
        ("EPERM", "AppArmor (x)", "the user namespace"),
        ("ENOENT", "", "no such file or device there"),
        ("ESRCH", "", "the pid namespace"),
        ("EINVAL", "", "the kernel (EINVAL)"),
        (DONE, "AppArmor (x)", "AppArmor (x)"),
        (DONE, "", "seccomp"),
        (None, "AppArmor (x)", "AppArmor (x)"),
        (None, "", ""),
    ],
)
def test_refuser_is_who_is_proved(without: str | None, recorded: str, who: str) -> None:
    assert escapes.refuser(without, recorded, "seccomp") == who


BIND = 'operation="mount" name="/proc/tty/" comm="gate-bind" srcname="/proc/" flags="rw, rbind"'


def test_denials_of_attempts_are_told_by_process_operation_and_object() -> None:
    mount, socket = denial(BIND), denial('operation="create" family="alg" comm="gate-alg"')
    assert escapes.by_attempt([mount, socket]) == {"bind": mount, "alg": socket}
    assert all(map(confinement.caused_by_attempt, [mount, socket]))
    for own, imitated in (("gate-bind", "gate-x"), ("/proc/tty/", "/x/"), ('"mount"', '"open"')):
        assert not confinement.caused_by_attempt(denial(BIND.replace(own, imitated)))
