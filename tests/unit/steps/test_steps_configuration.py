"""The container's configuration: what is written, what is in effect, and what can be opened."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import pytest
from msgspec.structs import replace

from docker_lxc_gate.errors import FactError, RemediationError
from docker_lxc_gate.facts import failed_units
from docker_lxc_gate.facts.audit import audit_records
from docker_lxc_gate.formats.container_config import FUSE_ENTRY, LXC_REFUSES
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.runtime import guest_root
from docker_lxc_gate.machines.runtime.lxc import Lxc
from remediation import plan_file
from steps import configuration as steps
from steps import target as of_target
from tests.doubles.canned import FIRST_PROCESS, PID, Answer, Machine, Runtime
from tests.doubles.naming import lines_of, naming, not_compliant
from tests.doubles.nodes.healthy import MOUNTS

CONF, STARTED = "/etc/pve/lxc/950.conf", "/var/lib/lxc/950/config"
PROFILE = "lxc.apparmor.profile"
GOOD = f"arch: amd64\nfeatures: nesting=1,keyctl=1,fuse=1\n{PROFILE}: p\nunprivileged: 1\n"
FUSE = f"lxc.mount.entry = {FUSE_ENTRY}\n"


def pct(conf: str = GOOD, started: str | None = f"{PROFILE} = p\n{FUSE}") -> Runtime:
    return Runtime(Machine({CONF: conf, STARTED: started}, FIRST_PROCESS))


def test_mount_entries_are_whole_where_one_is_cut_names_its_line() -> None:
    steps.mount_entries_are_whole(pct(), 950)
    steps.mount_entries_are_whole(pct(f"arch: amd64\n{FUSE}", None), 950)
    with not_compliant(f"{CONF}, line 5"):
        steps.mount_entries_are_whole(pct(f"{GOOD}lxc.mount.entry: /dev/fuse\n", FUSE), 950)
    with not_compliant(f"{STARTED}, line 1"):
        steps.mount_entries_are_whole(pct(GOOD, "lxc.mount.entry = /a b none\n"), 950)
    with not_compliant("LXC ignores the entry"):
        steps.mount_entries_are_whole(pct(f"{GOOD}lxc.mount.entry: /srv /srv none bind\n"), 950)


def test_container_is_given_too_little_names_what_it_lacks_and_the_command() -> None:
    own = "mknod=1,mount=nfs;cifs,keyctl=off"  # they stay
    with not_compliant("lacks nesting, fuse:", f"pct set 950 --features '{own},nesting=1,fuse=1'"):
        steps.container_is_given(pct(f"features: {own}\n"), 950, "nesting, fuse")
    with not_compliant("lacks nesting:", "docker-lxc-gate apply"):
        steps.container_is_given(Lxc(Machine({STARTED: FUSE})), 950, "nesting, fuse")


def test_container_is_given_no_keyrings_is_advised_of_them() -> None:
    given = steps.container_is_given
    for features in ("nesting=yes,keyctl=on,fuse=TRUE", "fuse=1,keyctl=1,nesting=1,a_newer_one=1"):
        assert len(lines_of(given, pct(f"features: {features}\n"), 950, "nesting, fuse")) == 1
    _, advice = lines_of(given, pct("features: nesting=1,fuse=1,keyctl=0\n"), 950, "nesting, fuse")
    assert "keyctl is off" in advice


def test_container_is_given_by_an_unread_line_names_it() -> None:
    def judge(conf: str) -> None:
        steps.container_is_given(pct(conf), 950, "nesting")

    with not_compliant("unable to parse value of 'features'"):
        judge("features: nesting=1,keyctl=1,fuse=1,fusion=1\n")
    with not_compliant("line 1", "'features = nesting=1'"):
        judge("features = nesting=1\narch: x\n")
    with not_compliant("takes away nesting:", "--revert features"):
        judge(f"{GOOD}[pve:pending]\nfeatures: fuse=1\n")


def test_container_whose_own_seccomp_list_refuses_keyctl_is_not_given_it() -> None:
    own, conf = "/etc/own.seccomp", "features: nesting=1,keyctl=1\nlxc.seccomp.profile: {}\n"
    files = {CONF: conf.format(own), STARTED: f"lxc.seccomp.profile = {own}\n"}
    whole = "2\ndenylist\n[all]\n"
    steps.container_is_given(Runtime(Machine({**files, own: whole})), 950, "nesting, keyctl")
    refusing = Machine({**files, own: f"{whole}keyctl errno 38\n"})
    with not_compliant("lacks keyctl", own):
        steps.container_is_given(Runtime(refusing), 950, "nesting, keyctl")


def test_every_line_is_in_effect_on_plain_lxc_as_lxc_reads_it() -> None:
    steps.every_line_is_in_effect(Lxc(Machine({STARTED: f"  # x\n {FUSE}lxc.uts.name = x\n"})), 950)
    with not_compliant("'lxc.x: y'", "LXC"):
        steps.every_line_is_in_effect(Lxc(Machine({STARTED: f"{FUSE}lxc.x: y\n"})), 950)


@pytest.mark.parametrize(
    ("conf", "named"),
    [
        ("", (CONF,)),
        (f"{GOOD}colour\n", ("line 5: 'colour'",)),
        (f"{GOOD}mp0: /srv\n", ("line 5: ", "mp: property", "without this mount point")),
        (f"{GOOD}[pre]\ncolour\n", ("line 6: 'colour'",)),
        (f"{GOOD}lxc.prlimit.nofile: 9\n", ("line 5: 'lxc.prlimit.nofile: 9'", "not restarted")),
        (f"{GOOD}lxc.include: /x\n", ("line 5: 'lxc.include: /x'", "not restarted")),
        *(
            (f"arch: x\n[pre]\n{key}: v\n", (f"line 3: '{key}: v'", "[pre]"))
            for key in ("features", PROFILE, "lxc.mount.entry", "lxc.include")
        ),
    ],
)
def test_every_line_is_in_effect_but_for_one_names_it(conf: str, named: tuple[str, ...]) -> None:
    steps.every_line_is_in_effect(pct(), 950)
    for harmless in (
        f"[pre]\n{PROFILE}: p\nhostname: x\n",
        "[pve:pending]\nmemory: 1024\n",
        "newer: 1\nnet0: name=eth0,newer=1\nmemory: 8\n",
    ):
        steps.every_line_is_in_effect(pct(f"{GOOD}{harmless}"), 950)
    with not_compliant(*named):
        steps.every_line_is_in_effect(pct(conf), 950)


def test_features_that_were_written_after_the_start_are_not_in_effect() -> None:
    nesting, listed = "lxc.apparmor.allow_nesting = 1\n", "lxc.seccomp.profile = /own\n"
    for features, started, late in (
        ("nesting=1,keyctl=1,fuse=yes", nesting + FUSE, False),
        ("nesting=1", FUSE, True),
        ("fuse=1", nesting, True),
        ("keyctl=1", listed, True),
        (f"keyctl=1\n{listed}", listed, False),
        ("fuse=1", "", False),  # it never started
    ):
        files = {CONF: f"features: {features}\n", STARTED: started, "/own": "denylist\nkeyctl\n"}
        with not_compliant("line 1: 'features", "not restarted") if late else nullcontext():
            steps.every_line_is_in_effect(Runtime(Machine({**files}, FIRST_PROCESS)), 950)
        steps.every_line_is_in_effect(Runtime(Machine({**files}, {PID: ""})), 950)  # stopped


def test_profile_in_effect_that_is_another_names_the_assignments() -> None:
    steps.profile_in_effect(pct(f"{PROFILE}: q\n{GOOD}"), 950, "p")
    with not_compliant(CONF):
        steps.profile_in_effect(pct("arch: amd64\n"), 950, "p")
    with not_compliant("'p', then 'q'"):
        steps.profile_in_effect(pct(started=f"{PROFILE} = p\n{PROFILE} = q"), 950, "p")
    included = "find -L /nosuch -maxdepth 1 -type f -exec grep -aHZ '' '{}' +"
    files = {CONF: GOOD, STARTED: "lxc.include = /nosuch"}
    with not_compliant(STARTED):
        node = Machine({**files}, {included: (1, "", "")})
        steps.profile_in_effect(Runtime(node), 950, "p")


FUSE_DEVICE = guest_root.Inode("a character device", 10, 229)


@pytest.mark.parametrize(
    ("inside", "seen", "named"),
    [
        ((2, "", "sh: 1: cannot open /dev/fuse: not permitted\n"), FUSE_DEVICE, "not permitted"),
        ("", guest_root.Inode("a symbolic link"), "a symbolic link"),
        ("", guest_root.Inode("a character device", 1, 3), "a character device 1:3"),
        ("", FUSE_DEVICE, ""),
    ],
)
def test_fuse_can_be_opened_where_it_is_not_the_device_is_red(
    inside: Answer, seen: guest_root.Inode, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the container and the node say of it."""
    looked = {(950, "/dev/fuse"): seen}
    monkeypatch.setattr(guest_root, "look", lambda _, ctid, path: looked[ctid, path])
    guest, node = Machine({}, {"sh fuse": inside}), Runtime(Machine())
    if not named:
        (line,) = lines_of(steps.fuse_can_be_opened, guest, node, 950)
        assert line == "/dev/fuse is a character device 10:229"
        return
    with not_compliant("/dev/fuse", named):
        steps.fuse_can_be_opened(guest, node, 950)


