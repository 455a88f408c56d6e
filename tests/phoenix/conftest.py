"""The stand-in fails on anything it was not told about, and so does a test where that happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from phoenix_node import Node

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def node(tmp_path: Path) -> Any:
    node = Node(tmp_path)
    yield node
    assert node.unknown() == ""
