"""Docker's settings with the plan's storage driver, and where they say that its data is."""

from __future__ import annotations

import posixpath
import re

from remediation import desired
from remediation.edits.json_files import as_json
from remediation.edits.json_files import parse as parse_settings
from targets.errors import FactError


def data_root(text: bytes | None) -> str:
    """Return where Docker keeps its data, by its settings.

    Raises:
        FactError: they name what can be no path.
    """
    try:
        settings = parse_settings(text or b"")
    except ValueError:
        settings = None
    found = settings.get("data-root") if isinstance(settings, dict) else None
    if isinstance(found, str) and re.search("[\0\ud800-\udfff]", found):
        raise FactError(
            f"{desired.DAEMON_JSON}: data-root is {found!r:.200}, which is no path; mend it"
        )
    return posixpath.normpath(found) if isinstance(found, str) else desired.DATA_ROOT


def daemon_json(text: bytes | None) -> bytes:
    """Return Docker's settings with the storage driver; every other key survives."""
    try:
        settings = parse_settings(text or b"")
    except ValueError as error:
        raise FactError(
            f"{desired.DAEMON_JSON} is not JSON ({error}); mend it, it is left as it is"
        ) from error
    if not isinstance(settings, dict):
        raise FactError(f"{desired.DAEMON_JSON} holds no JSON object; it is left as it is")
    if text and settings.get("storage-driver") == desired.DRIVER:
        return text
    return as_json(settings | {"storage-driver": desired.DRIVER}, text or b"{\n  \n}")
