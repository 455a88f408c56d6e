"""AppArmor on the node: the tunable, the profile in file and kernel, the processes under it.

PYTEST_DONT_REWRITE: assertions have messages of their own, for the reader of the verdict.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_bdd import parsers, then

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import apparmor, confinement, failed_units, next_boot, repository
from docker_lxc_gate.formats.apparmor_profile import statements
from docker_lxc_gate.machines.read import unparsed
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.printable import counted
from docker_lxc_gate.verdict import evidence
from remediation import desired
from remediation.plan_file import GENERATED, PlanFile
from steps.configuration import after_upgrade, said_by

if TYPE_CHECKING:
    from testinfra.host import Host

    from docker_lxc_gate.facts.confinement import Process
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.target import Target
    from docker_lxc_gate.machines.transport import Transport

#: The plan's three rules, and how each may be written; fuse-overlayfs writes to /dev/fuse, too.
RULES = {
    "mount fstype=fuse.fuse-overlayfs -> /var/lib/docker/fuse-overlayfs/**,": "mount.*",
    "/dev/fuse rw,": r"file|.*/dev/fuse \w*(r\w*w|w\w*r)\w*",
    "/sys/fs/fuse/connections r,": r"file|.*/connections \w*r\w*",
}
#: The first words of systemd's messages about a load: its start, its end, its failure.
_BEGINS, _ENDS, _FAILS = "Reloading|Starting", "Reloaded|Finished", "Failed|Reload failed"
_ERROR = patterns.compile(r"AppArmor parser error[^\n]*|Warning[^\n]*syntax error[^\n]*")


@then(parsers.parse('the tunable on the node is "{line}"'))
def tunable_is(node_host: Host, line: str) -> None:
    """Check the file that the plan writes. No profile reads it, and the report says so."""
    file = node_host.file(desired.TUNABLE_PATH)
    assert file.exists, f"{desired.TUNABLE_PATH} is absent"
    content = file.content_string.strip()
    assert content == line, f"{desired.TUNABLE_PATH} says '{content}', not '{line}'"
    evidence.say("written as the plan demands; no profile reads it, so it has no effect")


#: When the tunable's file was written, and when it was made (0 if unknown), which no cp -p, rsync
#: or tar sets back; of a link it is the target's. Both are cut to microseconds, the unit of
#: journald and systemd: else a load in the same one would seem earlier.
_WRITTEN = unparsed("stat", "-L", "-c", "%.6Y %.6W", desired.TUNABLE_PATH)
#: Entries of AppArmor's service in this boot, and the time of its last change, as in
#: Wed 2026-11-25 09:41:04.290913 UTC. The entries come first, so that they may not be the later.
_ENTRIES = unparsed(*("journalctl", "-u", "apparmor", "-b", "-q", "--no-pager", "-o", "short-unix"))
_CHANGED = unparsed(
    *("systemctl", "show", "apparmor", "-p", "StateChangeTimestamp"),
    *("--timestamp=us+utc", "--value"),
)


@then("AppArmor was loaded after the tunable was written")
def loaded_after_tunable(node: Transport) -> None:
    """Compare systemd's journal of the service with the file's times, all by the node's clock."""
    written = max(map(_seconds, node.ask(_WRITTEN).require().text.strip().split(" ")))
    times = [when for when, message in _service_log(node) if patterns.match(_ENDS, message)]
    assert times, "the journal has no load of AppArmor since this boot"
    assert max(times) >= written, (
        f"AppArmor was last loaded {written - max(times):.0f} s before the tunable was "
        "written: systemctl reload apparmor"
    )


@then("AppArmor's last load logged no error")
def last_load_was_clean(node: Transport) -> None:
    """A syntax error in another profile stops the load: the message names file and line."""
    entries = _service_log(node)
    begins = [n for n, (_, message) in enumerate(entries) if patterns.match(_BEGINS, message)]
    assert begins, "the journal has no load of AppArmor since this boot"
    last = "\n".join(message for _, message in entries[begins[-1] :])
    match = _ERROR.search(last)
    assert match is None, f"AppArmor's last load stopped: {match[0] if match else ''}"
    assert not patterns.search(f"(?m)^({_FAILS})", last), f"the load failed: {last}"


