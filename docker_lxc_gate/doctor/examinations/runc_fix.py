"""runc's fix for CVE-2025-52881 against a profile that restricts /proc/sys.

runc reopens a sysctl through a detached mount, whose path AppArmor sees without /proc. A quiet
``deny`` then refuses it, and no log has a record. Sources: opencontainers/runc issue 4968, lxc
6.0.6, lxc-pve 6.0.5-2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.doctor import guest_reads, messages, node_reads
from docker_lxc_gate.doctor.case import Examination
from docker_lxc_gate.doctor.diagnosis import here
from docker_lxc_gate.formats.apparmor_profile import statements
from docker_lxc_gate.lint.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker_lxc_gate.doctor.case import Case
    from docker_lxc_gate.doctor.node_reads import Confined
    from docker_lxc_gate.lint.finding import Finding

_NUMBERS = patterns.compile(
    r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})(?:[-~+.]?rc\.?([0-9]{1,3}))?"
)
#: The first release with the fix, by the release before it: (major, minor) → (patch, candidate).
_FIXED = {(1, 2): (8, 0), (1, 3): (3, 0), (1, 4): (0, 3)}
_FINAL = 999
_SYSCTLS = patterns.compile(r"(?:@\{PROC\}|/proc)/sys/")


def has_fix(version: str) -> bool:
    """Whether a version of runc opens sysctls through a detached mount.

    >>> has_fix("1.3.2"), has_fix("1.3.3"), has_fix("1.4.0-rc.2"), has_fix("1.1.15+ds1")
    (False, True, False, False)
    """
    found = _NUMBERS.match(version)
    if found is None:
        return False
    major, minor, patch = (int(each) for each in found.groups()[:3])
    candidate = int(found[4]) if found[4] else _FINAL
    first = _FIXED.get((major, minor))
    if first is None:
        return (major, minor) > max(_FIXED)
    return (patch, candidate) >= first


@Examination(
    "whether the profile refuses what runc opens",
    ("runc-reopen-refused",),
    node=(node_reads.confined, node_reads.VERSIONS),
    guest=(messages.READ, guest_reads.CONTAINERS, guest_reads.RUNC),
)
def reopening(case: Case) -> Iterator[Finding]:
    """Yield the refusal if Docker said so, or if the profile is one that is known to refuse."""
    confined = case.node.of(node_reads.confined(case.ctid))
    found = next(messages.said(case, "runc-reopen-refused"), None)
    runc = case.guest.maybe(guest_reads.RUNC, "")
    versions = case.node.maybe(node_reads.VERSIONS, {})
    fix = _fix(confined, versions, pct=case.pct)
    what = f"runc {runc or 'of an unknown version'} under {confined.label[:120]}"
    if found:
        yield here("runc-reopen-refused", f"{what}: {found.line[-300:]}", fix=fix)
    elif denies(confined) and has_fix(case.guest.of(guest_reads.RUNC)):
        said = f"{what}: the profile includes LXC's container-base, which denies /proc/sys"
        yield here("runc-reopen-refused", said, fix=fix, severity=Severity.PROBLEM)


def denies(confined: Confined) -> bool:
    """Whether a named profile includes LXC's base abstraction, and that denies ``/proc/sys``."""
    included = {each.included for each in statements(confined.profile) if each.kind == "include"}
    base = any(name.endswith("lxc/container-base") for name in included)
    return base and any(
        each.denies and _SYSCTLS.match(each.bare) for each in statements(confined.base)
    )


def _fix(confined: Confined, versions: dict[str, str], *, pct: bool) -> str:
    if not confined.is_generated:
        return (
            f"The profile {confined.name[:80]} must state its own rules instead of including "
            "abstractions/lxc/container-base, as the plan's profile does (python -m remediation "
            "plan). Or let LXC generate the profile."
        )
    have = versions.get("lxc-pve") or versions.get("lxc") or "of an unknown version"
    which = f" on the node (it is {have[:40]})"
    if pct:
        return f"Upgrade lxc-pve{which} to 6.0.5-2 or later; restart the container."
    return f"Upgrade LXC{which} to 6.0.6 or 7.0; restart the container."
