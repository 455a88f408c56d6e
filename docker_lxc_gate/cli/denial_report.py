"""What ``docker-lxc-gate denials`` prints: for people, profiles and programs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from docker_lxc_gate import masking
from docker_lxc_gate.cli import printing
from docker_lxc_gate.commandline.json_output import print_json, shown
from docker_lxc_gate.facts.audit.audit_records import MARK
from docker_lxc_gate.facts.denial.denial_answers import (
    Answer,
    answer,
    kind,
    wanted,
    who,
)
from docker_lxc_gate.printable import counted, one_line

if TYPE_CHECKING:
    from docker_lxc_gate.errors import FactError
    from docker_lxc_gate.facts.denial.denial_groups import Group, Tally

#: What is shown of a record that says nothing (characters).
_SHOWN = 500
_STYLES = {"try_first": "green", "rule": "green", "no_rule": "", "where": "", "dangerous": "yellow"}
_LAYOUT = {"indent": 2, "width": 11}
PASTED = "standard input"
_UNKNOWN = "cannot be attributed: nothing that is left says of which container the process was"


@dataclass(frozen=True)
class Report:
    """What was read, for a reader, what was counted in it, and why there may be more."""

    source: str
    tally: Tally
    doubt: FactError | None = None

    @property
    def total(self) -> int:
        """How many denials there are."""
        return sum(group.count for group in self.tally.groups())


def text(report: Report) -> None:
    """Print each kind of denial in words, the most frequent first; then what cannot be read."""
    if kinds := len(report.tally.kinds()):
        printing.line(f"{counted(report.total, 'denial')} of {counted(kinds, 'kind')}")
    elif not report.doubt:
        if report.source == PASTED:
            printing.tell(f"a denial is a whole line with {MARK}: join one that was wrapped")
        since = "" if report.tally.since is None else f" since {moment(report.tally.since)}"
        printing.line(
            f"no denial in {report.source}{since}; that proves nothing by itself, since a quiet "
            "'deny' leaves no record"
        )
    for group in report.tally.groups():
        printing.line("")
        _explain(group)
    if report.tally.provoked:
        printing.line("")
        count, imitable = counted(report.tally.provoked, "denial"), report.tally.imitable
        may_be = f"; {imitable:,} of them under a profile, where a guest can imitate the gate"
        notice = f"{count} provoked on purpose by the gate left out{may_be * bool(imitable)}"
        printing.line(notice, "yellow" if imitable else "dim")
    for line, advice in report.tally.unread.items():
        printing.line("")
        _show_unread(line, advice)


def _show_unread(line: str, advice: str) -> None:
    head = f"a line that may be a denial: {masking.shown(line, _SHOWN)}"
    printing.entry(head, "bold", [("unreadable", advice, "yellow")], **_LAYOUT)


def _explain(group: Group) -> None:
    """Print a kind of denial in words, and what would allow it."""
    answers, owner = vars(_answer(group)).items(), group.owner
    info = group.denial.fields.get("info")
    profile = f"{_name(group)}{f' ({info})' if info else ''}"
    rows = (
        ("count", times(group), ""),
        ("profile", profile if group.readable else "", ""),
        ("container", f"{owner.container}, by its {owner.by}" if owner else _UNKNOWN, ""),
        *((name.replace("_", " "), value, _STYLES[name]) for name, value in answers),
    )
    printing.entry(sentence(group), "bold", rows, **_LAYOUT)


def sentence(group: Group) -> str:
    """Return in words who wanted what."""
    if not group.readable:
        return f"a record that cannot be read: {masking.shown(group.denial.line, _SHOWN)}"
    where = f" in container {group.owner.container}" if group.owner else ""
    if group.merged:
        return f"{who(group.programs)} was denied {kind(group.denial.fields)} in further ways"
    tried = wanted(group.denial.fields, several=group.several)
    return f"{who(group.programs)}{where} wanted to {tried}"


def times(group: Group) -> str:
    """Return how often, and from when until when."""
    often = counted(group.count, "time")
    if group.first is None or group.last is None:
        return f"{often}, the log does not say when"
    if group.first == group.last:
        return f"{often}, {moment(group.first)}"
    return f"{often}, {moment(group.first)} to {moment(group.last)}"


def moment(at: float) -> str:
    """Return a Unix time as people read it (UTC)."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%SZ}"


def _name(group: Group) -> str:
    """Return the profile that refused, and in which policy namespace, if not in the node's."""
    fields = group.denial.fields
    name = group.denial.profile or "(the record names none)"
    space = fields.get("namespace")
    return f"{name} in the policy namespace {space}" if space else name


def _answer(group: Group) -> Answer:
    """Return what would allow it."""
    if group.merged:
        return Answer(no_rule="these denials differ in more than is kept: read it with --since")
    return answer(group.denial)


def suggest(report: Report) -> None:
    """Print the rules alone, each once, by profile. Standard error says how many have none."""
    by_profile: dict[str, dict[str, Answer]] = {}
    without = 0
    for group in report.tally.groups():
        advice = _answer(group)
        if not advice.rule:
            without += 1
            continue
        by_profile.setdefault(_name(group), {})[advice.rule] = advice
    for profile, rules in by_profile.items():
        _plain(f"# {one_line(profile)}")
        headings = [
            *(f"# try first: {advice.try_first}" for advice in rules.values() if advice.try_first),
            *(f"# where: {advice.where}" for advice in rules.values() if advice.where),
        ]
        for heading in dict.fromkeys(headings):
            _plain(one_line(heading))
        for rule, advice in rules.items():
            if advice.dangerous:
                _plain(f"# dangerous: {one_line(advice.dangerous)}")
            _plain(rule)
    if without:
        which = f"{counted(without, 'kind')} of denials that no rule would allow"
        printing.line(f"{which}: see without --suggest", "yellow", to=printing.err)


def _plain(line: str) -> None:
    """Print a line as it is: a rule that is cut or masked is another rule."""
    printing.out.print(Text(line), soft_wrap=True)


def as_json(report: Report) -> None:
    """Print everything for programs."""
    print_json(
        {
            "source": shown(report.source),
            "total": report.total,
            "provoked_by_the_gate": report.tally.provoked,
            "under_a_profile": report.tally.imitable,
            "incomplete": shown(str(report.doubt)) if report.doubt else None,
            "unreadable": report.tally.unreadable,
            "unread": [
                {"line": masking.shown(line, _SHOWN), "what_to_change": advice}
                for line, advice in report.tally.unread.items()
            ],
            "denials": [members(group) for group in report.tally.groups()],
        },
        exactly=True,
    )


def members(group: Group) -> dict[str, Any]:
    """Return all that is known of a kind, for programs.

    A masked rule is another rule, so the rules stay as they are, and the record that they follow
    from. All sentences are masked.
    """
    advice, fields = _answer(group), group.denial.fields
    return {
        "sentence": shown(sentence(group)),
        "count": group.count,
        "first": moment(group.first) if group.first is not None else None,
        "last": moment(group.last) if group.last is not None else None,
        "container": group.owner.container if group.owner else None,
        "attributed_by": group.owner.by if group.owner else None,
        "profile": group.denial.profile or None,
        "programs": group.programs,
        **{name: shown(value) or None for name, value in vars(advice).items()},
        "rule": advice.rule or None,
        "readable": group.readable,
        "whole": group.denial.whole,
        "merged": group.merged,
        "fields": fields,
    }
