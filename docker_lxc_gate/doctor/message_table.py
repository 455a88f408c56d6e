"""The rows of ``messages.toml``: messages and signs, and the problems that one of them defines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, TypeAlias

from msgspec import Meta, structs

from docker_lxc_gate.lint.finding import Problem, Severity
from docker_lxc_gate.tables import Row, table

_Text: TypeAlias = Annotated[str, Meta(min_length=1)]


class Message(Row, frozen=True):
    """A message, or a sign, and what it means; ``messages.toml`` explains the keys."""

    pattern: _Text
    problem: _Text
    text: str = ""
    sure: str = ""
    title: str = ""
    severity: Severity = Severity.SEEN
    docker: bool = False
    module: str = ""
    why: str = ""
    fix: str = ""
    vague: bool = False
    guess: bool = False
    refused: tuple[_Text, ...] = ()


class _Table(Row, frozen=True):
    harmless: _Text
    innermost_first: _Text
    elsewhere: _Text
    of_lxc: _Text
    refusals: dict[str, _Text]
    message: dict[_Text, Message]


TABLE = table("docker_lxc_gate.doctor", "messages", _Table)


def _rows() -> Iterator[Message]:
    """Yield the rows with what is left out in the table: the text is their key there."""
    first: dict[str, str] = {}
    for text, row in TABLE.message.items():
        loaded = row.module and f"on the node: lsmod | grep {row.module}"
        sure = row.sure or loaded or first[row.problem]
        first.setdefault(row.problem, sure)
        yield structs.replace(row, text=text, sure=sure)


_DEFINED = tuple(_rows())
#: By id, the problems that only messages and signs tell.
PROBLEMS = {
    row.problem: Problem(row.problem, row.severity, row.title, row.why, row.fix)
    for row in _DEFINED
    if row.title
}
_ROWS = [structs.replace(row, why="", fix="") if row.title else row for row in _DEFINED]
#: Most specific first.
MESSAGES = tuple(row for row in _ROWS if not row.refused)
#: Of signs that are as near to the refusal, the first one counts.
SIGNS = tuple(row for row in _ROWS if row.refused)
