"""AppArmor on a node: loaded profiles, compiled policies, and the label of each process.

Sources: apparmor_parser(8), securityfs ``apparmor/policy`` (kernel security/apparmor/apparmorfs.c).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.read import Read, content_of
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Transport

_POLICY = "/sys/kernel/security/apparmor/policy/profiles"
#: The shipped profiles include abstractions; a compile takes seconds under emulation.
PARSER_TIMEOUT = 180.0
#: A compiled policy (bytes).
_LONGEST = 16 << 20
#: The kernel's list of loaded profiles.
PROFILES = content_of("/sys/kernel/security/apparmor/profiles")


def loaded_profiles(on: Transport) -> dict[str, str]:
    """Return each loaded profile's mode (``enforce``, ``complain``, …) by name."""
    content = on.ask(PROFILES)
    if content is None:
        raise FactError(f"AppArmor is not enabled in the kernel of {on.machine}")
    return modes(content)


def modes(content: bytes) -> dict[str, str]:
    """Return each profile's mode by name, as the kernel lists them (:data:`PROFILES`).

    A container that has a namespace of its own may load a profile there whose name has a line feed
    and looks like an entry: of two modes of one name, the one that is not ``enforce`` counts.
    """
    matches = patterns.findall(r"(?m)^(.+) \((\w+)\)$", content.decode(errors="replace"))
    return dict(sorted(matches, key=lambda match: match[1] != "enforce"))


def loaded_policy(profile: str) -> Read[str]:
    """Read the SHA-256 of a profile's loaded policy; empty if it is not loaded.

    It equals :func:`compiled_policy` of the file that was loaded.
    """
    place = rf"{_POLICY}/{patterns.escape(profile)}\.[0-9]+"

    def parse(answer: CommandResult) -> str:
        text = answer.require().text
        hashes = dict(patterns.findall(r"(?m)/([^/\n]+)/raw_sha256:(.*)$", text))
        if text.strip() and not hashes:
            raise FactError(
                f"the kernel of {answer.machine} does not export its policy (raw_sha256)"
            )
        return hashes[_newest(hashes)] if hashes else ""

    argv = (
        *("find", _POLICY, "-maxdepth", "2", "-regextype", "posix-extended"),
        *("(", "-regex", place, "-printf", "%f\\n", ")"),
        *("-o", "-regex", f"{place}/raw_sha256", "-exec", "grep", "-H", "", "{}", ";"),
    )
    return Read(argv, parse)


def attachment(on: Transport, profile: str) -> str:
    """Return the attachment of a profile, as written; empty if the profile has only a name.

    A process enters a profile without an attachment on request only. Source: kernel
    security/apparmor/apparmorfs.c (seq_profile_attach_show shows the name if there is none).
    """
    text = _exported(on, profile, "attach").decode(errors="replace").strip()
    if not text:
        raise FactError(f"the kernel of {on.machine} does not export the attachment of {profile}")
    return "" if text == profile else text


def _newest(places: Iterable[str]) -> str:
    """Return the directory of the policy that was loaded last: a listing has no order."""
    return max(places, key=lambda place: int(place.rpartition(".")[2]))


def loaded_binary(on: Transport, profile: str) -> bytes:
    """Return a profile's loaded policy; empty if it is not loaded."""
    return _exported(on, profile, "raw_data")


def _exported(on: Transport, profile: str, name: str) -> bytes:
    """Return a file that the kernel exports of a profile; empty if that is not loaded."""
    listed = on.look(["find", _POLICY, "-maxdepth", "1", "-name", f"{profile}.*"]).require().text
    version = patterns.compile(patterns.escape(profile) + r"\.[0-9]+$")
    places = [place for place in listed.splitlines() if version.search(place)]
    if not places:
        return b""
    content = on.read(f"{_newest(places)}/{name}", limit=_LONGEST)
    if not content:
        raise FactError(f"the kernel of {on.machine} does not export its policy ({name})")
    return content


