"""A script's text as simple commands, as far as linting needs it.

tree-sitter parses the text, and nothing is expanded. bash itself decides whether a script is valid.
Source: bash(1).
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import TransportError
from docker_lxc_gate.lint import shell_parse
from docker_lxc_gate.machines.process import limited
from docker_lxc_gate.machines.transport import Local


class Command(NamedTuple):
    """One simple command, the head of a ``for`` loop, or the redirected end of a block.

    The ``words`` are as they are written, quotes included, without assignments before the name; a
    redirection is one word. ``reads`` are those of the command whose output it reads through a
    pipe. ``function`` is that in whose body it stands; empty outside of all.
    """

    line: int
    words: tuple[str, ...]
    reads: tuple[str, ...] = ()
    function: str = ""


class _Place(NamedTuple):
    """A node that is still to be walked, and what it stands in."""

    node: Node
    kind: str
    reads: tuple[str, ...] = ()
    function: str = ""
    depth: int = 0
    wrapped: bool = False


class TooTangled(Exception):
    """The text takes more time than any script that a person wrote."""


_BASH = Language(tree_sitter_bash.language())
#: Seconds of the processor for the parser, in a process of its own, and for the list of commands. A
#: text of 200 KiB takes less than one, unless somebody made it slow on purpose.
_ALONE, _PATIENCE = 2, 5.0
#: Bytes of a text that this process parses at once: the slowest takes a second. A larger one must
#: first pass in a process of its own.
_SMALL = 1 << 13
#: The deepest nesting of substitutions whose commands are listed.
_DEEPEST = 40
#: The nodes of the smallest command: itself, its name, and the word in the name.
_LEAST = 3
_SUBSTITUTIONS = frozenset({"command_substitution", "process_substitution"})
_WRAPPERS = frozenset({"redirected_statement", "negated_command"})
_SHOWN = _WRAPPERS | {"command", "for_statement"}
_AFTER_HEAD = frozenset({";", "\n", "do_group", "compound_statement"})
#: What ends a block whose output can be piped on, or redirected.
_ENDS = frozenset({"}", "done", "fi", "esac"})
_LINE_END = patterns.compile(rb"(?:^|[^\\])\n")
_END = r"[\w.!-]+"
_HERE = patterns.compile(
    rf"""(?P<less><+)(?P<dash>-?)[ \t]*(?:'({_END})'|"({_END})"|\\?({_END}))"""
)


@lru_cache(maxsize=64)  # several rules ask for the same text
def commands(text: str) -> tuple[Command, ...]:
    """Return a script's commands, also in substitutions; raises TooTangled if it takes too long."""
    text = without_documents(text.replace("\r\n", "\n").replace("\0", ""))
    content = text.encode("utf-8", "surrogateescape")
    if len(content) > _SMALL:
        _require_quick(content)
    tree = Parser(_BASH).parse(content)
    return tuple(_commands(tree.root_node, content, time.process_time() + _PATIENCE))


def _require_quick(content: bytes) -> None:
    """Raise TooTangled if a process of its own cannot parse the text within its limits."""
    try:
        argv = limited(sys.executable, "-I", shell_parse.__file__, seconds=_ALONE)
        result = Local().run(argv, stdin=content)
    except TransportError as error:
        raise TooTangled from error
    if not result.ok:
        raise TooTangled


def _commands(root: Node, content: bytes, end: float) -> Iterator[Command]:
    stack = [_Place(root, root.type)]
    while stack:
        if time.process_time() > end:
            raise TooTangled
        place = stack.pop()
        node, kind = place.node, place.kind
        if kind == "function_definition" and (name := node.child_by_field_name("name")):
            place = place._replace(function=_text(name, content))
        if kind in _SHOWN and not place.wrapped and (words := _words(node, content, head=True)):
            yield Command(node.start_point.row + 1, words, place.reads, place.function)
        if kind == "command" and node.has_error:
            yield from _rest(node, content)
        stack += reversed(_below(place, content))


