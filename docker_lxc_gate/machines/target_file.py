"""A file of targets, by name, as a user writes it by hand (TOML).

::

[pve1]
host = "pve1"            # or an alias of ~/.ssh/config; or "local", or "lab"
ctid = 950
reserved = [951, 952]    # containers that may be created and destroyed
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Sequence
from datetime import date
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import structs

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.machines import regular_file
from docker_lxc_gate.machines.target import DEFAULT, Target, parse

_T = TypeVar("_T", bound=msgspec.Struct)
#: The largest file (bytes). The time of Python's tomllib grows with the square of a key's parts.
_LARGEST = 1 << 16


def find(text: str | None, file: Path | None = None) -> Target:
    """Return the target that a command line names.

    The text is a name in the ``file`` (TOML), one table a target; see
    :class:`docker_lxc_gate.machines.target.Target` for the keys. Without one, it is a target as
    :func:`docker_lxc_gate.machines.target.parse` reads it; None is the lab. Raises UsageError if
    there is no such target, or the file is wrong: it names the file, the key, and the expected
    value.
    """
    if file is None:
        return parse(DEFAULT if text is None else text)
    tables = _tables(file)
    if text in tables:
        target = _converted(f"{file}: {text}", tables[text], Target)
        if why := _no_identity(target.identity):
            raise UsageError(f"{file}: {text}.identity: {why}")
        return target
    if text and "/" in text:  # of which the file says nothing: it would be left unread in silence
        raise UsageError(
            f"--target-file is given, but {text!r} is not one of its names: "
            f"{', '.join(tables) or 'none'}"
        )
    why = f"no target is called {text!r}" if text else "say which target is meant (--target NAME)"
    raise UsageError(f"{file}: {why}; it has: {', '.join(tables) or 'none'}")


def written(name: str, target: Target) -> str:
    """Return a file with one target, for any folder. JSON's values are valid TOML."""
    own = str(Path(target.identity).expanduser().absolute()) if target.identity else ""
    values = structs.asdict(structs.replace(target, identity=own))
    values = {key: value for key, value in values.items() if value is not None}
    lines = (f"{key} = {msgspec.json.encode(value).decode()}\n" for key, value in values.items())
    return f"[{name}]\n{''.join(lines)}"


def one(file: Path, kind: type[_T]) -> _T:
    """Return a file that is one table, as a value of a type.

    A UsageError names the file, the line and the key, and what to write instead.
    """
    return _located(file, _toml(file), kind, 0)


def names(file: Path) -> list[str]:
    """Return the names of a file's targets, in its order; raises UsageError as :func:`find`."""
    return [*_tables(file)]


def several(file: Path, name: str, kind: type[_T]) -> tuple[_T, ...]:
    """Return a file that is a list of tables ``[[name]]`` alone; see :func:`one`."""
    content = _toml(file)
    tables = content.pop(name, [])
    if why := _unknown(content, [name]):
        raise UsageError(f"{file}: {why}")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{file}: {name}: is no list of tables; write a line [[{name}]] for each")
    lines = _content(file).decode().splitlines()
    bare = ["".join(line.split()) for line in lines]
    heads = [n for n, line in enumerate(bare, 1) if line.startswith(f"[[{name}]]")]
    if len(heads) != len(tables):  # written as a list in one line
        heads = [0] * len(tables)
    return tuple(_located(file, table, kind, at) for table, at in zip(tables, heads, strict=True))


def _located(file: Path, table: dict[str, Any], kind: type[_T], first: int) -> _T:
    """Return a table of a file as a type; an error names the line, after the ``first``."""
    try:
        return _converted(str(file), table, kind)
    except UsageError as error:
        named = patterns.match(r"[.: ]*(?:no such key: )?(\w+)", str(error).removeprefix(str(file)))
        lines = [*enumerate(_content(file).decode().splitlines(), 1)][first:]
        lines = [*takewhile(lambda numbered: not numbered[1].lstrip().startswith("[["), lines)]
        at = [n for n, line in lines if named and line.split("=")[0].strip() == named[1]]
        if line := at[0] if at else first:
            why = str(error).removeprefix(str(file)).lstrip(".: ")
            raise UsageError(f"{file}, line {line}: {why}") from error
        raise


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_content(file).decode())
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # TOML's own error and Unicode's
        raise UsageError(f"{file}: is not TOML: {error}") from error
    except RecursionError:
        raise UsageError(f"{file}: its tables are nested too deep; write [NAME] alone") from None


def _tables(file: Path) -> dict[str, dict[str, object]]:
    tables = _toml(file)
    for key, value in tables.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            raise UsageError(
                f"{file}: [[{key}]] is a list of tables; a target is one table: write [{key}]"
            )
        if not isinstance(value, dict):
            raise UsageError(
                f"{file}: {key}: stands outside of a table; write it below a line [NAME], which "
                "names the target that it is said of"
            )
    return tables


def _content(file: Path) -> bytes:
    try:
        return regular_file.read(Path(os.path.realpath(file)), _LARGEST)
    except ValueError as error:
        size = f"{_LARGEST >> 10} KiB"
        raise UsageError(f"{file}: {error}; write a regular file of at most {size}") from error


def _converted(where: str, table: dict[str, object], kind: type[_T]) -> _T:
    if why := _unknown(table, kind.__struct_fields__):
        raise UsageError(f"{where}: {why}")
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        if isinstance(error.__cause__, ValueError):  # our own, which begins with the key
            raise UsageError(f"{where}.{message}") from error
        path = path.removesuffix("`")
        raise UsageError(f"{where}{path}: {message}{_advice(message, path, kind)}") from error


def _no_identity(path: str) -> str:
    """Return why ``identity`` cannot be read, and what to write instead; empty if it can."""
    try:
        if not path or Path(path).expanduser().is_file():
            return ""
    except RuntimeError:  # ~USER of an unknown user
        pass
    return (
        f"{path!r} is no file; write the path of a private key on this machine, or leave it out: "
        "then the agent's and those in ~/.ssh are offered"
    )


def _unknown(keys: Iterable[str], known: Sequence[str]) -> str:
    """Return the unknown keys with proposals; empty if all keys are known."""
    unknown = []
    for key in (key for key in keys if key not in known):
        meant = get_close_matches(key, known, 1)
        unknown.append(f"{key} (did you mean {meant[0]}?)" if meant else key)
    return f"no such key: {', '.join(unknown)}; the keys are: {', '.join(known)}" if unknown else ""


def _advice(message: str, path: str, kind: type[msgspec.Struct]) -> str:
    """Return what to write instead of a value that msgspec refuses at ``.reserved[1]``, say."""
    key = patterns.sub(r"\W.*", "", path[1:])
    if "missing required field" in message:
        needs = (_written(f.name, f.type) for f in structs.fields(kind) if f.required)
        return f"; it has at least {' and '.join(needs)}"
    hint = get_type_hints(kind).get(key)
    if "enum value" in message:
        of = get_args(hint)
        return f"; expected one of: {', '.join(get_args(of[0]) or of)}"
    return f"; write {_written(key, hint)}" if message.startswith("Expected `") else ""


def _written(key: str, hint: Any) -> str:
    """Return what to write for a key of a type."""
    if get_origin(hint) is tuple:
        return f"{key} = [951, 952]" if int in get_args(hint) else f'{key} = ["TEXT"]'
    if hint is bool:
        return f"{key} = true or {key} = false, without quotes"
    if hint is date:
        return f"{key} = 2027-01-31, without quotes"
    if {int, float} & {hint, *get_args(hint)}:
        return f"{key} = NUMBER, without quotes"
    return f'{key} = "TEXT", in quotes'
