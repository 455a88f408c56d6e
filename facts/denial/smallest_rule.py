"""The smallest rule of a profile that would have allowed what was denied: advice for a reader.

Sources: apparmor.d(5); kernel ``security/apparmor/{mount,file,net,ipc,task}.c``, which write what
was asked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from facts.audit.audit_records import kind
from targets.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from facts.audit.audit_records import Denial

#: What the denied process has chosen, or whoever made what it asked for.
_NAMED = (
    *("name", "srcname", "fstype", "peer", "target", "addr", "peer_addr", "tcontext"),
    *("bus", "path", "interface", "member", "peer_label", "peer_profile", "rlimit"),
)
#: What the kernel has chosen, and how it looks: in a log that others write, too, it may look
#: otherwise, and end the rule to begin another.
_WORD, _WORDS = re.compile(r"[\w+.-]*"), re.compile(r"[\w+:, -]*")
_CHOSEN = dict.fromkeys(
    ("capname", "class", "family", "mask", "operation", "signal", "sock_type", "value"), _WORD
) | dict.fromkeys(("denied", "denied_mask", "flags"), _WORDS)
#: Stands for a byte that was no UTF-8, which a rule cannot name.
_REPLACED = "\ufffd"
#: A file's permissions as the kernel writes them, and as a profile does; in a profile's order.
_FILE = {"r": "r", "w": "w", "c": "w", "d": "w", "a": "a", "m": "m", "k": "k", "l": "l", "x": "ix"}
#: The types of sockets that a rule can name.
_SOCKETS = frozenset({"stream", "dgram", "seqpacket", "rdm", "raw", "packet"})
#: What changes a mount that is there, and what mounts something that is there, without a type.
_OF_A_MOUNT = frozenset(
    f"{recursive}{each}"
    for each in ("private", "slave", "shared", "unbindable")
    for recursive in ("", "r")
) | {"remount"}
_OF_A_FILE = frozenset({"bind", "rbind", "move"})
#: No limit, as the kernel writes it; what the kernel's limit of nice and a rule's add up to.
_UNLIMITED, _NICE = (1 << 64) - 1, 20
#: What AppArmor says beside a denial that no rule of the profile would change.
_NO_RULE_HELPS = {
    "disconnected path": (
        "the path does not lead to the root that the process sees; the profile needs "
        "flags=(attach_disconnected)"
    ),
    "deleted entry": "the file was deleted while in use; the profile needs flags=(mediate_deleted)",
    "label not found": "the profile that was asked for is not loaded",
    "profile not found": "the profile that was asked for is not loaded",
    "profile transition not found": (
        "a rule of the profile names another profile for this program, and that one is not loaded"
    ),
    "cap_sys_resource": (
        "to set the limit of another process, the process needs the capability sys_resource"
    ),
    "no new privs": "the process has no_new_privs, which forbids a change to a wider profile",
    "not policy admin": (
        "only a process with the capability mac_admin over this policy namespace may load policy"
    ),
    "Userns create restricted": (
        "the node's sysctl kernel.apparmor_restrict_unprivileged_userns refuses it to whoever has "
        "no profile that allows userns"
    ),
}


class NoRule(Exception):
    """No rule would allow what was denied, or none is known; its text says why."""


def smallest_rule(denial: Denial) -> str:
    """Return the smallest profile rule that would have allowed what was denied, or why none would.

    A guest chose the names in the record, so the rule quotes them: no pattern, no end of the rule.
    """
    try:
        return rule(denial)
    except NoRule as why:
        return f"{why} ({denial.summary})"


def rule(denial: Denial) -> str:
    """Return the same rule, as it stands in a profile.

    Raises:
        NoRule: there is none; what would help instead, if that is known.
    """
    fields = denial.fields
    if any(one_line(value) != value or _REPLACED in value for value in fields.values()):
        raise NoRule("no rule, since no profile can name it")
    operation = fields.get("operation", "an operation that the record does not name")
    unknown = f"a rule for {operation}"
    if not denial.whole:
        raise NoRule(f"{unknown}: the record was cut")
    for key, pattern in _CHOSEN.items():
        if not pattern.fullmatch(fields.get(key, "")):
            raise NoRule(f"{unknown}: no kernel writes such a {key}")
    for words, why in _NO_RULE_HELPS.items():
        if words in fields.get("info", ""):
            raise NoRule(f"no rule: {why}")
    said = _Said(fields | {key: _literal(fields[key]) for key in _NAMED if key in fields})
    try:
        return f"{_BY_KIND.get(kind(fields), _file)(said)},"
    except KeyError as error:  # what the rule needs was never written, or cut off
        raise NoRule(f"{unknown}: the record has no {error.args[0]}") from None


class _Said(dict[str, str]):
    """A record's fields; what is missing or empty is a KeyError when a rule needs it."""

    def __getitem__(self, key: str) -> str:
        if value := super().get(key):
            return value
        raise KeyError(key)

    def denied(self) -> str:
        """What was denied, by either of the names that kernels give it."""
        return self.get("denied_mask") or self.get("denied") or self["denied_mask"]

    def words(self) -> str:
        """The same, of a class that writes words."""
        return f"({', '.join(re.split(r'[ ,]+', self.denied().strip()))})"

    def path(self, key: str) -> str:
        """A value that is a path from the root."""
        if not _is_path(value := self[key]):
            raise KeyError("path from the root")
        return value

    def conditions(self, **keys: str) -> list[str]:
        """Return the conditions that the record has a value for, each by its name in a rule."""
        said = ((name, self.get(key)) for name, key in keys.items())
        return [f"{name}={value}" for name, value in said if value and value != "none"]