OWN = "/etc/lxc/own.seccomp"
WHOLE_LIST = "2\ndenylist\n[all]\n" + "".join(f"{call} errno 1\n" for call in LXC_REFUSES)
CHANGED = f"sh changed {STARTED} {PID}"


def listed(
    text: str | None,
    conf: str,
    kind: type[Runtime | Lxc] = Runtime,
    changed: Answer = "",
    wanted: str = "",
) -> None:
    path, named = (CONF, STARTED) if kind is Runtime else ("", STARTED)
    own = f"lxc.seccomp.profile = {OWN if text else ''}\n"
    node = Machine({path: conf, named: own, OWN: text}, {CHANGED: changed})
    plan = replace(plan_file.find("plain"), seccomp=wanted)
    steps.seccomp_list_refuses(kind(node), node, 950, plan)


def test_seccomp_list_that_refuses_less_than_lxcs_is_red_and_says_the_line() -> None:
    own = f"arch: x\nlxc.seccomp.profile: {OWN}\n"
    listed(WHOLE_LIST, own)
    listed(f"{WHOLE_LIST}keyctl errno 38\nioctl errno 1 [1,9,SCMP_CMP_MASKED_EQ,0xff00]\n", own)
    listed("2\nallowlist\nread\n", own)
    listed("2\nallowlist\nread\nkexec_load errno 1\n", own)
    line = f"{CONF}, line 2: 'lxc.seccomp.profile: {OWN}'"
    for rule in (" allow", " notify", " errno 1 [0,99,SCMP_CMP_EQ]"):
        with not_compliant("950", *LXC_REFUSES, line):
            listed("2\ndenylist\n" + "".join(f"{call}{rule}\n" for call in LXC_REFUSES), own)
    with not_compliant("950", *LXC_REFUSES, line):
        listed(WHOLE_LIST.replace("[all]", "[armv7]"), own)
    for missing in LXC_REFUSES:
        with not_compliant("950", missing, line):
            listed(WHOLE_LIST.replace(f"{missing} ", f"# {missing} "), own)
        with not_compliant("950", missing, line):
            listed(f"2\nallowlist\nread\n{missing}\n", own)
    with not_compliant(*LXC_REFUSES, f"{CONF}, line 1: 'lxc.include: /x'"):
        listed("2\ndenylist\n", "lxc.include: /x\n")
    with not_compliant(f"{CONF} has no lxc.seccomp.profile"):
        listed(None, "arch: x\n")
    with not_compliant(f"see {STARTED}: 'lxc.seccomp.profile: '"):  # its lines are not the file's
        listed(None, "", Lxc)


