"""AppArmor's sentences: each green on a node that is right, and red for each way to be wrong."""

from __future__ import annotations

import hashlib
import re
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from facts import apparmor, confinement
from facts.confinement import Process
from gate import evidence
from remediation import desired
from steps import apparmor as steps
from targets.errors import CommandFailed, FactError
from targets.target import Target
from tests.doubles.canned import Answer, Host, Machine, Runtime
from tests.unit.facts.test_apparmor import COMPILE, FIND, PROFILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.transport import CommandResult

NAME = "lxc-phoenix-v2"
FILE = f"/etc/apparmor.d/{NAME}"
SOURCE = f"{desired.REPOSITORY}/etc/apparmor/{NAME}"
TUNABLE = desired.TUNABLE_PATH
STAT = f"stat -L -c %.9Y {TUNABLE}"
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


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is absent"), ("", "says '', not"), ("@{x} = lxc-phoenix-v1\n", "says '@{x} = ")],
)
def test_the_tunable(content: str | None, message: str) -> None:
    steps.tunable_is(Host({TUNABLE: "@{x} = y\n"}), "@{x} = y")
    with pytest.raises(AssertionError, match=message):
        steps.tunable_is(Host({TUNABLE: content}), "@{x} = y")


@pytest.mark.parametrize("written", ["92.500000", "92.4", "92.500000999"])
def test_a_load_after_the_tunable(written: str) -> None:
    steps.loaded_after_tunable(logged(STARTED, f"{written}\n"))
    steps.loaded_after_tunable(logged(STARTED + RELOADING + RELOADED, "150.0"))


