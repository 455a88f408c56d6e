"""The plan's content: what becomes of scripts, settings and configuration."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediation import desired
from remediation import docker_in_lxc as it
from remediation.actions.container_options import ContainerOptions
from remediation.edits.container_config import with_lxc_options
from remediation.edits.container_file import container_options, lxc_options
from remediation.edits.daemon_json import daemon_json
from remediation.edits.phoenix_description import described
from remediation.edits.phoenix_scripts import install_script, setup_script
from targets.errors import Elsewhere, FactError
from targets.runtime import container_config
from targets.runtime.base import Lxc, Pct
from tests.doubles.canned import Machine
from tests.doubles.scripted import Scripted
from tests.unit.facts.test_apparmor import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parents[2] / "data"
CHECKOUT = Path(__file__).parents[3] / "lab/guest/phoenix_hypervisor"


@pytest.mark.parametrize(
    ("script", "how", "after"),
    [
        (desired.SETUP_SCRIPT, setup_script, "setup_apparmor.after.sh"),
        (desired.INSTALL_SCRIPT, install_script, "install_docker.after.sh"),
    ],
)
def test_scripts_get_the_smallest_change(script: str, how: object, after: str) -> None:
    before = (CHECKOUT / script).read_bytes()
    edited = how(before)  # type: ignore[operator]
    assert edited == (DATA / after).read_bytes()
    assert how(edited) == edited  # type: ignore[operator]
    removed = [line for line in before.splitlines() if line not in edited.splitlines()]
    assert removed == []


@pytest.mark.parametrize(
    ("script", "how"),
    [(desired.SETUP_SCRIPT, setup_script), (desired.INSTALL_SCRIPT, install_script)],
)
def test_a_byte_of_another_encoding_in_a_script_stays_as_it_is(
    script: str, how: Callable[[bytes], bytes]
) -> None:
    before = (CHECKOUT / script).read_bytes()
    edited = how(before + b"# by Jos\xe9\r\n")
    assert edited == how(before) + b"# by Jos\xe9\r\n"
    assert how(edited) == edited


def test_install_script_with_the_block_of_an_earlier_version_gets_todays_instead() -> None:
    before = (CHECKOUT / desired.INSTALL_SCRIPT).read_bytes()
    today = install_script(before)
    block = desired.content("install_docker_block.sh").encode()
    earlier = today.replace(block, block.replace(b"answer", b"inside"))
    assert earlier != today
    assert install_script(earlier) == today


@pytest.mark.parametrize("script", ["setup_apparmor.after.sh", "install_docker.after.sh"])
def test_edited_scripts_pass_shellcheck(script: str) -> None:
    subprocess.run(["bash", "-n", DATA / script], check=True)
    subprocess.run(["shellcheck", DATA / script], check=True)


@pytest.mark.parametrize("text", [None, b"#!/bin/bash\necho nothing of this kind\n"])
def test_a_script_without_a_place_is_not_touched(text: bytes | None) -> None:
    with pytest.raises(FactError):
        install_script(text)
    with pytest.raises(FactError):
        setup_script(text)


keys = st.text(min_size=1).filter(lambda key: key != "storage-driver")
values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)


@given(st.dictionaries(keys, values))
def test_foreign_keys_of_daemon_json_survive(settings: dict[str, object]) -> None:
    merged = daemon_json(json.dumps(settings).encode())
    assert json.loads(merged) == settings | {"storage-driver": "fuse-overlayfs"}
    assert daemon_json(merged) == merged


@pytest.mark.parametrize("text", [b"{", b"[]", b"{'a': 1}", b"\xff"])
def test_a_daemon_json_that_is_none_is_left_alone(text: bytes) -> None:
    with pytest.raises(FactError, match=r"daemon\.json"):
        daemon_json(text)


@pytest.mark.parametrize("text", [None, b"", b"\n"])
def test_daemon_json_from_nothing(text: bytes | None) -> None:
    assert json.loads(daemon_json(text)) == {"storage-driver": "fuse-overlayfs"}


CONF = """#a test
arch: amd64
features: nesting=1,mount=nfs
lxc.apparmor.profile: unconfined
lxc.apparmor.profile: generated

