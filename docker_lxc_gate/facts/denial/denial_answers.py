"""What is said of a denial: in words, and the smallest rule that allows it.

That nothing is said of a rule's danger does not make it harmless. The sources of each class are in
its module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.facts.denial import path_denials, process_denials
from docker_lxc_gate.facts.denial.denial_class import (
    KNOWN,
    PLACES,
    DenialClass,
    NoRule,
    Record,
    advice,
    alike,
    with_globs,
)
from docker_lxc_gate.printable import one_line

if TYPE_CHECKING:
    from docker_lxc_gate.facts.audit.audit_records import Denial

#: Each class, by what :func:`kind` calls its records; the first one that tells a record has it.
_CLASSES = path_denials.CLASSES | process_denials.CLASSES
#: A process calls itself as it likes; what looks like words of a sentence is quoted.
_NAME = patterns.compile(r"[\w.:/()\[\]+-]+")
_CHOSEN = {
    **dict.fromkeys(KNOWN.fields["words"], patterns.compile(r"[\w+.-]*")),
    **dict.fromkeys(KNOWN.fields["several_words"], patterns.compile(r"[\w+:, -]*")),
}
#: What is not quoted: what no guest has chosen.
_PLAIN = _CHOSEN.keys() | set(KNOWN.fields["by_nodes"])
#: Stands for a byte that was no UTF-8, which a rule cannot name.
_REPLACED = "\ufffd"


def wanted(fields: Mapping[str, str], *, several: bool = False) -> str:
    """Return what was tried, as it follows "wanted to"; of whatever fields, some text.

    If they stand for ``several`` records that differ in an id, globs stand for the ids.
    """
    shown = {key: with_globs(alike(fields[key])) for key in PLACES if key in fields}
    return _class(fields).wanted(Record({**fields, **shown} if several else fields))


def danger(fields: Mapping[str, str]) -> str:
    """Return why a rule that allows what was denied is dangerous; empty: nothing is known."""
    return _class(fields).danger(Record(fields))


def who(programs: list[str]) -> str:
    """Return the programs as a sentence begins with them."""
    names = [name if _NAME.fullmatch(name) else f'"{name}"' for name in programs] or ["a process"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


@dataclass(frozen=True)
class Answer:
    """What would allow what was denied; what is not known, or needs not be said, is empty.

    ``try_first`` comes before the smallest ``rule``, as it stands in a profile. ``no_rule`` says
    why there is none, and what would help instead; ``where`` it is to be written, if not in the
    profile's own file; ``dangerous`` what else it opens.
    """

    try_first: str = ""
    rule: str = ""
    no_rule: str = ""
    where: str = ""
    dangerous: str = ""


def answer(denial: Denial) -> Answer:
    """Return what would allow what was denied."""
    fields = denial.fields
    try:
        allowing = rule(denial)
    except NoRule as why:
        return Answer(no_rule=str(why))
    nests = _class(fields).nests
    before, where = (advice(rows, fields, nests=nests) for rows in (KNOWN.try_first, KNOWN.where))
    return Answer(before, allowing, where=where, dangerous=danger(fields))


def smallest_rule(denial: Denial) -> str:
    """Return the smallest profile rule that would have allowed what was denied, or why none would.

    A guest chose the names in the record, so the rule quotes them: no end of the rule, and no
    pattern but one of an id that is another one each time.
    """
    result = answer(denial)
    return result.rule or f"no rule: {result.no_rule} ({denial.summary})"


def rule(denial: Denial) -> str:
    """Return the same rule, as it stands in a profile.

    Raises NoRule if there is none; it says what would help instead, if that is known.
    """
    fields = denial.fields
    if any(one_line(value) != value or _REPLACED in value for value in fields.values()):
        raise NoRule("no profile can name it")
    if "operation" not in fields:
        raise NoRule("the record does not name its operation; a record is one line, without breaks")
    if not denial.whole:
        raise NoRule("the record was cut")
    for key, pattern in _CHOSEN.items():
        if not pattern.fullmatch(fields.get(key, "")):
            raise NoRule(f"no kernel writes such a {key}")
    for words, why in KNOWN.no_rule.items():
        if words in fields.get("info", ""):
            raise NoRule(why)
    if (profile := fields.get("profile", "")) in KNOWN.no_rule_in:
        raise NoRule(KNOWN.no_rule_in[profile])
    marked = {**fields, **{key: alike(fields[key]) for key in PLACES if key in fields}}
    quoted = {key: value if key in _PLAIN else _literal(value) for key, value in marked.items()}
    try:
        return f"{_class(fields).rule(Record(quoted))},"
    except KeyError as error:  # what the rule needs was never written, or cut off
        raise NoRule(f"the record has no {error.args[0]}") from None


def _literal(value: str) -> str:
    """Return a value quoted for a profile: it matches only itself, whatever its marks stand for.

    A backslash is written by its number: the parser takes one before a blank, a comma or a quote
    for part of the name, even if it is escaped itself, and reads on beyond the name's end.
    """
    escaped = patterns.sub(
        r'[*?\[\]{}^"]', lambda match: f"\\{match[0]}", value.replace("\\", "\0")
    )
    escaped = with_globs(escaped.replace("\0", r"\134"))
    return f'"{escaped}"' if patterns.search(r"[\s,#()=!]", value) else escaped


def kind(fields: Mapping[str, str]) -> str:
    """Return the name of a record's class; of what no class is about, its operation."""
    record = Record(fields)
    telling = (name for name, known in _CLASSES.items() if known.tells(record))
    return next(telling, fields.get("operation", ""))


def _class(fields: Mapping[str, str]) -> DenialClass:
    """Return the class of a record; what no class is about is a file."""
    return _CLASSES.get(kind(fields), path_denials.FILE)