@pytest.mark.parametrize(
    ("written", "log", "message"),
    [
        ("100.0", STARTED, "was last loaded 8 s before the tunable"),
        ("100.0", STARTED + RELOADING + FAILED, "8 s before"),
        ("80.0", FAILED, "has no load of AppArmor"),
    ],
)
def test_no_load_after_the_tunable(written: str, log: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        steps.loaded_after_tunable(logged(log, written))


def test_a_time_or_a_log_that_cannot_be_read() -> None:
    with pytest.raises(CommandFailed, match="no such file"):
        steps.loaded_after_tunable(Machine({}, {STAT: (1, "9.0", "no such file"), LOG: STARTED}))
    with pytest.raises(CommandFailed, match="no journal"):
        steps.last_load_was_clean(Machine({}, {LOG: (1, STARTED, "no journal")}))
    with pytest.raises(FactError, match=r"journal of pve1 has no entry of apparmor\.service"):
        steps.last_load_was_clean(Machine({}, {LOG: "-- No entries --\n"}))


@pytest.mark.parametrize(
    "log",
    [
        STARTED,
        STARTED + RELOADING + RELOADED,
        STARTED + RELOADING + ERROR + FAILED + RELOADING + RELOADED,
    ],
)
def test_a_clean_load(log: str) -> None:
    steps.last_load_was_clean(logged(log))


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (STARTED + RELOADING + ERROR + RELOADED, "stopped: AppArmor parser error for .* line 3"),
        (STARTED + RELOADING + WARNING + RELOADED, "stopped: Warning from .*syntax error"),
        (STARTED + RELOADING + FAILED, "the load failed: Reloading"),
        (STARTED.replace("92.5", "94.5").replace("Finished", "Later") + NOT_STARTED, "load failed"),
        (RELOADED, "has no load"),
    ],
)
def test_a_load_with_an_error(log: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        steps.last_load_was_clean(logged(log))


@pytest.mark.parametrize("more", ["", "200.500000 pve1 x[1]: Skipping a profile\n"])
def test_a_load_that_has_not_ended(more: str) -> None:
    for step in (steps.last_load_was_clean, steps.loaded_after_tunable):
        with pytest.raises(FactError, match="has not ended"):
            step(logged(STARTED + RELOADING + more, "100.0"))


@pytest.mark.parametrize("lost", [STARTED, STARTED + RELOADING])
def test_a_load_that_the_journal_lost(lost: str) -> None:
    for step in (steps.last_load_was_clean, steps.loaded_after_tunable):
        with pytest.raises(FactError, match=r"no entry of apparmor.* last change, Thu 1970"):
            step(logged(lost, "100.0", by_systemd(201.000001)))
    steps.last_load_was_clean(logged(STARTED, changed=by_systemd(92.4999)))


def test_a_load_that_the_journal_is_about_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = logged(STARTED, "100.0", by_systemd(201.000001))
    run = machine.run

    def synchronising(argv: Sequence[str], **more: Any) -> CommandResult:
        if tuple(argv) == ("journalctl", "--sync"):
            machine.answers[LOG] = STARTED + RELOADING + RELOADED
        return run(argv, **more)

    monkeypatch.setattr(machine, "run", synchronising)
    steps.loaded_after_tunable(machine)


@pytest.mark.parametrize("changed", ["n/a\n", "\n", "@93\n"])
def test_a_systemd_that_does_not_say(changed: str) -> None:
    with pytest.raises(FactError, match=r"does not say when apparmor\.service changed: "):
        steps.last_load_was_clean(logged(STARTED, changed=changed))


PROFILE = desired.content(desired.PROFILE)


def test_the_shipped_profile_carries_the_rules() -> None:
    steps.profile_carries_rules(Host({FILE: PROFILE}), NAME)


@pytest.mark.parametrize("rule", steps.RULES)
@pytest.mark.parametrize("change", ["", "# ", "deny "])
def test_a_rule_that_is_missing_or_means_nothing(rule: str, change: str) -> None:
    lines = [line for line in PROFILE.splitlines() if rule in line and "#" not in line]
    assert lines
    text = PROFILE
    for line in lines:
        text = text.replace(line, change and f"  {change}{line.strip()}")
    with pytest.raises(AssertionError, match=re.escape(f"has no rule '{rule}'")):
        steps.profile_carries_rules(Host({FILE: text}), NAME)


def test_no_profile_at_all() -> None:
    with pytest.raises(AssertionError, match="is absent"):
        steps.profile_carries_rules(Host({FILE: None}), NAME)


TARGET = Target("pve1", 950)
ELSEWHERE = Target("pve1", 950, repository="/srv/phoenix")


def test_the_repositorys_is_deployed() -> None:
    for files in ({FILE: "x", SOURCE: ""}, {FILE: "", SOURCE: "x"}, {FILE: "", SOURCE: ""}):
        with pytest.raises(FactError, match="cannot be compared"):
            steps.repository_is_deployed(Host(files), TARGET, NAME)
    steps.repository_is_deployed(Host({FILE: "x", SOURCE: "x"}), TARGET, NAME)
    written = Host({FILE: "x", f"{ELSEWHERE.repository}/etc/apparmor/{NAME}": "x"})
    steps.repository_is_deployed(written, ELSEWHERE, NAME)
    for files, message in (
        ({FILE: "x", SOURCE: "y"}, "differ"),
        ({FILE: None, SOURCE: "y"}, f"{FILE} is absent"),
        ({FILE: "x", SOURCE: None}, f"{SOURCE} is absent"),
    ):
        with pytest.raises(AssertionError, match=message):
            steps.repository_is_deployed(Host(files), TARGET, NAME)


PARSE = f"apparmor_parser -N -K {FILE}"
CONF, STARTED_WITH = "/etc/pve/lxc/950.conf", "/var/lib/lxc/950/config"
AT_BOOT = "systemctl is-enabled apparmor"
_PLACES = f"{apparmor._POLICY}/lxc\\-phoenix\\-v2\\.[0-9]+/attach"
ATTACH = shlex.join(
    [
        *("find", apparmor._POLICY, "-maxdepth", "2", "-regextype", "posix-extended"),
        *("-regex", _PLACES, "-exec", "grep", "-H", "", "{}", ";"),
    ]
)
BY_NAME: dict[str, Answer] = {ATTACH: f"/policy/{NAME}.3/attach:{NAME}\n", AT_BOOT: "enabled\n"}
LOADED = "docker-default (enforce)\nlxc-phoenix-v2 (enforce)\n"


def one_name(
    parsed: Answer = f"{NAME}\n", kernel: str = LOADED, conf: str = f"lxc.apparmor.profile: {NAME}"
) -> None:
    node = Machine({PROFILES: kernel, CONF: f"lxc.apparmor.profile: x\n{conf}\n"}, {PARSE: parsed})
    steps.one_name(node, Runtime(node), 950, NAME)


def test_one_name_everywhere() -> None:
    one_name()
    one_name(conf=f"lxc.apparmor.profile: y\nlxc.apparmor.profile: {NAME}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parsed": "lxc_phoenix_v2\n"}, r"file \['lxc_phoenix_v2'\]"),
        ({"parsed": f"{NAME}\nanother\n"}, "another"),
        ({"parsed": (1, "", "syntax error")}, "cannot be parsed: .*syntax error"),
        ({"kernel": "docker-default (enforce)\n"}, "kernel not loaded"),
        ({"kernel": LOADED.replace("phoenix-v2", "phoenix_v2")}, r"kernel \['lxc-phoenix_v2'\]"),
        ({"kernel": LOADED + "lxc_phoenix_v2 (enforce)\n"}, "'lxc_phoenix_v2'"),
        ({"conf": "arch: amd64"}, r"configuration \['x'\]"),
    ],
)
def test_more_than_one_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        one_name(**change)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (LOADED.replace("v2 (enforce)", "v2 (complain)"), "is in complain mode, which logs"),
        (LOADED.replace("v2 (enforce)", "v2 (kill)"), "in kill mode, which confines, and kills"),
        ("docker-default (enforce)\n", "does not know the profile lxc-phoenix-v2"),
    ],
)
def test_the_kernel_enforces(kernel: str, message: str) -> None:
    steps.kernel_enforces(Machine({PROFILES: LOADED}, BY_NAME), NAME)
    with pytest.raises(AssertionError, match=message):
        steps.kernel_enforces(Machine({PROFILES: kernel}, BY_NAME), NAME)


