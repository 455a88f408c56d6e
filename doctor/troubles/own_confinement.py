"""What confines Docker's own containers: their own profile, the container's, seccomp.

Sources: moby daemon/apparmor_default.go and profiles/apparmor, containerd pkg/apparmor
(HostSupports), the kernel's security/apparmor (aa_policy_view_capable).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from doctor import guest_reads, node_reads
from doctor.case import Examination
from lint.finding import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from doctor.case import Case
    from lint.finding import Finding

UNLOADED = Problem(
    "docker-default-not-loaded",
    Severity.SEEN,
    "Docker cannot load its own AppArmor profile, docker-default",
    "The container has no AppArmor namespace of its own, so nothing in it may load a profile. "
    "Docker starts no container until this is mended.",
    "Let LXC generate the profile: delete lxc.apparmor.profile, and set nesting=1 in features. "
    "With a profile of your own: purge the package apparmor in the container and restart Docker, "
    "which then confines its containers by the container's profile alone.",
)
UNCONFINED = Problem(
    "container-runs-unconfined",
    Severity.TROUBLE,
    "AppArmor confines neither the container nor Docker's containers",
    "What breaks out of Docker meets no AppArmor rule. 'unconfined' is a popular cure for "
    "refusals, and takes the protection away.",
    "Give the container a profile (python -m remediation plan, with the same --target, shows "
    "one), and restart it.",
)
WORDS = Problem(
    "docker-confinement",
    Severity.ADVICE,
    "Docker's own containers have no AppArmor profile of their own, or no seccomp filter",
    "Docker's containers then differ from those on a machine of its own: they are not protected "
    "from one another by AppArmor.",
    "Nothing, if the container's profile is enough. Otherwise let LXC generate the profile, with "
    "nesting=1, and install the package apparmor in the container.",
)
LOOSE = Problem(
    "docker-container-loose",
    Severity.ADVICE,
    "a Docker container is privileged, or runs without AppArmor",
    "Docker holds it back by next to nothing. The LXC container's own confinement still holds.",
    "Give it the one capability or device that it needs, instead of privileged.",
)
MESSAGES = guest_reads.messages(
    "docker-default profile could not be loaded|load a profile while confined"
    "|ould not check if docker-default AppArmor profile was loaded"
)
#: Docker's two words for it: the profile is refused, or already the list of profiles, which the
#: kernel shows in a user namespace only together with an AppArmor namespace.
_REFUSED = re.compile(
    "docker-default profile could not be loaded"
    "|ould not check if docker-default AppArmor profile was loaded"
)
#: Of more containers a reader needs no name.
_MANY = 5
_MISSING = {
    "parser": "apparmor_parser is not in the container",
    "securityfs": "/sys/kernel/security/apparmor is not visible in the container",
    "kernel": "AppArmor does not show in the container's /sys/module",
    "environment": "dockerd's environment has container=…",
}


def judge(case: Case) -> Iterator[Finding]:
    """Yield what Docker said of its own profile, and what confines the container."""
    confined = case.node.of(node_reads.confined(case.ctid))
    if confined.confines_nothing:
        yield UNCONFINED.here(f"the container's first process runs {confined.label}")
    said = _refused(case)
    if said and "parser" not in case.guest.maybe(guest_reads.OWN_APPARMOR, frozenset()):
        yield UNLOADED.here(f"Docker says: {said.strip()[:400]}")
    case.guest.of(MESSAGES)


def _refused(case: Case) -> str:
    told = guest_reads.failures(case.guest.maybe(guest_reads.CONTAINERS, ()))
    lines = [*told, *case.guest.maybe(MESSAGES, ())]
    found = [line for line in lines if _REFUSED.search(line)]
    return found[-1] if found else ""


def judge_words(case: Case) -> Iterator[Finding]:
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
    yield WORDS.here(f"Docker's containers have {lacks}{because}; {rest}")


def judge_loose(case: Case) -> Iterator[Finding]:
    """Name the Docker containers that Docker does not confine."""
    names = [
        each.name.removeprefix("/")
        for each in case.guest.of(guest_reads.CONTAINERS)
        if each.privileged or each.app_armor_profile == "unconfined"
    ]
    if names:
        more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
        yield LOOSE.here(f"privileged or unconfined: {', '.join(names[:_MANY])}{more}")


def _has(options: Sequence[str], name: str) -> bool:
    return any(each == f"name={name}" or each.startswith(f"name={name},") for each in options)


EXAMINATIONS = (
    Examination(
        "whether AppArmor confines the container, and whether Docker can load its own profile",
        (UNLOADED, UNCONFINED),
        judge,
        (node_reads.confined,),
        (MESSAGES, guest_reads.CONTAINERS, guest_reads.OWN_APPARMOR),
    ),
    Examination(
        "what confines Docker's own containers",
        (WORDS,),
        judge_words,
        (node_reads.confined,),
        (guest_reads.INFO, guest_reads.OWN_APPARMOR),
        of_docker=True,
    ),
    Examination(
        "which of Docker's containers are privileged",
        (LOOSE,),
        judge_loose,
        guest=(guest_reads.CONTAINERS,),
        of_docker=True,
    ),
)
