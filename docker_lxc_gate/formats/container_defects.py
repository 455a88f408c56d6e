"""What is wrong with the lines of a container's configuration, and what becomes of each.

The gate asserts that there is no certain defect, a start names those that stop it, and lint and
doctor add what to do. Sources: PVE::LXC::Config (parse_pct_config), PVE::LXC (update_lxc_config)
and lxc-pve-autodev-hook of pve-container 6.1, and LXC 6.0 and 7.0: conf.c
(mount_entry_on_absolute_rootfs, mount_opt), confile.c (set_config_mount_auto), cgroups/cgfsng.c
(device_cgroup_rule_parse).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice, takewhile
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.formats import container_config, pct_options, proxmox
from docker_lxc_gate.formats.pct_options import AUTOMOUNTS, MOUNT_OPTIONS, RAW_KEYS, similar

if TYPE_CHECKING:
    from docker_lxc_gate.formats.container_config import ContainerConfig, Option


@dataclass(frozen=True)
class Defect:
    """One line that does not do what it says.

    Attributes:
        problem: the id by which lint explains it.
        cause: what is wrong, in one line.
        effect: what becomes of it; empty if the cause says so.
        option: the line as it is read; None if it is not.
        meant: the key or the value that was meant; empty if that is not known.
        stops: whether no container starts with it.
        certain: whether every version of Proxmox makes something else of the line than it says.
    """

    problem: str
    line: int
    cause: str
    effect: str
    option: Option | None = None
    meant: str = ""
    stops: bool = False
    certain: bool = True


_VALUE = "container-value-invalid"
_STOPS = "Proxmox keeps the line, and the next start fails on it"
_KEEPS = "Proxmox keeps the line with a warning, and"
_AS_IT_IS = "uses the value as it is"
#: What Proxmox makes of a value that it cannot read, if nothing else is known of the key.
_TAKEN = {
    "boolean": "takes it for 1",
    "integer": "takes the number that it begins with, or 0",
    "number": "takes the number that it begins with, or 0",
}
_STARTS_NONE = "LXC starts no container with it"
_READ_ONLY = {"readonly": "ro", "read-only": "ro"}
_IGNORED = "LXC hands it to the kernel, which ignores it for a bind mount"
#: Options by which a file system of a server or of FAT gives its files an owner and a mode.
_OF_OWNER = patterns.compile("([ug]id|[fd]?mask|umask|(file|dir)_mode)=.*")
#: The longest path of the kernel (PATH_MAX).
_LONGEST = 4096
_PASSED_ON = patterns.compile("dev[0-9]+")
_EXISTS = "Proxmox's hook cannot make it again (status 17), and the container does not start"
#: A device as LXC reads it, and nearly so.
_DEVICE = patterns.compile(
    r"a|[abc]\s([0-9]+|\*):([0-9]+|\*)\s([rwm]{0,2}|[rwm]{3}.*)|/\S+ +[rwm]{1,3}( .*)?"
)
_LIKE_DEVICE = patterns.compile(r"([abc])\s+([0-9]+|\*)[\s:,.]+([0-9]+|\*)[\s:]+([rwm]{1,3})")
#: So many unknown keys are compared: a stranger's file may be made to be slow.
_MOST = 50
#: So many lines that cannot be read are judged.
MOST_UNREAD = 50_000


def defects(written: ContainerConfig) -> Iterator[Defect]:
    """Yield the defects of the lines in effect, and of all lines that are not read."""
    for number, (line, text) in enumerate(written.unreadable[:MOST_UNREAD]):
        why = "no option" if written.plain else proxmox.unreadable(text)
        effect = _STARTS_NONE if written.plain else ""
        read_as = None if written.plain or number >= _MOST else proxmox.option(text)
        meant = similar(read_as[0], RAW_KEYS, 0.85) if read_as else ""
        cause = f"'{text}' is {why}"
        problem = "container-lxc-line" if written.plain else "container-line-dropped"
        yield Defect(problem, line, cause, effect, meant=meant, stops=written.plain)
    named = written.all("lxc.rootfs.path")[-1:]
    roots = ["/rootfs", *(option.value.rpartition(":")[2] for option in named)]
    for entry in written.all("lxc.mount.entry"):
        yield from _mount_entry(entry, roots)
    yield from islice(_raw_values(written), _MOST)
    yield from _former(written)
    if not written.plain:
        yield from _given_twice(written)
        counting = (o for o in written.options if not o.section or container_config.is_pending(o))
        current = {(o.section, o.key): o for o in counting}
        own = [option for option in current.values() if not option.key.startswith("lxc.")]
        unknown = [option.line for option in own if pct_options.known(option.key) is None]
        too_many = frozenset(unknown[_MOST:])
        for option in own:
            if option.line not in too_many:
                yield from _value(option)


def stopping(written: ContainerConfig) -> Iterator[Defect]:
    """Yield the defects with which no container starts."""
    return (defect for defect in defects(written) if defect.stops)


def _mount_entry(entry: Option, roots: Sequence[str]) -> Iterator[Defect]:
    """Yield the defect of an entry; an empty one clears the list.

    LXC mounts on an absolute target only below the root directory, as it knows that on the node.
    """
    fields = entry.value.split()
    numbers = takewhile(lambda field: not field.startswith("#"), fields[4:6])  # up to a comment
    if missing := ", ".join(container_config.missing_fields(entry.value)):
        if fields:
            cause = f"the mount entry '{entry.value}' lacks {missing}"
            yield Defect(
                "container-mount-entry-cut", entry.line, cause, _STARTS_NONE, entry, stops=True
            )
    elif not all(patterns.fullmatch("[0-9]+,?", field) for field in numbers):
        cause = f"the mount entry '{entry.value}' has a blank within a field"
        effect = "LXC takes the wrong fields: write a blank of a name as \\040, options with commas"
        yield Defect("container-mount-entry-cut", entry.line, cause, effect, entry)
    elif fields[1].startswith("/") and not any(root in fields[1] for root in roots):
        cause = f"the target of the mount entry '{entry.value}' begins with '/'"
        effect = "LXC ignores the entry, with a warning in its own log"
        yield Defect("container-mount-target-absolute", entry.line, cause, effect, entry)


def _given_twice(written: ContainerConfig) -> Iterator[Defect]:
    """Yield the devices that the container has already when Proxmox's hook makes them.

    LXC mounts its entries first. One that is optional and makes no place for itself may fail.
    """
    current = written.current()
    fuse = "fuse" in container_config.given(current.get("features", ""))
    taken = {"/dev/fuse": "fuse=1"} if fuse else {}
    below: dict[str, str] = {}
    for entry, (source, target, _, options, *_) in container_config.mount_entries(written):
        place = posixpath.normpath(f"/{target}")
        if "optional" not in options or "create=" in options:
            taken.setdefault(place, f"line {entry.line}")
            if posixpath.normpath(source) == place:
                below.setdefault(place, f"line {entry.line}")
    last = {o.key: o for o in written.options if _PASSED_ON.fullmatch(o.key) and not o.section}
    for option in last.values() if current.get("lxc.autodev") != "0" else ():
        path = posixpath.normpath(pct_options.properties(option.key, option.value).get("path", ""))
        parents = accumulate(path[: path.rfind("/")].split("/"), "{}/{}".format)
        if not path.startswith("/dev/") or len(path) > _LONGEST:
            continue
        if other := taken.get(path) or next((below[part] for part in parents if part in below), ""):
            cause = f"{option.key} gives the container {path}, and so does {other}"
            yield Defect("device-given-twice", option.line, cause, _EXISTS, option, stops=True)
        taken[path] = option.key


def _raw_values(written: ContainerConfig) -> Iterator[Defect]:
    """Yield the values that LXC does not know, with what was meant."""
    for entry, name in islice(_strange_options(written), _MOST):
        if _OF_OWNER.fullmatch(name):
            cause = f"'{name}' changes no owner of the bind mount '{entry.value}': use chown"
            yield Defect(_VALUE, entry.line, cause, _IGNORED, entry)
        elif meant := _READ_ONLY.get(name) or similar(name, MOUNT_OPTIONS, 0.8):
            cause = f"LXC does not know the option '{name}' of the mount entry '{entry.value}'"
            yield replace(_unknown(entry, cause, name, meant), effect=_IGNORED, stops=False)
    for option in written.all("lxc.mount.auto"):
        for word in option.value.split():
            if word not in AUTOMOUNTS and not patterns.fullmatch("shmounts:.+", word):
                cause = f"'{word}' is nothing that LXC mounts by itself"
                yield _unknown(option, cause, word, similar(word, AUTOMOUNTS, 0.75))
    for key in ("lxc.cgroup2.devices.allow", "lxc.cgroup2.devices.deny"):
        for option in written.all(key):
            if option.value and not _DEVICE.fullmatch(option.value):
                like = _LIKE_DEVICE.fullmatch(option.value)
                meant = "{} {}:{} {}".format(*like.groups()) if like else ""
                cause = f"'{option.value}' is no device as LXC reads it: type, numbers, rights"
                yield _unknown(option, cause, option.value, meant)


def _strange_options(written: ContainerConfig) -> Iterator[tuple[Option, str]]:
    """Yield the options of mount entries that are neither LXC's nor a file system's.

    LXC hands an option that it does not know to the kernel, which ignores it for a bind mount.
    """
    for entry in written.all("lxc.mount.entry"):
        options = (entry.value.split()[3:4] or [""])[0].split(",")
        bind = "bind" in options or "rbind" in options
        for option in options:
            if option not in MOUNT_OPTIONS and (bind or option.startswith("crea")):
                yield entry, option


def _unknown(option: Option, cause: str, part: str, meant: str) -> Defect:
    value = option.value.replace(part, meant) if meant else ""
    return Defect(_VALUE, option.line, cause, _STARTS_NONE, option, value, stops=True)


def _former(written: ContainerConfig) -> Iterator[Defect]:
    effect = _STARTS_NONE if written.plain else _STOPS
    for option in written.options:
        name = "lxc.rootfs.path" if option.key == "lxc.rootfs" else proxmox.today(option.key)
        if not option.section and name:
            cause = f"{option.key} is a name from before LXC 3: write {name}"
            yield Defect(
                "container-key-former", option.line, cause, effect, option, name, stops=True
            )


def _value(option: Option) -> Iterator[Defect]:
    known = pct_options.known(option.key)
    why = pct_options.refusal(option.key, option.value)
    if why is None:
        return
    problem = "container-features-invalid" if option.key == "features" else _VALUE
    stops = known is not None and known.stops
    becomes = (
        known.otherwise or _TAKEN.get(known.form, _AS_IT_IS) if known else "does nothing with it"
    )
    number = patterns.match(r"([0-9]+)\s", option.value)
    taken = bool(known and known.form in {"integer", "number"} and number)
    if taken and number:
        becomes = f"takes {number[1]}, the number that it begins with"
    effect = _STOPS if stops else f"{_KEEPS} {becomes}"
    if not why.certain:
        effect += f"; one that is newer than pve-container {pct_options.VERSION} may know more"
    yield Defect(
        problem if known else "container-key-unknown",
        *(option.line, why.words, effect, option, why.guess),
        stops=stops and why.certain,
        certain=why.certain and (stops or (becomes != _AS_IT_IS and not taken)),
    )
