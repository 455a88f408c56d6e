"""Changing single lines of a container's configuration; all other lines stay as written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from docker_lxc_gate.formats import pct_options
from docker_lxc_gate.formats.container_config import (
    FUSE_ENTRY,
    HEADER,
    ContainerConfig,
    Option,
    features,
    gives_fuse,
    hides_apparmor,
    is_option,
    is_pending,
    parse,
    parse_lxc,
    pending_name,
    read_lines,
    split_lines,
)
from docker_lxc_gate.formats.proxmox import PENDING


def letting_go(written: ContainerConfig, ctid: int | str) -> str:
    """Return the message about pending changes, with the command that drops them."""
    pending = [o for o in written.options if is_pending(o)]
    shown = "; ".join(f"'{o.key}: {o.value}' (line {o.line})" for o in pending)
    names = [o.value if o.key == "delete" else pending_name(o) for o in pending]
    plain = ",".join(dict.fromkeys(name for name in names if name != "lxc"))
    ways = [f"pct set {ctid} --revert {plain}"] if plain else []
    if "lxc" in names:
        ways.append(f"delete the lxc.* lines of its section [{PENDING}]")
    return f"{written.path} holds {shown} in [{PENDING}]. To drop it: {', and '.join(ways)}"


def with_features(value: str, wanted: Mapping[str, str]) -> str:
    """Return the value with these features set; others, and equal settings, are kept.

    >>> with_features("mknod=1,nesting=yes", {"nesting": "1", "fuse": "1"})
    'mknod=1,nesting=yes,fuse=1'
    """
    merged = features(value)
    for name, setting in wanted.items():
        if pct_options.boolean(merged.get(name, "")) != pct_options.boolean(setting):
            merged[name] = setting
    return ",".join(f"{name}={setting}" for name, setting in merged.items())


def with_options(text: str, wanted_features: dict[str, str], raw: dict[str, str]) -> str:
    """Return the text with features and raw ``lxc.*`` keys set among the options in effect.

    New lines go before the first section. After a snapshot's header they would have no effect now,
    but would come into effect at a rollback to that snapshot. Each raw key is set exactly once;
    other features, and everything else, are kept.
    """
    head, rest = _parted(split_lines(text))
    filled = next((n for n, line in enumerate(reversed(head)) if line.strip()), len(head))
    head, tail = head[: len(head) - filled], head[len(head) - filled :]
    if head and not head[-1].endswith("\n"):
        head[-1] += "\n"
    current = parse("", "".join(head)).current()
    wanted = {"features": with_features(current.get("features", ""), wanted_features)} | raw
    for key, value in wanted.items():
        head = _set(head, key, f"{key}: {value}\n")
    return "".join(head + tail + rest)


def with_lxc_options(text: str, raw: dict[str, str], *, fuse: bool = True) -> str:
    """Return plain LXC's configuration with these keys set, and ``/dev/fuse`` given if ``fuse``.

    A key that an include could hold goes after the last include, because the last assignment wins:
    for instance the profile after ``nesting.conf``, which names another. Each key is set exactly
    once, and everything else is kept, even cut mount entries.
    """
    lines = split_lines(text)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    for key, value in raw.items():
        lines = _set(lines, key, f"{key} = {value}\n", lxc=True)
    if fuse and not any(map(gives_fuse, parse_lxc("", text).all("lxc.mount.entry"))):
        lines.append(f"lxc.mount.entry = {FUSE_ENTRY}\n")
    return "".join(lines)


def put_back(text: str, before: str, keys: Collection[str], *, fuse: bool = False) -> str:
    """Return the present configuration with the earlier lines of some keys that are in effect.

    These lines go to their earlier places, after the same neighbour. All other lines stay. Pending
    changes of these keys are removed, because they would override the lines. The mount entries that
    hide AppArmor are restored, too. ``fuse`` is whether it is plain LXC's; then those for
    ``/dev/fuse`` are, as well.
    """

    def entry(option: Option) -> bool:
        return hides_apparmor(option) or (fuse and gives_fuse(option))

    def meant(lines: list[str]) -> set[int]:
        return {
            o.line - 1
            for o in read_lines("".join(lines), lxc=fuse)
            if (not o.section or is_pending(o))
            and (o.key in keys or (o.key == "lxc.mount.entry" and entry(o)))
        }

    lines, (former, _) = split_lines(text), _parted(split_lines(before), lxc=fuse)
    out = meant(lines)
    head, rest = _parted([line for n, line in enumerate(lines) if n not in out], lxc=fuse)
    for place in sorted(meant(former)):
        at = _after(head, former[:place], former[place], lxc=fuse)
        if at and not head[at - 1].endswith("\n"):
            head[at - 1] += "\n"
        head.insert(at, former[place] if former[place].endswith("\n") else former[place] + "\n")
    return "".join(head + rest)


def _after(head: list[str], former: list[str], line: str, *, lxc: bool) -> int:
    """Return the index for a line: after the last former neighbour that still exists.

    pct sorts options, but not ``lxc.*`` lines, whose order matters. So each kind has neighbours of
    its own kind only.
    """
    (itself,) = read_lines(line, lxc=lxc)
    raw = itself.key.startswith("lxc.")
    there = _counted(head, raw=raw, lxc=lxc)
    for neighbour in reversed(list(_counted(former, raw=raw, lxc=lxc))):
        if neighbour in there:
            return there[neighbour] + 1
    if there:
        return min(there.values())
    return max((o.line for o in read_lines("".join(head), lxc=lxc)), default=0)


def _counted(lines: list[str], *, raw: bool, lxc: bool) -> dict[tuple[str, str, int], int]:
    """Return the index of each option, raw or not; equal lines are counted."""
    seen: Counter[tuple[str, str]] = Counter()
    places = {}
    for option in filter(is_option, read_lines("".join(lines), lxc=lxc)):
        if option.key.startswith("lxc.") is raw:
            pair = (option.key, option.value)
            seen.update([pair])
            places[*pair, seen[pair]] = option.line - 1
    return places


def _parted(lines: list[str], *, lxc: bool = False) -> tuple[list[str], list[str]]:
    """Return the lines in effect, and the lines of the sections after them."""
    headers = (o.line - 1 for o in read_lines("".join(lines), lxc=lxc) if o.key == HEADER)
    end = next(headers, len(lines))
    return lines[:end], lines[end:]


def _set(lines: list[str], key: str, new: str, *, lxc: bool = False) -> list[str]:
    """Set a key once: at its last line, or at the end. A line with an equal value stays."""
    options = list(read_lines("".join(lines), lxc=lxc))
    values = {o.line - 1: o.value for o in options if o.key == key}
    places = list(values)
    includes = [o.line - 1 for o in options if o.key == "lxc.include"]
    if not places or (key.startswith("lxc.") and includes and includes[-1] > places[-1]):
        # The last assignment wins, and an include may hold one.
        return [*(line for n, line in enumerate(lines) if n not in values), new]
    value, (wanted,) = values[places[-1]], read_lines(new, lxc=lxc)
    if value == wanted.value or (key == "features" and features(value) == features(wanted.value)):
        new = lines[places[-1]]
    return [
        new if n == places[-1] else line
        for n, line in enumerate(lines)
        if n not in values or n == places[-1]
    ]
