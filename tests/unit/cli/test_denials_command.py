"""``docker-lxc-gate denials`` as a user meets it, over files and standard input."""

import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from docker_lxc_gate.cli import denials
from docker_lxc_gate.cli.group import main
from docker_lxc_gate.machines.runtime.pct import Pct
from tests.doubles.apparmor.apparmor_parser import parse_profile
from tests.doubles.apparmor.denials import CORPUS, EXAMPLE, GATE
from tests.doubles.foreign import Foreign
from tests.doubles.samples import ROOT

MOUNT = (
    'type=AVC msg=audit(1795717106.1:42): apparmor="DENIED" operation="mount" '
    'info="failed type match" error=-13 profile="lxc-950_</var/lib/lxc>" name="/mnt/" pid=42 '
    'comm="fuse-overlayfs" fstype="fuse" srcname="x" flags="rw"\n'
)


def ran(*words: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(main, ["denials", *words], input=stdin)


def test_denials_of_the_pages_example_are_what_the_page_shows() -> None:
    page = (ROOT / "docs/denials.md").read_text("utf-8")
    assert f"```text\n{ran(str(EXAMPLE)).stdout}```" in page
    assert f"```text\n{ran(str(EXAMPLE), '--suggest').stdout}```" in page


UNREADABLE = MOUNT.replace('"', "'")


@pytest.mark.parametrize(
    ("text", "plainly", "fails"),
    [
        ("type=USER_ACCT msg=audit(1.5:1): pid=1\n", 0, 0),
        (GATE.read_text("utf-8"), 0, 0),
        (MOUNT, 0, 1),
        ('apparmor="DENIED"\n', 3, 1),
        (UNREADABLE, 3, 3),
        (MOUNT + UNREADABLE, 3, 1),
    ],
    ids=["none", "the gate's own", "one", "one that says nothing", "unreadable", "both"],
)
@pytest.mark.parametrize("words", [[], ["--format", "json"], ["--suggest"]])
def test_denials_end_with_1_for_a_denial_if_asked_and_3_if_it_is_not_known(
    text: str, plainly: int, fails: int, words: list[str]
) -> None:
    told = ran("-", *words, stdin=text.encode())
    assert told.exit_code == plainly
    assert ran("-", "--fail-on-denial", *words, stdin=text.encode()).exit_code == fails
    assert ("error: standard input: a line may hold" in told.stderr) == (plainly == 3)


def test_denials_show_lines_that_cannot_be_read_and_what_to_change() -> None:
    odd = "password=hunter2 \t" + UNREADABLE.replace("x", "\u202e" * 600)
    told = ran("-", stdin=(MOUNT + odd * 5 + UNREADABLE * 2).encode())
    assert told.stdout.startswith("1 denial of 1 kind\n")
    assert "no denial" not in told.stdout
    assert told.stdout.count("a line that may be a denial: ") == 2
    assert '  unreadable: a denial is a whole line with apparmor="DENIED"' in told.stdout
    assert "7 lines may hold a denial" in told.stderr
    assert "hunter2" not in told.output
    assert "\u202e" not in told.output
    read = json.loads(ran("-", "--format", "json", stdin=(MOUNT + odd).encode()).stdout)
    (unread,) = read["unread"]
    assert (read["total"], read["unreadable"], read["incomplete"]) == (
        1,
        1,
        "standard input: a line may hold a denial, and could not be read",
    )
    assert "hunter2" not in unread["line"]
    assert "whole line" in unread["what_to_change"]


def test_denials_of_a_directory_are_those_of_all_rotated_files(tmp_path: Path) -> None:
    (tmp_path / "audit.log.1.gz").write_bytes(gzip.compress(MOUNT.encode()))
    (tmp_path / "audit.log").write_text(MOUNT)
    assert ran(str(tmp_path)).stdout.startswith("2 denials of 1 kind\n")


def test_denials_of_a_file_that_is_cut_are_shown_and_end_with_3(tmp_path: Path) -> None:
    (tmp_path / "log.gz").write_bytes(gzip.compress(MOUNT.encode() * 9)[:-9])
    result = ran(str(tmp_path / "log.gz"), "--format", "json")
    assert result.exit_code == 3
    assert "fuse-overlayfs in container 950" in result.stdout
    assert "cannot be read to its end" in result.stderr
    assert "cannot be read to its end" in json.loads(result.stdout)["incomplete"]


def test_denials_that_are_suggested_are_rules_alone_that_apparmors_parser_takes() -> None:
    result = ran(str(CORPUS), "--suggest")
    assert result.exit_code == 3
    rules = result.stdout
    assert "mount options=(rw,rbind) -> /var/lib/docker/fuse-overlayfs/ab/merged/," in rules
    assert all(line.startswith("#") or line.endswith(",") for line in rules.splitlines())
    done = parse_profile(f"abi <abi/4.0>,\ninclude <tunables/global>\nprofile x {{\n{rules}\n}}\n")
    assert done.returncode == 0, done.stderr
    assert "that no rule would allow" in result.stderr


@pytest.mark.parametrize(
    ("since", "shown"),
    [
        ("2026-11-26 18:18:26", True),
        ("2026-11-26T19:18:26+01:00", True),
        ("2026-11-27", False),
        ("30min", None),
    ],
)
def test_denials_since_a_time_are_no_older(since: str, shown: bool | None, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(MOUNT)
    result = ran(str(tmp_path / "log"), "--since", since)
    assert result.exit_code == 0
    if shown is not None:
        assert ("in container 950" in result.stdout) == shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["log", "--since", "yesterdays"], "'yesterdays' is no time"),
        (["log", "--since", "9999-99-99"], "'9999-99-99' is no time"),
        (["log", "--target", "root@pve1/950"], "'log' and a target's"),
        ([], "\n  docker-lxc-gate denials --target root@pve1/950 "),
    ],
)
def test_denials_of_a_command_line_that_is_wrong_end_with_2(words: list[str], said: str) -> None:
    told = ran(*words)
    assert (told.exit_code, said in told.stderr) == (2, True), told.stderr