def _below(place: _Place, content: bytes) -> list[_Place]:
    """Return the children of a node in which commands may stand."""
    node, kind, reads, function, depth, _ = place
    if kind in _SUBSTITUTIONS:
        reads, depth = (), depth + 1
    elif kind == "command":
        reads = ()
    if depth > _DEEPEST:
        return []
    places: list[_Place] = []
    last: Node | None = None
    for child in node.children:
        if child.is_named:
            if child.descendant_count >= _LEAST:
                wrapped = kind in _WRAPPERS
                places.append(_Place(child, child.type, reads, function, depth, wrapped))
            last, reads = child, ()
        elif last and kind == "pipeline" and child.type in {"|", "|&"}:
            reads = _words(last, content)
    return places


def _words(node: Node, content: bytes, *, head: bool = False) -> tuple[str, ...]:
    """Return a command's words, or the end of a block, with the redirections after it.

    With ``head``, those of a loop's head instead of its end.
    """
    redirections: list[Node] = []
    while (kind := node.type) in _WRAPPERS:
        named = [child for child in node.named_children if child.type != "comment"]
        redirections[:0] = [child for child in named if child.type.endswith("_redirect")]
        body = next((child for child in named if not child.type.endswith("_redirect")), None)
        if body is None:
            break
        node = body
    if kind == "command":
        parts = [child for child in node.children if child.type != "variable_assignment"]
    elif kind == "for_statement" and head:
        parts = list(takewhile(lambda child: child.type not in _AFTER_HEAD, node.children))
    else:  # a block
        last = next(reversed(node.children), None)
        if last is not None and last.type == "do_group":
            last = next(reversed(last.children), None)
        parts = [last] if last is not None and last.type in _ENDS else []
    return tuple([_text(part, content) for part in (*parts, *redirections)])


def _rest(command: Node, content: bytes) -> Iterator[Command]:
    """Yield what the parser took for more of a command after it could not read something."""
    line: list[Node] = []
    lines = [line]
    for part in command.children:
        between = content[line[-1].end_byte : part.start_byte] if line else b""
        if part.is_error or part.type == "comment" or _LINE_END.search(between):
            line = []
            lines.append(line)
        if not part.is_error and part.type != "comment":
            line.append(part)
    for line in filter(None, lines[1:]):
        words = tuple(_text(part, content) for part in line)
        yield Command(line[0].start_point.row + 1, words)


def _text(node: Node, content: bytes) -> str:
    return content[node.start_byte : node.end_byte].decode("utf-8", "surrogateescape")


def without_documents(text: str) -> str:
    """Return a text without its here-documents, in as many lines.

    They are no commands, and the parser takes what follows ``<<END`` in a line for a part of them.
    """
    lines = text.split("\n")
    ends: dict[tuple[bool, str], list[int]] = {}
    for number, line in enumerate(lines):
        ends.setdefault((False, line), []).append(number)
        ends.setdefault((True, line.lstrip("\t")), []).append(number)
    after = 0
    for number, line in enumerate(lines):
        if number < after:
            lines[number] = ""
        elif "<<" in line and not line.lstrip().startswith("#"):
            lines[number], after = _without_begins(line, ends, number + 1)
    return "\n".join(lines)


def _without_begins(
    line: str, ends: Mapping[tuple[bool, str], Sequence[int]], after: int
) -> tuple[str, int]:
    """Return a line without the begin of each here-document, and the number of the next line.

    ``ends`` are the lines that could end one: by whether tabs before it count, and by its mark.
    """
    kept, at = [], 0
    for here in _HERE.finditer(line):
        places = ends.get((bool(here["dash"]), here[3] or here[4] or here[5]), ())
        place = bisect_left(places, after)
        if here["less"] == "<<" and place < len(places):
            after = places[place] + 1
            kept.append(line[at : here.start()])
            at = here.end()
    return "".join([*kept, line[at:]]), after