def _service_log(node: Transport) -> list[tuple[float, str]]:
    """Return (Unix time, message) of AppArmor's service in this boot.

    Raises FactError if the journal has no entry, if it lacks the service's last change, because it
    lost entries in a flood, or if the last load has not ended.
    """
    entries = _entries(node)
    stamp = node.ask(_CHANGED).require().text.strip()
    try:
        changed = failed_units.when(stamp)
    except ValueError as error:
        raise FactError(f"systemd does not say when apparmor.service changed: {stamp!r}") from error
    if max(entries)[0] < changed:
        node.run(["journalctl", "--sync"]).require()  # write pending entries
        entries = _entries(node)
    if max(entries)[0] < changed:
        raise FactError(
            f"the journal of {node.machine} has no entry of apparmor.service's last change, "
            f"{stamp}: it lost some, or the service was reset. Run systemctl reload apparmor, then "
            "the gate again"
        )
    turns = [text for _, text in entries if patterns.match(f"{_BEGINS}|{_ENDS}|{_FAILS}", text)]
    if turns and patterns.match(_BEGINS, turns[-1]):
        raise FactError(
            f"AppArmor's last load has not ended: {turns[-1]}; wait, then run this again"
        )
    return entries


def _entries(node: Transport) -> list[tuple[float, str]]:
    log = node.ask(_ENTRIES).require().text
    lines = patterns.findall(r"(?m)^([0-9]+\.[0-9]+) \S+ [^:\n]{1,300}: (.*)$", log)
    if not lines:
        raise FactError(f"the journal of {node.machine} has no entry of apparmor.service")
    return [(_seconds(when), message) for when, message in lines]


def _seconds(time: str) -> float:
    """Return a Unix time; a float tells microseconds apart."""
    if not patterns.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,6})?", time.strip()):
        raise FactError(f"{time[:100]!r} is not a time")
    return float(time)


@then(parsers.parse('the profile "{profile}" carries the rules for fuse-overlayfs'))
def profile_carries_rules(node_host: Host, profile: str) -> None:
    """Check the deployed file; another Then compares it with the repository's."""
    deployed = node_host.file(f"/etc/apparmor.d/{profile}")
    assert deployed.exists, f"/etc/apparmor.d/{profile} is absent"
    text = deployed.content_string
    allowed = [r.bare for r in statements(text) if not r.denies and _covers_fuse(r.bare)]
    for rule, form in RULES.items():
        assert any(patterns.fullmatch(form, bare) for bare in allowed), (
            f"/etc/apparmor.d/{profile} has no rule '{rule}'"
        )
    local = node_host.file(f"/etc/apparmor.d/local/{profile}")
    for path, rules in ((deployed.path, text), (local.path, local.exists and local.content_string)):
        denied = [r for r in statements(rules or "") if r.denies and _covers_fuse(r.bare)]
        assert not denied, f"{path} has '{denied[0]}', and a deny beats every rule that allows"
    evidence.say(" ".join(RULES))


#: What fuse-overlayfs mounts, and where.
_FUSE, _MERGED = "fuse.fuse-overlayfs", "/var/lib/docker/fuse-overlayfs/id/merged/"
_COVERS = patterns.compile(
    r"mount(?: fstype ?(?:=|in) ?(\([^)]*\)|\S+))?(?: -> (\S+))?"
    r"|file|(?:file )?(?:/dev/fuse|/sys/fs/fuse/connections) \w+"
)


def _covers_fuse(rule: str) -> bool:
    """Whether a rule is about fuse-overlayfs's device or each of its mounts."""
    if not (match := _COVERS.fullmatch(rule)):
        return False
    types = patterns.findall(r"[^(), ]+", match[1] or "*")
    return any(_is_of(_FUSE, fstype) for fstype in types) and _is_of(_MERGED, match[2] or "*")


def _is_of(name: str, glob: str) -> bool:
    return bool(patterns.match(patterns.escape(glob).replace(r"\*", ".*") + "$", name))