def test_denials_show_no_control_character_of_whoever_was_denied(tmp_path: Path) -> None:
    forged = MOUNT.replace('comm="fuse-overlayfs"', "comm=1B5B324A0A6E6F")
    (tmp_path / "log").write_text(forged.replace('name="/mnt/"', "name=2F1B5D35323B"))
    for form in ("text", "json"):
        result = ran(str(tmp_path / "log"), "--format", form)
        assert result.exit_code == 0
        assert "\x1b" not in result.output
    assert "no rule" in ran(str(tmp_path / "log")).stdout


def test_denials_of_a_target_are_those_of_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = f"== state\n== kernel\n{MOUNT}== clock\n== end\n".encode()
    opened = Pct(Foreign([(0, answer, b"")]))
    monkeypatch.setattr(denials, "opened", lambda _: nullcontext(opened))
    result = ran("--target", "root@pve1/950")
    assert (result.exit_code, "in container 950 wanted" in result.stdout) == (0, True)
    assert "ten records in five seconds" in result.stderr
    quiet = answer.replace(MOUNT.encode(), b"")
    cut = Pct(Foreign([(0, quiet, b"cat: Permission denied")]))
    monkeypatch.setattr(denials, "opened", lambda _: nullcontext(cut))
    result = ran("--target", "root@pve1/950")
    assert result.exit_code == 3
    assert "the kernel's log on a machine" in result.stderr


def test_denials_say_how_many_the_gate_provoked_and_explain_none_of_them() -> None:
    told = ran("-", stdin=b"x\n" + GATE.read_bytes()).stdout
    why = "5 of them under a profile, where a guest can imitate the gate"
    assert told.endswith(f"\n7 denials provoked on purpose by the gate left out; {why}\n")
    assert "wanted" not in told
    one = ran("-", stdin=GATE.read_bytes().splitlines()[1]).stdout
    assert one.endswith("\n1 denial provoked on purpose by the gate left out\n")
    read = json.loads(ran("-", "--json", stdin=GATE.read_bytes()).stdout)
    assert (read["provoked_by_the_gate"], read["under_a_profile"]) == (7, 5)


@contextmanager
def begun(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the command with a pipe for its standard input."""
    command = [sys.executable, "-m", "docker_lxc_gate", "denials", "-", *words]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # Whoever runs the tests may ignore signals.
    argv = ["env", "--default-signal", *command]
    with subprocess.Popen(argv, cwd=ROOT, bufsize=0, start_new_session=True, **pipes) as child:
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("words", [[], ["--suggest"], ["--format", "json"]])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_pipe_is_reported_as_the_file_is(words: list[str], pack: Callable[[bytes], bytes]) -> None:
    with begun(*words) as child:
        out, err = (text.decode() for text in child.communicate(pack(CORPUS.read_bytes()), 120))
    file = CliRunner().invoke(main, ["denials", str(CORPUS), *words])
    assert out == file.stdout.replace(f"{CORPUS}", "standard input")
    assert err == file.stderr.replace(f"{CORPUS}", "standard input")
    assert child.returncode == file.exit_code == 3  # of one record not even the operation is left


def test_ctrl_c_before_the_end_of_a_pipe_ends_with_130_and_no_report() -> None:
    with begun() as child:
        assert child.stdin
        for _ in range(4):  # more than a pipe holds: it reads by then
            child.stdin.write(MOUNT.encode() * 1000)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=120)
    assert (child.returncode, out, err) == (130, b"", b"error: interrupted\n")


def test_denials_of_a_standard_input_that_is_closed_end_with_3() -> None:
    argv = [sys.executable, "-m", "docker_lxc_gate", "denials", "-"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *argv], cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, b"standard input is closed" in done.stderr) == (3, True)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (b"\xfd7zXZ\0", "pipe xzcat FILE into docker-lxc-gate denials -"),
        (b"LPKSHHRH", "pipe journalctl -k --file FILE into"),
        ("\ufeffa".encode("utf-16-le"), "pipe iconv -f utf16 FILE into"),
        (b"", "cannot be read: No such file"),
    ],
)
def test_denials_of_no_text_or_no_file_name_what_helps_and_nothing_of_what_was_not_read(
    begin: bytes, said: str, tmp_path: Path
) -> None:
    if begin:
        (tmp_path / "log").write_bytes(begin + b"x" * 100)
    told = CliRunner().invoke(main, ["denials", "--fail-on-denial", str(tmp_path / "log")])
    assert (told.exit_code, told.stdout) == (3, "")
    assert said in told.stderr


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/urandom"])
@pytest.mark.parametrize("by_name", [True, False])
def test_denials_of_a_device_end_with_one_error(name: str, by_name: bool) -> None:
    with Path(name).open("rb") as stream:
        log = name if by_name else "-"
        told = CliRunner().invoke(main, ["denials", log], input=None if by_name else stream)
        assert stream.tell() == 0
    called = name if by_name else "standard input"
    assert told.stderr == (
        f"error: {called} cannot be read: it is a device and no log; name a file, or pipe a log "
        "into docker-lxc-gate denials -\n"
    )
    assert (told.exit_code, told.stdout) == (3, "")
