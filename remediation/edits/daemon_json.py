"""Docker's settings: setting the plan's storage driver, and reading the data directory."""

from __future__ import annotations

import posixpath

from docker_lxc_gate import foreign
from docker_lxc_gate.errors import FactError
from remediation import desired
from remediation.edits.json_files import as_json, parse, readable


@foreign.parser()
def data_root(text: bytes | None) -> str:
    """Return the directory of Docker's data by its settings; raises FactError if it is no path."""
    found = readable(text).get("data-root")
    if isinstance(found, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in found):
        raise FactError(
            f"{desired.DAEMON_JSON}: data-root is {found!r:.200}, which is not a path: correct it"
        )
    return posixpath.normpath(found) if isinstance(found, str) else desired.DATA_ROOT


@foreign.parser()
def daemon_json(text: bytes | None, driver: str = desired.DRIVER) -> bytes:
    """Return Docker's settings with the storage driver; every other key is kept."""
    try:
        settings = parse(text or b"")
    except ValueError as error:
        raise FactError(
            f"{desired.DAEMON_JSON} is not JSON ({error}): correct it, apply did not change it"
        ) from error
    if not isinstance(settings, dict):
        raise FactError(
            f"{desired.DAEMON_JSON} holds no JSON object: correct it, apply did not change it"
        )
    if text and settings.get("storage-driver") == driver:
        return text
    return as_json(settings | {"storage-driver": driver}, text or b"{\n  \n}")
