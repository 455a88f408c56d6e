"""AppArmor's sentences: each green on a node that is right, and red for each way to be wrong."""

import hashlib
import shlex
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import confinement
from docker_lxc_gate.facts.confinement import Process
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.machines.transport import Command
from remediation import desired, phoenix, plan_file
from steps import apparmor as steps
from tests.doubles.canned import FIRST_PROCESS, Answer, Host, Machine, Runtime
from tests.doubles.naming import lines_of, naming, not_compliant
from tests.unit.facts.test_apparmor import COMPILE, FIND, POLICY, PROFILES

NAME = "lxc-phoenix-v2"
FILE = f"/etc/apparmor.d/{NAME}"
SOURCE = f"{phoenix.REPOSITORY}/etc/apparmor/{NAME}"
TUNABLE = desired.TUNABLE_PATH
STAT = f"stat -L -c '%.6Y %.6W' {TUNABLE}"
LOG = "journalctl -u apparmor -b -q --no-pager -o short-unix"
STARTED = (
    "90.000001 pve1 systemd[1]: Starting apparmor.service - Load AppArmor profiles...\n"
    "91.000001 pve1 apparmor.systemd[9]: Restarting AppArmor\n"
    "92.500000 pve1 systemd[1]: Finished apparmor.service - Load AppArmor profiles.\n"
)
RELOADING = "200.000001 pve1 systemd[1]: Reloading apparmor.service - Load AppArmor profiles...\n"
RELOADED = "201.000001 pve1 systemd[1]: Reloaded apparmor.service - Load AppArmor profiles.\n"
ERROR = "200.500000 pve1 x[1]: AppArmor parser error for /etc/apparmor.d/s in line 3: syntax\n"
WARNING = "200.500000 pve1 x[1]: Warning from /etc/apparmor.d/s: syntax error, unexpected\n"
FAILED = "201.000001 pve1 systemd[1]: Reload failed for apparmor.service\n"
CHANGED = "systemctl show apparmor -p StateChangeTimestamp --timestamp=us+utc --value"
SYNC = "journalctl --sync"
NOT_STARTED = "93.000000 pve1 systemd[1]: Failed to start apparmor.service - Load.\n"


def logged(log: str, written: str = "", changed: str = "") -> Machine:
    """A node with this log of AppArmor's service, and a tunable written at this time."""
    last = max(float(line.partition(" ")[0]) for line in log.splitlines())
    answers: dict[str, Any] = {STAT: written, LOG: log, CHANGED: changed or by_systemd(last)}
    return Machine({}, answers | {SYNC: ""})


def by_systemd(when: float) -> str:
    """As ``systemctl show`` writes a time."""
    return datetime.fromtimestamp(when, UTC).strftime("%a %Y-%m-%d %H:%M:%S.%f UTC\n")


def test_tunable_is_another_or_absent_is_red() -> None:
    steps.tunable_is(Host({TUNABLE: "@{x} = y\n"}), "@{x} = y")
    for content, named in ((None, TUNABLE), ("", "''"), ("@{x} = lxc-v1\n", "lxc-v1")):
        with not_compliant(named):
            steps.tunable_is(Host({TUNABLE: content}), "@{x} = y")


def test_loaded_after_tunable_at_its_time_or_later_is_green_and_before_it_red() -> None:
    steps.loaded_after_tunable(logged(STARTED, "92.500000 0.000000\n"))
    steps.loaded_after_tunable(logged(STARTED + RELOADING + RELOADED, "150.0 90.0"))
    for written in ("100.0 0.0", "80.0 100.0"):  # the other is restored with its old time
        with not_compliant("8 s"):
            steps.loaded_after_tunable(logged(STARTED, written))
    with not_compliant("0 s"):
        steps.loaded_after_tunable(logged(STARTED, "92.500001"))
    with not_compliant("AppArmor"):
        steps.loaded_after_tunable(logged(FAILED, "80.0"))
    with naming(FactError, "'soon' is not a time"):
        steps.loaded_after_tunable(logged(STARTED, "soon"))


