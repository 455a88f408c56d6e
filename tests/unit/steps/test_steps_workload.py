"""What people use Docker for: what the image, the network and the volume must show."""

import os
import re
import socket
import subprocess
import tarfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.lab.docker_images import workload as built
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.result import CommandResult
from steps import workload as steps
from tests.doubles.answering import Answering
from tests.doubles.naming import lines_of, naming, not_compliant


def result(out: str = "", code: int = 0, err: str = "") -> CommandResult:
    return CommandResult(("x",), code, out.encode(), err.encode(), "container 950", 0.0, 1.0)


LISTED = steps._expected() | {"owned/": "0755 0:0 - - -"}
BROKEN = result(code=125, err="fuse: device not found")


def listed(**changed: str | None) -> CommandResult:
    files = LISTED | {path: line for path, line in changed.items() if line}
    gone = {path for path, line in changed.items() if line is None}
    lines = [f"{path} {line}" for path, line in files.items() if path not in gone]
    return result("\n".join(lines) + "\n")


def test_file_that_is_not_as_built_is_red() -> None:
    (said,) = lines_of(steps.files_are_as_built, listed())
    assert said == f"{len(built.files())} files in 30 layers are as they were built"
    with not_compliant("1 of ", "/gate/linked/two", "1:linked/two"):
        steps.files_are_as_built(listed(**{"linked/two": "0644 0:0 1:linked/two - same"}))
    with not_compliant("1 of ", "/gate/layers/9", "absent"):
        steps.files_are_as_built(listed(**{"layers/9": None}))


def test_file_that_a_later_layer_removed_is_red_and_one_of_a_folder_made_again_is_advice() -> None:
    assert lines_of(steps.removed_files_are_gone, listed()) == ()
    with not_compliant("/gate/removed", "whiteouts"):
        steps.removed_files_are_gone(listed(removed="0644 0:0 1:removed - old"))
    again = listed(**{"hidden/new": "0644 0:0 1:hidden/new - new"})
    (said,) = lines_of(steps.removed_files_are_gone, again)
    assert "advice: where a build removes a directory" in said


WORD = steps._WORD
MADE = [result(), result("id\n")]
OUTSIDE = "{0} 10.0.3.1 answered\n{0} docker.io. resolved\n"
REACHED = f"{OUTSIDE.format('guest')}server {WORD}\n{OUTSIDE.format('outside')}"
CLIENT = REACHED + OUTSIDE.format("bridge")


def met(client: str = CLIENT, published: str = f"server {WORD}\n") -> list[CommandResult]:
    return [*MADE, result(client), result(published)]


def test_server_that_is_not_reached_is_red() -> None:
    steps.server_is_reached(met())
    steps.port_answers(met())
    with not_compliant("by its name", "unknown name"):
        steps.server_is_reached(met(CLIENT.replace(WORD, "- unknown name")))
    with not_compliant("published port", "another"):
        steps.port_answers(met(published="server another\n"))
    with not_compliant("/dev/fuse"):
        steps.port_answers([MADE[0], BROKEN])


@pytest.mark.parametrize("loses", [False, True])
def test_server_that_loses_large_packets_is_heard_and_not_reached(loses: bool) -> None:
    """As by a network whose MTU is too large: the word comes, and nothing after it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    server = program("steps", "workload.pl").replace("8080", port)
    if loses:
        server = server.replace("syswrite $client, $part", "")
    with subprocess.Popen(["perl", "-e", server, "serve", WORD]) as serving:
        reach = steps._REACH.replace("time + 50", "time")
        argv = ["perl", "-e", reach, "client", "127.0.0.1", port]
        told = ""
        while not told or "refused" in told:
            told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        serving.terminate()
    with not_compliant("0 of 30000 bytes") if loses else nullcontext():
        steps.server_is_reached(met(told))


@pytest.mark.parametrize(
    ("where", "heard", "told"),
    [
        ("outside 10.0.3.1", "- no answer", "container does not reach"),
        ("outside 10.0.3.1", "refused", "container does not reach"),
        ("bridge 10.0.3.1", "refused", "container on Docker's default network does not reach"),
        ("outside docker.io.", "- unknown name", "container does not resolve"),
        ("bridge docker.io.", "- unknown name", "default network does not resolve"),
    ],
)
def test_outside_that_answers_the_container_alone_is_red(where: str, heard: str, told: str) -> None:
    """A firewall that refuses what is forwarded answers, too, but not as the container hears it."""
    guest = Answering(lambda _: None)
    for healthy in (CLIENT, REACHED):  # Docker may have no default network
        assert "10.0.3.1" in lines_of(steps.outside_is_reached, guest, met(healthy))[0]
    client = re.sub(rf"{where} \w+", f"{where} {heard}", CLIENT)
    reason = "no NAT" if "10" in where else "name servers"
    with not_compliant(f"{told} {where.split()[1]}, as the container", reason, heard):
        steps.outside_is_reached(guest, met(client))


def test_outside_that_does_not_answer_the_container_itself_is_advice() -> None:
    guest, unheard = Answering(lambda _: None, "guest 950"), met(f"server {WORD}\n")
    (said,) = lines_of(steps.outside_is_reached, guest, unheard)
    assert "advice: whether Docker containers reach the outside" in said


def test_network_without_addresses_is_undetermined() -> None:
    full = result(code=1, err="Error: all predefined address pools have been fully subnetted")
    with naming(FactError, "no addresses left", "fully subnetted"):
        steps.server_is_reached([full])
    with naming(FactError, "no IPv4 route"):
        steps.port_answers(met(published="the container has no IPv4 route to the outside\n"))


def ran(path: Path, script: str, *words: str, umask: int = -1, **stubs: str) -> str:
    """Return what a script prints where these programs are stubs; last its exit code."""
    for stub, text in stubs.items():
        (path / stub).write_text(f"#!/bin/sh\n{text}\n")
        (path / stub).chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", script, "sh", *words],
        input=built.archive("x86_64"),
        capture_output=True,
        check=False,
        env={"PATH": f"{path}:/usr/bin:/bin"},
        umask=umask,
    )
    return f"{done.stdout.decode()}{done.returncode}"


def test_image_holds_each_path_that_ldd_prints_and_all_may_read_it(tmp_path: Path) -> None:
    """Arch prints the loader as a link to where it is; the session's umask may be strict."""
    loader, real = "/usr/bin/env", "/usr/bin/printf"
    ran(
        tmp_path,
        program("steps", "image.sh"),
        umask=0o077,
        ldd=f"echo '\t{loader} => {real} (0x00007f)'",
        docker=f"cat > {tmp_path}/loaded.tar",
    )
    with tarfile.open(tmp_path / "loaded.tar") as image:
        base = image.extractfile("./base.tar")
        with tarfile.open(fileobj=base) as layer:
            modes = {member.name: member.mode for member in layer}
    assert (modes[f".{loader}"], modes[f".{real}"]) == (0o755, 0o755)
    above = f"./{built.ROOT.rstrip('/')}"  # Docker 20.10 makes it 0600 if no layer has it
    assert {modes["."], modes["./usr"], modes[above]} == {0o755}


