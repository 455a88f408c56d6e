"""The versions of runc that reopen sysctls by a detached mount, and of LXC that allow it."""

from __future__ import annotations

from collections.abc import Mapping

from docker_lxc_gate import patterns
from docker_lxc_gate.doctor.upgrade_pairs import PAIRS, groups
from docker_lxc_gate.facts.apt import is_within

_ROW = next(pair for pair in PAIRS if pair.id == "upgrade-runc-reopen")
#: runc's releases with the fix.
_FIXED = [span for _, group in groups(_ROW.broken) for span in group if span.package == "runc"]
#: The release that has the fix in an older series of a package.
_STABLE = {"lxc-pve": "Proxmox VE 8", "lxc": "Debian 13"}


def has_fix(version: str) -> bool:
    """Whether a version of runc opens sysctls through a detached mount.

    >>> has_fix("1.3.2"), has_fix("1.3.3"), has_fix("1.4.0-rc.2"), has_fix("1.1.15+ds1")
    (False, True, False, False)
    """
    as_debian = patterns.sub(r"[-~+.]?rc\.?", "~rc", version)
    return any(is_within(as_debian, span.since, span.before) for span in _FIXED)


def lxc(versions: Mapping[str, str]) -> tuple[str, str]:
    """Return the package of the node's LXC, and its version; empty: not known."""
    name = "lxc-pve" if versions.get("lxc-pve") else "lxc"
    return name, versions.get(name, "")[:40]


def first_upgrade(versions: Mapping[str, str], runc: str = "") -> str:
    """Return the upgrade of the node without which a generated profile refuses runc; or nothing.

    A ``runc`` of an unknown version may be of today.
    """
    if runc and not has_fix(runc):
        return ""
    name, have = lxc(versions)
    as_package = have if name == "lxc-pve" or ":" in have else f"1:{have}"
    fixed = [span for _, group in groups(_ROW.fixed) for span in group if span.package == name]
    if have and any(is_within(as_package, span.since, span.before) for span in fixed):
        return ""
    since = {span.before: span.since.rpartition(":")[2].rstrip("~") for span in fixed}
    wanted = [f"({_STABLE[name]}: {first})" for end, first in since.items() if end]
    wanted.insert(0, f"{since['']} or later")
    it_is = f"it is {have or 'of an unknown version'}"
    return f"Upgrade {name} on the node ({it_is}) to {' '.join(wanted)}"