def test_last_load_was_clean_where_it_was_not_names_the_log() -> None:
    for clean in (STARTED, STARTED + RELOADING + ERROR + FAILED + RELOADING + RELOADED):
        steps.last_load_was_clean(node := logged(clean))
        assert SYNC not in node.ran  # the last change is in the journal, to the microsecond
    not_started = STARTED.replace("92.5", "94.5").replace("Finished", "Later") + NOT_STARTED
    for log, named in (
        (STARTED + RELOADING + ERROR + RELOADED, "parser error for /etc/apparmor.d/s in line 3"),
        (STARTED + RELOADING + WARNING + RELOADED, "Warning from /etc/apparmor.d/s"),
        (STARTED + RELOADING + FAILED, "Reloading"),
        (not_started, "failed"),
        (RELOADED, "AppArmor"),
    ):
        with not_compliant(named):
            steps.last_load_was_clean(logged(log))


@pytest.mark.parametrize("more", ["", "200.500000 pve1 x[1]: Skipping a profile\n"])
def test_last_load_that_has_not_ended_is_undetermined(more: str) -> None:
    for step in (steps.last_load_was_clean, steps.loaded_after_tunable):
        with naming(FactError, "Reloading"):
            step(logged(STARTED + RELOADING + more, "100.0"))


@pytest.mark.parametrize("lost", [STARTED, STARTED + RELOADING])
def test_last_load_that_the_journal_lacks_is_undetermined(lost: str) -> None:
    for step in (steps.last_load_was_clean, steps.loaded_after_tunable):
        with naming(FactError, "apparmor", "Thu 1970"):
            step(logged(lost, "100.0", by_systemd(201.000001)))
    steps.last_load_was_clean(logged(STARTED, changed=by_systemd(92.4999)))


def test_last_load_that_sync_brings_to_the_log_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = logged(STARTED, "100.0", by_systemd(201.000001))
    execute = machine.execute

    def synchronising(command: Command) -> CommandResult:
        if command.argv == ("journalctl", "--sync"):
            machine.answers[LOG] = STARTED + RELOADING + RELOADED
        return execute(command)

    monkeypatch.setattr(machine, "execute", synchronising)
    steps.loaded_after_tunable(machine)


PROFILE = desired.profile().decode()


@pytest.mark.parametrize("rule", steps.RULES)
@pytest.mark.parametrize("change", ["", "# ", "deny "])
def test_profile_carries_rules_without_one_names_it(rule: str, change: str) -> None:
    steps.profile_carries_rules(Host({FILE: PROFILE, LOCAL: None}), NAME)
    with not_compliant(FILE):
        steps.profile_carries_rules(Host({FILE: None}), NAME)
    lines = [line for line in PROFILE.splitlines() if rule in line and "#" not in line]
    assert lines
    text = PROFILE.replace("  file,\n", "")
    for line in lines:
        text = text.replace(line, change and f"  {change}{line.strip()}")
    with not_compliant(f"'{rule}'"):
        steps.profile_carries_rules(Host({FILE: text}), NAME)


def test_profile_carries_rules_in_other_words_is_green() -> None:
    for rules in (
        "file, mount,",
        "/dev/fuse rwk, file /sys/fs/fuse/connections r, mount fstype in (fuse, fuse.*),",
        "allow /dev/fuse r, file, mount fstype=(fuse.fuse-overlayfs) -> /var/lib/docker/**,",
    ):
        text = f"profile x {{\n{rules}\n}}\n"
        steps.profile_carries_rules(Host({FILE: text, LOCAL: None}), NAME)