def test_seccomp_list_that_is_not_the_plans_is_red_and_says_what_to_do() -> None:
    listed(WHOLE_LIST, "arch: x\n", wanted=OWN)
    named = f"runs with the seccomp list {OWN}, not with the plan's, /etc/lxc/other"
    with not_compliant("950", named, "apply"):
        listed(WHOLE_LIST, f"lxc.seccomp.profile: {OWN}\n", wanted="/etc/lxc/other")
    with not_compliant("950", named, ": restart it"):
        listed(WHOLE_LIST, "lxc.seccomp.profile: /etc/lxc/other\n", wanted="/etc/lxc/other")
    with not_compliant("seccomp list none"):
        listed(None, "arch: x\n", wanted=OWN)


def test_seccomp_list_that_was_changed_since_the_start_is_undetermined() -> None:
    with naming(FactError, f"{OWN} was changed", "restart the container"):
        listed(WHOLE_LIST, "arch: x\n", changed=f"{OWN}\n")
    with naming(FactError, "container 950", "no such process"):
        listed(WHOLE_LIST, "arch: x\n", changed=(9, "", "no such process"))


def mounted(table: str, auto: str = "sys:mixed", conf: str = "arch: x\n") -> tuple[str, ...]:
    files = {CONF: conf, STARTED: f"lxc.mount.auto = {auto}\n", "/proc/7/mountinfo": table}
    node = Machine({**files}, FIRST_PROCESS)
    return lines_of(steps.mounts_are_read_only, Runtime(node), 950)


