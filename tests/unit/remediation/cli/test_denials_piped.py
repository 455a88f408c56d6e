"""``docker-lxc-gate denials -``, while its standard input is a pipe that stays open."""

from __future__ import annotations

import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest
from click.testing import CliRunner

from docker_lxc_gate.facts.denial.denial_groups import Tally
from remediation.cli import denials
from remediation.cli.group import main
from tests.doubles.apparmor.denials import CORPUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

ROOT = Path(__file__).parents[4]
_PATIENCE = 120.0


def mount(second: int = 6, name: str = "/mnt/") -> bytes:
    return (
        f'type=AVC msg=audit(179571710{second}.1:42): apparmor="DENIED" operation="mount" '
        f'info="failed type match" error=-13 profile="lxc-950_</var/lib/lxc>" name="{name}" pid=42 '
        'comm="fuse-overlayfs" fstype="fuse" srcname="x" flags="rw"\n'
    ).encode()


def explained(name: str = "/mnt/", count: str = "1 time, 2026-11-26 18:18:26Z") -> str:
    return (
        "fuse-overlayfs in container 950 wanted to mount a file system of type fuse from x on "
        f"{name} (rw)\n"
        f"  count:      {count}\n"
        "  profile:    lxc-950_</var/lib/lxc> (failed type match)\n"
        "  container:  950, by its generated profile\n"
        "  try first:  if the container has no nesting, give it nesting (Proxmox: nesting=1 in "
        "features; else lxc.apparmor.allow_nesting = 1), and restart it: the profile that LXC "
        "generates then allows this without a rule\n"
        f"  rule:       mount options=(rw) fstype=fuse -> {name},\n"
        "  where:      LXC generates this profile, so no file has it: lxc.apparmor.raw: RULE in "
        "the container's configuration, and restart it\n"
    )


TWICE = "2 times, 2026-11-26 18:18:26Z to 2026-11-26 18:18:27Z"


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
    told = pipe.ran(*words, each=[*parts, pipe.end, lambda: True, lambda: True])
    file = CliRunner().invoke(main, ["denials", str(CORPUS), *words])
    assert told.stdout == file.stdout.replace(f"{CORPUS}", "standard input")
    assert told.stderr == file.stderr.replace(f"{CORPUS}", "standard input")
    assert told.exit_code == file.exit_code == 3  # of one record not even the operation is left


def test_pipe_that_stays_open_is_explained_from_its_first_pause_on(pipe: Pipe) -> None:
    told = pipe.ran(
        each=[
            pipe.write(mount()),
            pause,
            pipe.write(mount(7), mount(name="/other/")[:60]),
            pipe.write(mount(name="/other/")[60:]),
            pipe.end,
        ]
    )
    assert told.stdout == (
        f"{explained()}\n{explained('/other/')}\n"
        f"3 denials of 2 kinds\n\n{explained(count=TWICE)}\n{explained('/other/')}"
    )
    assert "still reading; Ctrl-C ends it" in told.stderr
    assert told.exit_code == 0


def test_pipe_shows_a_line_that_cannot_be_read_as_it_comes_and_ends_with_3(pipe: Pipe) -> None:
    odd = mount().replace(b'"', b"'")
    told = pipe.ran(each=[pipe.write(mount(), odd), pause, pipe.write(odd)])
    assert told.stdout.startswith(f"{explained()}\na line that may be a denial: type=AVC ")
    assert told.stdout.count("a line that may be a denial: ") == 2
    assert (told.exit_code, "2 lines may hold a denial" in told.stderr) == (3, True)


def test_pipe_without_a_pause_is_explained_after_a_while(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denials, "_LONG", -1.0)
    told = pipe.ran(each=[pipe.write(mount()), lambda: True, pipe.write(mount(7)), pipe.end])
    assert told.stdout.startswith(f"{explained()}\n2 denials of 1 kind\n")


@pytest.mark.parametrize("words", [["--suggest"], ["--format", "json"]])
def test_pipe_that_stays_open_is_one_document_at_the_end(pipe: Pipe, words: list[str]) -> None:
    told = pipe.ran(*words, each=[pipe.write(mount()), pause, pipe.write(mount(name="/other/"))])
    assert told.exit_code == 0
    if words == ["--suggest"]:
        assert told.stdout.count("mount options=(rw) fstype=fuse -> ") == 2
    else:
        read = json.loads(told.stdout)
        assert (read["total"], read["incomplete"]) == (2, None)


def test_pipe_says_how_many_the_gate_provoked_and_explains_none_of_them(pipe: Pipe) -> None:
    canary = mount(6, "canary0123456789abcdefroot")
    told = pipe.ran(each=[pipe.write(b"x\n"), pause, pipe.write(canary)])
    assert told.stdout.endswith("1 denial provoked on purpose by the gate left out\n")
    assert "wanted" not in told.stdout


