"""What is said of a denial: in words, the smallest rule that allows it, and deny rules against it.

That nothing is said of a rule's danger does not make it harmless. A deny wins over every rule that
allows. Source: apparmor.d(5), "Rule Qualifiers"; the sources of each class are in its module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facts.audit.audit_records import kind
from facts.denial import path_denials, process_denials
from facts.denial.denial_class import Record
from targets import patterns
from targets.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facts.audit.audit_records import Denial
    from facts.denial.denial_class import DenialClass
    from facts.denial.profile_text import Policy, Rule

#: Each class, by what :func:`facts.audit.audit_records.kind` calls its records.
_CLASSES = path_denials.CLASSES | process_denials.CLASSES
#: The first words of rules that are about no file.
_KEYWORDS = frozenset(word for known in _CLASSES.values() for word in known.deny) - {"file"}
#: A profile that LXC makes for one container; its own for those without nesting.
_GENERATED = patterns.compile(r"lxc-[^\s/<>]{1,200}_<")
_WITHOUT_NESTING = patterns.compile(r"lxc-container-default(?:-cgns)?")
#: A process calls itself as it likes; what looks like words of a sentence is quoted.
_NAME = patterns.compile(r"[\w.:/()\[\]+-]+")
#: What the denied process has chosen, or whoever made what it asked for.
_NAMED = (
    *("name", "srcname", "fstype", "peer", "target", "addr", "peer_addr", "tcontext"),
    *("bus", "path", "interface", "member", "peer_label", "peer_profile", "rlimit"),
)
#: What the kernel has chosen, and how it looks: in a log that others write, too, it may look
#: otherwise, and end the rule to begin another.
_WORD, _WORDS = patterns.compile(r"[\w+.-]*"), patterns.compile(r"[\w+:, -]*")
_CHOSEN = dict.fromkeys(
    ("capname", "class", "family", "mask", "operation", "signal", "sock_type", "value"), _WORD
) | dict.fromkeys(("denied", "denied_mask", "flags"), _WORDS)
#: Stands for a byte that was no UTF-8, which a rule cannot name.
_REPLACED = "\ufffd"
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
_DENY = patterns.compile(r"(?:(?:audit|quiet|priority\s*=\s*-?[0-9]+)\s+)*deny\s+")


def wanted(fields: Mapping[str, str]) -> str:
    """Return what was tried, as it follows "wanted to"; of whatever fields, some text.

    Args:
        fields: of a record.
    """
    return _class(fields).wanted(Record(fields))


def danger(fields: Mapping[str, str]) -> str:
    """Return why a rule that allows what was denied is dangerous; empty: nothing is known."""
    return _class(fields).danger(Record(fields))


def who(programs: list[str]) -> str:
    """Return the programs as a sentence begins with them."""
    names = [each if _NAME.fullmatch(each) else f'"{each}"' for each in programs] or ["a process"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def where(fields: Mapping[str, str]) -> str:
    """Return where a rule for what was denied has to be written; empty: in the profile's own file.

    Args:
        fields: of the record.
    """
    profile = fields.get("profile", "")
    if fields.get("namespace"):
        return (
            f"in {profile or 'the profile'} as the container itself loads it: Docker's own profile "
            "is replaced by --security-opt apparmor=NAME"
        )
    if _GENERATED.match(profile):
        return (
            "LXC generates this profile, so no file has it: lxc.apparmor.raw: RULE in the "
            "container's configuration, and restart it"
        )
    if _WITHOUT_NESTING.fullmatch(profile):
        return (
            "not in LXC's own profile for containers without nesting: give the container nesting "
            "first (Proxmox: nesting=1 in features), and restart it"
        )
    return ""


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
    quoted = Record(fields | {key: _literal(fields[key]) for key in _NAMED if key in fields})
    try:
        return f"{_class(fields).rule(quoted)},"
    except KeyError as error:  # what the rule needs was never written, or cut off
        raise NoRule(f"{unknown}: the record has no {error.args[0]}") from None


def _literal(value: str) -> str:
    """Return a value quoted for a profile: it matches only itself.

    A backslash is written by its number: the parser takes one before a blank, a comma or a quote
    for part of the name, even if it is escaped itself, and reads on beyond the name's end.
    """
    escaped = patterns.sub(
        r'[*?\[\]{}^"]', lambda found: f"\\{found[0]}", value.replace("\\", "\0")
    )
    escaped = escaped.replace("\0", r"\134")
    return f'"{escaped}"' if patterns.search(r"[\s,#()=!]", value) else escaped


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
    owner = patterns.match(r"owner\s+", text)
    if owner:
        text = text[owner.end() :]
        if fields.get("fsuid") != fields.get("ouid"):
            return False
    word = patterns.match(r"\w+", text)
    if word and word[0] == "all":
        return True
    name = word[0] if word and word[0] in _KEYWORDS else "file"
    rest = text[len(name) :] if name != "file" else patterns.sub(r"^file\b", "", text)
    forbids = _class(fields).deny.get(name)
    return forbids is not None and forbids(rest, Record(fields))


def _class(fields: Mapping[str, str]) -> DenialClass:
    """Return the class of a record; what no class is about is a file."""
    return _CLASSES.get(kind(fields), path_denials.FILE)
