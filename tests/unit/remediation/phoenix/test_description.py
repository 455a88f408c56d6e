"""What becomes of phoenix's descriptions: one container's, and no other."""

import json

import pytest

from docker_lxc_gate.errors import FactError
from remediation import desired, phoenix
from remediation.phoenix.description import described
from tests.doubles.naming import naming
from tests.doubles.samples import PHOENIX


def test_description_of_the_container_is_changed_and_no_other() -> None:
    before = (PHOENIX / phoenix.CONTAINERS).read_bytes()
    after = described(before, 950)
    old, new = json.loads(before)["lxc_configs"], json.loads(after)["lxc_configs"]
    assert new["950"]["apparmor_profile"] == desired.PROFILE
    assert set(new["950"]["pct_features"]) == {"nesting=1", "keyctl=1", "fuse=1"}
    assert {k: v for k, v in new.items() if k != "950"} == {
        k: v for k, v in old.items() if k != "950"
    }
    assert described(after, 950) == after
    assert described(before, 12345) == before


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"lxc_configs": []}',
        '{"lxc_configs": {"950": "x"}}',
        '{"lxc_configs": {"950": {"pct_features": null}}}',
        '{"lxc_configs": {"950": {"pct_features": "nesting=1"}}}',
        '{"lxc_configs": {"950": {"pct_features": [1]}}}',
    ],
)
def test_described_with_an_unknown_format_is_refused(text: str) -> None:
    with naming(FactError, "configs.json"):
        described(text.encode(), 950)
