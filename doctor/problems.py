"""What doctor names, as data: ``problems.toml``."""

from __future__ import annotations

from importlib.resources import files

import msgspec

from lint.finding import Problem

_ROWS = msgspec.toml.decode(
    files("doctor").joinpath("problems.toml").read_bytes(), type=dict[str, tuple[Problem, ...]]
)
#: By id.
PROBLEMS = {row.id: row for row in _ROWS["problem"]}