MASK = "lxc.mount.entry: /dev/null sys/module/apparmor/parameters/enabled none bind 0 0\n"


def test_apparmor_that_is_hidden_from_docker_is_red_unless_the_profile_is_named() -> None:
    def judge(profile: str, mask: str = "", parser: str = "parser\n") -> None:
        files = {CONF: f"{mask}{PROFILE}: {profile}\n", STARTED: f"{PROFILE} = {profile}\n"}
        runtime = Runtime(Machine({**files}, {"sh versions": "lxc-pve 6.0.5-1\n"}))
        steps.apparmor_is_not_hidden(runtime, Machine({}, {"sh own_apparmor": parser}), 950)

    judge("generated")
    judge("lxc-mine", MASK, "parser\nhidden\n")
    first = "to 6.0.5-2 or later (Proxmox VE 8: 6.0.0-2) first"
    with not_compliant("950", f"{CONF}, line 1: '{MASK.strip()}'", first):
        judge("generated", MASK, "")
    with not_compliant("950", "without its apparmor_parser", first):
        judge("unconfined", parser="parser\nhidden\n")


READ_ONLY_SYS = " /proc/sys ro"


@pytest.mark.parametrize(
    ("auto", "old", "new", "named"),
    [
        ("sys:mixed", READ_ONLY_SYS, " /proc/sys rw", "write below /proc/sys,"),
        ("sys:mixed", " /sys ro", " /sys rw", "write below /sys,"),
        ("sys:rw", " /sys ro", " /sys rw", ""),  # force_rw_sys=1, plain LXC
        ("cgroup:mixed proc:mixed sys:mixed", " /sys ro", " /sys rw", ""),  # common.conf alone
        ("sys:mixed", "504 500", "506 500 0:82 / /sys/fs/cgroup rw - cgroup2 x rw\n504 500", ""),
        ("sys:mixed", "504 500", "506 502 0:80 / /proc/sys rw - proc x rw\n504 500", "/proc/sys"),
    ],
)
def test_mounts_that_are_writable_where_lxc_has_them_read_only_are_red(
    auto: str, old: str, new: str, named: str
) -> None:
    assert old in MOUNTS
    sys = ", /sys" if auto == "sys:mixed" else ""
    assert mounted(MOUNTS, auto) == (f"read-only: /proc/sys{sys}",)
    table, line = MOUNTS.replace(old, new), "lxc.mount.auto: proc:rw sys:rw"
    if not named:
        mounted(table, auto)
        return
    with not_compliant("950", named, f"{CONF} has no lxc.mount.auto"):
        mounted(table, auto)
    with not_compliant("950", named, f"{CONF}, line 1: '{line}'"):
        mounted(table, auto, f"{line}\n")


