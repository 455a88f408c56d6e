"""``python -m remediation denials --follow``: each denial as it comes, and its repeats."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from rich.text import Text

from facts.denial import denial_follow as facts_follow
from facts.denial import log_follow
from facts.denial.denial_groups import Tally
from facts.denial.denials import owner_by_name
from remediation.cli import denials, printing
from remediation.cli.denial_report import Live, Report
from remediation.cli.group import main
from targets.runtime.pct import Pct
from tests.doubles.apparmor.denials import EXAMPLE
from tests.doubles.foreign import Foreign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

ROOT = Path(__file__).parents[4]


def mount(second: int = 6, name: str = "/mnt/") -> bytes:
    return (
        f'type=AVC msg=audit(179571710{second}.1:42): apparmor="DENIED" operation="mount" '
        f'info="failed type match" error=-13 profile="lxc-950_</var/lib/lxc>" name="{name}" pid=42 '
        'comm="fuse-overlayfs" fstype="fuse" srcname="x" flags="rw"\n'
    ).encode()


EXPLAINED = """\
fuse-overlayfs in container 950 wanted to mount a file system of type fuse from x on /mnt/ (rw)
  count:      1 time, 2026-11-26 18:18:26Z
  profile:    lxc-950_</var/lib/lxc> (failed type match)
  container:  950, by its generated profile
  rule:       mount options=(rw) fstype=fuse -> /mnt/,
  where:      LXC generates this profile, so no file has it: \
lxc.apparmor.raw: RULE in the container's configuration, and restart it

