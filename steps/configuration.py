"""The container's configuration: as written, and as in effect.

PYTEST_DONT_REWRITE: assertions have messages of their own, for the reader of the verdict.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_bdd import parsers, then

from docker_lxc_gate import patterns
from docker_lxc_gate.doctor import guest_reads, node_reads
from docker_lxc_gate.doctor.runc_fix import first_upgrade
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import confinement
from docker_lxc_gate.formats import container_config, mount_table, pct_options, proxmox
from docker_lxc_gate.formats.container_defects import defects
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.read import unparsed
from docker_lxc_gate.machines.runtime import guest_root
from docker_lxc_gate.printable import counted
from docker_lxc_gate.verdict import evidence
from remediation.edits.container_config import letting_go, with_features

if TYPE_CHECKING:
    from docker_lxc_gate.formats.container_config import ContainerConfig, Option
    from docker_lxc_gate.machines.runtime.base import Runtime
    from docker_lxc_gate.machines.transport import Transport
    from remediation.plan_file import PlanFile

#: Options whose place in the file decides whether Docker works, confined.
_DECISIVE = ("features", "lxc.apparmor.profile", "lxc.mount.entry", "lxc.include")
_OF_ENTRIES = ("container-mount-entry-cut", "container-mount-target-absolute")


@then("every mount entry of the container is whole")
def mount_entries_are_whole(runtime: Runtime, ctid: int) -> None:
    """Check the written and the generated file, before any start fails on a cut entry."""
    written = runtime.configuration(ctid)
    if not written.options:
        raise FactError(f"{written.path} holds no option at all, so its mounts cannot be judged")
    entries, files = 0, [written]
    with suppress(FactError):  # before its first start, the container has no other file
        files.append(runtime.effective(ctid))
    for config in files:
        entries += len(config.all("lxc.mount.entry"))
        for defect in defects(config):
            assert defect.problem not in _OF_ENTRIES, (
                f"{defect.cause}; {defect.effect} ({config.path}, line {defect.line})"
            )
    count = counted(entries, "mount entry", "mount entries")
    evidence.say(f"{count}, each with source, target, type and options")


@then("the container is given the features that the plan names")
def container_is_given_its_features(runtime: Runtime, ctid: int, wanted: PlanFile) -> None:
    """Under the default plan these are plain's; another Then names that plan's own."""
    container_is_given(runtime, ctid, ", ".join(wanted.features))


@then(parsers.parse('the container is given "{names}"'))
def container_is_given(runtime: Runtime, ctid: int, names: str) -> None:
    """Check Proxmox's features, or their equivalents in plain LXC's configuration in effect.

    No pending change may take one away.
    """
    wanted = names.split(", ") if names else []
    written = runtime.configuration(ctid)
    if runtime.kind == "pct":
        shown = written.current().get("features", "")
        refused = pct_options.refusal("features", shown)
        assert refused is None or not refused.certain, (
            f"container {ctid} cannot start: {refused.words} ({runtime.config_path(ctid)}: "
            f"'features: {shown}'); correct the value there, in an editor"
        )
        granted = container_config.features(shown)
        # pct set replaces the whole option, so the proposed value keeps the other features.
        value = with_features(shown, dict.fromkeys(wanted, "1"))
        how = f"{shlex.join(['pct', 'set', str(ctid), '--features', value])}, then restart it"
        path = written.current().get("lxc.seccomp.profile", "")
        if "keyctl" in wanted and path:  # it counts, and not the one that Proxmox makes of features
            text = runtime.seccomp_list(runtime.effective(ctid))
            if container_config.refuses(text):
                granted = {**granted, "keyctl": "0"}
                how = f"the seccomp list {path} refuses the system call keyctl: let it through"
        for line, text in written.unreadable:
            if text.lstrip().startswith("features"):
                how = f"line {line}, '{text}', is {proxmox.unreadable(text)}; {how}"
    else:
        granted = runtime.features(ctid)
        shown = ",".join(f"{name}={value}" for name, value in granted.items())
        how = "docker-lxc-gate apply, with the same --target, gives it all of them"
    missing = [name for name in wanted if not pct_options.boolean(granted.get(name, ""))]
    assert not missing, (
        f"container {ctid} lacks {', '.join(missing)}: its features in effect are "
        f"'{shown}' ({runtime.config_path(ctid)}); {how}"
    )
    if lost := container_config.lost_at_next_stop(written, wanted):
        raise AssertionError(
            f"the next stop of container {ctid} takes away {', '.join(lost)}: "
            f"{letting_go(written, ctid)}"
        )
    evidence.say(f"features: {shown}")
    if not pct_options.boolean(granted.get("keyctl", "")):
        evidence.say("keyctl is off. Docker does not need it; on Proxmox, root@pam may set it")


@then("every line of the container's configuration is in effect")
def every_line_is_in_effect(runtime: Runtime, ctid: int) -> None:
    """Every line is read, no decisive option has no effect, and a running container has them."""
    written = runtime.configuration(ctid)
    assert written.options, f"{written.path} holds no option at all"
    for defect in defects(written):
        effect = f"; {defect.effect}" if defect.effect else ""
        assert not defect.certain or defect.problem in _OF_ENTRIES, (
            f"{written.path}, line {defect.line}: {defect.cause}{effect}"
        )
    for key in _DECISIVE:
        if not written.all(key):
            for option in written.elsewhere(key):
                raise AssertionError(
                    f"{written.path}, line {option.line}: '{option.key}: {option.value}' stands in "
                    f"section [{option.section}], where it has no effect; it belongs before the "
                    "first line that starts with '['"
                )
    late = [] if written.plain else _later_than_start(runtime, ctid, written)
    assert not late or not runtime.node.ask(runtime.first_process(ctid)), (
        f"{written.path}, line {late[0].line}: '{late[0].key}: {late[0].value}' is not in effect: "
        f"container {ctid} was not restarted since this line was written"
    )
    evidence.say(f"{counted(len(written.options), 'option')}, none out of place")


def _later_than_start(runtime: Runtime, ctid: int, written: ContainerConfig) -> list[Option]:
    """Return the lines that are not in LXC's configuration, which Proxmox makes at each start.

    It copies raw lines as they are. A raw profile or seccomp list decides instead of a feature.
    Source: PVE::LXC, update_lxc_config.
    """
    content = runtime.node.read(runtime.started_path(ctid)) or b""
    started = container_config.parse_lxc("", content.decode(errors="replace"))
    has = {(option.key, option.value) for option in started.options}
    raw = [o for o in written.options if o.key.startswith("lxc.") and not o.section]
    late = [option for option in raw if (option.key, option.value) not in has]
    decided = any(o.key in {"lxc.apparmor.profile", "lxc.seccomp.profile"} for o in raw)
    judged = {"fuse"} if decided else {"fuse", "nesting", "keyctl"}
    given = container_config.given(written.current().get("features", ""))
    listed = "" if decided else runtime.seccomp_list(started)
    if given & judged - container_config.granted(started, listed).keys():
        late += written.all("features")[-1:]
    return late if has else []  # without a configuration it never started


@then(parsers.parse('the configuration in effect assigns the profile "{profile}"'))
def profile_in_effect(runtime: Runtime, ctid: int, profile: str) -> None:
    """The last assignment wins: an include after it silently replaces the profile."""
    for source in (runtime.configuration(ctid), runtime.effective(ctid)):
        assigned = source.all("lxc.apparmor.profile")
        assert assigned, (
            f"{source.path} assigns no profile: container {ctid} runs under a generated one, "
            f"not under {profile}"
        )
        last = assigned[-1].value
        assert last == profile, (
            f"the profile in effect is '{last}', not '{profile}': {source.path} assigns "
            + ", then ".join(f"'{option.value}'" for option in assigned)
            + ("" if len(assigned) == 1 else "; the last assignment wins (an include counts)")
        )


#: The device number of /dev/fuse. Source: Documentation/admin-guide/devices.txt.
_FUSE = guest_root.Inode("a character device", 10, 229)
_OPEN_FUSE = unparsed("sh", "-c", program("steps", "open_fuse.sh"), "fuse")


@then("the container can open /dev/fuse for reading and writing")
def fuse_can_be_opened(container: Transport, runtime: Runtime, ctid: int) -> None:
    """Open it, because the device may exist and be refused.

    The node must see the right device: a link to another device, or another device with its name,
    can be opened, too.
    """
    result = container.ask(_OPEN_FUSE)
    stderr = patterns.sub(r"^sh: [0-9]+: ", "", result.stderr.decode(errors="replace").strip())
    assert result.ok, (
        f"the container cannot open /dev/fuse: {stderr} (features: fuse=1, and a restart)"
    )
    seen = guest_root.look(runtime, ctid, "/dev/fuse")
    assert seen == _FUSE, (
        f"/dev/fuse in the container is {seen or 'absent'}, as the node sees it, not {_FUSE} "
        "(features: fuse=1, and a restart)"
    )
    evidence.say(f"/dev/fuse is {seen}")


@then("its seccomp list refuses what LXC's own list refuses")
def seccomp_list_refuses(runtime: Runtime, node: Transport, ctid: int, wanted: PlanFile) -> None:
    """A list that refuses nothing makes a filter, too; the one of the container's start counts.

    If the plan names a list, it must be that one.
    """
    if changed := node.ask(confinement.filter_changed(runtime, ctid)):
        raise FactError(
            f"{changed} was changed since container {ctid} started, so the seccomp list that it "
            "started with is not known: restart the container, then run the gate again"
        )
    effective = runtime.effective(ctid)
    path = effective.current().get("lxc.seccomp.profile", "")
    if wanted.seccomp not in {"", path}:
        written = runtime.configuration(ctid).current().get("lxc.seccomp.profile")
        how = "docker-lxc-gate apply, with the same --target and --plan, assigns it"
        raise AssertionError(
            f"container {ctid} runs with the seccomp list {path or 'none'}, not with the plan's, "
            f"{wanted.seccomp}: {'restart it' if written == wanted.seccomp else how}"
        )
    text = runtime.seccomp_list(effective)
    let = [
        call for call in container_config.LXC_REFUSES if not container_config.refuses(text, call)
    ]
    assert not let, (
        f"the seccomp list of container {ctid} lets {', '.join(let)} through, and LXC's own does "
        f"not{said_by(runtime, ctid, 'lxc.seccomp.profile')}"
    )


def mounts_of(runtime: Runtime, ctid: int) -> tuple[mount_table.Mount, ...]:
    """Return the mounts that a container's first process sees, as the node's kernel says."""
    table = runtime.node.read(f"/proc/{runtime.init_pid(ctid)}/mountinfo") or b""
    return mount_table.parse(table.decode(errors="replace"), f"the mounts of container {ctid}")


@then("what LXC mounts read-only by default is read-only in the container")
def mounts_are_read_only(runtime: Runtime, ctid: int) -> None:
    """``/proc/sys``, and ``/sys`` with ``sys:mixed``, which Proxmox adds unless ``force_rw_sys=1``.

    The container's root can mount it anew, and back while the gate looks, so what LXC was told to
    mount writable is red whatever the mounts say now. LXC mounts the cgroup writable by default. It
    drops no capability in a user namespace of the container's own, and sets no ``no_new_privs``.
    Source: common.conf, userns.conf and confile.c of LXC 3 to 7.
    """
    mounts = mounts_of(runtime, ctid)
    asked = [option.value for option in runtime.effective(ctid).all("lxc.mount.auto")]
    modes: dict[str, str] = {}  # the last one counts
    for value in asked:
        modes |= {word.partition(":")[0]: word for word in value.split() or ("proc:", "sys:")}
    places = {"/proc/sys": "proc", **({"/sys": "sys"} if "sys:mixed" in asked else {})}
    writable = [
        at
        for at, kind in places.items()
        if modes.get(kind) in (f"{kind}:", f"{kind}:rw")  # nothing, or writable
        or "ro" not in mount_table.below(mounts, at).options
    ]
    assert not writable, (
        f"container {ctid} can write below {' and '.join(writable)}, which LXC mounts read-only by "
        f"default{said_by(runtime, ctid, 'lxc.mount.auto')}"
    )
    evidence.say(f"read-only: {', '.join(places)}")


@then("nothing hides AppArmor from Docker")
def apparmor_is_not_hidden(runtime: Runtime, container: Transport, ctid: int) -> None:
    """What was the cure for runc 1.3.3 of November 2025 takes Docker's own profiles away.

    Under a named profile Docker can load none, so that nothing is taken away there.
    """
    effective = runtime.effective(ctid)
    if not effective.options:
        raise FactError(f"{effective.path} holds no option at all, so nothing is known of it")
    if effective.current().get("lxc.apparmor.profile", "") not in container_config.NO_PROFILE:
        evidence.say("under a named profile, Docker loads none of its own")
        return
    hidden = [
        f"{config.path}, line {entry.line}: '{entry.key}: {entry.value}'"
        for config in (runtime.configuration(ctid), effective)
        for entry in container_config.hiding_apparmor(config)
    ]
    if "hidden" in container.ask(guest_reads.OWN_APPARMOR):
        hidden.append("the package apparmor is installed there, without its apparmor_parser")
    assert not hidden, (
        f"AppArmor is hidden from Docker in container {ctid}, so Docker's containers have no "
        f"profile of their own: {hidden[0]}{after_upgrade(runtime)}"
    )


@evidence.explanation
def after_upgrade(runtime: Runtime) -> str:
    """Return what must come before the cure for runc 1.3.3 is taken away."""
    first = first_upgrade(runtime.node.ask(node_reads.VERSIONS))
    before = f". {first} first" if first else ""
    return f"{before}. docker-lxc-gate doctor, with the same --target, says how to take it away"


@evidence.explanation
def said_by(runtime: Runtime, ctid: int, key: str) -> str:
    """Return the line of the container's file that may cause a red verdict."""
    written = runtime.configuration(ctid)
    for option in (*written.all(key)[-1:], *written.all("lxc.include")):
        line = "" if written.plain else f", line {option.line}"
        place = f"{written.path}{line}: '{option.key}: {option.value}'"
        return f"; see {place}, then restart the container"
    return f"; {written.path} has no {key}: restart the container, then look for what changed it"