@then(parsers.parse('the repository\'s "{profile}" is the one that is deployed'))
def repository_is_deployed(node: Transport, node_host: Host, target: Target, profile: str) -> None:
    """A later run of phoenix must deploy the same file again."""
    name = f"etc/apparmor/{profile}"
    source = node.ask(repository.file_of(target.repository, name))
    assert source is not None, f"{target.repository}/{name} is absent"
    deployed = node_host.file(f"/etc/apparmor.d/{profile}")
    assert deployed.exists, f"{deployed.path} is absent"
    if not (hashed := deployed.sha256sum):
        raise FactError(f"{deployed.path} cannot be compared")
    assert hashlib.sha256(source).hexdigest() == hashed, (
        f"{target.repository}/{name} and {deployed.path} differ"
    )


@then(parsers.parse('the profile has the name "{name}" in file, kernel and configuration'))
def one_name(node: Transport, runtime: Runtime, ctid: int, name: str) -> None:
    """With a hyphen in one place and an underscore in another, no container can start."""
    try:
        names = node.look(["apparmor_parser", "-N", "-K", f"/etc/apparmor.d/{name}"], timeout=120)
        in_file = sorted(names.require().text.split())
    except CommandFailed as error:
        raise AssertionError(f"/etc/apparmor.d/{name} cannot be parsed: {error}") from error
    similar = patterns.compile(patterns.sub(r"[-_]", "[-_]", patterns.escape(name)))
    in_kernel = sorted(p for p in apparmor.loaded_profiles(node) if similar.fullmatch(p))
    assigned = [o.value for o in runtime.configuration(ctid).all("lxc.apparmor.profile")]
    assert in_file == in_kernel == assigned[-1:] == [name], (
        f"the profile's names differ: file {in_file}, kernel {in_kernel or 'not loaded'}, "
        f"configuration {assigned or 'none'}; all must be '{name}'"
    )
    evidence.say(f"{name} in all three")


#: The mode of AppArmor as a whole; an old kernel has no such file.
_MODE = "/sys/module/apparmor/parameters/mode"
_AT_BOOT = unparsed("systemctl", "is-enabled", "apparmor")
_LOADS = unparsed("systemctl", "show", "apparmor", "-p", "ExecStart", "-p", "ExecReload")


def _require_apparmor_enforces(node: Transport) -> None:
    whole = (node.read(_MODE) or b"").decode(errors="replace").strip()
    assert whole in {"", "enforce"}, (
        f"AppArmor itself is in mode '{whole[:40]}' ({_MODE}), whatever each profile says "
        f"({confinement.mode_meaning(whole[:40])}): printf enforce into it, and see the kernel's "
        "command line (apparmor.mode)"
    )


@then(parsers.parse('the kernel enforces the profile "{name}"'))
def kernel_enforces(node: Transport, name: str) -> None:
    """The message explains every other mode: complain confines nothing, kill does."""
    loaded = apparmor.loaded_profiles(node)
    _require_apparmor_enforces(node)
    mode = loaded.get(name)
    assert mode, (
        f"the kernel does not know the profile {name}: apparmor_parser -r /etc/apparmor.d/{name}"
    )
    assert mode == "enforce", f"the profile {name} is {confinement.mode_meaning(mode)}"
    attached = apparmor.attachment(node, name)
    assert not attached, (
        f"the profile {name} is attached to '{attached}': programs of the node run under it, too "
        f"('profile {name} {attached} ...' in /etc/apparmor.d/{name}); remove the attachment"
    )
    at_boot = node.ask(_AT_BOOT).text.strip()
    assert at_boot not in {"disabled", "masked", "masked-runtime"}, (
        f"the kernel has the profile {name} now, but apparmor.service does not start at boot "
        f"({at_boot}): the node's next boot loses it; systemctl enable apparmor"
    )
    if at_boot != "enabled":  # another program loads the profiles here
        return
    obstacle = next_boot.obstacle(node, "apparmor.service")
    assert not obstacle, (
        f"the kernel has the profile {name} now, but the node's next boot loads none: {obstacle}"
    )
    programs = patterns.findall(r" path=(\S+) ;", node.ask(_LOADS).require().text)
    others = [path for path in programs if not path.endswith("/apparmor.systemd")]
    wrong = [*others, "nothing"][0] if others or not programs else ""
    assert not wrong, (
        f"apparmor.service runs {wrong} at its start or reload, not AppArmor's own "
        "/lib/apparmor/apparmor.systemd, so it loads no profile: systemctl revert apparmor"
    )


