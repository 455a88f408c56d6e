"""The before-images' dataclasses are the schema of what journals on nodes hold.

``tests/data/stored_states.json`` describes each of them, field by field. A journal is read back by
these names and types, years later, so a change here may orphan what somebody's node holds:

- a field that is renamed or removed: what was stored under its name is lost;
- another type of a field: what was stored cannot be read, or is read as something else;
- a new field without a default: no image that was stored before has it;
- another default: it is what an image that was stored before, without the field, now says.

What to do: keep the old field, or add a reader for the former form to
``remediation/engine/earlier_formats.py``, with a journal of it in ``tests/data/journals``. A new
field with a default, which stands for "not known", orphans nothing. Then describe the state anew::

    python -m tests.unit.remediation.engine.test_stored_states
"""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.doubles.nodes.whole import Whole

_DESCRIBED = Path(__file__).parents[3] / "data/stored_states.json"
Described = dict[str, dict[str, dict[str, str]]]

WHAT_TO_DO = (
    "Journals on nodes hold such images. Keep the field as it was, or add a reader for the former "
    "form to remediation/engine/earlier_formats.py; see this test's docstring"
)


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


def orphaned(then: Described, now: Described) -> list[str]:
    """Return what of the stored images cannot be read as it was meant any more, and what to do."""
    said = [f"{state} is gone" for state in then if state not in now]
    for state in [state for state in then if state in now]:
        was, is_ = then[state], now[state]
        said += [f"{state}.{name} is gone" for name in was if name not in is_]
        said += [
            f"{state}.{name} is new, and has no default"
            for name in is_
            if name not in was and "default" not in is_[name]
        ]
        said += [
            f"{state}.{name}: its {what} was {was[name].get(what)}, and is {is_[name].get(what)}"
            for name in was
            for what in ("type", "default")
            if name in is_ and was[name].get(what) != is_[name].get(what)
        ]
    return [f"{each}. {WHAT_TO_DO}" for each in said]


def test_no_stored_state_is_orphaned() -> None:
    then = json.loads(_DESCRIBED.read_text())
    now = {name: describe(state) for name, state in stored().items()}
    assert not orphaned(then, now), "\n".join(orphaned(then, now))
    assert then == now, f"nothing is orphaned; add it to {_DESCRIBED.name} (see the docstring)"


def test_each_stored_state_says_that_it_is_one() -> None:
    found = stored()
    assert list(found) == [
        *("DockerState", "EngineState", "FileState", "OptionsState", "PackageState"),
        "ProfileState",
    ]
    for state in found.values():
        assert "Stored in journals: its fields are a schema" in state.__doc__


@dataclass
class State:
    kind: str
    many: tuple[str, ...] = ()
    named: dict[str, str] = field(default_factory=dict)


_THEN: Described = {
    "State": {
        "kind": {"type": "str"},
        "many": {"type": "tuple[str, ...]", "default": "()"},
        "named": {"type": "dict[str, str]", "default": "{}"},
    }
}


def _changed(**fields: dict[str, str] | None) -> Described:
    both = _THEN["State"] | fields
    return {"State": {name: each for name, each in both.items() if each is not None}}


def test_state_is_described_with_types_and_defaults() -> None:
    assert {"State": describe(State)} == _THEN
    assert (states(State), states(bool)) == ({"State": State}, {})


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({}, "State is gone"),
        (_changed(kind=None), "State.kind is gone"),
        (_changed(kind=None, sort={"type": "str"}), "State.kind is gone"),
        (_changed(sort={"type": "str"}), "State.sort is new, and has no default"),
        (_changed(kind={"type": "bytes"}), "State.kind: its type was str, and is bytes"),
        (_changed(kind={"type": "str", "default": "''"}), "State.kind: its default was None"),
        (_changed(many={"type": "tuple[str, ...]"}), "State.many: its default was ()"),
    ],
)
def test_change_that_orphans_stored_images_is_told(now: Described, said: str) -> None:
    first = orphaned(_THEN, now)[0]
    assert first.startswith(said)
    assert first.endswith(WHAT_TO_DO)


@pytest.mark.parametrize("now", [_THEN, _changed(new={"type": "str", "default": "''"})])
def test_new_field_with_a_default_orphans_nothing(now: Described) -> None:
    assert orphaned(_THEN, now) == []


if __name__ == "__main__":
    now = {name: describe(state) for name, state in stored().items()}
    _DESCRIBED.write_text(json.dumps(now, indent=2) + "\n")