@pytest.mark.parametrize(
    ("rule", "denies"),
    [
        ("deny mount,", True),
        ("audit deny mount fstype=fuse.*,", True),
        ("deny mount fstype=(nfs, fuse.fuse-overlayfs) -> /var/lib/docker/**,", True),
        ("deny /dev/fuse rw,", True),
        ("deny mount fstype=fuse.sshfs,", False),
        ("deny mount fstype=fuse.* -> /mnt/**,", False),
        ("deny mount options=(rw, move),", False),
        ("deny /dev/mem rw,", False),
    ],
)
def test_a_rule_that_denies_fuse_overlayfs_beats_those_that_allow_it(
    rule: str, denies: bool
) -> None:
    own = PROFILE.rstrip().removesuffix("}") + f"  {rule}\n}}\n"
    for files in ({FILE: own, LOCAL: ""}, {FILE: PROFILE, LOCAL: f"{rule}\n"}):
        with not_compliant(rule) if denies else nullcontext():
            steps.profile_carries_rules(Host({**files}), NAME)


TARGET = Target("pve1", 950)
ELSEWHERE = Target("pve1", 950, repository="/srv/phoenix")


def repository_is_deployed(files: dict[str, str | None], target: Target = TARGET) -> None:
    steps.repository_is_deployed(Machine(files), Host(files), target, NAME)


def test_repository_is_deployed_where_it_differs_or_is_absent_is_red() -> None:
    with naming(FactError, FILE):
        repository_is_deployed({FILE: "", SOURCE: "x"})
    repository_is_deployed({FILE: "x", SOURCE: "x"})
    written = f"{ELSEWHERE.repository}/etc/apparmor/{NAME}"
    repository_is_deployed({FILE: "x", written: "x"}, ELSEWHERE)
    for source, deployed, named in (
        ("y", "x", "differ"),
        ("", "x", "differ"),
        ("y", None, f"{FILE} is absent"),
        (None, "x", f"{SOURCE} is absent"),
    ):
        with not_compliant(named):
            repository_is_deployed({FILE: deployed, SOURCE: source})


PARSE = f"apparmor_parser -N -K {FILE}"
CONF, STARTED_WITH = "/etc/pve/lxc/950.conf", "/var/lib/lxc/950/config"
AT_BOOT = "systemctl is-enabled apparmor"
PLACES = shlex.join(["find", POLICY, "-maxdepth", "1", "-name", f"{NAME}.*"])
ATTACH = f"{POLICY}/{NAME}.10/attach"
MODE = "/sys/module/apparmor/parameters/mode"
SERVICE = "systemctl show apparmor -p ExecStart -p ExecReload"
NEXT_BOOT = "sh next-boot apparmor.service"
BY_NAME: dict[str, Answer] = {
    PLACES: f"{POLICY}/{NAME}.9\n{POLICY}/{NAME}.10\n",
    f"cat -- {ATTACH}": f"{NAME}\n",
    AT_BOOT: "enabled\n",
    NEXT_BOOT: "Id=-.mount\nLoadState=loaded\n",
    SERVICE: "ExecStart={ path=/lib/apparmor/apparmor.systemd ; x }\n",
}
LOADED = "docker-default (enforce)\nlxc-phoenix-v2 (enforce)\n"


def one_name(
    parsed: Answer = f"{NAME}\n", kernel: str = LOADED, conf: str = f"lxc.apparmor.profile: {NAME}"
) -> None:
    node = Machine({PROFILES: kernel, CONF: f"lxc.apparmor.profile: x\n{conf}\n"}, {PARSE: parsed})
    steps.one_name(node, Runtime(node), 950, NAME)


def test_one_name_where_there_is_another_names_its_place() -> None:
    one_name()
    with not_compliant("file ['lxc_phoenix_v2']"):
        one_name(parsed="lxc_phoenix_v2\n")
    with not_compliant("syntax error"):
        one_name(parsed=(1, "", "syntax error"))
    with not_compliant("kernel"):
        one_name(kernel="docker-default (enforce)\n")
    with not_compliant("'lxc_phoenix_v2'"):
        one_name(kernel=LOADED + "lxc_phoenix_v2 (enforce)\n")
    with not_compliant("configuration ['x']"):
        one_name(conf="arch: amd64")


