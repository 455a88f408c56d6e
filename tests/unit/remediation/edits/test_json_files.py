"""Docker's settings are read as dockerd reads them, and keep their encoding when they change."""

import codecs

import pytest

from remediation.edits.daemon_json import daemon_json, data_root, parse
from tests.doubles.naming import naming

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


def test_daemon_json_without_a_mark_gets_none() -> None:
    assert daemon_json(b'{"mtu": 1}') == (
        b'{\n  "mtu": 1,\n  "storage-driver": "fuse-overlayfs"\n}'
    )


@pytest.mark.parametrize(("mark", "encoding"), _MARKED.values(), ids=_MARKED)
def test_data_root_behind_a_byte_order_mark_is_found(mark: bytes, encoding: str) -> None:
    content = mark + '{"data-root": "/srv/docker/"}'.encode(encoding)
    assert data_root(content) == "/srv/docker"


@pytest.mark.parametrize("content", [b"", b" \n", b"null", codecs.BOM_UTF8, codecs.BOM_UTF16_LE])
def test_blank_settings_are_an_empty_object(content: bytes) -> None:
    assert parse(content) == {}


@pytest.mark.parametrize(
    "content",
    [
        b'{"mtu": NaN}',
        b'{"labels": ["a=\xfc"]}',
        2 * codecs.BOM_UTF8 + b"{}",
        codecs.BOM_UTF32_LE + "{}".encode("utf-32-le"),
        "{}".encode("utf-16-le"),
        b"{",
        b"{} {}",
        b'{"labels": ["a=\t"]}',
    ],
)
def test_parse_of_settings_that_dockerd_rejects_is_refused(content: bytes) -> None:
    """Each of these was given to ``dockerd --validate`` of 26.1.5, and so were those above."""
    with naming(ValueError):
        parse(content)
