"""What weakens a container: which profile its configuration really gives it, and its map of ids.

Sources: PVE::LXC (update_lxc_config, make_apparmor_config, parse_id_maps) of pve-container 6.1,
lxc.container.conf(5), user_namespaces(7), LXC's nesting.conf and abstractions/start-container.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.formats import container_config, pct_options
from docker_lxc_gate.formats.container_config import NO_PROFILE, ContainerConfig, Option
from docker_lxc_gate.formats.id_map import Range, holes, in_words, written
from docker_lxc_gate.formats.mount_table import BY_GUESTS
from docker_lxc_gate.lint.finding import PROBLEMS, Finding, Kind, Severity, Source
from docker_lxc_gate.lint.rules.container_config import read

if TYPE_CHECKING:
    from docker_lxc_gate.lint.includes import Rules

_PROFILE_KEYS = ("lxc.apparmor.profile", "lxc.aa_profile")
#: LXC's profiles that refuse nested mounts.
_NOT_NESTING = patterns.compile(r"lxc-container-default(-cgns|-with-mounting)?")
_ALL_DEVICES = patterns.compile(r"(?P<type>[abc])(\s\*:\*(\s.*)?)?")
#: What an unprivileged container of Proxmox's may not use; a later devices.allow = a resets it.
_DENIES_DEVICE = patterns.compile(r"lxc\.cgroup2\.devices\.deny=.+|dev[0-9]+=.*deny-write.*")
#: Sources: lxc-pve-userns.conf of pve-container since July 2021 (devices.allow = a), mknod(2), and
#: LXC's bpf_list_add_device.
_ALLOWED_ANYWAY = (
    "Proxmox allows every unprivileged container all devices. Its root can make no device node, so "
    "it uses only those that it is given."
)
_DELETE = "Delete the line: it changes nothing. What gives a device is dev0: PATH."
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
#: So many unknown names are compared: a stranger's file may be made to be slow.
_MOST = 200
_ALLOWED = patterns.compile(r"[bc]\s(?P<numbers>(?P<major>[0-9]+):[0-9*]+)\s.*")
#: The numbers of a device that is mounted into a container. Source: kernel devices.txt.
_NUMBERS = [
    (patterns.compile(path), numbers)
    for path, numbers in (
        ("/dev/net(/tun)?", "10:200"),
        ("/dev/kvm", "10:232"),
        ("/dev/dri/(?:card|renderD)([0-9]{1,3})", "226:{}"),
        ("/dev/dri", "226:*"),
        ("/dev/ttyUSB([0-9]{1,3})", "188:{}"),
        ("/dev/ttyACM([0-9]{1,3})", "166:{}"),
        ("/dev/nvidia([0-9]{1,3})", "195:{}"),
        ("/dev/nvidiactl", "195:255"),
    )
]
#: What may give a right that the file does not show.
_MAY_ALLOW = patterns.compile(r"hookscript|lxc\.hook\..*")
#: What LXC lets a privileged container use is a list; Proxmox refuses nothing to another one.
_LISTS_DEVICES = patterns.compile(r"(.*/)?([a-z]+\.)?common\.conf")
_WANTS_DOCKER = patterns.compile(r"(?i)(.*[^a-z])?(docker|podman|portainer)([^a-z].*)?")
_OF_DEVICES = patterns.compile(r"lxc\.cgroup2?\.devices\.allow")
_NESTING_CONF = patterns.compile(r"(.*/)?nesting\.conf")
_WRITABLE = ("proc:rw", "sys:rw")
#: Raw lines that people write for Docker's sake, and that were tried without.
_FOR_DOCKER = patterns.compile(
    r"lxc\.(apparmor\.profile: unconfined|cap\.drop: |cgroup2?\.devices\.allow: a)"
)
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
        cause = f"'{entry.key}: {entry.value}' hides AppArmor from Docker"
        yield source.at("container-apparmor-hidden", entry.line, cause)
    profile = next(
        (o for o in reversed(written.options) if o.key in _PROFILE_KEYS and not o.section), None
    )
    if profile is None:
        return
    bare = profile.value.strip("\"'")
    if bare.lower() in {"unconfined", "unchanged"}:
        cause = f"'{profile.key}: {profile.value}' leaves the container without a profile"
        yield source.at("container-unconfined", profile.line, cause)
    elif not profile.value.startswith(("lxc-", ":")) and bare not in NO_PROFILE:
        cause = f"lxc-start cannot enter the profile {profile.value}"
        yield source.at("container-profile-not-enterable", profile.line, cause)
    for include in written.all("lxc.include"):
        if include.line > profile.line and _NESTING_CONF.fullmatch(include.value):
            cause = f"{include.value} replaces the profile {profile.value} of line {profile.line}"
            yield source.at("container-profile-replaced", include.line, cause)
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
    of_caps = (o for o in current if o.key in {"lxc.cap.drop", "lxc.cap.keep"})
    yield from islice(chain.from_iterable(_capabilities(source, o) for o in of_caps), _MOST)
    for option in written.all("lxc.seccomp.profile")[-1:]:
        if not option.value:
            cause = f"'{option.key}' is emptied: no system call is refused"
            yield source.at("container-seccomp-off", option.line, cause)
    for option in written.all("lxc.mount.auto"):
        if places := [f"/{word[:-3]}" for word in option.value.split() if word in _WRITABLE]:
            cause = f"'{option.value}' lets the container write below {' and '.join(places)}"
            yield source.at("container-mounts-writable", option.line, cause)
    yield from _devices(source, written, privileged=privileged)
    yield from _refused(source, written, privileged=privileged)
    if source.kind is Kind.CONTAINER:
        yield from _features(source, written, privileged=privileged)
        if not privileged:
            yield from _passthrough(source, written)
    if source.kind is Kind.CONTAINER and privileged and any(o.key == "rootfs" for o in current):
        cause = f"'unprivileged: {values[0].value}'" if values else "'unprivileged' is not set"
        yield source.at("container-privileged", values[0].line if values else 0, cause)


def _passthrough(source: Source, written: ContainerConfig) -> Iterator[Finding]:
    """Yield the bind mounts in which the container's root is the disk's."""
    for key, given in container_config.mount_points(written).values():
        volume = given.get("volume") or next((key for key, word in given.items() if not word), "")
        maps = given.get("idmap", "").split(";") if volume.startswith("/") else []
        if any(map(_OF_ROOT.fullmatch, maps)):
            cause = f"'{key}' maps the container's root to the root of {volume}"
            yield source.at("container-mount-passthrough", written.all(key)[-1].line, cause)


def _devices(source: Source, written: ContainerConfig, *, privileged: bool) -> Iterator[Finding]:
    current = [f"{o.key}={o.value}" for o in written.options if not o.section]
    allowed = written.all("lxc.cgroup2.devices.allow")
    whole = {m["type"]: o for o in allowed if (m := _ALL_DEVICES.fullmatch(o.value))}
    if last := whole.get("a") or (whole.get("b") and whole.get("c")):
        cause = f"'{last.key}: {last.value}' allows every device"
        finding = source.at("container-devices-all", last.line, cause)
        takes_back = privileged or any(map(_DENIES_DEVICE.fullmatch, current))
        if source.kind is Kind.CONTAINER and not takes_back:
            finding = replace(finding, severity=Severity.ADVICE, why=_ALLOWED_ANYWAY, fix=_DELETE)
        yield finding
    if privileged or any(map(_GIVES_DEVICE.fullmatch, current)):
        return
    fuse = "fuse" in container_config.given(written.current().get("features", ""))
    for option in allowed:
        device = _ALLOWED.fullmatch(option.value)
        if device and device["major"] not in _MADE and not (fuse and device["numbers"] == "10:229"):
            node = _NODES.get(device["numbers"], "PATH")
            entry = f"lxc.mount.entry = {node} {node[1:]} none bind,create=file"
            fix = f"Write dev0: {node}" if source.kind is Kind.CONTAINER else f"Write {entry}"
            cause = f"'{option.value}' is allowed, and no line gives the container the device"
            yield source.at("container-device-not-given", option.line, cause, fix=f"{fix}.")
            return


def _refused(source: Source, written: ContainerConfig, *, privileged: bool) -> Iterator[Finding]:
    """Yield the devices that are mounted into a container whose list of devices lacks them.

    Sources: LXC's common.conf and userns.conf; lxc-pve-userns.conf of pve-container (allow = a).
    """
    current = [o for o in written.options if not o.section]
    includes = written.all("lxc.include")
    if source.kind is Kind.CONTAINER:
        listed = privileged and bool(written.all("rootfs"))
        others = list(includes)
    else:
        others = [o for o in includes if not _LISTS_DEVICES.fullmatch(o.value)]
        listed = privileged and len(others) < len(includes)
    for option in current:
        if option.key in {"lxc.cgroup2.devices.allow", "lxc.cgroup2.devices.deny"}:
            listed = option.key.endswith("deny") if option.value == "a" else listed
    if not listed or others or any(_MAY_ALLOW.fullmatch(o.key) for o in current):
        return
    allowed = [o.value.split() for o in current if _OF_DEVICES.fullmatch(o.key)]
    numbers = {words[1] if len(words) > 1 else "*:*" for words in allowed if words}
    for entry, fields in container_config.mount_entries(written):
        matches = ((form, p.fullmatch(fields[0])) for p, form in _NUMBERS)
        for wanted in (form.format(*match.groups()) for form, match in matches if match):
            major, _, minor = wanted.partition(":")
            if minor == "*":
                right = any(number.startswith((f"{major}:", "*:")) for number in numbers)
            else:
                right = bool({wanted, f"{major}:*", "*:*"} & numbers)
            if not right:
                cause = f"{fields[0]} is mounted, and no line allows the device: c {wanted}"
                yield source.at("container-device-refused", entry.line, cause)


def _features(source: Source, written: ContainerConfig, *, privileged: bool) -> Iterator[Finding]:
    """Yield a feature without effect, and the nesting that Docker lacks, if it is wanted."""
    current = written.current()
    features = pct_options.properties("features", current.get("features", ""))
    line = next((o.line for o in reversed(written.all("features"))), 0)
    types = patterns.split(r"[;, ]+", features.get("mount", ""))
    refused = [filesystem for filesystem in types if filesystem and filesystem not in BY_GUESTS]
    if refused and not privileged and (current.get("unprivileged") or written.all("lxc.idmap")):
        cause = f"mount={features['mount']}: an unprivileged container mounts no {refused[0]}"
        yield source.at("container-feature-without-effect", line, cause)
    named = [f"{key}: {current[key]}" for key in ("hostname", "tags") if current.get(key)]
    wanted = next((option for option in named if _WANTS_DOCKER.fullmatch(option)), "")
    if "/var/lib/docker" in container_config.mount_points(written):
        wanted = "a mount point at /var/lib/docker"
    own = any(o.key in {*_PROFILE_KEYS, "lxc.include"} for o in written.options if not o.section)
    if wanted and "rootfs" in current and not own and not _nests(features, current):
        cause = f"'features' has no nesting=1, and Docker seems to be wanted ({wanted})"
        yield source.at("container-nesting-off", line, cause)


def _nests(features: Mapping[str, str], current: Mapping[str, str]) -> bool:
    given = (features.get("nesting", ""), current.get("lxc.apparmor.allow_nesting", ""))
    return any(map(pct_options.boolean, given))


def _capabilities(source: Source, option: Option) -> Iterator[Finding]:
    """Yield the names that LXC does not know; it also takes a number."""
    known = {"none"} if option.key == "lxc.cap.keep" else set[str]()
    for name in option.value.split():
        if name not in pct_options.CAPABILITIES | known and not patterns.fullmatch(
            "[0-9]{1,9}", name
        ):
            cause = f"'{option.key}' has '{name}', which is no capability"
            fix = pct_options.like_capability(name)
            yield source.at("container-capability-unknown", option.line, cause, fix=fix)


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
        cause = f"{why} overrides 'features': {names}"
        yield source.at("container-features-overridden", profile.line, cause)


def _mounts_nothing(rules: Rules) -> bool:
    """Whether a profile has no rule for a mount, and includes nothing that may hold one."""
    if any(_MOUNT_RULE.match(place.rule.bare) and not place.rule.denies for place in rules.placed):
        return False
    return all(_WITHOUT_NESTING.fullmatch(name) for name in rules.unknown)


def unneeded(source: Source) -> Iterator[Finding]:
    """Yield what Docker does not need in an unprivileged container: all features but nesting.

    A profile of its own may need the others. A privileged container was not tried.
    """
    if source.kind is not Kind.CONTAINER:
        return
    written, current = read(source), read(source).current()
    if "rootfs" in current and not pct_options.boolean(current.get("unprivileged", "")):
        cause = "what Docker needs in a privileged container was not tried"
        yield source.at("not-checked", 0, cause, fix=PROBLEMS["container-privileged"].fix)
        return
    named = any(o.value.startswith("lxc-") for o in written.all("lxc.apparmor.profile")[-1:])
    for option in (o for o in written.options if not o.section):
        line = f"{option.key}: {option.value}"
        words = [line.rstrip()] * bool(_FOR_DOCKER.fullmatch(line))
        if option.key == "features" and not named:
            features = pct_options.properties("features", option.value).items()
            given = (f"{k}={v}" for k, v in features if pct_options.boolean(v) or k == "mount")
            words = [word for word in given if not word.startswith("nesting")]
        if words:
            cause = f"Docker does not need '{', '.join(words)}'"
            yield source.at("container-line-unneeded", option.line, cause)


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
        entry = written(option.value)
        if entry is None or entry[0] not in _OF_IDS:
            if option.value:  # an empty value clears the list
                cause = f"'{option.value}' is no entry of an id map"
                yield source.at("container-idmap-invalid", option.line, cause)
                return
            ranges = []
            continue
        ranges.append(_Range(**vars(entry[1]), kind=entry[0], line=option.line))
    for kind in _OF_IDS if ranges else ():
        of_kind = sorted((r for r in ranges if r.kind == kind), key=lambda r: r.inside)
        yield from _judged(source, kind, of_kind, ranges[-1].line)


def _judged(source: Source, kind: str, ranges: Sequence[_Range], last: int) -> Iterator[Finding]:
    name = _OF_IDS[kind]
    if not ranges:
        yield source.at("container-idmap-invalid", last, f"no {name} id is mapped")
        return
    if empty := [entry for entry in ranges if not entry.count]:
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
        line = next((entry.line for entry in ranges if entry.inside > hole[0]), ranges[-1].line)
        yield source.at("container-idmap-hole", line, f"the {name} {in_words([hole])} not mapped")
    for entry in ranges:
        if entry.outside == 0 and entry.count:
            yield source.at(
                "container-idmap-root", entry.line, f"{name} {entry.inside} is the node's {name} 0"
            )


def _clash(ranges: Sequence[_Range], side: str) -> tuple[_Range, _Range] | None:
    ordered = sorted(ranges, key=lambda entry: int(getattr(entry, side)))
    for one, other in pairwise(ordered):
        if getattr(one, side) + one.count > getattr(other, side):
            return one, other
    return None
