"""The plan for Docker in an unprivileged LXC container: show, apply, verify, roll back.

Start reading at :mod:`remediation.docker_in_lxc`; the mechanics are in
:mod:`remediation.engine.apply` and :mod:`remediation.engine.rollback`.
"""

from __future__ import annotations

import importlib.util
import sys

#: Required packages. Without this check, Python would exit with 1, which means *drift*.
_NEEDED = ("click", "msgspec", "paramiko", "rich", "stamina")

if _missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
    sys.stderr.write(
        f"error: this Python has no {', '.join(_missing)}. Run scripts/setup, then use "
        ".venv/bin/python instead of python\n"
    )
    raise SystemExit(3)