def test_mounts_that_lxc_made_writable_are_red_though_the_guest_made_them_read_only() -> None:
    for last, named in (
        (["sys:mixed", "proc:rw"], "write below /proc/sys,"),
        (["sys:mixed", ""], "write below /proc/sys and /sys,"),  # LXC mounts neither
        (["sys:rw"], ""),  # force_rw_sys=1
        (["", "proc:mixed", "sys:mixed"], ""),
    ):
        auto = "\nlxc.mount.auto = ".join(["cgroup:mixed proc:mixed sys:mixed", *last])
        with not_compliant("950", named) if named else nullcontext():
            mounted(MOUNTS, auto)


WHOLE = "0 100000 65536\n"
HOLED = "0 100000 1000\n1000 0 1\n1001 101001 64535\n"


def mapped(step: Callable[..., None], users: str = WHOLE, groups: str = WHOLE) -> None:
    """Judge a container whose first process has these id maps."""
    node = Machine({}, {**FIRST_PROCESS, "perl -- 7": f"{users}==\n{groups}"})
    step(Runtime(node), node, 950)


def test_root_is_mapped_to_no_user_or_another_is_the_nodes_root_is_red() -> None:
    for good in (WHOLE, "1000 1000 1\n0 100000 1000\n"):
        mapped(of_target.root_is_mapped, good, good)
    for users, groups, named in (
        ("         0          0 4294967295\n", WHOLE, "container 950 is privileged"),
        ("1000 101000 1\n0 0 1000\n", WHOLE, "container 950 is privileged"),
        ("", WHOLE, "no root"),
        (HOLED, WHOLE, "user 1000 of container 950"),
        (WHOLE, HOLED, "group 1000 of container 950"),
    ):
        with not_compliant(named):
            mapped(of_target.root_is_mapped, users, groups)


def test_every_id_is_mapped_with_a_hole_is_red_and_in_several_ranges_green() -> None:
    for table in (WHOLE, "44 44 1\n45 100045 65491\n0 100000 44\n", "0 0 4294967295\n"):
        mapped(of_target.every_id_is_mapped, table, table)
    with not_compliant("user id 1000 is not mapped", "container 950", "lxc.idmap"):
        mapped(of_target.every_id_is_mapped, "0 100000 1000\n1001 101001 64535\n")
    with not_compliant("group ids 45 to 65535 are not mapped"):
        mapped(of_target.every_id_is_mapped, WHOLE, "0 100000 44\n44 44 1\n")


def test_configured_unprivileged_in_any_of_proxmoxs_words() -> None:
    idmap = "lxc.idmap: u 0 100000 65536\n"
    for conf in (GOOD, idmap, *(f"unprivileged: {yes}\n" for yes in ("yes", "1", "On"))):
        of_target.configured_unprivileged(pct(conf), 950)
    no = ("unprivileged: 0\n", "unprivileged: off\n", "arch: x\n[pre]\nunprivileged: 1\n")
    for conf in ("arch: amd64\n", *no):
        with not_compliant("950", CONF):
            of_target.configured_unprivileged(pct(conf), 950)


