"""What becomes of Docker's settings: one key, and every other one as it was, in its encoding."""

import codecs
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats.daemon_json import parse
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
    "text",
    [
        *(b"{", b"[]", b"{'a': 1}", b"\xff", DEEP, b'{"a":' + DEEP, b'{"a": NaN}', b"9" * 5000),
        *(b'{"labels": ["a=\xfc"]}', b'{"labels": ["a=\t"]}', b"{} {}"),
        *(2 * codecs.BOM_UTF8 + b"{}", "{}".encode("utf-16-le")),
        codecs.BOM_UTF32_LE + "{}".encode("utf-32-le"),
    ],
)
def test_daemon_json_that_cannot_be_parsed_is_refused(text: bytes) -> None:
    """Most were given to ``dockerd --validate`` of 26.1.5, which rejects them, too."""
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


@pytest.mark.parametrize("text", [None, b"", b" \n", b"null", codecs.BOM_UTF8, codecs.BOM_UTF16_LE])
def test_daemon_json_from_nothing(text: bytes | None) -> None:
    assert json.loads(daemon_json(text)) == {"storage-driver": "fuse-overlayfs"}


def test_daemon_json_with_containerds_image_store_turns_it_off_for_a_storage_driver() -> None:
    text = b'{"features": {"buildkit": true, "containerd-snapshotter": true}}'
    settings = json.loads(daemon_json(text))
    assert settings["features"] == {"buildkit": True, "containerd-snapshotter": False}
    assert json.loads(daemon_json(text, "overlayfs"))["features"]["containerd-snapshotter"] is True


_MARKED = {
    "UTF-8": (codecs.BOM_UTF8, "utf-8"),
    "UTF-16, little end first": (codecs.BOM_UTF16_LE, "utf-16-le"),
    "UTF-16, big end first": (codecs.BOM_UTF16_BE, "utf-16-be"),
}


@pytest.mark.parametrize(("mark", "encoding"), _MARKED.values(), ids=_MARKED)
def test_daemon_json_with_a_byte_order_mark_keeps_its_encoding(mark: bytes, encoding: str) -> None:
    before = mark + '{\r\n    "labels": ["a=ü"]\r\n}\r\n'.encode(encoding)
    assert parse(before) == {"labels": ["a=ü"]}
    after = daemon_json(before)
    labels = '    "labels": [\r\n        "a=ü"\r\n    ],\r\n'
    wanted = "{\r\n" + labels + '    "storage-driver": "fuse-overlayfs"\r\n}\r\n'
    assert after == mark + wanted.encode(encoding)
    assert daemon_json(after) == after
    elsewhere = mark + '{"data-root": "/srv/docker/"}'.encode(encoding)
    assert data_root(elsewhere) == "/srv/docker"


def test_daemon_json_without_a_mark_gets_none() -> None:
    assert daemon_json(b'{"mtu": 1}') == (
        b'{\n  "mtu": 1,\n  "storage-driver": "fuse-overlayfs"\n}'
    )