def test_kernel_enforces_a_profile_otherwise_or_not_for_long_is_red() -> None:
    def judge(kernel: str, mode: str | None, more: dict[str, Answer]) -> None:
        steps.kernel_enforces(Machine({PROFILES: kernel, MODE: mode}, BY_NAME | more), NAME)

    judge(LOADED, "enforce\n", {})
    for kernel, mode, named in (
        (LOADED.replace("v2 (enforce)", "v2 (complain)"), None, "complain mode"),
        ("docker-default (enforce)\n", None, NAME),
        (LOADED, "complain\n", "AppArmor itself"),
    ):
        with not_compliant(named):
            judge(kernel, mode, {})
    answers: tuple[tuple[str, Answer, str], ...] = (
        (AT_BOOT, (1, "disabled\n", ""), "(disabled)"),  # the next boot loses it
        (AT_BOOT, (1, "masked\n", ""), "(masked)"),
        (f"cat -- {ATTACH}", "/x\n", "'/x'"),
        (NEXT_BOOT, "a.service: AssertPathExists=/x failed.\nAsserts failed.\n", "PathExists=/x"),
        (SERVICE, "ExecReload={ path=/bin/true ; x }\n", "/bin/true"),
    )
    for asked, answer, named in answers:
        with not_compliant(named):
            judge(LOADED, None, {asked: answer})
    with naming(FactError, NAME):
        judge(LOADED, None, {PLACES: ""})


def test_policy_is_current_where_the_file_is_newer_is_red() -> None:
    digest, cache = hashlib.sha256(b"binary").hexdigest(), f"/var/cache/apparmor/1.0/{NAME}"

    def judge(next_load: str, compiled: str = "binary") -> None:
        loaded = f"{NAME}.3\n/policy/{NAME}.3/raw_sha256:{digest}\n"
        answers = {f"sh next-load /etc/apparmor.d {NAME}": next_load, COMPILE: compiled}
        steps.policy_is_current(Machine({}, {**answers, FIND: loaded}), NAME)

    for said in ("1\n", f"1\n{digest}  {cache}\n"):
        judge(said)
    for said, named in (
        ("/etc/apparmor/parser.conf: skip-kernel-load\n1\n", "skip-kernel-load"),
        ("1\ncomplain\n", f"force-complain/{NAME}"),
        ("2\n", "2 files"),
        (f"1\n{'0' * 64}  {cache}\n", f"rm {cache}"),
    ):
        with not_compliant("the next load", named):
            judge(said)
    with not_compliant(f"not what {FILE} says"):
        judge("1\n", "newer")
    with not_compliant("the next load", f"force-complain/{NAME}"):
        judge("1\ncomplain\n", "newer")
    with not_compliant("the next load", "override-policy-abi"):
        judge(f"1\n{digest} by its own ABI\n", "newer")
    with naming(FactError, NAME):
        steps.policy_is_current(Machine({}, {FIND: "", COMPILE: "binary"}), NAME)


DEFAULT = "lxc-container-default-cgns"


@pytest.mark.parametrize(
    ("label", "written", "started", "named"),
    [
        ("unconfined", NAME, DEFAULT, "unconfined"),
        (f"{NAME} (complain)", NAME, DEFAULT, f"'{NAME} (complain)'"),
        (f"{DEFAULT} (enforce)", NAME, DEFAULT, "restarted"),
        (f"{NAME}//x (enforce)", NAME, DEFAULT, "restarted"),
        ("p (enforce)", "p", f"{NAME}\nlxc.apparmor.profile = p", f"{NAME}, then p"),
        ("p (enforce)", "generated", "generated", "generated"),
        ("p (enforce)", NAME, None, STARTED_WITH),  # its cause is not known
    ],
)
def test_first_process_runs_under_another_label_is_red_and_names_the_cause(
    label: str, written: str, started: str | None, named: str
) -> None:
    def judge(label: str) -> None:
        files = {
            "/proc/7/attr/apparmor/current": f"{label}\n",
            CONF: f"lxc.apparmor.profile: {written}\n",
            STARTED_WITH: started and f"lxc.apparmor.profile = {started}\n",
        }
        steps.first_process_runs_under(Runtime(Machine(files, FIRST_PROCESS)), 950, NAME)

    judge(f"{NAME} (enforce)")
    quoted = "unconfined" if label.startswith("unconfined") else f"'{label}'"
    with not_compliant("950", quoted, named):
        judge(label)


