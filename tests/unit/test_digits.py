"""A digit is one of 0 to 9: Python's other digits are no container's id, port or time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from facts import access
from targets.errors import FactError, UsageError
from targets.target import Target, parse
from tests.doubles.canned import Machine

_ROOT = Path(__file__).parents[2]
_FIVE = "\N{FULLWIDTH DIGIT FIVE}"


@pytest.mark.parametrize("text", [f"lab/9{_FIVE}0", f"root@pve1:2{_FIVE}/950", "lab/٩٥٠"])
def test_target_with_another_scripts_digits_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


@pytest.mark.parametrize(
    ("key", "value"),
    # TOML has ``nan``, and no age is more than that.
    [("jump", f"bastion:2{_FIVE}"), ("backup_age", float("nan"))],
)
def test_target_with_a_value_that_is_no_number_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the key is asked for
        Target("pve1", 950, **{key: value})
    assert key in str(refused.value)


def test_access_uid_with_another_scripts_digits_is_refused() -> None:
    asked = "sh -c 'id -u; id -un; echo \"${SUDO_USER:-}\"'"
    with pytest.raises(FactError):
        access.access(Machine({}, {asked: f"{_FIVE}\nroot\n\n"}))


#: About our own text or of bytes, which have no other digits; what is masked may as well be more.
_OWN = {
    "tests/live/interrupted/interruption.py",
    "tests/live/test_interruption.py",
    "targets/archive.py",
    "targets/masking.py",
}
#: Still loose: the audit log's reader.
_LATER = re.compile(r"facts/audit_window\.py")


def test_code_asks_for_ascii_digits_only() -> None:
    """``\\d`` and ``isdigit`` know some six hundred."""
    loose = re.compile(r"(?<!\\)\\d|\.(isdigit|isdecimal|isnumeric)\(\)")
    strict = re.compile(r"re\.ASCII|\.isascii\(\)|\brb[\"']|\bre\.sub\(")
    found = [
        f"{path.relative_to(_ROOT)}: {line.strip()}"
        for folder in (
            "targets",
            "facts",
            "remediation",
            "commandline",
            "steps",
            "gate",
            "faults",
            "lab",
            "tests/live",
        )
        for path in sorted((_ROOT / folder).rglob("*.py"))
        if str(path.relative_to(_ROOT)) not in _OWN
        if not _LATER.fullmatch(str(path.relative_to(_ROOT)))
        for line in path.read_text().splitlines()
        if loose.search(line) and not strict.search(line)
    ]
    assert found == [], "write [0-9], or ask isascii(), too"