@then(parsers.parse('the kernel\'s policy for "{name}" is what its file says'))
def policy_is_current(node: Transport, name: str) -> None:
    """Compare hashes of the compiled policy: a changed file has no effect before it is loaded."""
    loaded = node.ask(apparmor.loaded_policy(name))
    if not loaded:
        raise FactError(f"the kernel does not know the profile {name}, so it has no policy of it")
    compiled = node.ask(apparmor.compiled_policy(f"/etc/apparmor.d/{name}"))
    defect = apparmor.next_load_defect(node, name, loaded, compiled)
    # Both change what the file compiles to, and a load by hand, too.
    elsewhere = "/force-complain/" in defect or "override-policy-abi" in defect
    assert loaded == compiled or elsewhere, (
        f"the kernel's policy for {name} is not what /etc/apparmor.d/{name} says (hash "
        f"{loaded[:12]}, file {compiled[:12]}): apparmor_parser -r /etc/apparmor.d/{name}"
    )
    assert not defect, (
        f"the next load (at the node's boot, or systemctl reload apparmor) gives the kernel "
        f"another policy for {name} than it has: {defect}"
    )
    evidence.say(f"policy {loaded[:12]} in both, and after the next load")


@then(parsers.parse('the container\'s first process runs under "{name}", enforced'))
def first_process_runs_under(runtime: Runtime, ctid: int, name: str) -> None:
    """Read the label from the node, because it may read 'unconfined' inside the container."""
    label = apparmor.label(runtime.node, runtime.init_pid(ctid))
    assert not label.startswith("unconfined"), (
        f"container {ctid} is unconfined: everything works, but nothing confines it"
    )
    assert label == f"{name} (enforce)", (
        f"container {ctid} runs under '{label}', not under '{name} (enforce)': "
        f"{_why_another(runtime, ctid, label, name)}"
    )
    evidence.say(f"PID 1 is {label}")


@evidence.explanation
def _why_another(runtime: Runtime, ctid: int, label: str, name: str) -> str:
    if label.startswith(f"{name} ("):
        return f"it is {confinement.label_defect(label, name, {})}"
    started = [o.value for o in runtime.effective(ctid).all("lxc.apparmor.profile")]
    if name in started[:-1]:
        return f"its configuration assigns {', then '.join(started)}; the last one wins"
    written = runtime.configuration(ctid).current().get("lxc.apparmor.profile", "none")
    if written == name:
        return "its configuration assigns that one, but the container was not restarted since"
    return f"its configuration assigns {written}"


@then("every process runs under an enforced profile and a seccomp filter")
def every_process_is_confined(runtime: Runtime, ctid: int, wanted: PlanFile) -> None:
    """The profile is the plan's; if the plan names none, that of the configuration in effect."""
    name = wanted.profile
    if not name:  # an unconfined guest may enter any profile, also one that it may leave at will
        assigned = [option.value for option in runtime.effective(ctid).all("lxc.apparmor.profile")]
        name = (assigned[-1] if assigned else "") or _UNASSIGNED  # LXC takes a blank one for none
        assert name not in {"unconfined", "unchanged"}, (
            f"container {ctid} is unconfined: its configuration assigns the profile '{name}'"
            f"{after_upgrade(runtime)}"
        )
    every_process_runs_under(
        runtime, ctid, f"lxc-{ctid}_</var/lib/lxc>" if name == GENERATED else name
    )


