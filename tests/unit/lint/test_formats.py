"""Findings for people, programs and code scanning; foreign text is escaped."""

import json

import jsonschema_rs

from docker_lxc_gate.commandline.json_output import json_line
from docker_lxc_gate.lint import discover, formats
from docker_lxc_gate.lint.check import check
from docker_lxc_gate.lint.finding import PROBLEMS, Kind, Source
from tests.doubles.samples import DATA

EVIL = "\x1b[2J\u202e%0A::error::,:\udcff"
SOURCE = Source(
    f"/a/{EVIL}\n950.conf",
    f"rootfs: x\nswap {EVIL}\n".encode(errors="surrogateescape"),
    Kind.CONTAINER,
)
FOUND = check([SOURCE])


def test_json_has_every_field_of_a_finding() -> None:
    told = json.loads(json_line(formats.as_json(FOUND, [SOURCE])))
    assert told["files"] == 1
    one = told["findings"][1]
    assert set(one) == {
        *("id", "severity", "file", "line", "column", "message", "why", "fix", "fixable")
    }
    assert (one["id"], one["severity"], one["line"]) == ("container-line-dropped", "error", 2)
    assert told["findings"][0]["line"] is None


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
SCHEMA = jsonschema_rs.validator_for(
    json.loads((DATA / "sarif-2.1.0.json").read_text().replace("[a-zA-Z]{2}]?$", "[a-zA-Z]{2}$"))
)


def test_sarif_is_what_the_whole_schema_allows() -> None:
    found = check(discover.under(DATA / "lint").sources)
    assert len({each.id for each in found}) > 40
    for each in (FOUND, found, []):
        log = json.loads(json_line(formats.as_sarif(each)))
        SCHEMA.validate(log)
