"""The tables of ``doctor --upgrade``: what does not go together, and what else is said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docs.markdown import table
from doctor import upgrade
from doctor.trouble import Weight
from doctor.upgrade_conditions import CONDITIONS
from doctor.upgrade_pairs import KNOWN, PAIRS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from doctor.upgrade_pairs import Side


def _range(since: str, before: str) -> str:
    """Return a range of versions; its last tilde, which takes candidates in, is not shown."""
    first = f"from {since.removesuffix('~')}" if since else ""
    last = f"before {before.removesuffix('~')}" if before else ""
    return " ".join(filter(None, (first, last))) or "every version"


def _sides(sides: Iterable[Side], word: str) -> str:
    """Return what one of must be installed on each of some machines."""
    return f"\n{word}\n".join(
        f"{side.where}: "
        + "; ".join(f"{each.package} {_range(each.since, each.before)}" for each in side.versions)
        for side in sides
    )


def _source(name: str) -> str:
    """Return a source of the table as a link, if it is a thread or a page."""
    if found := re.fullmatch(r"([\w.-]+/[\w.-]+)#([0-9]+)", name, re.ASCII):
        return f"[{name}](https://github.com/{found[1]}/issues/{found[2]})"
    return f"[{name}](https://{name})" if name.startswith("docs.docker.com/") else name


def upgrade_pairs() -> str:
    """Return every pair of versions that is known not to go together."""
    return table(
        ("id", "exit code", "what happens", "broken", "only if", "mended", "sources"),
        (
            (
                f"`{each.id}`",
                "0" if each.advice else "1",
                f"{each.title}. {each.why}",
                _sides(each.broken, "and"),
                CONDITIONS[each.only][0] if each.only else "",
                _sides(each.mended, "or") or each.otherwise,
                "\n".join(map(_source, each.sources)),
            )
            for each in PAIRS
        ),
    )


def upgrade_kinds() -> str:
    """Return what else is said before an upgrade."""
    return table(
        ("id", "exit code", "what it says", "why it matters", "what to do"),
        (
            (
                f"`{each.id}`",
                "0" if each.weight is Weight.ADVICE else "1",
                each.title,
                each.why,
                each.mend,
            )
            for each in upgrade.KINDS
        ),
    )


def upgrade_known() -> str:
    """Return up to which versions the table was written."""
    return table(
        ("package", "unknown from", "source of the newest one that is known"),
        ((each.package, each.before.removesuffix("~"), _source(each.source)) for each in KNOWN),
    )
