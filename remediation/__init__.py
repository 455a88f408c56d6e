"""The plan for Docker in an unprivileged LXC container: show, apply, verify, roll back.

Start reading at :mod:`remediation.docker_in_lxc`; the mechanics are in
:mod:`remediation.engine.apply` and :mod:`remediation.engine.rollback`.
"""

from __future__ import annotations

from docker_lxc_gate import home

home.require_packages("python", "click", "msgspec", "paramiko", "rich")
