"""What cosmic-ray does not change, and a verdict hangs on: a check that cannot fail.

Each operator names the sabotage it is.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import parso
from cosmic_ray.operators.operator import Example
from cosmic_ray.operators.operator import Operator as Base

Position = tuple[tuple[int, int], tuple[int, int]]


class Operator(Base):
    """Base of all: cosmic-ray wants examples for its documentation."""

    @classmethod
    def examples(cls) -> Iterable[Example]:
        return ()


class AssertionHolds(Operator):
    """An assertion that is always true."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type == "assert_stmt":
            yield node.children[1].start_pos, node.children[1].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.children[1] = parso.parse(" True")
        return node


class RaisesNothing(Operator):
    """An error that is not raised."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type == "raise_stmt":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return parso.parse(f"{node.get_first_leaf().prefix}pass")


class RequiresNothing(Operator):
    """A command whose exit code is not looked at."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type == "trailer" and node.get_code().strip() == ".require":
            yield node.start_pos, node.get_next_sibling().end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.get_next_sibling().children = []
        return None


def conditions(node: Any) -> Iterator[int]:
    """Yield where among a node's children its conditions are: if, ternary, comprehension."""
    if node.type == "if_stmt":
        yield from (n + 1 for n, c in enumerate(node.children) if _keyword(c, "if", "elif"))
    elif node.type == "test" and len(node.children) == len(("a", "if", "b", "else", "c")):
        yield 2
    elif node.type in {"comp_if", "while_stmt"}:
        yield 1


def _keyword(node: Any, *values: str) -> bool:
    return node.type == "keyword" and node.value in values


def _type_checking(node: Any) -> bool:
    return node.get_code().strip() == "TYPE_CHECKING"


class _Condition(Operator):
    answer = ""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        for place in conditions(node):
            child = node.children[place]
            if not _type_checking(child):
                yield child.start_pos, child.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.children[list(conditions(node))[index]] = parso.parse(self.answer)
        return node


class ConditionHolds(_Condition):
    """A question that is always answered with yes."""

    answer = " True"


class ConditionFails(_Condition):
    """A question that is always answered with no."""

    answer = " False"


class Membership(Operator):
    """``in`` for ``not in``, and the other way round."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type == "comparison" and _operator(node) in {"in", "not in"}:
            yield node.children[1].start_pos, node.children[1].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.children[1] = parso.parse(" not in" if _operator(node) == "in" else " in")
        return node


def _operator(node: Any) -> str:
    return " ".join(node.children[1].get_code().split())


class Quantifier(Operator):
    """``any`` for ``all``, and the other way round."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type == "name" and node.value in {"any", "all"} and _called(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.value = {"any": "all", "all": "any"}[node.value]
        return node


def _called(node: Any) -> bool:
    before = node.get_previous_leaf()
    return not (before and before.value == ".") and node.get_next_leaf().value == "("


class Words(Operator):
    """Another word: in an argv, a pattern, a key, a comparison."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type == "string":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        quote = min(n for n in map(node.value.find, ("'", '"')) if n >= 0)
        length = 3 if node.value[quote : quote + 3] in {'"""', "'''"} else 1
        start = quote + length
        node.value = f"{node.value[:start]}XX{node.value[start:]}"
        return node


#: Calls whose words are for a reader.
_TELLING = {"say"}


def told(node: Any) -> bool:
    """Say whether a node decides nothing: what a reader is told, how long is waited, a type."""
    if node.get_previous_sibling() is None and node.parent.type in {"simple_stmt", "file_input"}:
        return True  # a docstring
    child, parent = node, node.parent
    while parent is not None:
        if _tells(parent, child):
            return True
        child, parent = parent, parent.parent
    return False


def _tells(parent: Any, child: Any) -> bool:
    kind, parts = parent.type, parent.children
    return (
        kind in {"raise_stmt", "decorator", "fstring"}
        or (kind == "assert_stmt" and child is not parts[1])
        or (kind == "strings" and any(each.type == "fstring" for each in parts))
        or (kind == "argument" and parts[0].get_code().strip() in {"timeout", "errors"})
        or (kind == "funcdef" and child is not parts[-1])
        or (kind == "annassign" and child is parts[1])
        or (kind == "trailer" and _caller(parent) in _TELLING)
    )


def _caller(trailer: Any) -> str:
    before = trailer.get_previous_leaf()
    return before.value if trailer.children[0].value == "(" and before else ""


#: As cosmic-ray wants them, by name.
OPERATORS = {
    operator.__name__: operator
    for operator in (
        *(AssertionHolds, RaisesNothing, RequiresNothing, ConditionHolds, ConditionFails),
        *(Membership, Quantifier, Words),
    )
}
