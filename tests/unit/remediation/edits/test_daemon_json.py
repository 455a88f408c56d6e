"""What becomes of Docker's settings: one key, and every other one as it was."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.errors import FactError
from remediation.edits.daemon_json import daemon_json, data_root
from tests.doubles.naming import naming

keys = st.text(min_size=1).filter(lambda key: key != "storage-driver")
values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)


@given(st.dictionaries(keys, values))
def test_foreign_keys_of_daemon_json_survive(settings: dict[str, object]) -> None:
    merged = daemon_json(json.dumps(settings).encode())
    assert json.loads(merged) == settings | {"storage-driver": "fuse-overlayfs"}
    assert daemon_json(merged) == merged


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b"{'a': 1}", b"\xff", DEEP, b'{"a":' + DEEP, b'{"a": NaN}', b"9" * 5000]
)
def test_daemon_json_that_cannot_be_parsed_is_refused(text: bytes) -> None:
    with naming(FactError, "daemon.json"):
        daemon_json(text)
    assert data_root(text) == "/var/lib/docker"


@pytest.mark.parametrize("half", ["\\u0000", "\\ud800", "/srv/\\udfff"])
def test_data_root_that_is_no_path_is_an_error(half: str) -> None:
    with naming(FactError, "data-root"):
        data_root(f'{{"data-root": "{half}"}}'.encode())


def test_daemon_json_with_half_a_surrogate_pair_keeps_it() -> None:
    written = daemon_json(
        b'{"log-opts": {"tag": "\\ud83d, \\ud83d\\ude00 \\u0000 \\udbfe\\udebc"}}'
    )
    assert json.loads(written)["log-opts"] == {"tag": "\ud83d, \U0001f600 \0 \U0010fabc"}
    assert daemon_json(written) == written


@pytest.mark.parametrize("text", [None, b"", b"\n"])
def test_daemon_json_from_nothing(text: bytes | None) -> None:
    assert json.loads(daemon_json(text)) == {"storage-driver": "fuse-overlayfs"}


def test_daemon_json_with_containerds_image_store_turns_it_off_for_a_storage_driver() -> None:
    text = b'{"features": {"buildkit": true, "containerd-snapshotter": true}}'
    settings = json.loads(daemon_json(text))
    assert settings["features"] == {"buildkit": True, "containerd-snapshotter": False}
    assert json.loads(daemon_json(text, "overlayfs"))["features"]["containerd-snapshotter"] is True