def compiled_policy(path: str) -> Read[str]:
    """Read the SHA-256 of a file's compiled policy; raises CommandFailed on a syntax error."""
    return Read(
        ("apparmor_parser", "-S", "-K", path),
        lambda result: hashlib.sha256(result.require().stdout).hexdigest(),
        timeout=PARSER_TIMEOUT,
        limit=_LONGEST,
    )


#: Prints how many files define a profile, what the parser says of its cache, the hash of what it
#: would take from there, and of what the file compiles to if parser.conf names no other ABI.
#: Nothing is loaded or written, whatever parser.conf says of write-cache.
_NEXT_LOAD = """
conf=/etc/apparmor/parser.conf
! grep -qsE '^[[:space:]]*(-S?-?)?skip-kernel-load' "$conf" || echo "$conf: skip-kernel-load"
apparmor_parser -N -K "$1" | grep -cxF -- "$2"
hit=$(grep -sv write-cache "$conf" |
    apparmor_parser --config-file=/dev/stdin -Q -k -r -- "$1/$2" 2>&1) || { echo "$hit"; exit 1; }
case $hit in *"forcing complain"*) echo complain ;; esac
hit=$(echo "$hit" | sed -n 's/^Cache hit: //p')
[ -z "$hit" ] || sha256sum -- "$hit" || exit
grep -sv override-policy-abi "$conf" | apparmor_parser --config-file=/dev/stdin -S -K "$1/$2" |
    sha256sum | sed 's/ .*/ by its own ABI/'
"""


def next_load_defect(on: Transport, profile: str, policy: str, compiled: str) -> str:
    """Return why the next load of AppArmor's profiles gives the kernel another policy than now.

    ``policy`` and ``compiled`` are the hashes of the kernel's policy, and of what the file compiles
    to: nothing if the profile is disabled. Empty if the next load gives the same, or if only the
    file is another. A load takes all files of the directory, and a file's policy from the cache.
    Raises CommandFailed if the parser refuses the file.
    """
    argv = ["sh", "-c", _NEXT_LOAD, "next-load", "/etc/apparmor.d", profile]
    text = on.look(argv, timeout=PARSER_TIMEOUT).require().text
    lines = text.splitlines()
    if skips := [line for line in lines if line.endswith(": skip-kernel-load")]:
        return f"{skips[0]}: AppArmor's parser loads nothing into the kernel"
    if "complain" in lines:
        return f"by /etc/apparmor.d/force-complain/{profile} it would confine nothing: remove that"
    if compiled != policy and f"{policy} by its own ABI" in lines:
        return (
            "override-policy-abi in /etc/apparmor/parser.conf makes another policy of the same "
            "file: remove that line"
        )
    if "1" not in lines:
        files = next((line for line in lines if patterns.fullmatch("[0-9]+", line)), "no")
        return (
            f"{files} files in /etc/apparmor.d define it, and the last one that is loaded counts: "
            f"grep -l {profile} /etc/apparmor.d/* shows them; remove the others"
        )
    cached = patterns.search(r"(?m)^([0-9a-f]{64})  (.*)$", text)
    if cached and cached[1] != policy:
        return f"its cache holds another policy, and is newer than its file: rm {cached[2]}"
    return ""


def processes_under(on: Transport, profile: str) -> list[int]:
    """Return the pids, on the node, of the processes that run under a profile."""
    script = 'grep -lsE "^$1( |//|$)" /proc/[0-9]*/attr/apparmor/current || test $? -le 2'
    result = on.look(["sh", "-c", script, "under", patterns.escape(profile)]).require()
    return sorted(int(pid) for pid in patterns.findall(r"/proc/([0-9]+)/", result.text))


def label(on: Transport, pid: int) -> str:
    """Return a process's label and mode, as the node sees them."""
    content = on.read(f"/proc/{pid}/attr/apparmor/current")
    if not content:
        raise FactError(f"the label of process {pid} on {on.machine} cannot be read")
    return content.decode(errors="replace").strip()
