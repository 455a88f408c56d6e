"""The before-images' dataclasses are the schema of what journals on nodes hold.

``tests/data/stored_states.json`` describes each of them, field by field. A journal is read back by
these names and types, years later, so a change here may orphan what somebody's node holds:

- a field that is renamed or removed: what was stored under its name is lost;
- another type of a field: what was stored cannot be read, or is read as something else;
- a new field without a default: no image that was stored before has it;
- another default: it is what an image that was stored before, without the field, now says.

What to do: keep the old field, or give the journal a new format version, so that this program
refuses the former one. A new field with a default, which stands for "not known", orphans nothing.
Then describe the state anew::

    python -m tests.unit.remediation.engine.test_stored_states
"""

import dataclasses
import json
import typing
from dataclasses import MISSING
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.doubles.nodes.whole import Whole

_DESCRIBED = Path(__file__).parents[3] / "data/stored_states.json"


def states(state: Any) -> dict[str, Any]:
    """Return a stored state and those in it, by their names; none of what is no dataclass."""
    if not dataclasses.is_dataclass(state):
        return {}
    found = {state.__name__: state}
    for type_ in typing.get_type_hints(state).values():
        for inner in (type_, *typing.get_args(type_)):
            found |= states(inner)
    return found


def stored() -> dict[str, Any]:
    """Return all states that the plan's actions store, by their names."""
    found: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        for step in Whole(Path(folder)).plan().steps:
            found |= states(step.action.before)
    return dict(sorted(found.items()))


def describe(state: Any) -> dict[str, dict[str, str]]:
    """Return each field's type and, if it has one, its default."""
    hints, found = typing.get_type_hints(state), {}
    for each in dataclasses.fields(state):
        found[each.name] = {"type": _words(hints[each.name])}
        if each.default_factory is not MISSING:
            found[each.name]["default"] = repr(each.default_factory())
        elif each.default is not MISSING:
            found[each.name]["default"] = repr(each.default)
    return found


def _words(type_: Any) -> str:
    inner = ["..." if each is ... else _words(each) for each in typing.get_args(type_)]
    return type_.__name__ + (f"[{', '.join(inner)}]" if inner else "")


def test_no_stored_state_is_orphaned() -> None:
    now = {name: describe(state) for name, state in stored().items()}
    assert json.loads(_DESCRIBED.read_text()) == now, "what to do: see this module's docstring"


if __name__ == "__main__":
    now = {name: describe(state) for name, state in stored().items()}
    _DESCRIBED.write_text(json.dumps(now, indent=2) + "\n")
