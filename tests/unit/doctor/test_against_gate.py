"""Doctor and lint name what the gate's read-only scenarios judge, or it is the plan's alone.

Doctor needs neither the plan nor phoenix. So a scenario about Docker is a trouble of doctor's or a
finding of lint's; a scenario about the plan's own files, or about the change itself, is listed here
with the reason.
"""

from __future__ import annotations

import pytest

from doctor.examine import EXAMINATIONS
from faults import scenarios
from lint.catalogue import RULES

#: What doctor names where the scenario is red.
DOCTOR: dict[str, tuple[str, ...]] = {
    # a fuse mount that is refused leaves a record, and Docker does not start on fuse-overlayfs
    "rules": ("denied-lately", "docker-down"),
    "confined": ("container-runs-unconfined",),
    "given": ("nesting-off",),
    # without /dev/fuse or fuse-overlayfs Docker does not start, and its last word is told
    "there": ("docker-down",),
    "installed": ("docker-down",),
    "mapped": ("id-map-hole",),
    "units": ("units-refused",),
    "has-docker": ("docker-down",),
    "driver": ("docker-down", "storage-driver", "containerd-image-store"),
}
#: What lint finds where the scenario is red: in the container's configuration, the profile, a
#: script.
LINT: dict[str, tuple[str, ...]] = {
    "loads": ("profile-parse-error",),
    "enforced": ("profile-complain", "profile-unconfined-flag"),
    "one-name": ("profile-name-differs", "profile-unknown"),
    "confined": ("container-unconfined", "container-profile-replaced"),
    "refused": ("profile-allows-everything", "profile-change-any"),
    "mapped": ("container-idmap-hole",),
    "entries": ("container-mount-entry-cut",),
    "given": (
        "container-option-in-snapshot",
        "container-line-dropped",
        "container-features-overridden",
    ),
    "unprivileged": ("container-privileged",),
    "script": ("script-runs-on-node", "script-dpkg-grep"),
}
#: The plan's, not Docker's: Docker runs, or does not, whatever the scenario says.
OF_THE_PLAN: dict[str, str] = {
    "container-backup": "The plan wants a backup before a change; doctor changes nothing.",
    "node-backup": "The plan wants a backup before a change; doctor changes nothing.",
    "repository": "It is about phoenix's checkout, which doctor does not need.",
    "root": "Doctor cannot ask a node without root, and ends with 3.",
    "neighbours": "It is about who is restarted by the change.",
    "log": "It proves that silence means no denial; doctor shows denials, and claims none.",
    "setup": "It is about a script of phoenix's.",
    "tunable": "No rule reads the tunable, as lint's tunable-without-effect says.",
    "reloaded": "It is about the order of the plan's steps.",
    "deployed": "It compares with phoenix's copy of the profile.",
    "current": "A profile that was edited and not loaded is in no effect on Docker yet.",
    "settings": "Only the plan's journal knows which settings a user had before.",
}


def test_each_read_only_scenario_is_doctors_or_lints_or_the_plans() -> None:
    """One that is new belongs into one of the three tables."""
    titles = set(scenarios.read_only())
    assert len(titles) > 20
    assert DOCTOR.keys() | LINT.keys() | OF_THE_PLAN.keys() == titles
    assert not OF_THE_PLAN.keys() & (DOCTOR.keys() | LINT.keys())


@pytest.mark.parametrize("title", DOCTOR)
def test_what_doctor_names_for_a_scenario_is_a_trouble_of_its(title: str) -> None:
    assert set(DOCTOR[title]) <= {kind.id for each in EXAMINATIONS for kind in each.kinds}


@pytest.mark.parametrize("title", LINT)
def test_what_lint_finds_for_a_scenario_is_a_rule_of_its(title: str) -> None:
    assert set(LINT[title]) <= {rule.id for rule in RULES}


@pytest.mark.parametrize("title", OF_THE_PLAN)
def test_what_is_the_plans_alone_has_a_reason(title: str) -> None:
    assert OF_THE_PLAN[title].endswith(".")
