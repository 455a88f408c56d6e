"""What weakens a container: which profile its configuration really gives it, and its map of ids.

Sources: PVE::LXC (update_lxc_config, make_apparmor_config, parse_id_maps) of pve-container 6.1,
lxc.container.conf(5), user_namespaces(7), LXC's nesting.conf and abstractions/start-container.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.formats import container_config, pct_options
from docker_lxc_gate.formats.container_config import NO_PROFILE, ContainerConfig, Option
from docker_lxc_gate.formats.id_map import Range, holes, in_words, written
from docker_lxc_gate.lint.finding import Finding, Kind, Source
from docker_lxc_gate.lint.rules.container_config import read

if TYPE_CHECKING:
    from docker_lxc_gate.lint.includes import Rules

_PROFILE_KEYS = ("lxc.apparmor.profile", "lxc.aa_profile")
#: LXC's profiles that refuse nested mounts.
_NOT_NESTING = patterns.compile(r"lxc-container-default(-cgns|-with-mounting)?")
_ALL_DEVICES = patterns.compile(r"(?P<type>[abc])(\s\*:\*(\s.*)?)?")
#: What gives a container a device node, or may: Proxmox's devN, and LXC's.
_GIVES_DEVICE = patterns.compile(
    r"(dev[0-9]+|hookscript|lxc\.(include|hook\..*|mount\.fstab)|lxc\.mount\.entry=.*dev).*"
)
#: Devices that a container needs a node for, by their numbers; LXC makes those of 1, 5 and 136.
_NODES = {
    "10:200": "/dev/net/tun",
    "10:229": "/dev/fuse",
    "10:232": "/dev/kvm",
    "226:0": "/dev/dri/card0",
    "226:128": "/dev/dri/renderD128",
}
#: What maps root to itself on the disk of a mount point.
_OF_ROOT = patterns.compile("passthrough|u:0:0:[0-9]+")
_MADE = ("1", "5", "136")
_ALLOWED = patterns.compile(r"[bc]\s(?P<numbers>(?P<major>[0-9]+):[0-9*]+)\s.*")
_NESTING_CONF = patterns.compile(r"(.*/)?nesting\.conf")
_MOUNT_RULE = patterns.compile(r"mount\b|all$")
#: What LXC's own profiles include: none of it lets a container mount /proc or a fuse file system.
_WITHOUT_NESTING = patterns.compile(r"abstractions/lxc/container-base|tunables/.*|abi/.*|local/.*")


def check(source: Source, profiles: Mapping[str, Rules]) -> Iterator[Finding]:
    """Yield what weakens a container, and where its profile is another one than it seems.

    ``profiles`` are the rules of each profile that is linted with it, by name.
    """
    written = read(source)
    yield from _weak(source, written)
    for entry in container_config.hiding_apparmor(written):
        said = f"'{entry.key}: {entry.value}' hides AppArmor from Docker"
        yield source.at("container-apparmor-hidden", entry.line, said)
    profile = next(
        (o for o in reversed(written.options) if o.key in _PROFILE_KEYS and not o.section), None
    )
    if profile is None:
        return
    bare = profile.value.strip("\"'")
    if bare.lower() in {"unconfined", "unchanged"}:
        said = f"'{profile.key}: {profile.value}' leaves the container without a profile"
        yield source.at("container-unconfined", profile.line, said)
    elif not profile.value.startswith(("lxc-", ":")) and bare not in NO_PROFILE:
        said = f"lxc-start cannot enter the profile {profile.value}"
        yield source.at("container-profile-not-enterable", profile.line, said)
    for include in written.all("lxc.include"):
        if include.line > profile.line and _NESTING_CONF.fullmatch(include.value):
            said = f"{include.value} replaces the profile {profile.value} of line {profile.line}"
            yield source.at("container-profile-replaced", include.line, said)
    if source.kind is Kind.CONTAINER:
        yield from _overridden(source, written, profile, profiles)


def _weak(source: Source, written: ContainerConfig) -> Iterator[Finding]:
    current = [o for o in written.options if not o.section]
    values = [o for o in current if o.key == "unprivileged"][-1:]
    mapped = any(o.key in {"lxc.idmap", "lxc.id_map"} for o in current)
    privileged = not mapped and not any(pct_options.boolean(o.value) for o in values)
    for option in written.all("lxc.cap.drop")[-1:]:
        # Without privileges, capabilities hold in the container's own namespace alone.
        if not option.value and privileged:
            yield source.at("container-capabilities-kept", option.line, "no capability is dropped")
    for option in current:
        if option.key in {"lxc.cap.drop", "lxc.cap.keep"}:
            yield from _capabilities(source, option)
    for option in written.all("lxc.seccomp.profile")[-1:]:
        if not option.value:
            said = f"'{option.key}' is emptied: no system call is refused"
            yield source.at("container-seccomp-off", option.line, said)
    yield from _devices(source, written, privileged=privileged)
    if source.kind is Kind.CONTAINER and not privileged:
        yield from _passthrough(source, written)
    if source.kind is Kind.CONTAINER and privileged and any(o.key == "rootfs" for o in current):
        said = f"'unprivileged: {values[0].value}'" if values else "'unprivileged' is not set"
        yield source.at("container-privileged", values[0].line if values else 0, said)


def _passthrough(source: Source, written: ContainerConfig) -> Iterator[Finding]:
    """Yield the bind mounts in which the container's root is the disk's."""
    for key, given in container_config.mount_points(written).values():
        volume = given.get("volume") or next((key for key, word in given.items() if not word), "")
        maps = given.get("idmap", "").split(";") if volume.startswith("/") else []
        if any(map(_OF_ROOT.fullmatch, maps)):
            said = f"'{key}' maps the container's root to the root of {volume}"
            yield source.at("container-mount-passthrough", written.all(key)[-1].line, said)


def _devices(source: Source, written: ContainerConfig, *, privileged: bool) -> Iterator[Finding]:
    allowed = written.all("lxc.cgroup2.devices.allow")
    whole = {m["type"]: o for o in allowed if (m := _ALL_DEVICES.fullmatch(o.value))}
    if last := whole.get("a") or (whole.get("b") and whole.get("c")):
        said = f"'{last.key}: {last.value}' allows every device"
        yield source.at("container-devices-all", last.line, said)
    current = [f"{o.key}={o.value}" for o in written.options if not o.section]
    if privileged or any(map(_GIVES_DEVICE.fullmatch, current)):
        return
    fuse = "fuse" in container_config.given(written.current().get("features", ""))
    for option in allowed:
        device = _ALLOWED.fullmatch(option.value)
        if device and device["major"] not in _MADE and not (fuse and device["numbers"] == "10:229"):
            node = _NODES.get(device["numbers"], "PATH")
            entry = f"lxc.mount.entry = {node} {node[1:]} none bind,create=file"
            fix = f"Write dev0: {node}" if source.kind is Kind.CONTAINER else f"Write {entry}"
            said = f"'{option.value}' is allowed, and no line gives the container the device"
            yield source.at("container-device-not-given", option.line, said, fix=f"{fix}.")
            return


def _capabilities(source: Source, option: Option) -> Iterator[Finding]:
    """Yield the names that LXC does not know; it also takes a number."""
    known = {"none"} if option.key == "lxc.cap.keep" else set[str]()
    for name in option.value.split():
        if name not in pct_options.CAPABILITIES | known and not patterns.fullmatch(
            "[0-9]{1,9}", name
        ):
            said = f"'{option.key}' has '{name}', which is no capability"
            fix = pct_options.like_capability(name)
            yield source.at("container-capability-unknown", option.line, said, fix=fix)


def _overridden(
    source: Source, written: ContainerConfig, profile: Option, profiles: Mapping[str, Rules]
) -> Iterator[Finding]:
    given = {"nesting", "fuse"} & container_config.given(written.current().get("features", ""))
    nesting = pct_options.boolean(written.current().get("lxc.apparmor.allow_nesting", ""))
    if profile.value == "generated":
        given -= {"nesting"} if nesting else set()
        lost, why = given, "an explicit 'generated'"
    elif _NOT_NESTING.fullmatch(profile.value):
        lost, why = given, f"LXC's profile {profile.value}"
    elif profile.value in profiles and _mounts_nothing(profiles[profile.value]):
        lost, why = given, f"the profile {profile.value}, which has no mount rule of its own"
    else:
        return
    if lost:
        names = ", ".join(sorted(lost))
        said = f"{why} overrides 'features': {names}"
        yield source.at("container-features-overridden", profile.line, said)


def _mounts_nothing(rules: Rules) -> bool:
    """Whether a profile has no rule for a mount, and includes nothing that may hold one."""
    if any(_MOUNT_RULE.match(each.rule.bare) and not each.rule.denies for each in rules.found):
        return False
    return all(_WITHOUT_NESTING.fullmatch(name) for name in rules.unknown)


_OF_IDS = {"u": "user", "g": "group"}


@dataclass(frozen=True)
class _Range(Range):
    """A range of users or groups, and the line that it is in."""

    kind: str
    line: int


def id_map(source: Source) -> Iterator[Finding]:
    """Yield what is wrong with a container's own id map; without one there is nothing to say."""
    ranges: list[_Range] = []
    for option in read(source).all("lxc.idmap"):
        found = written(option.value)
        if found is None or found[0] not in _OF_IDS:
            if option.value:  # an empty value clears the list
                said = f"'{option.value}' is no entry of an id map"
                yield source.at("container-idmap-invalid", option.line, said)
                return
            ranges = []
            continue
        ranges.append(_Range(**vars(found[1]), kind=found[0], line=option.line))
    for kind in _OF_IDS if ranges else ():
        of_kind = sorted((r for r in ranges if r.kind == kind), key=lambda r: r.inside)
        yield from _judged(source, kind, of_kind, ranges[-1].line)


