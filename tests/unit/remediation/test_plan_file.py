"""Plans as data: the shipped ones, and what is said of a file that is none."""

import shlex
from pathlib import Path

import pytest
from msgspec.structs import replace

from docker_lxc_gate.cli.rollback import _applied
from docker_lxc_gate.errors import FactError, UsageError
from docker_lxc_gate.facts import docker
from docker_lxc_gate.machines.target import Target
from remediation import docker_in_lxc, plan_file
from remediation.engine.action import Place
from remediation.engine.apply import apply
from remediation.engine.errors import ChangedSince
from remediation.engine.rollback import roll_back
from tests.doubles.canned import Machine
from tests.doubles.naming import naming
from tests.doubles.nodes.whole import CTID, Whole
from tests.doubles.put import put

GOOD = """
name = "mine"
version = 1
title = "t"
drivers = ["overlay2"]
profile = "generated"
clauses = ["VAL", "STEP-3.1"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    plan_file.find.cache_clear()
    return tmp_path / "plan.toml"


def test_plan_of_a_file_has_an_identity_by_what_it_says(file: Path) -> None:
    file.write_text(GOOD)
    mine = plan_file.find(str(file))
    assert mine.asked is mine
    assert (mine.applies("VAL-1"), mine.applies("STEP-3.2")) == (True, False)
    assert mine.identity.startswith("mine 1 ")
    plan_file.find.cache_clear()
    file.write_text(f'# a comment\n{GOOD}\nseccomp = ""')
    assert plan_file.find(str(file)).identity == mine.identity
    plan_file.find.cache_clear()
    file.write_text(GOOD.replace("overlay2", "zfs"))
    assert plan_file.find(str(file)).identity != mine.identity


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ('["overlay2"]', '["vfs"]', ("line 5: drivers[0]", "'vfs'", "fuse-overlayfs")),
        ("profile", "profil", ("line 6", "did you mean profile?")),
        ('"generated"', '"unconfined"', ("line 6: profile", "generated")),
        ('"VAL"', '"VA"', ("line 7: clauses", "'VA'")),
        ('"t"', '"t"\nincludes = "plain"', ("includes", "delete the line")),
        ("version = 1\n", "", ("version", "NUMBER")),
        ('"mine"', '"plain"', ("'plain'", "shipped")),
        ('"t"', '"t"\nfeatures = ["nestin"]', ("line 5: features", "nestin")),
        ('"t"', '"t"\nseccomp = "own"', ("line 5: seccomp", "'own'", "/etc/lxc/own.seccomp")),
        ("drivers", "[drivers", ("TOML", "line 5")),
    ],
)
def test_plan_of_a_wrong_file_names_line_key_and_what_to_write(
    file: Path, before: str, after: str, named: tuple[str, ...]
) -> None:
    file.write_text(GOOD.replace(before, after))
    with naming(UsageError, "plan.toml", *named) as raised:
        plan_file.find(str(file))
    assert "\n" not in str(raised.value)


def _drifts(whole: Whole, plan: plan_file.PlanFile) -> list[str]:
    return [step.action.id for step, drift in whole.plan(plan).drifts() if drift]


def test_plain_applies_the_least_is_journalled_and_any_plan_rolls_it_back(tmp_path: Path) -> None:
    whole, plain = Whole(tmp_path), plan_file.find("plain")
    assert _drifts(whole, plain) == ["docker-engine"]
    conf = whole.on_node.read(whole.config_path(whole.ctid)) or b""
    poor = conf.replace(b"nesting=1", b"keyctl=1")
    put(whole.on_node, whole.config_path(whole.ctid), poor)
    assert _drifts(whole, plain) == ["container-options", "docker-engine"]
    apply(whole.plan(plain))
    assert whole.on_node.read(whole.config_path(whole.ctid)) == poor.replace(
        b"keyctl=1", b"keyctl=1,nesting=1"
    )
    assert whole.in_container.read("/etc/docker/daemon.json") is None
    assert _drifts(whole, plain) == []
    entries = whole.plan().journal.entries()
    assert {entry.plan for entry in entries} == {plain.identity}
    roll_back(whole.plan())
    assert whole.on_node.read(whole.config_path(whole.ctid)) == poor
    assert _drifts(whole, plain) == ["container-options", "docker-engine"]


def test_plan_with_a_seccomp_list_refuses_an_absent_one_or_assigns_it(tmp_path: Path) -> None:
    whole, conf = Whole(tmp_path), f"/etc/pve/lxc/{CTID}.conf"
    mine = replace(plan_file.find("plain"), name="mine", seccomp="/etc/own.seccomp")
    before = whole.on_node.read(conf) or b""
    with naming(FactError, "/etc/own.seccomp", "is absent"):
        apply(whole.plan(mine))
    assert (whole.on_node.read(conf), whole.plan(mine).journal.entries()) == (before, [])
    put(whole.on_node, "/etc/own.seccomp", b"2\ndenylist\n")
    keyrings = replace(mine, features=("nesting", "keyctl"))
    put(whole.on_node, "/etc/own.seccomp", b"2\ndenylist\nkeyctl errno 38\n")
    with naming(FactError, "keyctl", "/etc/own.seccomp"):
        apply(whole.plan(keyrings))
    put(whole.on_node, "/etc/own.seccomp", b"2\ndenylist\n")
    apply(whole.plan(mine))
    assert whole.on_node.read(conf) == before + b"lxc.seccomp.profile: /etc/own.seccomp\n"
    assert _drifts(whole, mine) == []
    roll_back(whole.plan())
    assert whole.on_node.read(conf) == before


def test_plain_that_was_cut_off_is_rolled_back_by_its_own_plan(tmp_path: Path) -> None:
    whole, plain = Whole(tmp_path), plan_file.find("plain")
    conf = whole.on_node.read(whole.config_path(whole.ctid)) or b""
    poor = conf.replace(b"nesting=1", b"keyctl=1")
    put(whole.on_node, whole.config_path(whole.ctid), poor)
    apply(whole.plan(plain))
    lines = (whole.journal / "journal.jsonl").read_text().splitlines(keepends=True)
    begun = [line for line in lines if '"kind":"before"' in line]
    (whole.journal / "journal.jsonl").write_text("".join(begun))
    aim = Target("pve1", whole.ctid)
    assert _applied(whole.plan().journal, aim) == plain
    with pytest.raises(ChangedSince):
        roll_back(whole.plan())
    roll_back(whole.plan(_applied(whole.plan().journal, aim), every=True))
    assert whole.on_node.read(whole.config_path(whole.ctid)) == poor


def test_plain_rolls_back_the_directory_that_it_made_for_the_settings(tmp_path: Path) -> None:
    whole, plain = Whole(tmp_path), plan_file.find("plain")
    whole.in_container.run(["mkdir", "/etc/docker"]).require()
    whole.plan(plain).journal.record([("docker-settings-directory", Place.CONTAINER, False)])
    (outcome,) = roll_back(whole.plan(plain))
    assert (outcome.id, outcome.changed) == ("docker-settings-directory", True)
    assert not Path(whole.in_container.below("/etc/docker")).exists()


@pytest.mark.parametrize("driver", ["overlay2", "fuse-overlayfs", "overlayfs", "vfs"])
def test_plain_changes_the_driver_only_of_a_docker_that_copies_layers(driver: str) -> None:
    answers = {docker.AT_BOOT: "enabled\n", docker.DRIVER_AND_ROOT: f"{driver} /var/lib/docker\n"}
    said = {shlex.join(read.argv): answer for read, answer in answers.items()}
    drift = docker_in_lxc._storage(plan_file.find("plain")).check(
        Machine({"/etc/docker/daemon.json": '{"log-driver": "journald"}'}, said)
    )
    assert (drift is None) is (driver != "vfs")
    if drift:
        assert b'"storage-driver": "overlay2"' in drift.should
        assert b"journald" in drift.should


def test_plan_of_an_unknown_name_names_those_there_are() -> None:
    with naming(UsageError, "'plan'", "docker-in-lxc, plain"):
        plan_file.find("plan")


def test_hash_of_a_plan_stays_when_keys_come_that_it_does_not_have() -> None:
    hashes = [plan_file.find(name).identity.split()[-1] for name in ("plain", "docker-in-lxc")]
    assert hashes == ["1ec1a635a26f", "adf0d00184e6"]
