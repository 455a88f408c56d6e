"""Findings for people, programs, code scanning and workflows; foreign text is escaped."""

import json
from typing import Any

import pytest

from docker_lxc_gate.commandline.json_output import json_line
from docker_lxc_gate.lint import discover, formats
from docker_lxc_gate.lint.check import check
from docker_lxc_gate.lint.finding import PROBLEMS, Kind, Source
from docker_lxc_gate.lint.phoenix.description import mismatches
from tests.doubles.samples import DATA

EVIL = "\x1b[2J\u202e%0A::error::,:\udcff"
SOURCE = Source(
    f"/a/{EVIL}\n950.conf",
    f"rootfs: x\nswap {EVIL}\n".encode(errors="surrogateescape"),
    Kind.CONTAINER,
)
FOUND = check([SOURCE])


def test_summary_says_what_was_looked_at() -> None:
    assert formats.summary(FOUND, [SOURCE]) == (
        "1 error, 1 warning in 1 file: 1 Proxmox container configuration"
    )
    assert formats.summary([], [SOURCE, SOURCE]) == (
        "no finding in 2 files: 2 Proxmox container configurations"
    )


def test_json_has_every_field_of_a_finding() -> None:
    told = json.loads(json_line(formats.as_json(FOUND, [SOURCE])))
    assert told["files"] == 1
    one = told["findings"][1]
    assert set(one) == {
        *("id", "severity", "file", "line", "column", "message", "why", "fix", "fixable")
    }
    assert (one["id"], one["severity"], one["line"]) == ("container-line-dropped", "error", 2)
    assert told["findings"][0]["line"] is None


def test_secret_in_a_line_is_masked() -> None:
    text = b"rootfs: x\nunprivileged: 1\npassword = hunter2hunter2\n"
    found = check([Source("/a", text, Kind.CONTAINER)])
    assert found
    told = json_line(formats.as_json(found, [])) + json_line(formats.as_sarif(found))
    assert "hunter2" not in told


def test_github_command_ends_where_it_should() -> None:
    (first, second) = map(formats.as_github, FOUND)
    assert first.startswith("::warning file=/a/\\x1b[2J\\u202e%250A%3A%3Aerror%3A%3A%2C%3A")
    command, _, message = second.removeprefix("::").partition("::")
    assert command.startswith("error file=/a/")
    assert command.endswith(",line=2,title=container-line-dropped")
    assert message.startswith("'swap \\x1b[2J\\u202e%250A::error::,:\\xff' is no option")
    assert "\n" not in first + second


# -- SARIF 2.1.0


def test_sarif_names_each_rule_once_and_each_result_by_its_place_among_them() -> None:
    (run,) = json.loads(json_line(formats.as_sarif(FOUND)))["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(PROBLEMS)
    assert len(run["results"]) == len(FOUND)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert uri.startswith("file:///a/%1B%5B2J")
        assert uri.isascii()


#: With two patterns corrected: the library takes no bracket that is not opened.
SCHEMA = json.loads(
    (DATA / "sarif-2.1.0.json").read_text().replace("[a-zA-Z]{2}]?$", "[a-zA-Z]{2}$")
)


def test_sarif_is_what_the_whole_schema_allows() -> None:
    found = check(discover.under(DATA / "lint").sources)
    assert len({each.id for each in found}) > 40
    for each in (FOUND, found, []):
        log = json.loads(json_line(formats.as_sarif(each)))
        assert list(mismatches(SCHEMA, log)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("runs", 0, "tool", "driver", "rules", 0, "helpURI"), "x"),
        (("runs", 0, "results", 0, "level"), "advice"),
        (("runs", 0, "results", 0, "locations", 0, "physicalLocation", "region"), {"startLine": 0}),
        (("runs", 0, "results", 0, "message"), "text"),
        (("runs", 0, "columnKind"), "bytes"),
        (("version",), 2.1),
    ],
)
def test_sarif_that_the_schema_refuses_is_found_to_be_so(path: tuple[Any, ...], value: Any) -> None:
    log = json.loads(json_line(formats.as_sarif(FOUND)))
    place = log
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert list(mismatches(SCHEMA, log)) != []


def test_every_severity_has_a_level_of_sarif_and_of_github() -> None:
    for table in (formats._SARIF_LEVELS, formats._GITHUB):
        assert set(table) == {rule.severity for rule in PROBLEMS.values()}
