"""A program that parses the script in its standard input, with a limit of time and of memory.

tree-sitter asks at times whether to stop, but not while it repairs an error: 100 kB of ``a |`` then
take half a minute. So a large text is first parsed in a process of its own.
"""

from __future__ import annotations

import resource
import sys

import tree_sitter_bash
from tree_sitter import Language, Parser

#: Seconds of the processor, bytes of memory.
_SECONDS, _MEMORY = 2, 1 << 30


def main() -> None:
    """Parse standard input, or die of a limit."""
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Parser(Language(tree_sitter_bash.language())).parse(sys.stdin.buffer.read())


if __name__ == "__main__":
    main()
