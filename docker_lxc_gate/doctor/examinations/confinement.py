"""What confines the container and Docker's own containers: profiles, seccomp, runc's reopening.

runc's fix for CVE-2025-52881 reopens a sysctl through a detached mount, whose path AppArmor sees
without /proc. A quiet ``deny`` then refuses it, and no log has a record. Sources: opencontainers,
runc issue 4968, lxc 6.0.6, lxc-pve 6.0.5-2, moby daemon/apparmor_default.go and profiles/apparmor,
containerd pkg/apparmor (HostSupports), the kernel's security/apparmor (aa_policy_view_capable).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from docker_lxc_gate import patterns
from docker_lxc_gate.doctor import guest_reads, messages, node_reads
from docker_lxc_gate.doctor.case import Case, Examination, here
from docker_lxc_gate.doctor.runc_fix import first_upgrade, has_fix, lxc
from docker_lxc_gate.formats.apparmor_profile import statements
from docker_lxc_gate.lint.finding import Finding, Severity
from docker_lxc_gate.printable import listed

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
    ("docker-default-not-loaded", "container-runs-unconfined", "apparmor-parser-hidden"),
    node=(node_reads.confined, node_reads.VERSIONS),
    guest=(messages.READ, guest_reads.CONTAINERS, guest_reads.OWN_APPARMOR, guest_reads.RUNC),
)
def profiles(case: Case) -> Iterator[Finding]:
    """Yield what Docker said of its own profile, and what confines the container.

    Under a named profile Docker can load none, so a hidden parser takes nothing away.
    """
    confined = case.node.of(node_reads.confined(case.ctid))
    if confined.confines_nothing:
        cause = f"the container's first process runs {confined.label}"
        yield on_new_lxc(case, here("container-runs-unconfined", cause))
    lacks = case.guest.maybe(guest_reads.OWN_APPARMOR, frozenset())
    if "hidden" in lacks and (confined.is_generated or confined.confines_nothing):
        cause = "the package apparmor is installed, and /usr/sbin/apparmor_parser is not there"
        yield on_new_lxc(case, here("apparmor-parser-hidden", cause))
    message = next(messages.said(case, "docker-default-not-loaded"), None)
    if message and "parser" not in lacks:
        yield here("docker-default-not-loaded", f"Docker says: {message.line[:400]}")


@Examination(
    "whether apt holds runc back",
    ("runc-held",),
    node=(node_reads.confined, node_reads.VERSIONS),
    guest=(guest_reads.HELD,),
)
def held(case: Case) -> Iterator[Finding]:
    """Say of a held package whether what it was held for is over.

    A container runs under the profile that LXC made at its start, which may be before the upgrade.
    """
    packages = case.guest.of(guest_reads.HELD)
    confined = case.node.of(node_reads.confined(case.ctid))
    if not packages or (denies(confined) and not confined.is_generated):
        return  # under such a profile every version of LXC refuses a newer runc
    names, versions = " ".join(packages), case.node.of(node_reads.VERSIONS)
    first = first_upgrade(versions)
    when = f"{first} first" if first else f"New enough: your {' is '.join(lxc(versions))}"
    restart = "Restart the container once since that upgrade"
    fix = f"{when}. {restart}. Then, in the container: apt-mark unhold {names}"
    yield here("runc-held", f"apt holds {names} in the container", fix=fix)


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
    missing = [kind for kind in ("apparmor", "seccomp") if not has(case, kind)]
    if "name=seccomp,profile=unconfined" in options:
        missing.append("seccomp")
    if not missing:
        return
    lacks = " and ".join(
        {"apparmor": "no AppArmor profile of their own", "seccomp": "no seccomp filter"}[kind]
        for kind in dict.fromkeys(missing)
    )
    why = [
        _MISSING[word]
        for word in sorted(case.guest.of(guest_reads.OWN_APPARMOR))
        if word in _MISSING
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
        container.name.removeprefix("/")
        for container in case.guest.of(guest_reads.CONTAINERS)
        if container.privileged or container.app_armor_profile == "unconfined"
    ]
    if names:
        yield here("docker-container-loose", f"privileged or unconfined: {listed(names, _MANY)}")


def has(case: Case, name: str) -> bool:
    """Whether Docker confines its containers by ``apparmor`` or ``seccomp``."""
    options = case.guest.of(guest_reads.INFO).security_options or []
    return any(option.partition(",")[0] == f"name={name}" for option in options)


#: A rule about the path that a reopened sysctl has, such as /sys/net/ipv4/ip_forward. LXC denies
#: /sys but for four directories, which it writes as a set of letters.
_REOPENED = patterns.compile(r"/sys/(?:\[\^|\*|net)")


def on_new_lxc(case: Case, finding: Finding) -> Finding:
    """Return a finding whose fix begins with the node's LXC, where that is too old for it."""
    runc = case.guest.maybe(guest_reads.RUNC, "")
    first = first_upgrade(case.node.maybe(node_reads.VERSIONS, {}), runc)
    return replace(finding, fix=f"{first} first. {finding.fix}") if first else finding


@Examination(
    "whether the profile refuses what runc opens",
    ("runc-reopen-refused",),
    node=(node_reads.confined, node_reads.VERSIONS),
    guest=(messages.READ, guest_reads.CONTAINERS, guest_reads.RUNC),
)
def reopening(case: Case) -> Iterator[Finding]:
    """Yield the refusal if Docker said so, or if the profile is one that is known to refuse."""
    confined = case.node.of(node_reads.confined(case.ctid))
    message = next(messages.said(case, "runc-reopen-refused"), None)
    runc = case.guest.maybe(guest_reads.RUNC, "")
    versions = case.node.maybe(node_reads.VERSIONS, {})
    fix = _fix(confined, versions)
    what = f"runc {runc or 'of an unknown version'} under {confined.label[:120]}"
    if message:
        yield here("runc-reopen-refused", f"{what}: {message.line[-300:]}", fix=fix)
    elif denies(confined) and has_fix(case.guest.of(guest_reads.RUNC)):
        cause = f"{what}: the profile denies /sys, and AppArmor sees reopened sysctls there"
        yield here("runc-reopen-refused", cause, fix=fix, severity=Severity.PROBLEM)


def denies(confined: node_reads.Confined) -> bool:
    """Whether the profile, or LXC's base abstraction that it includes, denies what runc reopens."""
    rules = list(statements(confined.profile))
    if any(rule.included.endswith("lxc/container-base") for rule in rules):
        rules += statements(confined.base)
    return any(rule.denies and _REOPENED.match(rule.bare) for rule in rules)


def _fix(confined: node_reads.Confined, versions: Mapping[str, str]) -> str:
    if not confined.is_generated:
        return (
            f"Take the deny of /sys out of the profile {confined.name[:80]}: its own rule, or the "
            "include of abstractions/lxc/container-base. The plan's profile has neither "
            "(docker-lxc-gate plan). Or let LXC generate the profile."
        )
    if first := first_upgrade(versions):
        return f"{first}; restart the container."
    return (
        "Set nesting=1 if it is off, and restart the container: its profile is made at its start, "
        "and LXC on the node is new."
    )