UNDER = f"{NAME} (enforce)"
LOCAL = f"/etc/apparmor.d/local/{NAME}"


def every_process(
    monkeypatch: pytest.MonkeyPatch,
    *looks: tuple[Process, ...],
    local: str | None = None,
    mode: str = "enforce\n",
) -> str:
    """Ask about the processes of each look; returns what is said beside the verdict."""
    found = list(looks)
    monkeypatch.setattr(confinement, "processes", lambda *_: found.pop(0))
    monkeypatch.setattr(steps, "_ENTERING", 0)
    conf = f"lxc.apparmor.profile: {NAME}\nlxc.seccomp.profile:\n"
    node = Machine({FILE: PROFILE, LOCAL: local, CONF: conf, MODE: mode}, FIRST_PROCESS)
    (line,) = lines_of(steps.every_process_runs_under, Runtime(node), 950, NAME)
    assert not found
    return line


INIT, DOCKERD = Process(7, "systemd", UNDER), Process(90, "dockerd", UNDER)
LOOSE = Process(90, "dockerd", "unconfined")
ENTERING = ("lxc-attach", "unconfined")
STACK = "lxc-950_</var/lib/lxc>//&:lxc-950_<-var-lib-lxc>:unconfined (enforce)"


def test_every_process_under_the_profile_is_green(monkeypatch: pytest.MonkeyPatch) -> None:
    said = every_process(monkeypatch, (INIT, DOCKERD))
    assert said == f"2 threads under {NAME} and seccomp, dockerd among them"
    assert every_process(monkeypatch, (INIT,)).endswith("none of them Docker's")


def test_no_process_is_confined_while_apparmor_only_complains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with not_compliant("AppArmor itself is in mode 'complain'", MODE):
        every_process(monkeypatch, mode="complain\n")


@pytest.mark.parametrize(
    ("label", "profile", "assigned", "why"),
    [
        (UNDER, "", NAME, ""),
        (STACK, "", "generated", ""),
        ("lxc-container-default-cgns (enforce)", "", "", ""),
        *((label, "", "x", "is unconfined") for label in ("unconfined", "unconfined (enforce)")),
        *(("x (complain)", "", "x", "complain"), ("x (unconfined)", "", "x", "refuses next to")),
        # It entered a profile that it may leave at will.
        *(
            ("/usr/bin/lxc-start (enforce)", "", a, "lxc-start")
            for a in ("generated", "x", "", " ")
        ),
        *((UNDER, "", a, "is unconfined: its configuration") for a in ("unconfined", "unchanged")),
        (STACK, "generated", "", ""),
        (UNDER, "generated", "", NAME),
        (STACK, NAME, "", "lxc-950_"),
    ],
)
def test_every_process_is_confined_by_the_profile_of_the_plan_or_that_of_the_configuration(
    label: str, profile: str, assigned: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "_ENTERING", 0)
    monkeypatch.setattr(confinement, "processes", lambda *_: (Process(7, "systemd", label),))
    effective = f"lxc.apparmor.profile = {assigned}\n" if assigned else ""
    files = {CONF: "", FILE: None, LOCAL: None, MODE: None, STARTED_WITH: effective}
    node = Machine(files, {**FIRST_PROCESS, "sh versions": "lxc 7.0.0\n"})
    wanted = replace(plan_file.find("plain"), profile=profile)
    with not_compliant("950", why) if why else nullcontext():
        steps.every_process_is_confined(Runtime(node), 950, wanted)


