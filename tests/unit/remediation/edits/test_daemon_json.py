"""What becomes of Docker's settings: one key, and every other one as it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediation.edits.daemon_json import daemon_json
from targets.errors import FactError
from tests.doubles.naming import naming

keys = st.text(min_size=1).filter(lambda key: key != "storage-driver")
values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)


@settings(deadline=None)
@given(st.dictionaries(keys, values))
def test_foreign_keys_of_daemon_json_survive(settings: dict[str, object]) -> None:
    merged = daemon_json(json.dumps(settings).encode())
    assert json.loads(merged) == settings | {"storage-driver": "fuse-overlayfs"}
    assert daemon_json(merged) == merged


@pytest.mark.parametrize("text", [b"{", b"[]", b"{'a': 1}", b"\xff"])
def test_daemon_json_that_cannot_be_parsed_is_refused(text: bytes) -> None:
    with naming(FactError, "daemon.json"):
        daemon_json(text)


@pytest.mark.parametrize("text", [None, b"", b"\n"])
def test_daemon_json_from_nothing(text: bytes | None) -> None:
    assert json.loads(daemon_json(text)) == {"storage-driver": "fuse-overlayfs"}
