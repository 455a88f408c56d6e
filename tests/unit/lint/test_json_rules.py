"""JSON by its places, against its schema, and as dockerd reads it."""

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from docker_lxc_gate.lint import json_text
from docker_lxc_gate.lint.check import check
from docker_lxc_gate.lint.finding import Kind, Source
from docker_lxc_gate.lint.phoenix import schema_errors
from docker_lxc_gate.lint.phoenix.description import Unusable, mismatches


def found(text: str | bytes, *more: Source, kind: Kind = Kind.DAEMON) -> list[tuple[str, int, int]]:
    content = text.encode() if isinstance(text, str) else text
    told = check([Source("/a/daemon.json", content, kind), *more])
    return [(each.id, each.line, each.column) for each in told]


def unit(text: str, name: str = "docker.service") -> Source:
    return Source(f"/u/{name}", text.encode(), Kind.UNIT)


def test_places_are_those_of_keys_and_items() -> None:
    text = '{\n  "a": [1, {"b\\"c": 2}],\n  "d": {"e": ["x"]}, "a": 3\n}'
    document, twice = json_text.read(Source("/a", text.encode(), Kind.SCHEMA))
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
        ("{}", []),
        (b"\xef\xbb\xbf{}", []),
        ('{"a": 1,}', [("json-syntax", 1, 9)]),
        ('{\n  "debug": true\n  "tls": true\n}', [("json-syntax", 3, 3)]),
        ('{"mtu": NaN}', [("json-syntax", 0, 0)]),
        (b'{"a": "\xff"}', [("json-syntax", 1, 0)]),
        ("[" * 100_000, [("json-syntax", 0, 0)]),
        ("[]", [("daemon-value-type", 1, 0)]),
        ('{"debug": "true"}', [("daemon-value-type", 1, 2)]),
        ('{"mtu": true}', [("daemon-value-type", 1, 2)]),
        ('{"dns": "8.8.8.8"}', [("daemon-value-type", 1, 2)]),
        (
            '{"log-opts": {"max-file": 3, "tag": {}}}',
            [("daemon-value-type", 1, 15), ("daemon-value-type", 1, 30)],
        ),
        ('{"registry-mirrors": ["https://a", "b"]}', [("daemon-value-type", 1, 36)]),
        ('{"features": {"cdi": "true"}}', [("daemon-value-type", 1, 15)]),
        ('{"default-ulimits": {"nofile": 1}}', [("daemon-value-type", 1, 22)]),
        ('{"default-ulimits": {"nofile": {"Hard": "1"}}}', [("daemon-value-type", 1, 33)]),
        ('{"default-address-pools": [{"base": "", "size": "24"}]}', [("daemon-value-type", 1, 41)]),
        ('{"runtimes": {"nvidia": {"runtimeArgs": "a"}}}', [("daemon-value-type", 1, 26)]),
        ('{"builder": {"GC": {"enabled": 1}}}', [("daemon-value-type", 1, 21)]),
        ('{"dns": ["192.0.2.1", 8]}', [("daemon-value-type", 1, 23)]),
        ('{"mtu": true, "icc": 1}', [("daemon-value-type", 1, 2), ("daemon-value-type", 1, 15)]),
        ('{"default-ulimits": {"nofile": {"Name": "nofile", "hard": 1, "SOFT": 1}}}', []),
        ('{"builder": {"gc": {"policy": [{"all": true, "filter": ["a"]}]}}, "features": {}}', []),
        ('{"runtimes": {"a": {"path": "a", "options": {"b": 1}}}, "default-stop-timeout": 1}', []),
        ('{"dns": null, "log-opts": {"tag": null}}', []),
        ('{"proxies": {"http-proxy": "http://p"}, "features": {"buildkit": true}}', []),
        ('{"proxies": {"http-prxy": "x"}}', [("daemon-key-unknown", 1, 14)]),
        ('{"runtimes": {"nvidia": {"path": "x", "runtimeArgs": []}}}', []),
        ('{"default-ulimits": {"nofile": {"Name": "nofile", "Hard": 1, "Soft": 1}}}', []),
        ('{"storage-drivr": "x"}', [("daemon-key-unknown", 1, 2)]),
        ('{"min-api-version": "1.24"}', []),
        ('{"min-api-version": 1.24}', [("daemon-value-type", 1, 2)]),
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
        ("ExecStart=/usr/bin/dockerd --host=fd://", True),
        ("ExecStart = /usr/bin/dockerd \\\n  -H fd://", True),
        ("ExecStart=/usr/bin/dockerd", False),
        ("ExecStart=\nExecStart=/usr/bin/dockerd --debug", False),
        ("# ExecStart=/usr/bin/dockerd -H fd://", False),
        ("ExecStart=/usr/bin/dockerd 'not ended -H fd://", False),
    ],
)
def test_setting_in_both_places_conflicts(command: str, *, conflict: bool) -> None:
    told = found('{"hosts": []}', unit(f"[Service]\n{command}\n"))
    assert told == ([("daemon-flag-conflict", 1, 2)] if conflict else [])


def test_drop_in_takes_the_units_flags_back() -> None:
    service = unit("[Service]\nExecStart=/usr/bin/dockerd -H fd://\n")
    override = unit("[Service]\nExecStart=\nExecStart=/usr/bin/dockerd\n", "override.conf")
    assert found('{"hosts": []}', override, service) == []
    assert found('{"hosts": []}', service, service) == []  # of which machine each is, nobody knows


