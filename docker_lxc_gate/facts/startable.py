"""Obstacles to a container's start that its files and the kernel show beforehand."""

from __future__ import annotations

from docker_lxc_gate.errors import RemediationError
from docker_lxc_gate.facts import apparmor
from docker_lxc_gate.formats import pct_options
from docker_lxc_gate.formats.container_config import NO_PROFILE, ContainerConfig
from docker_lxc_gate.formats.container_defects import stopping
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.runtime.pct import blocked

#: lxc-start's own profile, as LXC's packages load it, and the prefix of the profiles that it may
#: enter. Source: LXC, config/apparmor/abstractions/start-container (change_profile -> lxc-*).
STARTER, _ENTERED = "/usr/bin/lxc-start", "lxc-"


def start_obstacle(runtime: Runtime, ctid: int) -> str:
    """Return what keeps a container from starting, and what to do; empty if nothing is found."""
    try:
        written = runtime.configuration(ctid)
        loaded = apparmor.loaded_profiles(runtime.node)
        return obstacle(written, loaded) or _now(written) or blocked(runtime.node)
    except RemediationError:
        return ""


def obstacle(written: ContainerConfig, loaded: dict[str, str]) -> str:
    """Return an obstacle to a start with a configuration; empty if none is found.

    The kernel knows the profiles ``loaded``:
    :func:`docker_lxc_gate.facts.apparmor.loaded_profiles`.
    """
    for defect in stopping(written):
        return f"{defect.cause} ({written.path}, line {defect.line})"
    profile = written.current().get("lxc.apparmor.profile", "")
    if profile in NO_PROFILE:
        return ""
    if profile not in loaded:
        return f"the kernel does not know its profile {profile}"
    if STARTER in loaded and not profile.startswith(_ENTERED):
        return (
            f"its profile {profile} cannot be entered: AppArmor lets lxc-start enter profiles "
            f"whose name begins with 'lxc-' ({written.path})"
        )
    return ""


def start_advice(runtime: Runtime, ctid: int, obstacle: str) -> str:
    """Return the advice to start a container, given its obstacle; empty: it has none."""
    command = f"{runtime.start_command} {ctid}"
    return f"correct that, then start it ({command})" if obstacle else f"start it ({command})"


def start(runtime: Runtime, ctid: int) -> None:
    """Start a container; raises CommandFailed with the cause, which pct does not name, if found."""
    try:
        runtime.start(ctid)
    except CommandFailed as failed:
        cause = start_obstacle(runtime, ctid)
        if not cause:
            raise
        raise CommandFailed(failed.result, f"container {ctid} cannot start: {cause}") from failed


def _now(written: ContainerConfig) -> str:
    if pct_options.boolean(written.current().get("template", "")):
        return f"it is a template: pct clone makes a container of it ({written.path})"
    if lock := written.current().get("lock"):
        return f"it is locked ({lock}) until what works on it has ended ({written.path})"
    return ""
