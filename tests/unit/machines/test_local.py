"""Commands on this machine: without its terminal, within their deadline, and ended whole."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from docker_lxc_gate.errors import LimitExceeded, TransportError
from docker_lxc_gate.machines.transport import Inside, Local
from tests.doubles.naming import naming
from tests.doubles.programs.processes import gone, until
from tests.doubles.samples import ROOT

ON = Local()
#: A terminal's program asks a child for that terminal, held or run.
_ASKS = """
from docker_lxc_gate.machines.transport import Local
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
    done = subprocess.run(argv, cwd=ROOT, timeout=600, check=False, **options)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_local_at_a_terminal_gives_it_to_no_child() -> None:
    own = at_a_terminal("open('/dev/tty').close(); print('there is one')")
    assert "there is one" in own  # or nothing was proved
    shown = at_a_terminal(_ASKS)
    assert "run: none" in shown
    assert "hold: True" in shown


def test_local_run_that_reads_no_input_returns_its_answer() -> None:
    result = ON.run(["sh", "-c", "exec <&-; echo done; exit 7"], stdin=bytes(1 << 20))
    assert (result.exit_code, result.stdout) == (7, b"done\n")


def test_local_run_of_an_absent_program_names_it() -> None:
    for run in (lambda: ON.run(["/none"]), lambda: ON.hold(["/none"], "held")):
        with naming(TransportError, "localhost", "/none", "No such file"):
            run()


def test_local_run_that_ignores_its_deadline_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves its output open, and has itself ended."""
    monkeypatch.setattr(Inside, "GRACE", 0.5)
    pid = tmp_path / "pid"
    script = "(trap '' TERM; sleep 300; sleep 300) & echo $! >$0"
    with pytest.raises(LimitExceeded) as raised:
        ON.run(["sh", "-c", script, str(pid)], timeout=3)
    assert raised.value.late
    assert gone(int(pid.read_text()))


def test_local_run_that_is_interrupted_ends_the_child(tmp_path: Path) -> None:
    """Ctrl-C reaches this program alone: what it runs is ended by it."""
    pid = tmp_path / "pid"
    program = (
        "from docker_lxc_gate.machines.transport import Local\n"
        f"Local().run(['sh', '-c', 'echo $$ >{pid}; exec sleep 300'])"
    )
    argv = ["env", "--default-signal=INT", sys.executable, "-c", program]
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True) as run:
        until(lambda: pid.exists() and pid.read_text())
        assert os.getsid(int(pid.read_text())) != os.getsid(run.pid)
        run.send_signal(2)
        _, said = run.communicate(timeout=300)
    assert "KeyboardInterrupt" in said
    assert gone(int(pid.read_text()))
