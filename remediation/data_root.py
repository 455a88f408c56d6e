"""Rules that the profile lacks if Docker's data is not in its usual place."""

from __future__ import annotations

from docker_lxc_gate import patterns
from docker_lxc_gate.machines.transport import Transport
from remediation import desired

_FIRST_RULE = f"mount fstype=fuse.fuse-overlayfs -> {desired.DATA_ROOT}/fuse-overlayfs/**,"
_PLAIN = patterns.compile(r"(/[A-Za-z0-9_][A-Za-z0-9._-]*){1,20}")
#: For sed: joins a rule of two lines.
_JOINED = r"/^ *mount.*[^,]$/{N; s/\n */ /}"


def profile_elsewhere(node: Transport, root: str) -> str:
    """Return the message about rules that a node's profile, with the site's additions, lacks.

    It is empty if they are all there. ``root`` is the directory of Docker's data.
    """
    if root == desired.DATA_ROOT:
        return ""
    only = f"and the profile {desired.PROFILE} allows its mounts below {desired.DATA_ROOT} only"
    if not _PLAIN.fullmatch(root):  # the guest's text must not get into a command for root
        return f"Docker keeps its data in {root!r:.200} (data-root), {only}: choose a plain path"
    added = (node.read(desired.PROFILE_LOCAL) or b"").decode(errors="replace")
    # A line that allows fuse-overlayfs to mount there.
    mounts = rf"\s*(allow )?mount\b[^#]*-> {patterns.escape(root)}/"
    if any(patterns.match(mounts, rule) for rule in added.splitlines()):
        return ""
    rule = _FIRST_RULE.replace(desired.DATA_ROOT, root)
    return (
        f"Docker keeps its data in {root} (data-root), {only}: no Docker container starts there. "
        f"The profile needs each of its rules for that place also for {root}, first of all "
        f"'{rule}'. On the node: "
        f"sed -n '{_JOINED}; s|{desired.DATA_ROOT}/|{root}/|gp' "
        f"{desired.PROFILE_PATH} >>{desired.PROFILE_LOCAL}; "
        f"apparmor_parser -r {desired.PROFILE_PATH}"
    )
