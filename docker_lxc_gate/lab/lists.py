"""apt's lists in a container template, cut down to what can be wanted in the container.

apt looks at all of Debian's 69,000 descriptions whenever it is called: under emulation that takes
seven seconds, some twenty times in a run of the gate. ``apt-get update`` leaves the lists as they
are for as long as the mirror has nothing newer. Format: deb822(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Stanza = Mapping[str, str]

_FIELD = re.compile(r"^(Package|Provides|Depends|Pre-Depends): (.*)$", re.MULTILINE)
#: One of the packages in a relation, without its architecture, version and what follows.
_NAME = re.compile(r"(?:^|[,|])\s*([^\s:(,|]+)")


def names(text: bytes) -> set[str]:
    """Return the names of the packages in a list, or in dpkg's status."""
    return {fields["Package"] for fields, _ in _stanzas(text)}


def cut(lists: Mapping[str, bytes], roots: Iterable[str]) -> dict[str, bytes]:
    """Return shorter lists of packages, by the same names, without what nobody can want.

    Args:
        lists: the content of each list, by any name.
        roots: names of packages; kept are these and all that may satisfy what they depend on, at
            any remove. A root that no list has (an installed one, say) only adds what it needs.
    """
    needs: dict[str, set[str]] = {}
    for text in lists.values():
        for fields, _ in _stanzas(text):
            relations = (fields.get("Depends", ""), fields.get("Pre-Depends", ""))
            wanted = {name for each in relations for name in _NAME.findall(each)}
            needs.setdefault(fields["Package"], set()).update(wanted)
            for virtual in _NAME.findall(fields.get("Provides", "")):
                needs.setdefault(virtual, set()).add(fields["Package"])
    kept, left = set[str](), [*roots]
    while left:
        name = left.pop()
        if name not in kept:
            kept.add(name)
            left += needs.get(name, ())
    return {
        name: b"".join(whole for fields, whole in _stanzas(text) if fields["Package"] in kept)
        for name, text in lists.items()
    }


def _stanzas(text: bytes) -> Iterator[tuple[Stanza, bytes]]:
    """Yield each stanza's fields, of those that matter, and its text."""
    for stanza in text.split(b"\n\n"):
        fields = dict(_FIELD.findall(stanza.decode(errors="surrogateescape")))
        if "Package" in fields:
            yield fields, stanza.strip(b"\n") + b"\n\n"
