"""What a user may write after --target."""

from __future__ import annotations

import pytest

from remediation import target
from remediation.errors import UsageError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("lab/950", "lab/950"),
        ("local/100", "local/100"),
        ("pve1/950", "root@pve1/950"),
        ("admin@10.0.0.1:2222/950", "admin@10.0.0.1:2222/950"),
    ],
)
def test_targets(text: str, shown: str) -> None:
    assert str(target.parse(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["", "lab", "lab/", "lab/abc", "lab/99", "a b/950", "pve1:0/950", "pve1:99999/950", "/1"],
)
def test_anything_else_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="target"):
        target.parse(text)