@pytest.mark.parametrize("state", ["disabled", "masked", "masked-runtime"])
def test_the_kernel_enforces_a_profile_that_the_next_boot_loses_is_red(state: str) -> None:
    node = Machine({PROFILES: LOADED}, BY_NAME | {AT_BOOT: (1, f"{state}\n", "")})
    with pytest.raises(AssertionError, match=rf"does not start at boot \({state}\)"):
        steps.kernel_enforces(node, NAME)


def test_the_kernel_enforces_a_profile_that_is_attached_to_programs_is_red() -> None:
    told = f"/policy/{NAME}.2/attach:{NAME}\n/policy/{NAME}.10/attach:/usr/bin/factor\n"
    node = Machine({PROFILES: LOADED}, BY_NAME | {ATTACH: told})
    with pytest.raises(AssertionError, match="is attached to '/usr/bin/factor': programs of the"):
        steps.kernel_enforces(node, NAME)
    with pytest.raises(FactError, match="does not export the attachment"):
        steps.kernel_enforces(Machine({PROFILES: LOADED}, BY_NAME | {ATTACH: ""}), NAME)


def test_the_policy_is_current() -> None:
    digest = hashlib.sha256(b"binary").hexdigest()
    loaded = f"{NAME}.3\n/policy/{NAME}.3/raw_sha256:{digest}\n"
    steps.policy_is_current(Machine({}, {FIND: loaded, COMPILE: "binary"}), NAME)
    with pytest.raises(AssertionError, match=r"is not what /etc/apparmor\.d"):
        steps.policy_is_current(Machine({}, {FIND: loaded, COMPILE: "newer"}), NAME)
    with pytest.raises(FactError, match="the kernel does not know the profile lxc-phoenix-v2"):
        steps.policy_is_current(Machine({}, {FIND: "", COMPILE: "binary"}), NAME)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("unconfined", "container 950 is unconfined"),
        ("unconfined (enforce)", "container 950 is unconfined"),
        (f"{NAME} (complain)", r"runs under 'lxc-phoenix-v2 \(complain\)'.*allows them"),
        (f"{NAME} (kill)", r"runs under 'lxc-phoenix-v2 \(kill\)'.*which confines, and kills"),
        ("lxc-container-default-cgns (enforce)", "was not restarted since"),
        (f"{NAME}//x (enforce)", "runs under"),
    ],
)
def test_the_first_process(label: str, message: str) -> None:
    def node(said: str) -> Runtime:
        pid = "lxc-info -P /var/lib/lxc -n 950 -p -H"
        files = {
            "/proc/7/attr/apparmor/current": f"{said}\n",
            CONF: f"lxc.apparmor.profile: {NAME}\n",
            STARTED_WITH: "lxc.apparmor.profile = lxc-container-default-cgns\n",
        }
        return Runtime(Machine(files, {pid: "7\n"}))

    steps.first_process_runs_under(node(f"{NAME} (enforce)"), 950, NAME)
    with pytest.raises(AssertionError, match=message):
        steps.first_process_runs_under(node(label), 950, NAME)


@pytest.mark.parametrize(
    ("written", "started", "message"),
    [
        ("p", f"{NAME}\nlxc.apparmor.profile = p", f"assigns {NAME}, then p; the last one wins$"),
        ("generated", "generated", "its configuration assigns generated$"),
        (NAME, None, rf"\(the cause could not be found: {STARTED_WITH} does not exist on pve1\)$"),
        (None, "p", r"\(the cause could not be found: there is no container 950 on pve1 .*\)$"),
    ],
)
def test_why_it_is_another_changes_no_verdict(
    written: str | None, started: str | None, message: str
) -> None:
    def line(form: str, profile: str | None) -> str | None:
        return None if profile is None else form.format(profile)

    files = {
        "/proc/7/attr/apparmor/current": "p (enforce)\n",
        CONF: line("lxc.apparmor.profile: {}\n", written),
        STARTED_WITH: line("lxc.apparmor.profile = {}\n", started),
    }
    answers: dict[str, Answer] = {
        "lxc-info -P /var/lib/lxc -n 950 -p -H": "7\n",
        "find /etc/pve/nodes -path '*/lxc/950.conf'": "",
    }
    with pytest.raises(AssertionError, match=rf"runs under 'p \(enforce\)'.*{message}"):
        steps.first_process_runs_under(Runtime(Machine(files, answers)), 950, NAME)


