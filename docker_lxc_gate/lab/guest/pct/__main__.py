"""Reads the command line, and runs the command."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import commands, lifecycle
from .errors import PctError
from .host import Host


@dataclass(frozen=True)
class Command:
    """What runs, how many arguments it takes (None: any number), and its options."""

    run: Callable[[Host, list[str], Mapping[str, str]], int]
    arguments: int | None
    options: tuple[str, ...] = ()


_CREATE = ("description", "features", "hostname", "memory", "net0", "rootfs", "unprivileged")
_COMMANDS = {
    "config": Command(commands.config, 1, ("current",)),
    "create": Command(commands.create, 2, _CREATE),
    "destroy": Command(commands.destroy, 1),
    "exec": Command(commands.execute, None, ("keep-env",)),
    "push": Command(commands.push, 3, ("perms",)),
    "set": Command(commands.set_options, 1, ("delete", "features", "memory")),
    "shutdown": Command(lifecycle.shutdown, 1, ("timeout", "forceStop")),
    "snapshot": Command(commands.snapshot, 2),
    "start": Command(lifecycle.start, 1, ("debug",)),
    "status": Command(commands.status, 1),
    "stop": Command(lifecycle.stop, 1),
}
#: Options without a value.
_FLAGS = frozenset({"current", "debug"})


def main(argv: list[str], node: Host | None = None) -> int:
    """Run one ``pct`` command line and return its exit code."""
    try:
        return _run(argv[1], argv[2:], node or Host())
    except PctError as error:
        sys.stdout.flush()
        sys.stderr.write(str(error))
        return error.code
    except OSError as error:
        sys.stdout.flush()
        sys.stderr.write(f"{error}\n")
        return 255


def _run(name: str, words: list[str], node: Host) -> int:
    if name not in _COMMANDS:
        raise PctError(f"ERROR: unknown command 'pct {name}'\n")
    command = _COMMANDS[name]
    positional, chosen = _split(words, command.options)
    if command.arguments not in {None, len(positional)}:
        raise PctError(f"400 pct {name} takes {command.arguments} arguments\n", 2)
    return command.run(node, positional, chosen)


def _split(words: list[str], known: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """Return the arguments and the options, which stand anywhere before ``--``, as in Perl."""
    positional: list[str] = []
    chosen: dict[str, str] = {}
    left = iter(words)
    for word in left:
        if word == "--":
            positional += left
        elif not word.startswith("-"):
            positional.append(word)
        else:
            name, equals, value = word.lstrip("-").partition("=")
            if name not in known:
                raise PctError(f"Unknown option: {name}\n400 unable to parse option\n", 2)
            chosen[name] = "1" if name in _FLAGS else value if equals else next(left, "")
    return positional, chosen
