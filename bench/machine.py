"""The machine that the figures are of."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from lab.errors import MissingProgram
from lab.qemu import hardware

_ROOT = Path(__file__).parents[1]


def described() -> dict[str, Any]:
    """Return cores, accelerator, memory, versions and this checkout's commit.

    What cannot be found out is left out.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_mib": total >> 20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        **_lab(),
        "load_1_min": round(os.getloadavg()[0], 1),
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }
    return {key: value for key, value in found.items() if value not in {"", None}}


def _lab() -> dict[str, Any]:
    """Return what the lab's machine has; nothing where QEMU is not installed."""
    try:
        lab = hardware()
    except MissingProgram:
        return {}
    return {
        "qemu": lab.version,
        "accelerator": lab.accelerator,
        "lab_cores": lab.cpus,
        "lab_memory_mib": lab.memory,
    }


def _processor() -> str:
    try:
        said = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    found = re.search(r"^model name\s*:\s*(.+)$", said, re.MULTILINE)
    return found[1] if found else ""


def _git(*words: str) -> str:
    """Return what git says of this checkout; empty without git, or if this is none."""
    argv = ["git", "-C", str(_ROOT), *words]
    try:
        said = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return said.stdout.strip() if said.returncode == 0 else ""
