"""The smallest profile rule that would have allowed a denied operation: advice for a reader."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from targets.printable import one_line

if TYPE_CHECKING:
    from facts.audit_records import Denial

#: Fields whose values a guest chooses.
_NAMED = ("name", "srcname", "fstype", "peer")


def smallest_rule(denial: Denial) -> str:
    """Return the smallest profile rule that would have allowed a denied operation.

    A guest chose the names in the record, so the rule quotes them: no pattern, no end of the rule.
    """
    if any(one_line(value) != value for value in denial.fields.values()):
        return f"no rule, since no profile can name it ({denial.summary})"
    said = denial.fields | {k: _literal(denial.fields[k]) for k in _NAMED if k in denial.fields}
    operation, name = said.get("operation", ""), said.get("name", "")
    if operation in {"mount", "umount", "remount"}:
        parts = [operation]
        if flags := said.get("flags"):
            parts.append(f"options=({flags.replace(' ', '')})")
        if fstype := said.get("fstype"):
            parts.append(f"fstype={fstype}")
        if operation == "mount":
            parts += [f"{said['srcname']}"] if _is_path(said.get("srcname", "")) else []
            return " ".join([*parts, "->", f"{name},"])
        return " ".join([*parts, f"{name},"])
    if family := said.get("family"):
        return f"network {family} {said.get('sock_type', '')}".rstrip() + ","
    rules = {
        "pivotroot": f"pivot_root {name},",
        "capable": f"capability {said.get('capname', '?')},",
        "ptrace": f"ptrace ({said.get('denied_mask', '?')}) peer={said.get('peer', '?')},",
    }
    of_file = f"{name} {said.get('denied_mask', '?')}," if _is_path(name) else ""
    return rules.get(operation) or of_file or f"a rule for {operation} ({denial.summary})"


def _literal(value: str) -> str:
    """Return a value quoted for a profile: it matches only itself."""
    escaped = re.sub(r'([\\*?\[\]{}^"])', r"\\\1", value)
    return f'"{escaped}"' if re.search(r"[\s,#()=]", value) else escaped


def _is_path(word: str) -> bool:
    return word.startswith(("/", '"/'))
