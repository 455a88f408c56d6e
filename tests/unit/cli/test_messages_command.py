"""``docker-lxc-gate messages``: what is known, for programs."""

import json

import jsonschema_rs
from click.testing import CliRunner

from docker_lxc_gate.cli.group import main
from tests.doubles.samples import ROOT


def test_messages_as_json_follow_their_schema_and_each_names_a_known_problem() -> None:
    done = CliRunner().invoke(main, ["messages", "--json"])
    assert done.exit_code == 0
    known = json.loads(done.stdout)
    jsonschema_rs.validate(json.loads((ROOT / "docs/messages.schema.json").read_text()), known)
    ids = [each["id"] for each in known["problems"]]
    assert len(ids) == len(set(ids))
    assert {each["problem"] for each in known["messages"]} <= set(ids)


def test_messages_for_people_name_the_problem_of_each() -> None:
    done = CliRunner().invoke(main, ["messages"])
    assert done.exit_code == 0
    assert (
        "runc cannot open a sysctl: reopen fd: permission denied [runc-reopen-refused]"
        in done.stdout
    )
