"""``docker-lxc-gate denials`` as a user meets it, over files and standard input."""

import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

import pytest
from click.testing import CliRunner, Result

from docker_lxc_gate.cli import denials
from docker_lxc_gate.cli.group import main
from docker_lxc_gate.facts.denial.denial_groups import Tally
from docker_lxc_gate.machines.runtime.pct import Pct
from tests.doubles.apparmor.apparmor_parser import parse_profile
from tests.doubles.apparmor.denials import CORPUS, EXAMPLE, GATE
from tests.doubles.foreign import Foreign
from tests.doubles.samples import ROOT


def mount(second: int = 6, name: str = "/mnt/") -> bytes:
    return (
        f'type=AVC msg=audit(179571710{second}.1:42): apparmor="DENIED" operation="mount" '
        f'info="failed type match" error=-13 profile="lxc-950_</var/lib/lxc>" name="{name}" pid=42 '
        'comm="fuse-overlayfs" fstype="fuse" srcname="x" flags="rw"\n'
    ).encode()


MOUNT, OTHER = mount().decode(), mount(name="/other/")


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


@pytest.mark.parametrize("form", ["text", "json"])
def test_denials_of_a_file_that_is_cut_are_shown_and_end_with_3(form: str, tmp_path: Path) -> None:
    packed = gzip.compress(MOUNT.encode() * 9)
    (tmp_path / "log.gz").write_bytes(packed[:-9])
    result = ran(str(tmp_path / "log.gz"), "--format", form)
    assert result.exit_code == 3
    assert "fuse-overlayfs in container 950" in result.stdout
    assert "cannot be read to its end" in result.stderr
    if form == "json":
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
        ("1d", None),
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
        (["--target", "nowhere"], "nowhere"),
        ([], "\n  docker-lxc-gate denials --target root@pve1/950 "),
    ],
)
def test_denials_of_a_command_line_that_is_wrong_end_with_2(words: list[str], said: str) -> None:
    told = ran(*words)
    assert (told.exit_code, said in told.stderr) == (2, True), told.stderr


def test_denials_of_a_file_that_is_not_there_end_with_3(tmp_path: Path) -> None:
    result = ran(str(tmp_path / "nothing"))
    assert (result.exit_code, "cannot be read: No such file" in result.stderr) == (3, True)
    assert result.stdout == "", "it says nothing of a log that was not read"


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


_PATIENCE = 120.0


def explained(*lines: bytes) -> str:
    """Return how the report of a log explains its one kind."""
    return ran("-", stdin=b"".join(lines or [mount()])).stdout.partition("\n\n")[2]


class Pipe:
    """A pipe whose writer we are; at each wait for it, the next thing happens, then Ctrl-C."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        reader, writer = os.pipe()
        self.reader, self.writer = os.fdopen(reader, "rb"), os.fdopen(writer, "wb", buffering=0)

    def ran(self, *words: str, each: list[Callable[[], bool]]) -> Result:
        """Run the command; each says whether something comes before the pause is over."""

        def comes(_: object, seconds: float | None) -> bool:
            if not each:
                raise KeyboardInterrupt
            return each.pop(0)() or seconds is None

        self._patch.setattr(denials._Piped, "_comes", comes)
        return CliRunner().invoke(main, ["denials", "-", *words], input=self.reader)

    def write(self, *lines: bytes) -> Callable[[], bool]:
        return lambda: bool(self.writer.write(b"".join(lines)))

    def end(self) -> bool:
        self.writer.close()
        return True


def pause() -> bool:
    return False


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    made = Pipe(monkeypatch)
    with made.reader, made.writer:
        yield made


@pytest.mark.parametrize("words", [[], ["--suggest"], ["--format", "json"]])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_pipe_that_ends_is_reported_as_the_file_is(
    pipe: Pipe, words: list[str], pack: Callable[[bytes], bytes]
) -> None:
    text = pack(CORPUS.read_bytes())
    parts = [pipe.write(text[at : at + 20_000]) for at in range(0, len(text), 20_000)]
    told = pipe.ran(*words, each=[*parts, pipe.end, *[lambda: True] * 4])
    file = CliRunner().invoke(main, ["denials", str(CORPUS), *words])
    assert told.stdout == file.stdout.replace(f"{CORPUS}", "standard input")
    assert told.stderr == file.stderr.replace(f"{CORPUS}", "standard input")
    assert told.exit_code == file.exit_code == 3  # of one record not even the operation is left


def test_pipe_shows_a_line_that_cannot_be_read_as_it_comes_and_ends_with_3(pipe: Pipe) -> None:
    odd = mount().replace(b'"', b"'")
    told = pipe.ran(each=[pipe.write(mount(), odd), pause, pipe.write(odd)])
    assert told.stdout.startswith(f"{explained()}\na line that may be a denial: type=AVC ")
    assert told.stdout.count("a line that may be a denial: ") == 2
    assert (told.exit_code, "2 lines may hold a denial" in told.stderr) == (3, True)


@pytest.mark.parametrize("words", [["--suggest"], ["--format", "json"]])
def test_pipe_that_stays_open_is_one_document_at_the_end(pipe: Pipe, words: list[str]) -> None:
    told = pipe.ran(*words, each=[pipe.write(mount()), pause, pipe.write(OTHER)])
    assert told.exit_code == 0
    if words == ["--suggest"]:
        assert told.stdout.count("mount options=(rw) fstype=fuse -> ") == 2
    else:
        read = json.loads(told.stdout)
        assert (read["total"], read["incomplete"]) == (2, None)


def test_pipe_says_how_many_the_gate_provoked_and_explains_none_of_them(pipe: Pipe) -> None:
    told = pipe.ran(each=[pipe.write(b"x\n"), pause, pipe.write(GATE.read_bytes())])
    assert told.stdout.endswith(
        "7 denials provoked on purpose by the gate left out; 5 of them under a profile, where a "
        "guest can imitate the gate\n"
    )
    assert "wanted" not in told.stdout
    nodes = GATE.read_text("utf-8").splitlines()[1]
    assert ran("-", stdin=nodes.encode()).stdout.endswith(
        "\n1 denial provoked on purpose by the gate left out\n"
    )
    read = json.loads(ran("-", "--json", stdin=GATE.read_bytes()).stdout)
    assert (read["provoked_by_the_gate"], read["under_a_profile"]) == (7, 5)


def test_ctrl_c_before_the_first_pause_ends_with_130_and_no_report(pipe: Pipe) -> None:
    told = pipe.ran(each=[pipe.write(mount())])
    assert (told.exit_code, told.stdout) == (130, "")
    assert told.stderr == "error: interrupted\n"


@pytest.mark.parametrize("words", [[], ["--format", "json"]])
def test_ctrl_c_while_lines_are_counted_ends_with_the_report_and_130(
    pipe: Pipe, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(tally: Tally, line: bytes) -> None:
        if b"/other/" in line:
            raise KeyboardInterrupt
        parsed(tally, line)

    parsed = Tally._parsed
    monkeypatch.setattr(Tally, "_parsed", interrupted)
    told = pipe.ran(*words, each=[pipe.write(mount()), pause, pipe.write(OTHER, mount(7))])
    assert told.exit_code == 130
    assert "error: interrupted" in told.stderr
    if words:
        read = json.loads(told.stdout)
        assert (read["total"], read["incomplete"]) == (1, "interrupted")
    else:
        assert told.stdout.endswith(f"1 denial of 1 kind\n\n{explained()}")


@pytest.mark.parametrize("words", [[], ["--format", "json"], ["--suggest"]])
def test_pipe_whose_output_is_unwritable_ends_with_that_error(pipe: Pipe, words: list[str]) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")

    def fails() -> bool:
        raise full

    assert pipe.ran(*words, each=[pipe.write(mount()), pause, fails]).exception is full


@contextmanager
def begun(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the command, which is killed if it does not end in time."""
    command = [sys.executable, "-m", "docker_lxc_gate", "denials", "-", *words]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # Whoever runs the tests may ignore signals.
    argv = ["env", "--default-signal", *command]
    with subprocess.Popen(argv, cwd=ROOT, bufsize=0, start_new_session=True, **pipes) as child:
        timer = threading.Timer(_PATIENCE, child.kill)
        timer.start()
        try:
            yield child
        finally:
            timer.cancel()
            child.kill()


