"""JSON by its places, and as dockerd reads it."""

import tracemalloc

import pytest

from docker_lxc_gate.lint import json_text
from docker_lxc_gate.lint.check import check
from docker_lxc_gate.lint.finding import Kind, Source


def found(text: str | bytes, *more: Source) -> list[tuple[str, int, int]]:
    content = text.encode() if isinstance(text, str) else text
    told = check([Source("/a/daemon.json", content, Kind.DAEMON), *more])
    return [(each.id, each.line, each.column) for each in told]


def unit(text: str, name: str = "docker.service") -> Source:
    return Source(f"/u/{name}", text.encode(), Kind.UNIT)


def test_places_are_those_of_keys_and_items() -> None:
    text = '{\n  "a": [1, {"b\\"c": 2}],\n  "d": {"e": ["x"]}, "a": 3\n}'
    document, twice = json_text.read(Source("/a", text.encode(), Kind.DAEMON))
    assert document is not None
    assert document.places == {
        ("a",): (3, 22),
        ("a", 0): (2, 9),
        ("a", 1): (2, 12),
        ("a", 1, 'b"c'): (2, 13),
        ("d",): (3, 3),
        ("d", "e"): (3, 9),
        ("d", "e", 0): (3, 15),
    }
    assert [(each.line, each.column) for each in twice] == [(3, 22)]
    assert document.place(("d", "e", 0, "nothing")) == (3, 15)


@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_places_of_a_deep_file_take_no_more_room_than_its_text(begin: str, end: str) -> None:
    deep, many = 800, 5_000
    text = begin * deep + f"[{'1,' * many}1]" + end * deep
    tracemalloc.start()
    document, _ = json_text.read(Source("/a", text.encode(), Kind.DAEMON))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert document is not None
    assert document.place(("a",) * deep)[0] == 1
    assert most < 100 * len(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("null", []),
        (b"\xef\xbb\xbf{}", []),
        ('{"a": 1,}', [("json-syntax", 1, 9)]),
        ('{\n  "debug": true\n  "tls": true\n}', [("json-syntax", 3, 3)]),
        ('{"mtu": NaN}', [("json-syntax", 0, 0)]),
        (b'{"a": "\xff"}', [("json-syntax", 1, 0)]),
        ("[" * 100_000, [("json-syntax", 0, 0)]),
        ("[]", [("daemon-value-type", 1, 0)]),
        ('{"dns": "8.8.8.8"}', [("daemon-value-type", 1, 2)]),
        (
            '{"log-opts": {"max-file": 3, "tag": {}}}',
            [("daemon-value-type", 1, 15), ("daemon-value-type", 1, 30)],
        ),
        ('{"registry-mirrors": ["https://a", "b"]}', [("daemon-value-type", 1, 36)]),
        ('{"default-ulimits": {"nofile": {"Hard": "1"}}}', [("daemon-value-type", 1, 33)]),
        ('{"mtu": true, "icc": 1}', [("daemon-value-type", 1, 2), ("daemon-value-type", 1, 15)]),
        ('{"default-ulimits": {"nofile": {"Name": "nofile", "hard": 1, "SOFT": 1}}}', []),
        ('{"dns": null, "log-opts": {"tag": null}}', []),
        ('{"proxies": {"http-proxy": "http://p"}, "features": {"buildkit": true}}', []),
        ('{"proxies": {"http-prxy": "x"}}', [("daemon-key-unknown", 1, 14)]),
    ],
)
def test_settings_are_judged_as_dockerd_does(
    text: str | bytes, expected: list[tuple[str, int, int]]
) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("command", "conflict"),
    [
        ("ExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/c.sock", True),
        ("ExecStart = /usr/bin/dockerd \\\n  -H fd://", True),
        ("ExecStart=\nExecStart=/usr/bin/dockerd --debug", False),
        ("ExecStart=/usr/bin/dockerd 'not ended -H fd://", False),
    ],
)
def test_setting_in_both_places_conflicts(command: str, *, conflict: bool) -> None:
    told = found('{"hosts": []}', unit(f"[Service]\n{command}\n"))
    assert told == ([("daemon-flag-conflict", 1, 2)] if conflict else [])
    two = unit(f"[Service]\n{command}\n")  # of nobody knows which machine
    assert found('{"hosts": []}', two, two) == []