[pre]
arch: amd64
lxc.apparmor.profile: old
"""


def test_options_go_before_the_first_section_and_once() -> None:
    changed = container_options(CONF.encode()).decode()
    parsed = container_config.parse("950.conf", changed)
    assert parsed.current()["features"] == "nesting=1,mount=nfs,keyctl=1,fuse=1"
    assert [o.value for o in parsed.all("lxc.apparmor.profile")] == [desired.PROFILE]
    assert changed.partition("[pre]")[2] == CONF.partition("[pre]")[2]
    assert container_options(changed.encode()).decode() == changed


@pytest.mark.parametrize("line", ["memory: 1024", "delete: net0", "features: nesting=1"])
def test_changes_that_wait_for_the_next_start_are_named_and_left(line: str) -> None:
    text = f"arch: amd64\n\n[pve:pending]\n{line}\n\n[pre]\narch: amd64\n"
    with pytest.raises(FactError, match=rf"\({line}\).*pct pending CTID .*--revert OPTION"):
        container_options(text.encode())


def test_changes_that_wait_hinder_nothing_where_there_is_nothing_to_do() -> None:
    done = container_options(CONF.encode()) + b"[pve:pending]\nmemory: 1024\n"
    assert container_options(done) == done
    none = CONF.encode() + b"[pve:pending]\n"
    assert container_options(none).endswith(b"[pve:pending]\n")


def options_of(text: str) -> tuple[ContainerOptions, Machine]:
    node = Machine({"/etc/pve/lxc/950.conf": text})
    action = it._options(Pct(node), 950).action
    assert isinstance(action, ContainerOptions)
    return action, node


def test_options_a_pending_change_that_takes_features_away_is_drift_and_refused() -> None:
    done = container_options(CONF.encode()).decode().partition("\n[pre]")[0]
    action, node = options_of(f"{done}\n[pve:pending]\nfeatures: nesting=1\n")
    drift = action.check(node)
    assert drift is not None
    assert drift.summary.startswith("the next stop takes away keyctl, fuse: /etc/pve/lxc/950.conf")
    assert drift.summary.endswith("To let go of it: pct set 950 --revert features")
    assert node.ran == ["env LC_ALL=C cat -- /etc/pve/lxc/950.conf"]  # one look, foreseen
    node.files["/etc/pve/ha/resources.cfg"] = None
    with pytest.raises(FactError, match=r"takes away keyctl, fuse: .*--revert features\. The plan"):
        action.require_reversible(node)


@pytest.mark.parametrize("line", ["memory: 1024", "features: nesting=1,keyctl=1,fuse=1,mknod=1"])
def test_options_a_pending_change_that_takes_nothing_away_is_no_drift(line: str) -> None:
    done = container_options(CONF.encode()).decode().partition("\n[pre]")[0]
    action, node = options_of(f"{done}\n[pve:pending]\n{line}\n")
    assert action.check(node) is None


def test_options_in_proxmoxs_other_words_are_no_drift() -> None:
    text = f"features: nesting=yes,keyctl=on,fuse=true\nlxc.apparmor.profile: {desired.PROFILE}\n"
    action, node = options_of(text)
    assert action.check(node) is None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("features: nesting=1,fusion=1", "unable to parse value of 'features' - format error: fus"),
        ("lxc.aa_profile: x", "lxc.aa_profile is a name of before LXC 3"),
    ],
)
def test_options_on_which_no_container_starts_are_named_and_left(line: str, why: str) -> None:
    with pytest.raises(FactError, match=rf"line 2 .*'{line}': {why}.* no container starts on it"):
        container_options(f"arch: amd64\n{line}\n".encode())


def test_plan_of_a_container_that_cannot_start_does_not_say_to_start_it() -> None:
    for text, said in (
        ("lxc.apparmor.profile: lxc-other\n", "cannot start: the kernel does not know its profile"),
        ("arch: amd64\n", "nothing inside it was asked (pct start 950)"),
    ):
        files = {"/etc/pve/lxc/950.conf": text, PROFILES: "lxc-phoenix-v2 (enforce)\n"}
        seen = "find /etc/pve/lxc/950.conf -exec lxc-info -P /var/lib/lxc -n 950 -s -H ';'"
        node = Machine(files, {seen: "STOPPED\n", f"test -d {desired.REPOSITORY}": ""})
        (unasked,) = it.plan(Pct(node), 950, tell=lambda _: None).unasked
        assert said in unasked


def test_options_of_a_file_without_a_final_newline() -> None:
    changed = container_options(b"arch: amd64").decode()
    assert changed == (
        "arch: amd64\nfeatures: nesting=1,keyctl=1,fuse=1\n"
        f"lxc.apparmor.profile: {desired.PROFILE}\n"
    )


def test_the_configuration_knows_lines_sections_and_rubbish() -> None:
    parsed = container_config.parse("950.conf", CONF + "dev/fuse none bind\n")
    (option,) = parsed.elsewhere("lxc.apparmor.profile")
    assert (option.line, option.section, option.value) == (9, "pre", "old")
    assert parsed.unreadable == ((10, "dev/fuse none bind"),)


PLAIN = """# ours
lxc.include = /usr/share/lxc/config/common.conf
lxc.apparmor.profile = lxc-phoenix-v2
lxc.include = /usr/share/lxc/config/nesting.conf
lxc.mount.entry = /srv srv none bind,create=dir 0 0
lxc.rootfs.path = dir:/var/lib/lxc/953/rootfs"""
OWN_LIST = ("env", "LC_ALL=C", "cat", "--", "/etc/lxc/own.seccomp")


def on_lxc(text: str, own: str = "") -> str:
    node = Scripted({OWN_LIST: (0, own.encode(), b"")})
    return lxc_options(node, text.encode()).decode()


def test_plain_lxc_gets_its_own_options_after_what_it_includes() -> None:
    changed = on_lxc(PLAIN)
    assert changed == PLAIN.replace(f"lxc.apparmor.profile = {desired.PROFILE}\n", "") + (
        "\nlxc.apparmor.allow_nesting = 1\n"
        f"lxc.apparmor.profile = {desired.PROFILE}\n"
        "lxc.mount.entry = /dev/fuse dev/fuse none bind,create=file 0 0\n"
    )
    assert on_lxc(changed) == changed
    given = container_config.granted(container_config.parse("", changed), "")
    assert given == {"nesting": "1", "keyctl": "1", "fuse": "1"}


def test_what_plain_lxc_has_already_is_not_written_again() -> None:
    own = "lxc.mount.entry = /dev/fuse dev/fuse none bind,optional,create=file\n"
    has = f"lxc.apparmor.allow_nesting=1\nlxc.apparmor.profile  = {desired.PROFILE}\n{own}"
    assert on_lxc(has) == has


def test_taken_back_alone_each_runtimes_own_options_are_as_before() -> None:
    plain = PLAIN.replace("# ours", "# ours\nlxc.seccomp.profile = /etc/lxc/own.seccomp") + "\n"
    for runtime, before, changed in (
        (Lxc(Scripted({})), plain, on_lxc(plain, "2\nblacklist\n[all]\nkeyctl errno 38\n")),
        (Pct(Scripted({})), CONF, container_options(CONF.encode()).decode()),
    ):
        action = it._options(runtime, 950).action
        assert isinstance(action, ContainerOptions)
        assert changed != before
        assert action.put_back(changed, before) == before


@pytest.mark.parametrize(
    ("own", "refused"),
    [
        ("2\ndenylist\n[all]\nkexec_load errno 1\n", False),
        ("2\nblacklist\n[all]\nkeyctl errno 38\n", True),
        ("2\nallowlist\n[all]\nread\nwrite\n", True),
        ("2\nwhitelist\n[all]\nread\nkeyctl\n", False),
    ],
)
def test_a_list_that_refuses_keyrings_gives_way_to_lxcs(own: str, refused: bool) -> None:
    changed = on_lxc("lxc.seccomp.profile = /etc/lxc/own.seccomp\n", own)
    used = container_config.parse("", changed).all("lxc.seccomp.profile")
    assert [o.value for o in used] == [
        container_config.COMMON_SECCOMP if refused else "/etc/lxc/own.seccomp"
    ]


@pytest.mark.parametrize(
    ("lines", "given"),
    [
        ("lxc.apparmor.profile = generated", "keyctl"),
        ("lxc.apparmor.profile = lxc-container-default-cgns", "keyctl"),
        ("lxc.apparmor.profile = generated\nlxc.apparmor.allow_nesting = 1", "nesting keyctl"),
        ("lxc.apparmor.profile = ours", "nesting keyctl"),
        ("lxc.mount.entry = /dev/fuse", "keyctl"),
        ("lxc.mount.entry = /dev/fuse /dev/fuse none bind", "keyctl fuse"),
    ],
)
def test_what_plain_lxc_gives(lines: str, given: str) -> None:
    assert " ".join(container_config.granted(container_config.parse("", lines), "")) == given


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (container_options, "arch: amd64\nlxc.mount.entry: /dev/fuse\n"),
        (lambda text: on_lxc(text.decode()), "# a\nlxc.mount.entry = /dev/fuse\n"),
    ],
)
def test_a_cut_mount_entry_is_named_and_left(edit: Callable[[bytes], object], text: str) -> None:
    with pytest.raises(FactError, match=r"line 2 .*'/dev/fuse' lacks target, type, options"):
        edit(text.encode())
    assert with_lxc_options(text, {}).startswith(text)


def test_the_description_of_the_container_is_changed_and_no_other() -> None:
    before = (CHECKOUT / desired.CONTAINERS).read_bytes()
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
def test_a_description_of_another_shape_is_left_as_it_is(text: str) -> None:
    with pytest.raises(FactError, match=r"configs\.json is not as phoenix writes it \(Expected"):
        described(text.encode(), 950)


def test_of_others_only_the_own_description_must_be_as_phoenix_writes_it() -> None:
    text = b'{"lxc_configs": {"950": {"other": 1}, "951": "x"}}'
    entry = json.loads(described(text, 950))["lxc_configs"]["950"]
    assert entry == {
        "other": 1,
        "pct_features": ["nesting=1", "keyctl=1", "fuse=1"],
        "apparmor_profile": desired.PROFILE,
    }


SEEN = (
    *("find", "/etc/pve/lxc/950.conf", "-exec"),
    *("lxc-info", "-P", "/var/lib/lxc", "-n", "950", "-s", "-H", ";"),
)


def test_the_clauses_known_before_anybody_is_asked_are_those_of_the_whole_plan() -> None:
    node = Scripted(
        {SEEN: (0, b"RUNNING\n", b""), ("test", "-d", desired.REPOSITORY): (0, b"", b"")}
    )
    plan = it.plan(Pct(node), 950, tell=lambda _: None)
    assert {step.action.requirement for step in plan.steps} == {*it.CLAUSES}


def test_of_a_container_that_has_moved_the_nodes_part_is_left_and_is_not_all() -> None:
    absent = (2, b"", b"Configuration file 'nodes/pve1/lxc/950.conf' does not exist\n")
    there = (0, b"/etc/pve/nodes/pve2/lxc/950.conf\n", b"")
    node = Scripted(
        {
            SEEN: (1, b"", b"No such file or directory"),
            ("pct", "status", "950"): absent,
            ("find", "/etc/pve/nodes", "-path", "*/lxc/950.conf"): there,
            ("test", "-d", desired.REPOSITORY): (0, b"", b""),
        }
    )
    with pytest.raises(Elsewhere, match="is not on scripted but on pve2") as raised:
        it.plan(Pct(node), 950, tell=lambda _: None)
    assert (raised.value.node, raised.value.exit_code) == ("pve2", 3)
    plan = it.plan(Pct(node), 950, tell=lambda _: None, of_node=True)
    assert {step.on for step in plan.steps} == {node}
    assert "container-options" not in {step.action.id for step in plan.steps}
    assert (plan.asleep, plan.whole) == ([], False)