def read_until(stream: IO[bytes] | None, end: bytes) -> bytes:
    """Return what comes, as soon as it ends with some words."""
    assert stream
    text = b""
    while not text.endswith(end):
        more = stream.read(1)
        assert more, text
        text += more
    return text


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_process_explains_a_new_kind_and_ends_on_ctrl_c(number: signal.Signals, code: int) -> None:
    with begun() as child:
        assert child.stdin
        child.stdin.write(mount())
        assert read_until(child.stdout, b"\n\n").decode() == f"{explained()}\n"
        child.stdin.write(mount(7))
        child.stdin.write(OTHER)
        assert read_until(child.stdout, b"\n\n").decode() == f"{explained(OTHER)}\n"
        child.send_signal(number)
        assert child.stdout
        assert child.stderr
        rest, errors = child.stdout.read(), child.stderr.read()
        assert child.wait() == code
    # rich prints the line again that Ctrl-C comes in the middle of: here, an empty one.
    assert rest.decode().lstrip("\n") == (
        f"3 denials of 2 kinds\n\n{explained(mount(), mount(7))}\n{explained(OTHER)}"
    )
    assert b"Traceback" not in errors


def test_process_whose_reader_is_gone_ends_in_silence() -> None:
    with begun() as child:
        assert child.stdin
        assert child.stdout
        assert child.stderr
        child.stdin.write(mount())
        read_until(child.stdout, b"\n\n")
        child.stdout.close()
        child.stdin.write(OTHER)
        child.stdin.write(mount(7))
        assert child.wait() == 0
        assert child.stderr.read().endswith(b"prints the report of all\n")


def test_denials_of_a_standard_input_that_is_closed_end_with_3() -> None:
    argv = [sys.executable, "-m", "docker_lxc_gate", "denials", "-"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *argv], cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, b"standard input is closed" in done.stderr) == (3, True)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("begin", "reader"),
    [
        (b"\xfd7zXZ\0", "xzcat"),
        (b"LPKSHHRH", "journalctl -k --file"),
        ("\ufeffa".encode("utf-16-le"), "iconv -f utf16"),
    ],
)
def test_denials_of_what_is_no_text_name_what_turns_it_into_text(
    begin: bytes, reader: str, tmp_path: Path
) -> None:
    (tmp_path / "log").write_bytes(begin + b"x" * 100)
    told = CliRunner().invoke(main, ["denials", "--fail-on-denial", str(tmp_path / "log")])
    assert (told.exit_code, told.stdout) == (3, "")
    assert f"pipe {reader} FILE into docker-lxc-gate denials -" in told.stderr


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
