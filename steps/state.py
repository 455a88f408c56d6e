"""The state of node and container, as a witness sees it: nothing here changes anything.

Files with their kind, mode, owner, size, time and inode; packages; profiles and their policy;
the container's configuration; which processes are still the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from remediation import apparmor, docker_in_lxc
from remediation.errors import FactError

if TYPE_CHECKING:
    from remediation.runtime import Runtime
    from remediation.transport import Transport

#: Everything a provisioning could write.
_FIND = "find /etc /usr /opt /root /var/lib/dpkg/status -xdev -printf"
_SEEN = r"%p\t%y %m %U:%G %s %l|%T@|%i\n"
_PACKAGES = ["dpkg-query", "-W", "-f", r"${Package}\t${db:Status-Abbrev}${Version}\n"]
#: What may differ after a change and its exact undoing, by key, and why.
_MAY_DIFFER = re.compile(
    r"^container's first process$"  # it was restarted to take the configuration back
    r"|^dockerd$"  # and so was Docker
    r"|^container /var/lib/dpkg/status$"  # dpkg writes it anew; the packages are compared
    r"|^container /etc/ld\.so\.cache$"  # ldconfig's cache, of the same libraries
    r"|^container /etc/(machine-id|resolv\.conf|hostname)$"  # written by systemd at a start
    r"|^node /etc/(mtab|adjtime)$"
)


def of(runtime: Runtime, container: Transport, ctid: int) -> dict[str, str]:
    """Return the state, by keys that a reader understands; of a file's facts all, in order.

    Raises:
        FactError: something could not be seen, so that a comparison would say nothing.
    """
    node = runtime.node
    policy = apparmor.loaded_policy(node, docker_in_lxc.PROFILE)
    state = {
        "profiles in the kernel": " ".join(sorted(apparmor.loaded_profiles(node))),
        f"policy of {docker_in_lxc.PROFILE}": policy[:16],
        "container's first process": str(runtime.init_pid(ctid)),
        "configuration": repr(node.read(runtime.config_path(ctid))),
        "dockerd": _dockerd(container),
    }
    return state | _files(node, "node") | _files(container, "container")


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return what differs, one line each; raises FactError if there is nothing to compare."""
    if not before:
        raise FactError("nothing was recorded, so nothing can be compared")
    return [
        f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def restored(state: dict[str, str]) -> dict[str, str]:
    """Return what must be the same after a change and its undoing.

    A file that was put back is a new inode; a directory's time tells of its entries, which
    are compared themselves; what else may differ is listed above.
    """
    return {key: _stable(key, seen) for key, seen in state.items() if not _MAY_DIFFER.match(key)}


def _stable(key: str, seen: str) -> str:
    facts, bar, rest = seen.partition("|")
    if not bar or " /" not in key:
        return seen
    return re.sub(r" \d+ $", "", facts) if facts.startswith("d") else facts + rest.split("|")[0]


def _dockerd(container: Transport) -> str:
    asked = ["systemctl", "show", "docker", "-p", "MainPID,ExecMainStartTimestampMonotonic"]
    return " ".join(container.run(asked).require().text.split())


def _files(on: Transport, where: str) -> dict[str, str]:
    """Return every file and package of a machine."""
    files = on.run([*_FIND.split(), _SEEN], timeout=300).require().text
    packages = on.run(_PACKAGES).require().text
    lines = [line.partition("\t") for line in files.splitlines()]
    versions = [line.partition("\t") for line in packages.splitlines()]
    return {f"{where} {path}": seen for path, _, seen in lines} | {
        f"{where} package {name}": version for name, _, version in versions
    }
