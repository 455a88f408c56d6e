"""Why a container does not start: LXC's own log of a start, read as a pasted text is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import messages
from docker_lxc_gate.doctor.case import Diagnosis
from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.machines.lock import Lock

if TYPE_CHECKING:
    from docker_lxc_gate.machines.runtime.base import Runtime

#: So many lines of the log are shown: its first errors, or its end if it has none.
_SHOWN = 8


def try_start(runtime: Runtime, ctid: int) -> Diagnosis:
    """Start a stopped container, and stop it again; return what its log names if it fails.

    Raises UsageError if the container is not stopped, FactError if there is none.
    """
    with Lock.of(runtime.node).held(f"start container {ctid} and stop it again"):
        if (state := runtime.state(ctid)) != "stopped":
            runtime.configuration(ctid)  # raises if there is none
            raise UsageError(f"container {ctid} is {state}: --try-start is for one that is stopped")
        try:
            log = runtime.start_log(ctid, messages.MOST)
        finally:
            if started := runtime.state(ctid) != "stopped":
                runtime.shutdown(ctid)
    if started:
        return Diagnosis((), ())
    lines = messages.plain_text(log).strip().splitlines()
    errors = [line for line in lines if "ERROR" in line]
    shown = errors[:_SHOWN] or lines[-_SHOWN:] or ["(it is empty)"]
    return replace(messages.diagnose(log), log=tuple(shown))