def test_ctrl_c_while_a_pipe_is_quiet_ends_with_the_report_and_0(pipe: Pipe) -> None:
    told = pipe.ran(each=[pipe.write(mount()), pause])
    assert told.stdout == f"{explained()}\n1 denial of 1 kind\n\n{explained()}"
    assert told.exit_code == 0


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
    told = pipe.ran(
        *words, each=[pipe.write(mount()), pause, pipe.write(mount(name="/other/"), mount(7))]
    )
    assert told.exit_code == 130
    assert "error: interrupted" in told.stderr
    if words:
        read = json.loads(told.stdout)
        assert (read["total"], read["incomplete"]) == (1, "interrupted")
    else:
        assert told.stdout.endswith(f"1 denial of 1 kind\n\n{explained()}")


def test_ctrl_c_within_what_is_compressed_ends_with_the_report_and_3(pipe: Pipe) -> None:
    packed = gzip.compress(mount() + os.urandom(5000))
    told = pipe.ran(each=[pipe.write(packed[:1000]), pause])
    assert (told.exit_code, told.stdout.endswith(explained())) == (3, True)
    assert "standard input cannot be read to its end" in told.stderr


@pytest.mark.parametrize("words", [[], ["--format", "json"], ["--suggest"]])
def test_pipe_whose_output_cannot_be_written_ends_with_that_error(
    pipe: Pipe, words: list[str]
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")

    def fails() -> bool:
        raise full

    assert pipe.ran(*words, each=[pipe.write(mount()), pause, fails]).exception is full


@contextmanager
def begun(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the command, which is killed if it does not end in time."""
    command = [sys.executable, "-m", "remediation", "denials", "-", *words]
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
def test_process_explains_a_new_kind_at_once_and_ends_cleanly_on_ctrl_c(
    number: signal.Signals, code: int
) -> None:
    with begun() as child:
        assert child.stdin
        child.stdin.write(mount())
        assert read_until(child.stdout, b"\n\n").decode() == f"{explained()}\n"
        child.stdin.write(mount(7))
        child.stdin.write(mount(name="/other/"))
        assert read_until(child.stdout, b"\n\n").decode() == f"{explained('/other/')}\n"
        child.send_signal(number)
        assert child.stdout
        assert child.stderr
        rest, errors = child.stdout.read(), child.stderr.read()
        assert child.wait() == code
    # rich prints the line again that Ctrl-C comes in the middle of: here, an empty one.
    assert rest.decode().lstrip("\n") == (
        f"3 denials of 2 kinds\n\n{explained(count=TWICE)}\n{explained('/other/')}"
    )
    assert b"Traceback" not in errors


@pytest.mark.parametrize("words", [[], ["--format", "json"], ["--fail-on-denial"]])
def test_process_whose_reader_is_gone_ends_in_silence_with_its_verdict(words: list[str]) -> None:
    with begun(*words) as child:
        assert child.stdin
        assert child.stdout
        assert child.stderr
        child.stdin.write(mount())
        read_until(child.stderr, b"prints the report of all\n")
        child.stdout.close()
        verdict = int("--fail-on-denial" in words)
        assert (child.stderr.read(), child.wait()) == (b"", verdict)


def test_process_that_is_fed_no_log_ends_after_a_bounded_number_of_bytes() -> None:
    with begun() as child:
        assert child.stdin
        assert child.stderr
        written = 0
        with suppress(BrokenPipeError):
            while written < 100 << 20:
                written += child.stdin.write(bytes(1 << 20)) or 0
        assert 64 << 20 <= written < 70 << 20
        error = child.stderr.read().decode()
        assert child.wait() == 3
    assert "standard input cannot be read: no line ends in 64 MiB, so it is no log" in error
    assert error.count("\n") == 1


def test_denials_of_a_standard_input_that_is_closed_end_with_3() -> None:
    argv = [sys.executable, "-m", "remediation", "denials", "-"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *argv], cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, b"standard input is closed" in done.stderr) == (3, True)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("begin", "reader"),
    [
        (b"\xfd7zXZ\0", "xzcat"),
        (b"\x28\xb5\x2f\xfd", "zstdcat"),
        (b"BZh9", "bzcat"),
        (b"PK\x03\x04", "unzip -p"),
        (b"LPKSHHRH", "journalctl -k --file"),
        ("\ufeffa".encode("utf-16-le"), "iconv -f utf16"),
        ("text".encode("utf-16-le"), "iconv -f utf16"),
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


def test_denials_of_dev_null_are_those_of_an_empty_log() -> None:
    told = CliRunner().invoke(main, ["denials", os.devnull])
    assert (told.exit_code, told.stdout.startswith(f"no denial in {os.devnull};")) == (0, True)