UNDER = f"{NAME} (enforce)"
LOCAL = f"/etc/apparmor.d/local/{NAME}"
PID = {"lxc-info -P /var/lib/lxc -n 950 -p -H": "7\n"}


def every_process(
    monkeypatch: pytest.MonkeyPatch, *looks: tuple[Process, ...], local: str | None = None
) -> str:
    """Ask about the processes of each look; returns what is said beside the verdict."""
    found = list(looks)
    monkeypatch.setattr(confinement, "processes", lambda *_: found.pop(0))
    monkeypatch.setattr(steps, "_ENTERING", 0)
    node = Machine({FILE: PROFILE, LOCAL: local}, dict(PID))
    evidence.drain()
    steps.every_process_runs_under(Runtime(node), 950, NAME)
    assert not found
    (line,) = evidence.drain().lines
    return line


INIT, DOCKERD = Process(7, "systemd", UNDER), Process(90, "dockerd", UNDER)
LOOSE = Process(90, "dockerd", "unconfined")


def test_every_process_under_the_profile_is_green(monkeypatch: pytest.MonkeyPatch) -> None:
    said = every_process(monkeypatch, (INIT, DOCKERD))
    assert said == f"2 threads under {NAME}, dockerd among them"
    assert every_process(monkeypatch, (INIT,)).endswith("none of them Docker's")


def test_every_process_while_one_enters_the_container_is_green(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entering = Process(91, "lxc-attach", "unconfined")
    every_process(monkeypatch, (INIT, entering), (INIT, Process(91, "sh", UNDER)))
    every_process(monkeypatch, (INIT, entering), (INIT, Process(92, "lxc-attach", "unconfined")))


def test_every_process_where_one_is_unconfined_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    message = (
        r"1 thread of container 950 not confined by lxc-phoenix-v2: "
        r"dockerd \(process 90 of the node\) is unconfined\. Beyond the shipped profile: "
        rf"{LOCAL}: /usr/bin/dockerd Ux,$"
    )
    with pytest.raises(AssertionError, match=message):
        every_process(monkeypatch, *[(INIT, LOOSE)] * 2, local="/usr/bin/dockerd Ux,\n")
    another = Process(91, "dockerd", "unconfined")
    with pytest.raises(AssertionError, match=r"^2 threads of .* is unconfined$"):
        every_process(monkeypatch, *[(INIT, LOOSE, another)] * 2)


def test_every_process_names_a_few_and_counts_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    many = tuple(Process(90 + n, f"p{n}", "unconfined") for n in range(6))
    with pytest.raises(AssertionError, match=r"p3 .* is unconfined; and 2 more$"):
        every_process(monkeypatch, many, many)


def refused(
    monkeypatch: pytest.MonkeyPatch, *allowed: str, label: str = UNDER, local: str | None = None
) -> tuple[str, ...]:
    monkeypatch.setattr(confinement, "allowed", lambda *_: allowed)
    files = {FILE: PROFILE, LOCAL: local, "/proc/7/attr/apparmor/current": label}
    node = Machine(files, dict(PID))
    evidence.drain()
    steps.refused_by_the_profile(Runtime(node), node, 950, NAME)
    return evidence.drain().lines


def test_attempts_that_are_refused_are_green_and_additions_are_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert refused(monkeypatch) == ("4 attempts, each refused",)
    lines = refused(monkeypatch, local="/srv/** rw,\n" * 6)
    assert lines[1].startswith(
        f"beyond the shipped profile, for you to review: {LOCAL}: /srv/** rw"
    )
    assert lines[1].endswith("and 2 more")


def test_attempts_that_are_allowed_are_red_with_their_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(
        AssertionError, match=r"950 may a; b: the shipped lxc-phoenix-v2 refuses that$"
    ):
        refused(monkeypatch, "a", "b")
    with pytest.raises(AssertionError, match=r"it runs under 'x'.*Beyond .*change_profile,$"):
        refused(monkeypatch, "a", label="x", local="change_profile,\n")
