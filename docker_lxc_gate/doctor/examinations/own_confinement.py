"""What confines Docker's own containers: their own profile, the container's, seccomp.

Sources: moby daemon/apparmor_default.go and profiles/apparmor, containerd pkg/apparmor
(HostSupports), the kernel's security/apparmor (aa_policy_view_capable).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_lxc_gate.doctor import guest_reads, messages, node_reads
from docker_lxc_gate.doctor.case import Examination
from docker_lxc_gate.doctor.diagnosis import here

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from docker_lxc_gate.doctor.case import Case
    from docker_lxc_gate.lint.finding import Finding

#: Of more containers a reader needs no name.
_MANY = 5
_MISSING = {
    "parser": "apparmor_parser is not in the container",
    "securityfs": "/sys/kernel/security/apparmor is not visible in the container",
    "kernel": "AppArmor does not show in the container's /sys/module",
    "environment": "dockerd's environment has container=…",
}


@Examination(
    "whether AppArmor confines the container, and whether Docker can load its own profile",
    ("docker-default-not-loaded", "container-runs-unconfined"),
    node=(node_reads.confined,),
    guest=(messages.READ, guest_reads.CONTAINERS, guest_reads.OWN_APPARMOR),
)
def profiles(case: Case) -> Iterator[Finding]:
    """Yield what Docker said of its own profile, and what confines the container."""
    confined = case.node.of(node_reads.confined(case.ctid))
    if confined.confines_nothing:
        yield here(
            "container-runs-unconfined", f"the container's first process runs {confined.label}"
        )
    said = next(messages.said(case, "docker-default-not-loaded"), None)
    if said and "parser" not in case.guest.maybe(guest_reads.OWN_APPARMOR, frozenset()):
        yield here("docker-default-not-loaded", f"Docker says: {said.line[:400]}")


@Examination(
    "what confines Docker's own containers",
    ("docker-confinement",),
    node=(node_reads.confined,),
    guest=(guest_reads.INFO, guest_reads.OWN_APPARMOR),
    of_docker=True,
)
def confinement(case: Case) -> Iterator[Finding]:
    """Say what confines Docker's containers, if it is not what Docker has elsewhere."""
    options = case.guest.of(guest_reads.INFO).security_options or []
    label = case.node.of(node_reads.confined(case.ctid)).label
    missing = [each for each in ("apparmor", "seccomp") if not _has(options, each)]
    if "name=seccomp,profile=unconfined" in options:
        missing.append("seccomp")
    if not missing:
        return
    lacks = " and ".join(
        {"apparmor": "no AppArmor profile of their own", "seccomp": "no seccomp filter"}[each]
        for each in dict.fromkeys(missing)
    )
    why = [
        _MISSING[each]
        for each in sorted(case.guest.of(guest_reads.OWN_APPARMOR))
        if each in _MISSING
    ]
    because = f" ({'; '.join(why)})" if why and "apparmor" in missing else ""
    rest = (
        "nothing of AppArmor's confines them"
        if label == "unconfined"
        else f"the container's own profile confines them: {label}"
    )
    yield here("docker-confinement", f"Docker's containers have {lacks}{because}; {rest}")


@Examination(
    "which of Docker's containers are privileged",
    ("docker-container-loose",),
    guest=(guest_reads.CONTAINERS,),
    of_docker=True,
)
def loose(case: Case) -> Iterator[Finding]:
    """Name the Docker containers that Docker does not confine."""
    names = [
        each.name.removeprefix("/")
        for each in case.guest.of(guest_reads.CONTAINERS)
        if each.privileged or each.app_armor_profile == "unconfined"
    ]
    if names:
        more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
        yield here(
            "docker-container-loose", f"privileged or unconfined: {', '.join(names[:_MANY])}{more}"
        )


def _has(options: Sequence[str], name: str) -> bool:
    return any(each == f"name={name}" or each.startswith(f"name={name},") for each in options)
