"""Every rule there is, by family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lint import discover, json_text
from lint.phoenix import json_schema
from lint.rules import (
    container_config,
    container_confinement,
    daemon_json,
    idmap,
    profile,
    profile_agreement,
    scripts,
    tools,
)

if TYPE_CHECKING:
    from lint.finding import Problem

FAMILIES: dict[str, tuple[Problem, ...]] = {
    "Container configuration": (
        *container_config.RULES,
        *idmap.RULES,
        *container_confinement.RULES,
    ),
    "AppArmor profiles": (
        *profile.RULES,
        *profile_agreement.RULES,
        tools.PARSE,
    ),
    "Scripts": (*scripts.RULES, tools.SYNTAX, tools.SHELLCHECK),
    "JSON and daemon.json": (*json_text.RULES, *json_schema.RULES, *daemon_json.RULES),
    "What could not be linted": (tools.NOT_CHECKED, *discover.RULES),
}
RULES = tuple(rule for rules in FAMILIES.values() for rule in rules)
