"""Finds the command and runs it; see the package's docstring for why imports come late."""

import sys

from . import options, quick
from .errors import PctError

USAGE = "USAGE: pct <COMMAND> [ARGS] [OPTIONS]\n\n\n\n\n\n"


def main(argv: list[str], node: quick.Host | None = None) -> int:
    """Run one ``pct`` command line and return its exit code."""
    try:
        return run(argv[1:], node)
    except PctError as error:
        sys.stdout.flush()
        sys.stderr.write(str(error))
        return error.code
    except OSError as error:
        sys.stdout.flush()
        sys.stderr.write(f"{error}\n")
        return 255


def run(words: list[str], node: quick.Host | None) -> int:
    """The same, with errors raised."""
    if not words:
        raise PctError(f"ERROR: no command specified\n{USAGE}")
    command, *rest = words
    if command not in options.COMMANDS:
        raise PctError(f"ERROR: unknown command 'pct {command}'\n{USAGE}")
    if command == "exec":
        return quick.execute(rest, node or quick.Host())
    if command == "status":
        return quick.status(rest, node or quick.Host())
    from .commands import table  # noqa: PLC0415 - the two above must not pay for these
    from .containers import LxcHost  # noqa: PLC0415

    positional, chosen = options.parse(command, rest)
    return table.BY_NAME[command](node or LxcHost(), positional, chosen)
