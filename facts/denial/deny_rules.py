"""The ``deny`` rules of a profile that forbid something, whatever else the profile allows.

A deny wins over every rule that allows, so a rule that is added has no effect below one.
Source: apparmor.d(5), "Rule Qualifiers".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from facts.audit.audit_records import kind
from facts.denial.profile_text import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from facts.denial.profile_text import Policy, Rule

_DENY = re.compile(r"(?:(?:audit|quiet|priority\s*=\s*-?[0-9]+)\s+)*deny\s+(?=\S)")
#: A condition with its value or values, or a word.
_PART = re.compile(
    r'(\w+)\s*(=|\s+in\s+)\s*(\([^)]*\)|"[^"]*"|\S+)|\(([^)]*)\)|("(?:[^"\\]|\\.)*"|->|(?:\\.|\S)+)'
)
_CLASSES = frozenset(
    (
        *("mount", "umount", "remount", "pivot_root", "capability", "network", "ptrace", "signal"),
        *("unix", "dbus", "change_profile", "userns", "io_uring", "mqueue", "link", "set", "all"),
    )
)
#: The class of rules that a record is about, where it has another name.
_CLASS = {
    "pivotroot": "pivot_root",
    "capable": "capability",
    "change_onexec": "change_profile",
    "stack": "change_profile",
    "stack_onexec": "change_profile",
    "userns_create": "userns",
    "setrlimit": "set",
}
#: The flags by which AppArmor tells bind mounts, moves and changes from new mounts.
_CHANGES = frozenset({"private", "slave", "shared", "unbindable"})
_RECURSIVE = frozenset({"rbind"} | {f"r{each}" for each in _CHANGES})
_ALONE = (
    frozenset({"bind", "rbind"}),
    frozenset({"move"}),
    _CHANGES | _RECURSIVE - {"rbind"},
)
#: The conditions of a rule, each with the field of a record that it is about.
_CONDITIONS = {
    **{each: each for each in ("fstype", "bus", "path", "interface", "member", "name", "addr")},
    "vfstype": "fstype",
    "oldroot": "srcname",
    "set": "signal",
    "label": "tcontext",
    "type": "sock_type",
}


def forbidding_rules(policy: Policy, fields: Mapping[str, str]) -> list[Rule]:
    """Return the deny rules that forbid what was denied.

    Args:
        policy: of the profile's file.
        fields: of the record.
    """
    denying = [rule for rule in policy.of(fields.get("profile", "")) if _DENY.match(rule.text)]
    return [rule for rule in denying if _forbids(rule, policy, fields)]


def _forbids(rule: Rule, policy: Policy, fields: Mapping[str, str]) -> bool:
    text = policy.expanded(_DENY.sub("", rule.text, count=1))
    text = text.replace("@{profile_name}", rule.profile)
    owner = re.match(r"owner\s+", text)
    if owner:
        text = text[owner.end() :]
        if fields.get("fsuid") != fields.get("ouid"):
            return False
    word = re.match(r"\w+", text)
    name = word[0] if word and word[0] in _CLASSES else "file"
    about = kind(fields)
    wanted = _CLASS.get(about, about if about in _CLASSES | {"dbus", "mqueue"} else "file")
    if name == "all":
        return True
    if about == "network":
        wanted = "unix" if name == "unix" and fields.get("family") == "unix" else "network"
    if name == "remount" and about == "mount":
        wanted = "remount" if "remount" in fields.get("flags", "") else wanted
    if name == "link" and fields.get("operation") == "link":
        wanted = "link"
    if name != wanted:
        return False
    rest = text[len(name) :] if name != "file" else re.sub(r"^file\b", "", text)
    return _BY_CLASS.get(name, _conditions)(rest, fields)


def _words(text: str) -> tuple[dict[str, tuple[str, str]], list[str], set[str]]:
    """Return a rule's conditions with their signs, its words, and its permissions in brackets."""
    conditions: dict[str, tuple[str, str]] = {}
    words: list[str] = []
    granted: set[str] = set()
    for key, sign, value, brackets, word in _PART.findall(text):
        if key:
            conditions[key] = (sign.strip(), value.strip("()"))
        elif word:
            words.append(word)
        granted |= set(re.split(r"[\s,]+", brackets)) - {""}
    return conditions, words, granted


def _values(text: str) -> list[str]:
    return [each for each in re.split(r"[\s,]+(?![^{]*\})", text.strip()) if each]


def _any(patterns: str, value: str) -> bool:
    return any(matches(each, value) for each in _values(patterns))


def _holds(conditions: Mapping[str, tuple[str, str]], fields: Mapping[str, str]) -> bool:
    """Whether every condition holds; one that is not known here does not."""
    for key, (_, value) in conditions.items():
        if key == "peer":
            if not _peer(value, fields):
                return False
        elif key not in _CONDITIONS or not _any(value, fields.get(_CONDITIONS[key], "")):
            return False
    return True


def _peer(value: str, fields: Mapping[str, str]) -> bool:
    """Whether the other side is meant: by its label alone, or by conditions of its own."""
    label = fields.get("peer") or fields.get("peer_label") or fields.get("peer_profile") or ""
    conditions, _, _ = _words(value.replace(",", " "))
    if not conditions:
        return _any(value, label)
    known = {"label": label, "addr": fields.get("peer_addr", ""), "name": fields.get("name", "")}
    return all(_any(said, known.get(key, "")) for key, (_, said) in conditions.items())


