"""Masking: secrets are replaced by stars, by their name or by their form.

All output of the program goes through :func:`mask`. ``masking.toml`` has the names and the forms.
Masking is no guarantee: a secret that matches no rule stays visible.
"""

from __future__ import annotations

import base64
from typing import Any

from docker_lxc_gate import patterns
from docker_lxc_gate.printable import cut, one_line
from docker_lxc_gate.tables import Row, table

STARS = "***"
#: A secret that is cut off looks like none, so this much more is masked than is shown (characters).
_MARGIN = 8192


class _Forms(Row, frozen=True):
    rules: tuple[str, ...]
    harmless: str
    harmless_with_name: str
    parts: dict[str, str | tuple[str, ...]]


_FORMS = table("docker_lxc_gate", "masking", _Forms)
_PART = patterns.compile(r"@([a-zA-Z_]+)@")
_PARTS: dict[str, str] = {}


def _compiled(pattern: str) -> patterns.Pattern[str]:
    return patterns.compile(f"(?i){_whole(pattern)}")


def _whole(pattern: str) -> str:
    """Return a pattern with its parts in their places."""
    return _PART.sub(lambda match: _PARTS[match[1]], pattern)


for _name, _part in _FORMS.parts.items():
    _PARTS[_name] = _whole(_part if isinstance(_part, str) else "|".join(_part))
    _PARTS[_name.upper()] = _PARTS[_name].upper()
_RULES = tuple(map(_compiled, _FORMS.rules))
#: Whether a text has any secret. Most have none, and one search takes a fifth of the time of all.
_ANY = _compiled("|".join(f"(?:{rule})" for rule in _FORMS.rules))
_HARMLESS = _compiled(_FORMS.harmless)
_HARMLESS_WITH_NAME = _compiled(_FORMS.harmless_with_name)
#: What a terminal acts upon, and no reader sees: it may stand within a secret's name.
_CONTROLS = patterns.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])?"
    r"|[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]"
)


def mask(text: str) -> str:
    """Return a text of any length with its secrets replaced by stars: for people, not programs.

    Sequences of a terminal and control characters are dropped from a text with a secret: one may
    stand within its name, as of ``grep --color``.
    """
    plain = _CONTROLS.sub("", text) if _CONTROLS.search(text) else text
    if not _ANY.search(plain):
        return text
    for pattern in _RULES:
        plain = pattern.sub(_starred, plain)
    return plain


def shown(text: str, most: int = 500) -> str:
    """Return the beginning of any text in one line, masked and escaped; the rest is not masked."""
    read = most + _MARGIN
    if beyond := max(0, len(text) - read):  # no part of the margin, as in `mask_end`
        most = min(most, len(one_line(mask(text[:most]))))
    return cut(one_line(mask(text[:read])), most, beyond=beyond)


def mask_end(text: str, most: int) -> str:
    """Return the end of any text, masked; the rest is not masked."""
    margin, end = text[-most - _MARGIN : -most], text[-most:]
    # Stars are shorter than a key, and the rest of one at the margin's beginning looks like none.
    return mask(margin + end)[len(mask(margin)) :][-most:] or STARS * bool(end)


def _starred(match: patterns.Match[str]) -> str:
    groups = [match.span(number) for number in range(1, len(match.groups()) + 1)] or [match.span()]
    start, end = next((span for span in groups if span[0] >= 0), (0, 0))
    before, value = match.string[max(match.start() - 4, 0) : start], match.string[start:end]
    if _HARMLESS.fullmatch(value) or _HARMLESS_WITH_NAME.fullmatch(f"\n{before}{value}"):
        return str(match[0])
    return f"{match.string[match.start() : start]}{STARS}{match.string[end : match.end()]}"


def masked(value: Any) -> Any:
    """Return a line of the journal, as values of JSON, with every text and content masked."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [masked(item) for item in value]
    if isinstance(value, dict):
        return {key: _masked_member(key, item) for key, item in value.items()}
    return value


def _masked_member(key: str, value: Any) -> Any:
    """Mask one member; the key ``base64`` holds a content that is not UTF-8."""
    if key != "base64" or not isinstance(value, str):
        return masked(value)
    plain = base64.b64decode(value).decode(errors="surrogateescape")
    return base64.b64encode(mask(plain).encode(errors="surrogateescape")).decode()