"""


def ran(*words: str, each: list[Callable[[], None]]) -> Result:
    """Run the command; at each wait the next thing happens, and then Ctrl-C is pressed."""

    def wait(_: object) -> None:
        if not each:
            raise KeyboardInterrupt
        each.pop(0)()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_follow.File, "wait", wait)
        patch.setattr(facts_follow.FollowedNode, "wait", wait)
        return CliRunner().invoke(main, ["denials", "--follow", *words])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.log"
    path.write_bytes(mount(5))
    return path


def grow(path: Path, *more: bytes) -> None:
    with path.open("ab") as file:
        file.write(b"".join(more))


def test_follow_explains_a_new_denial_once_and_counts_its_repeats(log: Path) -> None:
    result = ran(
        str(log), each=[lambda: grow(log, mount(6)), lambda: grow(log, mount(7), mount(8))]
    )
    assert result.exit_code == 0
    assert result.stdout == (
        EXPLAINED
        + "2 more (3 times, 2026-11-26 18:18:26Z to 2026-11-26 18:18:28Z): fuse-overlayfs "
        "in container 950 wanted to mount a file system of type fuse from x on /mnt/ (rw)\n"
        "3 denials of 1 kind\n"
    )
    assert f"following {log}; Ctrl-C ends it" in result.stderr.replace("\n", "")


def test_follow_since_a_time_begins_with_what_came_since_then(log: Path) -> None:
    told = ran(str(log), "--since", "2026-11-26", each=[]).stdout
    assert told.endswith("1 denial of 1 kind\n")
    for words in (["--since", "2026-11-27"], []):
        assert ran(str(log), *words, each=[]).stdout.startswith(f"no denial in {log}; that proves")


def test_follow_through_a_rotation_loses_nothing(log: Path) -> None:
    def rotate() -> None:
        grow(log, mount(6))
        log.rename(log.with_name("audit.log.1"))
        grow(log, mount(7, "/other/"))

    assert ran(str(log.parent), each=[rotate]).stdout.endswith("2 denials of 2 kinds\n")


def test_follow_of_a_log_that_was_cut_ends_with_3(log: Path) -> None:
    result = ran(str(log), each=[lambda: os.truncate(log, 0), lambda: grow(log, mount(6))])
    assert (result.exit_code, "1 denial of 1 kind" in result.stdout) == (3, True)
    assert "was cut while it was followed" in result.stderr.replace("\n", " ")


def test_follow_as_json_is_a_line_for_each_message(log: Path) -> None:
    each = [lambda: grow(log, mount(6)), lambda: grow(log, mount(7))]
    lines = ran(str(log), "--format", "json", each=each).stdout.splitlines()
    first, again = map(json.loads, lines)
    assert [first["count"], again["count"]] == [1, 2]
    assert first["rule"] == "mount options=(rw) fstype=fuse -> /mnt/,"


@pytest.mark.parametrize("words", [["--suggest", "x"], []])
def test_follow_of_a_command_line_that_is_wrong_ends_with_2(words: list[str]) -> None:
    assert ran(*words, each=[]).exit_code == 2


def test_follow_of_a_file_that_is_not_there_ends_with_3(tmp_path: Path) -> None:
    result = ran(str(tmp_path / "nothing"), each=[])
    assert (result.exit_code, "cannot be read: No such file" in result.stderr) == (3, True)


def test_follow_of_a_target_is_of_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*lines: bytes) -> tuple[int, bytes, bytes]:
        log = b"".join(lines)
        return 0, b"== state\n== position\nnow 1\n== kernel\n%b== clock\n== end\n" % log, b""

    answers = [answer(), answer(mount(6)), answer(mount(7)), answer()]

    @contextmanager
    def opened(_: object) -> Iterator[Pct]:
        yield Pct(Foreign(answers))

    monkeypatch.setattr(denials, "opened", opened)
    result = ran("--target", "root@pve1/950", each=[lambda: None, lambda: None])
    assert result.stdout.startswith(EXPLAINED)
    assert result.stdout.endswith("2 denials of 1 kind\n")
    assert result.exit_code == 0
    assert "following the kernel's log on a machine" in result.stderr.replace("\n", " ")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def live() -> tuple[Live, Tally, Clock]:
    clock, tally = Clock(), Tally(lambda denial, _: owner_by_name(denial))
    return Live(Report("x", tally), as_json=False, clock=clock), tally, clock


def test_show_of_a_storm_says_ever_more_rarely_how_many_there_were(
    live: tuple[Live, Tally, Clock], capsys: pytest.CaptureFixture[str]
) -> None:
    printer, tally, clock = live
    for _ in range(3600):
        tally.count([mount()] * 10)
        printer.show()
        clock.now += 1
    assert 50 < capsys.readouterr().out.count("\n") < 80
    printer.end()
    told = capsys.readouterr().out
    assert "36,000 times" in told
    assert told.endswith("36,000 denials of 1 kind\n")


def test_show_of_a_kind_that_rested_says_so_within_a_second(
    live: tuple[Live, Tally, Clock], capsys: pytest.CaptureFixture[str]
) -> None:
    printer, tally, clock = live
    for seconds in (0, 1, 2, 4, 200):
        tally.count([mount()])
        clock.now += seconds
        printer.show()
    assert capsys.readouterr().out.count(" more (") == 4
    tally.count([mount()])
    clock.now += 1
    printer.show()
    assert capsys.readouterr().out.count(" more (") == 1


def test_show_on_a_terminal_updates_the_count_where_it_stands(
    live: tuple[Live, Tally, Clock],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printer, tally, clock = live
    monkeypatch.setattr(printing.out, "_force_terminal", True)
    monkeypatch.setattr(printing.out, "_width", 60)
    tally.count([mount()])
    printer.show()
    capsys.readouterr()
    for _ in range(5):
        tally.count([mount()])
        clock.now += 1
        printer.show()
    said = capsys.readouterr().out
    assert "\n" not in said
    assert said.count("\r\x1b[2K") == 4
    last = Text.from_ansi(said.rsplit("\x1b[2K")[-1]).plain
    assert last.startswith("6 times, ")
    assert len(last) < 60
    tally.count([mount(name="/other/")])
    printer.show()
    assert capsys.readouterr().out.startswith("\n")
    printer.end()


def test_show_of_two_storms_on_a_terminal_takes_few_lines(
    live: tuple[Live, Tally, Clock],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printer, tally, clock = live
    monkeypatch.setattr(printing.out, "_force_terminal", True)
    for _ in range(600):
        tally.count([mount(), mount(name="/other/")])
        printer.show()
        clock.now += 1
    assert capsys.readouterr().out.count("\n") < 60


def test_follow_of_the_pages_example_is_what_the_page_shows(log: Path) -> None:
    lines = EXAMPLE.read_bytes().splitlines(keepends=True)

    def rotate() -> None:
        log.rename(log.with_name("audit.log.1"))
        grow(log, lines[3])

    each = [lambda: grow(log, lines[0]), lambda: grow(log, *lines[1:3]), rotate]
    page = (ROOT / "docs/denials.md").read_text("utf-8")
    assert f"```text\n{ran(str(log), each=each).stdout}```" in page


def test_follow_says_how_many_the_gate_provoked(log: Path) -> None:
    canary = mount(6, "canary0123456789abcdefroot")
    told = ran(str(log), each=[lambda: grow(log, canary)]).stdout
    assert told.endswith("1 denial provoked on purpose by the gate left out\n")


def test_follow_in_a_process_of_its_own_ends_cleanly_on_ctrl_c(log: Path) -> None:
    command = [sys.executable, "-m", "remediation", "denials", str(log), "--follow"]
    argv = ["env", "--default-signal=INT", *command]  # whoever runs the tests may ignore it
    with subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout
        assert child.stderr
        assert b"following" in child.stderr.readline()
        grow(log, mount(6))
        first = child.stdout.readline()
        assert first.startswith(b"fuse-overlayfs in container 950 wanted")
        grow(log, mount(7))
        child.send_signal(signal.SIGINT)
        rest, error = child.communicate(timeout=60)
    assert child.returncode == 0
    assert rest.endswith(b"2 denials of 1 kind\n")
    assert b"Traceback" not in error


def test_follow_whose_reader_is_gone_ends_with_3(log: Path) -> None:
    command = [sys.executable, "-m", "remediation", "denials", str(log), "--follow"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stderr
        assert b"following" in child.stderr.readline()
        child.stdout.close()
        try:
            assert child.wait(timeout=60) == 3
        finally:
            child.kill()
        assert b"standard output cannot be written: Broken pipe" in child.stderr.read()


def test_follow_that_is_interrupted_before_the_logs_end_ends_with_130(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def news(_: object) -> Iterator[bytes]:
        yield mount(5)
        raise KeyboardInterrupt

    monkeypatch.setattr(log_follow.File, "news", news)
    result = ran(str(log), "--since", "2026-11-26", each=[])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (130, "error: interrupted")
    assert result.stdout.endswith("1 denial of 1 kind\n")


def test_follow_of_a_node_that_is_gone_at_last_ends_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = b"== state\n== position\nnow 1\n== kernel\n== clock\n== end\n"

    @contextmanager
    def opened(_: object) -> Iterator[Pct]:
        yield Pct(Foreign([(0, empty, b""), (0, empty, b""), (1, b"", b"no answer")]))

    monkeypatch.setattr(denials, "opened", opened)
    result = ran("--target", "root@pve1/950", each=[lambda: None])
    assert (result.exit_code, "what came last was not read" in result.stderr) == (3, True)


@pytest.mark.parametrize("more", [[], ["--follow"]])
def test_denials_of_a_standard_input_that_is_closed_end_with_3(more: list[str]) -> None:
    argv = [sys.executable, "-m", "remediation", "denials", "-", *more]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *argv], cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, b"standard input is closed" in done.stderr) == (3, True)
    assert b"Traceback" not in done.stderr


def test_follow_of_standard_input_ends_with_its_end() -> None:
    argv = [sys.executable, "-m", "remediation", "denials", "-", "--follow"]
    done = subprocess.run(argv, cwd=ROOT, input=mount(), capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode()) == (0, EXPLAINED + "1 denial of 1 kind\n")
