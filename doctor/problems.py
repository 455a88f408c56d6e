"""What doctor names, as data: ``problems.toml``."""

from __future__ import annotations

from lint.finding import problems

#: By id.
PROBLEMS = problems("doctor")
