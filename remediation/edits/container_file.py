"""The plan's edits of a container's configuration, for Proxmox and for plain LXC."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.formats.container_defects import stopping
from remediation import plan_file
from remediation.edits.container_config import letting_go, put_back, with_lxc_options, with_options
from remediation.plan_file import GENERATED, PlanFile

if TYPE_CHECKING:
    from docker_lxc_gate.formats.container_config import ContainerConfig
    from docker_lxc_gate.machines.transport import Transport

DEFAULT = plan_file.find()


#: Values of the profile that confine nothing.
_CONFINE_NOTHING = frozenset({"unconfined", "unchanged"})
_PROFILE, _SECCOMP = "lxc.apparmor.profile", "lxc.seccomp.profile"


def container_options(text: bytes | None, plan: PlanFile = DEFAULT) -> bytes:
    """Return the container's configuration with its features, profile and seccomp list in effect.

    Without a line for it, Proxmox generates the profile. Raises FactError if there are pending
    changes. The plan's restart would bring them into effect and remove them from the file, which
    rollback could not restore.
    """
    written, options = _whole(text, container_config.parse)
    kept = written
    if plan.profile == GENERATED or (not plan.profile and _is_unconfined(options)):
        kept = put_back(written, "", (_PROFILE,))
    raw = {_PROFILE: plan.profile} if plan.profile not in {"", GENERATED} else {}
    raw |= {_SECCOMP: plan.seccomp} if plan.seccomp else {}
    changed = _revealed(with_options(kept, dict.fromkeys(plan.features, "1"), raw))
    if changed != written and (waiting := container_config.waiting(written)):
        raise FactError(
            f"changes to the container wait for its next start ({'; '.join(waiting)}), and a "
            "restart by the plan would bring them into effect. pct pending CTID shows them; "
            "restart the container first, or drop them: pct set CTID --revert OPTION"
        )
    return changed.encode(errors="surrogateescape")


def _is_unconfined(options: dict[str, str]) -> bool:
    return options.get(_PROFILE) in _CONFINE_NOTHING


def _revealed(text: str, *, lxc: bool = False) -> str:
    """Return a configuration without the mount entries that hide AppArmor from Docker."""
    config = (container_config.parse_lxc if lxc else container_config.parse)("", text)
    hiding = {entry.line for entry in container_config.hiding_apparmor(config)}
    lines = enumerate(container_config.split_lines(text), 1)
    return "".join(line for number, line in lines if number not in hiding)


def takes_the_cure_away(text: str, plan: PlanFile, *, lxc: bool) -> bool:
    """Whether the plan removes what Docker needs on a node whose LXC refuses today's runc."""
    config = (container_config.parse_lxc if lxc else container_config.parse)("", text)
    cured = _is_unconfined(config.current()) or container_config.hiding_apparmor(config)
    return plan.profile in {"", GENERATED} and bool(cured)


def taken_away(ctid: int, plan: PlanFile, text: str) -> str:
    """Return the message about a pending change that would remove a setting of the plan."""
    written = container_config.parse(f"/etc/pve/lxc/{ctid}.conf", text)
    wanted = (*plan.features, *([_SECCOMP] if plan.seccomp else []))
    if lost := container_config.lost_at_next_stop(written, wanted):
        taken = ", ".join(lost)
        return f"the next stop takes away {taken}: {letting_go(written, ctid)}"
    return ""


def lxc_options(node: Transport, text: bytes | None, plan: PlanFile = DEFAULT) -> bytes:
    """Return plain LXC's configuration with the equivalents of Proxmox's features.

    If the plan names no seccomp list but wants keyrings, and the container's own list on ``node``
    refuses them, LXC's own list replaces it.
    """
    written, options = _whole(text, container_config.parse_lxc)
    wanted = {"lxc.apparmor.allow_nesting": "1", _PROFILE: plan.profile or GENERATED}
    if not plan.profile and not _is_unconfined(options):
        del wanted[_PROFILE]
    own = options.get(_SECCOMP)
    read = (node.read(own) or b"") if own and "keyctl" in plan.features else b""
    if plan.seccomp:
        wanted[_SECCOMP] = plan.seccomp
    elif container_config.refuses(read.decode(errors="replace")):
        wanted[_SECCOMP] = container_config.COMMON_SECCOMP
    changed = with_lxc_options(written, wanted, fuse="fuse" in plan.features)
    return _revealed(changed, lxc=True).encode(errors="surrogateescape")


def _whole(
    text: bytes | None, parse: Callable[[str, str], ContainerConfig]
) -> tuple[str, dict[str, str]]:
    """Return a configuration as text and as the options in effect.

    Raises FactError if no container can start with it.
    """
    if text is None:
        raise FactError("the container has no configuration")
    written = text.decode(errors="surrogateescape")
    config = parse("", written)
    for defect in stopping(config):
        shown = f", '{defect.option.key}: {defect.option.value}'" if defect.option else ""
        raise FactError(
            f"line {defect.line} of the container's configuration{shown}: {defect.cause}, and no "
            "container starts with it: correct it, apply did not change the file"
        )
    return written, config.current()
