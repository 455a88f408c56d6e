"""A program that parses the script in its standard input.

tree-sitter cannot be stopped while it repairs an error: 100 kB of ``a |`` take half a minute. So a
large text is first parsed in a process of its own, under limits.
"""

from __future__ import annotations

import sys

import tree_sitter_bash
from tree_sitter import Language, Parser

if __name__ == "__main__":
    Parser(Language(tree_sitter_bash.language())).parse(sys.stdin.buffer.read())