def _access(words: list[str], granted: set[str], fields: Mapping[str, str]) -> bool:
    """Whether a rule's permissions are among those that were denied; none means all."""
    said = granted | set(words)
    denied = fields.get("denied_mask") or fields.get("denied") or fields.get("mask") or ""
    return not said or bool(said & set(re.split(r"[\s,]+", denied)))


def _conditions(text: str, fields: Mapping[str, str]) -> bool:
    """A rule of permissions and conditions: ptrace, signal, unix, dbus, io_uring."""
    conditions, words, granted = _words(text)
    return _access(words, granted, fields) and _holds(conditions, fields)


def _userns(text: str, fields: Mapping[str, str]) -> bool:
    del text, fields
    return True


def _mqueue(text: str, fields: Mapping[str, str]) -> bool:
    conditions, words, granted = _words(text)
    names = [word for word in words if re.match("/|[0-9]", word)]
    sort = fields.get("class", "").partition("_")[0]
    if "type" in conditions and conditions.pop("type")[1] != sort:
        return False
    access = [word for word in words if word not in names]
    named = not names or matches(names[0], fields.get("name", ""))
    return named and _access(access, granted, fields) and _holds(conditions, fields)


def _capability(text: str, fields: Mapping[str, str]) -> bool:
    names = re.split(r"[\s,]+", text.strip())
    return names == [""] or fields.get("capname") in names


def _network(text: str, fields: Mapping[str, str]) -> bool:
    conditions, words, granted = _words(text)
    own = {fields.get("family", ""), fields.get("sock_type", "")}
    return not conditions and not granted and set(words) <= own


def _mount(text: str, fields: Mapping[str, str]) -> bool:
    conditions, words, _ = _words(text)
    if not _flagged(conditions, fields):
        return False
    if {"fstype", "vfstype"} & conditions.keys() and not fields.get("fstype"):
        return False  # such a rule is about new mounts alone
    source, target = "", ""
    if "->" in words:
        at = words.index("->")
        source, target = "".join(words[:at]), "".join(words[at + 1 :])
    elif words:
        source, target = ("", words[0]) if fields.get("operation") == "umount" else (words[0], "")
    return (
        _holds(conditions, fields)
        and (not source or matches(source, fields.get("srcname", "")))
        and (not target or matches(target, fields.get("name", "")))
    )


def _flagged(
    conditions: dict[str, tuple[str, str]],
    fields: Mapping[str, str],
    named: frozenset[str] = frozenset(),
) -> bool:
    """Take the options out of a rule's conditions; return whether a mount's flags are those.

    What changes a mount, or mounts what is there, is compared by the flags that say so alone.

    Args:
        conditions: of the rule.
        fields: of the record.
        named: the flag that the rule's own name says.
    """
    options = conditions.pop("options", None) or conditions.pop("option", None)
    if not options:
        return True
    sign, said = options
    flags = set(re.split(r"[\s,]+", fields.get("flags", ""))) - {"", "rw"}
    asked = {word.removeprefix("make-") for word in re.split(r"[\s,]+", said)} - {""}
    asked |= named
    if sign != "=":  # each bit may be set or not: that of "ro", and that of what is recursive
        asked |= {"ro"} if "rw" in asked else set()
        return flags <= asked | {word[1:] for word in asked if word in _RECURSIVE}
    alone = next((each for each in _ALONE if asked & each and "remount" not in asked), asked)
    return (asked & alone) - {"rw"} == flags


def _place(text: str, fields: Mapping[str, str]) -> bool:
    """A rule about one place: pivot_root, remount."""
    conditions, words, _ = _words(text)
    if not _flagged(conditions, fields, frozenset({"remount"})):
        return False
    places = [word for word in words if word != "->"]
    return _holds(conditions, fields) and (not places or matches(places[0], fields.get("name", "")))


def _change_profile(text: str, fields: Mapping[str, str]) -> bool:
    _, arrow, target = text.partition("->")
    name = fields.get("target") or fields.get("name", "")
    if fields.get("operation", "").startswith("stack"):
        name = f"&{name}"
    return not arrow or matches(target.strip(), name)


def _set(text: str, fields: Mapping[str, str]) -> bool:
    return text.split()[:2] == ["rlimit", fields.get("rlimit", "")]


def _link(text: str, fields: Mapping[str, str]) -> bool:
    name, _, target = re.sub(r"^\s*subset\s+", "", text).partition("->")
    return matches(name.strip(), fields.get("name", "")) and (
        not target or matches(target.strip(), fields.get("target", ""))
    )


def _file(text: str, fields: Mapping[str, str]) -> bool:
    words = [word for *_, word in _PART.findall(text) if word]
    paths = [word for word in words if word.startswith(("/", '"/', "@", "{"))]
    if not paths:
        return not words
    letters = {letter for word in words if word.isalpha() for letter in word}
    denied = set(re.sub(r"[^a-z]", "", fields.get("denied_mask", "")))
    written = {"w"} if denied & set("wcd") else set()
    wanted = (denied - set("wcd")) | written
    if "w" in letters:
        letters.add("a")
    return bool(wanted & letters) and matches(paths[0], fields.get("name", ""))


_BY_CLASS: dict[str, Callable[[str, Mapping[str, str]], bool]] = {
    "capability": _capability,
    "network": _network,
    "mount": _mount,
    "umount": _mount,
    "remount": _place,
    "pivot_root": _place,
    "change_profile": _change_profile,
    "userns": _userns,
    "mqueue": _mqueue,
    "set": _set,
    "link": _link,
    "file": _file,
}