def _judged(source: Source, kind: str, ranges: Sequence[_Range], last: int) -> Iterator[Finding]:
    name = _OF_IDS[kind]
    if not ranges:
        yield source.at("container-idmap-invalid", last, f"no {name} id is mapped")
        return
    if empty := [each for each in ranges if not each.count]:
        yield source.at("container-idmap-invalid", empty[0].line, f"it maps 0 {name} ids")
        return
    clash = _clash(ranges, "inside") or _clash(ranges, "outside")
    if clash:
        one, other = clash
        yield source.at(
            "container-idmap-overlap", other.line, f"{name} ids overlap those of line {one.line}"
        )
        return
    for hole in holes(ranges):
        line = next((each.line for each in ranges if each.inside > hole[0]), ranges[-1].line)
        yield source.at("container-idmap-hole", line, f"the {name} {in_words([hole])} not mapped")
    for each in ranges:
        if each.outside == 0 and each.count:
            yield source.at(
                "container-idmap-root", each.line, f"{name} {each.inside} is the node's {name} 0"
            )


def _clash(ranges: Sequence[_Range], side: str) -> tuple[_Range, _Range] | None:
    ordered = sorted(ranges, key=lambda each: int(getattr(each, side)))
    for one, other in pairwise(ordered):
        if getattr(one, side) + one.count > getattr(other, side):
            return one, other
    return None