def test_every_process_while_one_enters_is_green(monkeypatch: pytest.MonkeyPatch) -> None:
    entering = Process(91, *ENTERING)
    confined, another = (INIT, Process(91, "sh", UNDER)), (INIT, Process(92, *ENTERING))
    every_process(monkeypatch, (INIT, entering), confined, confined)
    every_process(monkeypatch, (INIT, entering), another, confined, confined)


def test_every_process_with_an_elusive_loose_one_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever forks and exits is in none of them twice; nor is one wrong label of two."""
    forks = [(INIT, Process(number, "dockerd", "unconfined")) for number in (91, 92, 93)]
    with not_compliant("dockerd"):
        every_process(monkeypatch, *forks)
    with not_compliant("dockerd"):
        every_process(monkeypatch, forks[0], (INIT,), *forks[1:])
    elsewhere = Process(90, "dockerd", "/usr/bin/lxc-start (enforce)")
    with not_compliant("/usr/bin/lxc-start"):
        every_process(monkeypatch, (INIT, LOOSE), (INIT, elsewhere))


def test_every_process_where_one_is_unconfined_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    with not_compliant("1 thread", "950", NAME, "process 90", f"{LOCAL}: /usr/bin/dockerd Ux,"):
        every_process(monkeypatch, *[(INIT, LOOSE)] * 2, local="/usr/bin/dockerd Ux,\n")
    many = tuple(Process(90 + n, f"p{n}", "unconfined") for n in range(6))
    with not_compliant("6 threads", "p3", "2 more"):
        every_process(monkeypatch, many, many)


def test_every_process_without_a_filter_names_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    unfiltered = Process(7, "systemd", UNDER, filtered=False)
    words = (f"{CONF}, line 2: 'lxc.seccomp.profile: '", "systemd (process 7")
    with not_compliant("1 thread", "without a seccomp filter", *words):
        every_process(monkeypatch, *[(unfiltered, DOCKERD)] * 2)
    every_process(monkeypatch, (unfiltered, DOCKERD), *[(INIT, DOCKERD)] * 2)  # it was entering
    entered = Process(91, "nsenter", UNDER, filtered=False)
    with not_compliant("nsenter (process 91 of the node) is without a seccomp filter") as raised:
        every_process(monkeypatch, *[(INIT, entered)] * 2)
    assert CONF not in str(raised.value)


def refused(
    monkeypatch: pytest.MonkeyPatch,
    *allowed: str,
    label: str = UNDER,
    local: str | None = None,
    number: int = 4,
) -> tuple[str, ...]:
    attempts = dict.fromkeys([*confinement.ATTEMPTS][-number:], False)
    monkeypatch.setattr(confinement, "attempts", lambda *_: attempts | dict.fromkeys(allowed, True))
    files = {FILE: PROFILE, LOCAL: local, "/proc/7/attr/apparmor/current": label}
    node = Machine(files, FIRST_PROCESS)
    return lines_of(steps.refused_by_the_profile, Runtime(node), node, 950, NAME)


def test_refused_by_the_profile_is_green_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(monkeypatch) == ("4 attempts, each refused",)
    (line,) = refused(monkeypatch, number=3)
    assert line == "3 attempts, each refused; the node has no firmware to list"
    lines = refused(monkeypatch, local="/srv/** rw,\n" * 6)
    assert f"{LOCAL}: /srv/** rw" in lines[1]
    assert lines[1].endswith("and 2 more")


def test_refused_by_the_profile_that_allows_names_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    with not_compliant("950", "a; b", NAME):
        refused(monkeypatch, "a", "b")
    with not_compliant("'x'", "change_profile,"):
        refused(monkeypatch, "a", label="x", local="change_profile,\n")