@then(parsers.parse('every process runs under "{name}", enforced, and a seccomp filter'))
def every_process_runs_under(runtime: Runtime, ctid: int, name: str) -> None:
    """Read, from the node, label and seccomp mode of each thread in the container's cgroups.

    A process that enters the container is in its cgroup a moment before it is under its profile. So
    after one with a wrong label or no filter, two looks must find none. A program that forks to
    escape that is in each look another process: the third wrong look counts whatever it shows.
    """
    _require_apparmor_enforces(runtime.node)
    pid = runtime.init_pid(ctid)
    seen: set[int] = set()
    wrong = right = 0
    while True:
        processes = confinement.processes(runtime.node, pid)
        stacks = [
            process
            for process in processes
            if "//&" in process.label and not process.label.endswith("(enforce)")
        ]
        modes = apparmor.loaded_profiles(runtime.node) if stacks else {}
        outside = [process for process in processes if process.defect(name, modes)]
        wrong, right = wrong + bool(outside), right + (not outside)
        stay = [process for process in outside if process.pid in seen]
        if stay or wrong == _LOOKS or right == _LOOKS - 1 or not (seen or outside):
            break
        seen |= {process.pid for process in outside}
        time.sleep(_ENTERING)
    outside = stay or outside
    number = counted(len(outside), "thread")
    from_start = any(process.pid == pid and not process.filtered for process in outside)
    assert not outside, (
        f"{number} of container {ctid} not confined by {name}: "
        f"{_told(outside, name, modes)}"
        f"{why_wide(runtime.node, name) if name == desired.PROFILE else ''}"
        f"{said_by(runtime, ctid, 'lxc.seccomp.profile') if from_start else ''}"
    )
    docker = {process.name for process in processes} & {"dockerd", "containerd", "docker-proxy"}
    whose = f", {', '.join(sorted(docker))} among them" if docker else ", none of them Docker's"
    evidence.say(f"{counted(len(processes), 'thread')} under {name} and seccomp{whose}")


#: LXC's profile for a container that is assigned none. Source: lxc, src/lxc/lsm/apparmor.c.
_UNASSIGNED = "lxc-container-default-cgns"
#: How long an entering process may take to get under the profile (seconds), and how often one may
#: be seen that is not.
_ENTERING, _LOOKS = 1.0, 3
#: The number of findings that a message lists.
_TOLD = 4


def _first(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - _TOLD} more"] * (len(lines) > _TOLD)
    return "; ".join([*lines[:_TOLD], *more])


def _told(outside: list[Process], name: str, modes: dict[str, str]) -> str:
    """Return the unconfined programs, each with the reason; several threads count once."""
    kinds: dict[tuple[str, str], int] = {}
    for process in outside:
        kinds.setdefault((process.name, process.defect(name, modes)), process.pid)
    return _first(
        [f"{program} (process {pid} of the node) is {why}" for (program, why), pid in kinds.items()]
    )


@evidence.explanation
def why_wide(node: Transport, name: str) -> str:
    """Return the rules beyond the shipped profile, for a red verdict."""
    wide = _widening(node, name)
    return f". Beyond the shipped profile: {wide}" if wide else ""


def _widening(node: Transport, name: str) -> str:
    paths = (f"/etc/apparmor.d/{name}", f"/etc/apparmor.d/local/{name}")
    deployed, local = ((node.read(path) or b"").decode(errors="replace") for path in paths)
    shipped = desired.profile().decode()
    return _first(confinement.widening_rules(deployed, local, name, shipped=shipped))


@then(parsers.parse('the container is refused what only "{name}" refuses it'))
def refused_by_the_profile(runtime: Runtime, node: Transport, ctid: int, name: str) -> None:
    """A program of the node attempts it as the container's root, under its profile.

    The profile's text and hash do not prove its effect, and a program of the container may lie.
    Each attempt leaves a denial of ``gate-attempt`` in the node's log.
    """
    attempts = confinement.attempts(runtime, ctid)
    allowed = [what for what, succeeds in attempts.items() if succeeds]
    assert not allowed, (
        f"container {ctid} may {'; '.join(allowed)}: the shipped {name} refuses that"
        f"{_whose(runtime, ctid, name)}{why_wide(node, name)}"
    )
    is_whole = len(attempts) == len(confinement.ATTEMPTS)
    none = "" if is_whole else "; the node has no firmware to list"
    evidence.say(f"{counted(len(attempts), 'attempt')}, each refused{none}")
    if wide := _widening(node, name):
        evidence.say(f"beyond the shipped profile, for you to review: {wide}")


@evidence.explanation
def _whose(runtime: Runtime, ctid: int, name: str) -> str:
    label = apparmor.label(runtime.node, runtime.init_pid(ctid))
    return "" if label == f"{name} (enforce)" else f", and it runs under '{label}'"
