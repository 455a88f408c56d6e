"""Commands on this machine: without its terminal, within their deadline, and ended whole."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from targets.errors import TransportError
from targets.transport import Inside, Local, at_most

ROOT = Path(__file__).parents[3]
ON = Local()
#: A terminal's program asks a child for that terminal, held or run.
_ASKS = """
from targets.transport import Local
ask = ["sh", "-c", "if (exec 3</dev/tty) 2>&-; then echo reached; else echo none; fi"]
print("run:", Local().run(ask).text)
holds = ["sh", "-c", "if (exec 3</dev/tty) 2>&-; then exit 3; fi; echo held; cat"]
held = Local().hold(holds, "held")
print("hold:", held.alive())
held.release()
"""


def at_a_terminal(program: str) -> str:
    """Run a Python program whose controlling terminal is a new one; return what it shows."""
    line = shlex.join([sys.executable, "-c", program])
    argv = ["script", "--quiet", "--return", "--command", line, "/dev/null"]
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    done = subprocess.run(argv, cwd=ROOT, timeout=60, check=False, **options)
    assert done.returncode == 0, done.stdout
    return done.stdout


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_local_at_a_terminal_gives_no_child_that_terminal() -> None:
    own = at_a_terminal("open('/dev/tty').close(); print('there is one')")
    assert "there is one" in own  # or nothing was proved
    shown = at_a_terminal(_ASKS)
    assert "run: none" in shown
    assert "hold: True" in shown


def test_local_run_feeds_and_reads_at_once() -> None:
    sent = bytes(range(256)) * 20_000
    with at_most(len(sent)):
        result = ON.run(["sh", "-c", "tee /dev/stderr"], stdin=sent)
    digests = [hashlib.sha256(each).digest() for each in (sent, result.stdout, result.stderr)]
    assert len(set(digests)) == 1


def test_local_run_of_one_that_reads_nothing_gives_its_answer() -> None:
    result = ON.run(["sh", "-c", "exec <&-; echo done; exit 7"], stdin=bytes(1 << 20))
    assert (result.exit_code, result.stdout) == (7, b"done\n")


def test_local_run_of_no_program_names_it() -> None:
    for run in (lambda: ON.run(["/none"]), lambda: ON.hold(["/none"], "held")):
        with pytest.raises(TransportError, match=r"^on localhost: cannot run /none: .*No such "):
            run()


def test_local_deadline_ends_what_keeps_the_output_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command itself has ended: what it left is ended, too, and nobody waits for it."""
    monkeypatch.setattr(Inside, "GRACE", 0.5)
    pid, began = tmp_path / "pid", time.monotonic()
    script = f"(trap '' TERM; sleep 300; sleep 300) & echo $! >{pid}"
    with pytest.raises(TransportError, match="did not end within 1 s"):
        ON.run(["sh", "-c", script], timeout=1)
    assert time.monotonic() - began < 10
    assert not alive(int(pid.read_text()))


def test_local_deadline_holds_for_one_that_never_stops_talking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Inside, "GRACE", 0.5)
    pid, began = tmp_path / "pid", time.monotonic()
    script = f"echo $$ >{pid}; trap '' TERM PIPE; while :; do echo a 2>/dev/null; done"
    with at_most(1 << 40), pytest.raises(TransportError, match="did not end within 1 s"):
        ON.run(["sh", "-c", script], timeout=1)
    assert time.monotonic() - began < 10
    assert not alive(int(pid.read_text()))


def test_local_interrupted_ends_the_child(tmp_path: Path) -> None:
    """Ctrl-C reaches this program alone: what it runs is ended by it."""
    pid = tmp_path / "pid"
    program = (
        "from targets.transport import Local\n"
        f"Local().run(['sh', '-c', 'echo $$ >{pid}; exec sleep 300'])"
    )
    argv = ["env", "--default-signal=INT", sys.executable, "-c", program]
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True) as run:
        end = time.monotonic() + 20
        while not (pid.exists() and pid.read_text().strip()):
            assert time.monotonic() < end
            time.sleep(0.02)
        assert os.getsid(int(pid.read_text())) != os.getsid(run.pid)
        run.send_signal(2)
        _, said = run.communicate(timeout=20)
    assert "KeyboardInterrupt" in said
    assert not alive(int(pid.read_text()))