def _mount(said: _Said) -> str:
    """A rule of a mount: of a source and a type only where such a mount has them.

    Of a new mount without any flag, the kernel writes no flags.
    """
    written = said.get("flags") or ("rw" if said.get("fstype") else said["flags"])
    flags = written.replace(" ", "").split(",")
    parts = ["mount", f"options=({','.join(flags)})"]
    new = not _OF_A_MOUNT & set(flags)
    if new and not _OF_A_FILE & set(flags) and (fstype := said.get("fstype")):
        parts.append(f"fstype={fstype}")
    if new and _is_path(source := said.get("srcname", "")):
        parts.append(source)
    return " ".join([*parts, "->", said.path("name")])


def _umount(said: _Said) -> str:
    return f"umount {said.path('name')}"


def _remount(said: _Said) -> str:
    return f"remount options=({said['flags'].replace(' ', '')}) {said.path('name')}"


def _pivot_root(said: _Said) -> str:
    old = said.get("srcname", "")
    return f"pivot_root{f' oldroot={old}' if _is_path(old) else ''} {said.path('name')}"


def _capability(said: _Said) -> str:
    return f"capability {said['capname']}"


def _ptrace(said: _Said) -> str:
    return f"ptrace {said.words()} peer={said['peer']}"


def _signal(said: _Said) -> str:
    return f"signal {said.words()} set=({said['signal']}) peer={said['peer']}"


def _change_profile(said: _Said) -> str:
    return f"change_profile -> {said.get('target') or said['name']}"


def _stack(said: _Said) -> str:
    """A rule to put another profile on top of the process's own."""
    target = said.get("target") or said["name"]
    quote = '"' * target.startswith('"')
    return f"change_profile -> {quote}&{target.removeprefix(quote)}"


def _userns(said: _Said) -> str:
    del said
    return "userns create"


def _rlimit(said: _Said) -> str:
    """A rule of a limit; that of nice counts down from 20 in the kernel, and not in a rule."""
    name, value = said["rlimit"], said["value"]
    if not re.fullmatch("[0-9]{1,20}", value):
        raise KeyError("limit that is a number")
    most = "infinity" if int(value) >= _UNLIMITED else value
    if name == "nice":
        if not 1 <= int(value) <= 2 * _NICE:
            raise KeyError("limit of nice that a rule can say")
        most = str(_NICE - int(value))
    return f"set rlimit {name} <= {most}"


