"""phoenix's descriptions of containers, one JSON file for all of them."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from docker_lxc_gate.errors import FactError
from remediation import desired, phoenix
from remediation.edits.container_config import with_features
from remediation.edits.daemon_json import as_json


class _Described(msgspec.Struct):
    lxc_configs: dict[str, Any] = {}


class _Container(msgspec.Struct):
    pct_features: list[str] = []


def described(text: bytes | None, ctid: int) -> bytes:
    """Return phoenix's descriptions with the container's features and profile."""
    if text is None:
        raise FactError(f"{phoenix.CONTAINERS} is not in the repository")
    document = _parsed(text)
    try:
        configs = msgspec.convert(document, _Described).lxc_configs
        known = msgspec.convert(configs.get(str(ctid)), _Container | None)
    except msgspec.ValidationError as error:
        raise FactError(
            f"{phoenix.CONTAINERS} has not phoenix's format ({error}): correct it"
        ) from error
    if known is None:
        return text
    entry = document["lxc_configs"][str(ctid)]
    entry["pct_features"] = with_features(",".join(known.pct_features), desired.FEATURES).split(",")
    entry["apparmor_profile"] = desired.PROFILE
    return text if document == json.loads(text) else as_json(document, text)


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FactError(f"{phoenix.CONTAINERS} is not JSON ({error}): correct it") from error


def is_described(text: bytes | None, ctid: int) -> bool:
    """Whether phoenix has a description of the container, so that it can provision it."""
    try:
        return str(ctid) in {**_parsed(text or b"{}")["lxc_configs"]}
    except (KeyError, TypeError):
        return False


def template_of(text: bytes | None, ctid: int) -> str:
    """Return the template of a container in phoenix's descriptions; empty if it has none."""
    try:
        template = json.loads(text or b"{}")["lxc_configs"][str(ctid)]["template"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return template if isinstance(template, str) else ""