def test_volume_with_only_what_the_restarted_writer_wrote_lost_its_text(tmp_path: Path) -> None:
    docker = f"echo {tmp_path}"
    kept = program("steps", "kept.sh"), "volume", steps._KEPT_WORD
    (tmp_path / "first").touch()
    (tmp_path / "written").write_text(f"{WORD}\n")
    assert ran(tmp_path, *kept, docker=docker).endswith("\n0\n1")
    (tmp_path / "written").write_text(f"{WORD}\n{steps._KEPT_WORD}\n{WORD}\n")
    assert ran(tmp_path, *kept, docker=docker).endswith("\n1\n0")


def test_writer_that_does_not_say_that_it_is_done_fails_with_its_own_words(tmp_path: Path) -> None:
    script = program("steps", "until_written.sh")
    assert ran(tmp_path, script, "x", docker="echo done") == "0"
    started = "echo open written: no >&2; echo x"
    assert ran(tmp_path, script, "x", docker=started, sleep="") == "1"


def test_volume_of_another_owner_is_undetermined_where_docker_maps_users() -> None:
    of_others = KEPT.replace("1000:1000", "101000:101000").encode()
    mapped = b'["name=seccomp","name=userns"]\n'
    guest = Answering(lambda argv: mapped if argv[0] == "docker" else of_others)
    with naming(FactError, "userns-remap"):
        steps.volume_is_kept(guest, result())


def test_image_that_the_guests_programs_do_not_make_is_undetermined_and_what_is_left_told(
    tmp_path: Path,
) -> None:
    docker = "case $1,$4 in inspect,docker-lxc-gate-volume) echo $3;; inspect,*) echo; exit 1;;"
    docker += "*) echo removed;; esac"
    left = ran(tmp_path, steps._CLEAN[2], *steps._CLEAN[4:], docker=docker)
    assert left.split() == ["docker-lxc-gate-volume", "0"]
    told: list[str] = []
    answers = {("uname", "-m"): b"x86_64\n", steps._CLEAN: b"volume\n"}
    guest = Answering(lambda argv: answers.get(tuple(argv), (70, b"", b"no perl")), "guest 950")
    with naming(FactError, "no perl", "sha256sum"):
        next(steps.workload.__wrapped__(guest, told.append))  # type: ignore[attr-defined]
    assert guest.ran[-1] == list(steps._CLEAN)
    assert told == ["not removed from guest 950: volume"]
    answers[steps._CLEAN] = b""
    with naming(FactError):
        next(steps.workload.__wrapped__(guest, told.append))  # type: ignore[attr-defined]
    assert len(told) == 1
    with naming(FactError, "mips"):
        next(steps.workload.__wrapped__(Answering(lambda _: b"mips\n"), print))  # type: ignore[attr-defined]


KEPT = ". 1000:1000\nfirst 1000:1000\nwritten 1000:1000\n2\n"


def kept(text: str, code: int = 0) -> Answering:
    return Answering(lambda _: (code, text.encode(), b""))


def test_volume_of_another_owner_or_without_the_word_is_red() -> None:
    with not_compliant("written 0:0", "1000:1000"):
        steps.volume_is_kept(kept(KEPT.replace("written 1000:1000", "written 0:0")), result())
    with not_compliant("lost what was written"):
        steps.volume_is_kept(kept(KEPT.replace("2\n", "0\n"), 1), result())
    with naming(FactError, "cannot be read"):
        steps.volume_is_kept(kept("", 1), result())


def test_writer_that_is_not_healthy_after_the_restart_is_red() -> None:
    steps.writer_is_healthy(kept("running healthy\n"), result())
    for state in ("exited starting", "running unhealthy"):
        with not_compliant(state):
            steps.writer_is_healthy(kept(f"{state}\n"), result())


def test_list_program_says_what_the_step_reads(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("same")
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    (tmp_path / "one").chmod(0o640)
    text = program("steps", "workload.pl").replace("/gate/", f"{tmp_path}/")
    done = subprocess.run(
        ["perl", "-e", text, "list"],
        capture_output=True,
        text=True,
        check=True,
        env={"GETXATTR": "191", "PATH": "/usr/bin"},
    )
    owner = f"{os.getuid()}:{os.getgid()}"
    line = f"0640 {owner} 2:one - same"
    assert steps._files(result(done.stdout)) == {"one": line, "two": line}
