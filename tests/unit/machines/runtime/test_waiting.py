"""Waiting for a boot starts ``pct`` once, however late systemd listens."""

import os
import socket
from pathlib import Path
from threading import Timer

from docker_lxc_gate.machines.runtime import waiting
from docker_lxc_gate.machines.transport import Local


def test_wait_until_booted_before_systemd_listens_asks_once(tmp_path: Path) -> None:
    """The real script, with a systemctl of ours."""
    private, systemctl = tmp_path / "private", tmp_path / "systemctl"
    systemctl.write_text(f"#!/bin/sh\ntest -S {private} && echo running\n")
    systemctl.chmod(0o755)
    script = waiting._BOOTED.replace("/run/systemd/private", str(private))
    with socket.socket(socket.AF_UNIX) as server:
        listens = Timer(0.3, server.bind, [str(private)])
        listens.start()
        path = f"PATH={tmp_path}:{os.environ['PATH']}"
        said = Local().run(["env", path, "sh", "-c", script])
        listens.join()
    assert said.require().text.split()[-1] == "running"