IS_RUNNING = "systemctl is-system-running"
UNITS = (
    "systemctl list-units --state=failed,auto-restart,auto-restart-queued --full --plain "
    "--no-legend"
)
EXPECTED = "sys-kernel-config.mount loaded failed failed x\nsys-kernel-debug.mount loaded failed\n"


def guest(state: Answer, units: Answer, **of_node: Any) -> tuple[Runtime, Machine, int]:
    """Return what the step is given; what lies on the node is asked only if a unit has failed."""
    node = Machine(of_node.get("files"), of_node.get("answers"))
    said = {IS_RUNNING: state, f"{IS_RUNNING} --wait": state, UNITS: units}
    return Runtime(node), Machine({}, said), 950


@pytest.mark.parametrize("units", ["\n", f"docker.service loaded\n{EXPECTED}"])
def test_no_unit_failed_but_those_that_always_do_is_green(units: str) -> None:
    for state in ("running\n", (1, "degraded\n", "")):
        of_target.no_unit_failed(*guest(state, units))


DEGRADED: Answer = (1, "degraded\n", "")
FAILED = f"docker.service loaded failed failed y\n{EXPECTED}b.service x\na.mount loaded failed\n"

SERVICE = failed_units.FailedUnit("b.service", 100.0, 220.0, frozenset({"b"}))
MOUNT = failed_units.FailedUnit("a.mount", 100.0, 101.0, frozenset({"mount"}), "/scratch")
ITS_OWN = 'apparmor="DENIED" operation="open" profile="p" comm="b" name="/x" denied_mask="r"'
ANOTHERS = 'apparmor="DENIED" operation="open" profile="p" comm="perl" name="/y"'


def units_failed(
    monkeypatch: pytest.MonkeyPatch,
    *denials: str,
    said: str = "",
    units: tuple[failed_units.FailedUnit, ...] = (MOUNT, SERVICE),
) -> tuple[str, ...]:
    """Ask about units that failed; returns what is said beside the verdict."""
    found = {unit: audit_records.parse("\n".join(denials)) for unit in units}
    names = {each.name for each in units}

    def failed(_: object, asked: Iterable[str]) -> tuple[failed_units.FailedUnit, ...]:
        assert set(asked) == names
        return units

    monkeypatch.setattr(failed_units, "failed", failed)
    monkeypatch.setattr(failed_units, "denials", lambda *_: found)
    monkeypatch.setattr(failed_units, "refusal_message", lambda *_: said)
    listed = EXPECTED + "docker.service x\n" + "".join(f"{name} loaded\n" for name in names)
    label = {"/proc/7/attr/apparmor/current": "p//&:ns:unconfined (enforce)\n"}
    given = guest(DEGRADED, listed, files=label, answers=FIRST_PROCESS)
    return lines_of(of_target.no_unit_failed, *given)


def test_no_unit_failed_where_one_was_denied_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    with not_compliant("1 unit", "b.service", "allow it: /x"):
        units_failed(monkeypatch, ITS_OWN, said="permission denied")


def test_no_unit_failed_by_apparmor_is_green_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    _, advice = units_failed(monkeypatch, units=(SERVICE,))
    assert "systemctl status b.service" in advice


def test_no_unit_failed_where_nobody_can_tell_why_is_undetermined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with naming(FactError, "2 unit", "a.mount", "/y"):
        units_failed(monkeypatch, ANOTHERS)
    with naming(FactError, "2 unit", "a.mount", "'x: permission denied'"):
        units_failed(monkeypatch, said="x: permission denied")


def test_no_unit_failed_where_systemd_does_not_say_is_undetermined() -> None:
    for state in ("starting\n", ""):
        with pytest.raises(FactError):
            of_target.no_unit_failed(*guest(state, ""))
    with pytest.raises(CommandFailed):
        of_target.no_unit_failed(*guest("running", (1, "", "Failed to connect to bus")))
    with pytest.raises(RemediationError):  # without a first process
        of_target.no_unit_failed(*guest(DEGRADED, FAILED, answers={PID: (1, "", "")}))