def _mqueue(said: _Said) -> str:
    if said["class"].startswith("sysv"):
        return f"mqueue {said.words()} type=sysv {said['name']}"
    return f"mqueue {said.words()} type=posix {said.path('name')}"


def _io_uring(said: _Said) -> str:
    return " ".join([f"io_uring {said.words()}", *said.conditions(label="tcontext")])


def _dbus(said: _Said) -> str:
    mask = said["mask"]
    own = said.conditions(bus="bus")
    if mask == "bind":
        own += said.conditions(name="name")
    elif mask != "eavesdrop":
        own += said.conditions(path="path", interface="interface", member="member")
    label = "peer_label" if "peer_label" in said else "peer_profile"
    peer = said.conditions(**({"name": "name"} if mask == "send" else {}), label=label)
    return _with_peer([f"dbus ({mask})", *own], peer if mask in {"send", "receive"} else [])


def _network(said: _Said) -> str:
    if said["family"] == "unix" and {"addr", "peer_addr", "peer"} & said.keys():
        return _unix(said)
    sort = said.get("sock_type", "")
    return f"network {said['family']} {sort if sort in _SOCKETS else ''}".rstrip()


def _unix(said: _Said) -> str:
    """A rule of a socket; an address that a rule cannot say for certain is no condition."""
    of = _Said({k: v for k, v in said.items() if not k.endswith("addr") or _is_abstract(v)})
    own = of.conditions(type="sock_type", addr="addr")
    return _with_peer([f"unix {of.words()}", *own], of.conditions(label="peer", addr="peer_addr"))


def _is_abstract(address: str) -> bool:
    """Whether it is an abstract address in clear: the kernel writes others in hexadecimal."""
    found = re.fullmatch(r'"?@(.+?)"?', address)
    return bool(found) and not re.fullmatch("(?:[0-9A-F]{2})+", found[1])  # type: ignore[index]


def _with_peer(parts: list[str], peer: list[str]) -> str:
    return " ".join([*parts, *([f"peer=({', '.join(peer)})"] if peer else [])])


def _file(said: _Said) -> str:
    """A file's own rule; of the owner alone if the file was the process's own."""
    name, denied = said.path("name"), said.denied()
    owner = "owner " if said.get("fsuid") and said.get("fsuid") == said.get("ouid") else ""
    if denied == "l" and said.get("target"):
        return f"{owner}link {name} -> {said['target']}"
    letters = set(re.sub(r"[^a-z]", "", denied))
    if unknown := letters - _FILE.keys():
        raise KeyError(f"permission that is known here, but {'/'.join(sorted(unknown))}")
    granted = {_FILE[letter] for letter in letters}
    if "w" in granted:
        granted.discard("a")
    access = "".join(word for word in dict.fromkeys(_FILE.values()) if word in granted)
    return f"{owner}{name} {access}"


_BY_KIND: dict[str, Callable[[_Said], str]] = {
    "mqueue": _mqueue,
    "io_uring": _io_uring,
    "dbus": _dbus,
    "network": _network,
    "mount": _mount,
    "umount": _umount,
    "remount": _remount,
    "pivotroot": _pivot_root,
    "capable": _capability,
    "ptrace": _ptrace,
    "signal": _signal,
    "change_profile": _change_profile,
    "change_onexec": _change_profile,
    "stack": _stack,
    "stack_onexec": _stack,
    "userns_create": _userns,
    "setrlimit": _rlimit,
}


def _literal(value: str) -> str:
    """Return a value quoted for a profile: it matches only itself.

    A backslash is written by its number: the parser takes one before a blank, a comma or a quote
    for part of the name, even if it is escaped itself, and reads on beyond the name's end.
    """
    escaped = re.sub(r'([*?\[\]{}^"])', r"\\\1", value.replace("\\", "\0"))
    escaped = escaped.replace("\0", r"\134")
    return f'"{escaped}"' if re.search(r"[\s,#()=!]", value) else escaped


def _is_path(word: str) -> bool:
    return word.startswith(("/", '"/'))