@pytest.mark.parametrize(
    ("flag", "key", "value"),
    [
        ("--storage-driver=vfs", "storage-driver", '"vfs"'),
        ("-s vfs", "storage-driver", '"vfs"'),
        ("--dns 8.8.8.8", "dns", '["8.8.8.8"]'),
        ("--insecure-registry a", "insecure-registries", '["a"]'),
        ("--label a=b", "labels", '["a=b"]'),
        ("--log-opt a=b", "log-opts", '{"a": "b"}'),
        ("--default-ulimit nofile=1", "default-ulimits", "{}"),
        ("--feature a", "features", "{}"),
        ("-D", "debug", "true"),
    ],
)
def test_flags_have_other_names_than_keys(flag: str, key: str, value: str) -> None:
    service = unit(f"[Service]\nExecStart=/usr/bin/dockerd {flag}\n")
    assert found(f'{{"{key}": {value}}}', service) == [("daemon-flag-conflict", 1, 2)]


@pytest.mark.parametrize(
    ("schema", "value", "places"),
    [
        ({"additionalProperties": {"type": "null"}}, {"950": 1, "951": None}, [("950",)]),
        ({"items": {"type": "null"}}, [None, 1], [(1,)]),
        (
            {"patternProperties": {"^a": {}}, "additionalProperties": False},
            {"ab": 1, "b": 1, "c": 1},
            [("b",), ("c",)],
        ),
        ({"pattern": "^(?!.*--)[a-z-]+$"}, "a--b", [()]),
        ({"pattern": "(?=a)(a|a)*$"}, "a" * 100_000 + "b", []),  # goes back too often
        ({"pattern": "a?" * 1000 + "a" * 1000}, "a" * 100_000, []),
        ({"pattern": "^(a|a)*$"}, "a" * 100_000 + "b", [()]),
        ({"$ref": "https://example.org/x"}, 1, []),
        ({"$ref": "file:///etc/passwd"}, 1, []),
        ({"format": "email"}, "x", []),
    ],
)
def test_schema_names_the_places_it_disallows(schema: Any, value: Any, places: list[Any]) -> None:
    assert sorted(path for path, _ in mismatches(schema, value)) == places


def test_enum_without_a_value_allows_none() -> None:
    assert mismatches({"enum": []}, 1) == [((), "the schema allows no value here")]


def _deep(levels: int) -> Any:
    schema: Any = {"type": "null"}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


#: Each level doubles the work.
_DOUBLING = {
    "$ref": "#/$defs/0",
    "$defs": {
        **{str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(30)},
        "30": {"type": "null"},
    },
}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (5, "the schema: .* is not of types"),
        ({"items": {"minLength": "x"}}, "items.minLength: .* is not of type"),
        ({"items": {"pattern": "("}}, 'items.pattern: the value is not a "regex"'),
        ({"patternProperties": {"(": {}}}, 'patternProperties.*: the value is not a "regex"'),
        ({"$ref": "#/nothing"}, "does not exist"),
        (_deep(300), "Recursion limit"),
        (_deep(2000), "too deep"),
        (_DOUBLING, "too much time or memory"),
    ],
)
def test_schema_that_cannot_be_used_says_why(schema: Any, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        mismatches(schema, 1)


def test_program_that_dies_is_taken_for_one_that_asks_for_too_much(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dying = tmp_path / "dying.py"
    dying.write_text("raise MemoryError")
    monkeypatch.setattr(schema_errors, "__file__", str(dying))
    with pytest.raises(Unusable, match="it asks for too much time or memory"):
        mismatches({}, 1)


@pytest.mark.parametrize(
    ("schema", "more", "finding"),
    [
        (b'{"required": ["name"]}', '"lxc_configs": {}', ("json-schema", 1, 1)),
        (b'{"required": ["name"]}', '"x-note": "\\ud800"', ("json-schema", 1, 1)),  # no Unicode
        (b'{"type": "nonsense"}', '"lxc_configs": {}', ("not-checked", 0, 0)),
    ],
)
def test_description_is_judged_by_the_schema_that_it_names(
    schema: bytes, more: str, finding: tuple[str, int, int]
) -> None:
    text = f'{{"$schema": "./x.json", {more}}}'
    named = Source("/s/x.json", schema, Kind.SCHEMA)
    assert found(text, named, kind=Kind.DESCRIPTION) == [finding]
    assert found(text, kind=Kind.DESCRIPTION) == []


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ('"pct_features": ["nesting=1", "fusion=1"]', "container-features-invalid"),
        ('"unprivileged": false', "container-privileged"),
        (
            '"lxc_options": ["lxc.tty.max: 1", "lxc.mount.entry: /dev/fuse"]',
            "container-mount-entry-cut",
        ),
        ('"lxc_options": ["lxc.apparmor.profile = unconfined"]', "container-unconfined"),
        ('"apparmor_profile": "unconfined"', ""),  # phoenix writes no line, and Proxmox generates
        ('"unprivileged": true, "lxc_options": ["lxc.cap.drop ="]', ""),
    ],
)
def test_description_is_judged_by_what_it_would_write(entry: str, rule: str) -> None:
    text = f'{{"lxc_configs": {{\n"950": {{\n{entry}}}}}}}'
    named = [(name, line) for name, line, _ in found(text, kind=Kind.DESCRIPTION)]
    assert named == ([(rule, 3)] if rule else [])
