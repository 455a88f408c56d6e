"""The container's configuration: what is written, what is in effect, and what can be opened."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from facts import audit_records, failed_units
from gate import evidence
from steps import configuration as steps
from steps import target as of_target
from targets import guest_root
from targets.errors import CommandFailed, FactError, RemediationError
from targets.runtime.container_config import FUSE_ENTRY
from targets.runtime.lxc import Lxc
from tests.doubles.canned import Answer, Machine, Runtime

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from targets.transport import CommandResult

CONF, STARTED = "/etc/pve/lxc/950.conf", "/var/lib/lxc/950/config"
PROFILE = "lxc.apparmor.profile"
GOOD = f"arch: amd64\nfeatures: nesting=1,keyctl=1,fuse=1\n{PROFILE}: p\nunprivileged: 1\n"
FUSE = f"lxc.mount.entry = {FUSE_ENTRY}\n"


def pct(conf: str = GOOD, started: str | None = f"{PROFILE} = p\n{FUSE}") -> Runtime:
    return Runtime(Machine({CONF: conf, STARTED: started}))


@pytest.mark.parametrize("started", [None, "", FUSE])
def test_mount_entries(started: str | None) -> None:
    steps.mount_entries_are_whole(pct(started=started), 950)
    steps.mount_entries_are_whole(pct(f"arch: amd64\n{FUSE}", None), 950)


@pytest.mark.parametrize(
    ("conf", "started", "message"),
    [
        (f"{GOOD}lxc.mount.entry: /dev/fuse\n", FUSE, rf"1 field.*{CONF}, line 5"),
        (GOOD, "lxc.mount.entry = /a b none\n", rf"options missing \({STARTED}, line 1\)"),
        (f"{GOOD}{FUSE}lxc.mount.entry: /dev/fuse\n", None, "'/dev/fuse'"),
    ],
)
def test_mount_entries_that_are_cut(conf: str, started: str | None, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        steps.mount_entries_are_whole(pct(conf, started), 950)


def test_of_an_empty_configuration_nothing_is_said() -> None:
    steps.mount_entries_are_whole(pct("arch: amd64\n", None), 950)  # none is cut
    for started in (None, FUSE):
        with pytest.raises(FactError, match="holds no option at all"):
            steps.mount_entries_are_whole(pct("# nothing\n", started), 950)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ("nesting=1,keyctl=1", "lacks fuse: .*'nesting=1,keyctl=1'.* pct set 950 --features nest"),
        ("nesting=0,keyctl=1,fuse=1", "lacks nesting:"),
        ("", "lacks nesting, keyctl, fuse:"),
    ],
)
def test_what_is_given(features: str, message: str) -> None:
    steps.container_is_given(pct(), 950, "nesting, keyctl, fuse")
    with pytest.raises(AssertionError, match=message):
        steps.container_is_given(pct(f"features: {features}\n"), 950, "nesting, keyctl, fuse")


@pytest.mark.parametrize("value", ["nesting=yes,keyctl=on,fuse=TRUE", "fuse=1,keyctl=1,nesting=1"])
def test_container_is_given_what_proxmox_takes_for_yes(value: str) -> None:
    steps.container_is_given(pct(f"features: {value}\n"), 950, "nesting, keyctl, fuse")


def test_container_is_given_advice_keeps_the_users_own_features() -> None:
    conf = "features: mknod=1,mount=nfs;cifs,keyctl=off\n"
    with pytest.raises(AssertionError) as raised:
        steps.container_is_given(pct(conf), 950, "nesting, keyctl, fuse")
    assert str(raised.value).endswith(
        "pct set 950 --features 'mknod=1,mount=nfs;cifs,keyctl=1,nesting=1,fuse=1', then restart it"
    )


def test_container_is_given_a_value_that_pct_cannot_parse_is_said_in_its_words() -> None:
    conf = "features: nesting=1,keyctl=1,fuse=1,fusion=1\n"
    with pytest.raises(AssertionError, match="cannot start: unable to parse value of 'features' -"):
        steps.container_is_given(pct(conf), 950, "nesting, keyctl, fuse")


def test_container_is_given_names_the_line_that_proxmox_does_not_read() -> None:
    with pytest.raises(AssertionError, match=r"line 1, 'features = nesting=1', is no option: only"):
        steps.container_is_given(pct("features = nesting=1\narch: x\n"), 950, "nesting")


@pytest.mark.parametrize("word", ["yes", "1", "On"])
def test_configured_unprivileged_in_any_of_proxmoxs_words(word: str) -> None:
    of_target.configured_unprivileged(pct(f"unprivileged: {word}\n"), 950)
    with pytest.raises(AssertionError, match="is privileged"):
        of_target.configured_unprivileged(pct("unprivileged: off\n"), 950)


def test_every_line_of_plain_lxc_is_read_as_lxc_does() -> None:
    steps.every_line_is_in_effect(
        Lxc(Machine({STARTED: f"  # x\n {FUSE}lxc.aa_profile = x\n"})), 950
    )
    with pytest.raises(AssertionError, match=r"'lxc.x: y' is no option: LXC starts no container"):
        steps.every_line_is_in_effect(Lxc(Machine({STARTED: f"{FUSE}lxc.x: y\n"})), 950)


def test_every_line_a_pending_change_that_takes_something_away_is_named() -> None:
    harmless = f"{GOOD}[pve:pending]\nmemory: 1024\n"
    steps.every_line_is_in_effect(pct(harmless), 950)
    with pytest.raises(AssertionError, match=r"takes away keyctl, fuse: .*--revert features"):
        steps.every_line_is_in_effect(pct(f"{GOOD}[pve:pending]\nfeatures: nesting=1\n"), 950)


def test_what_plain_lxc_lacks_the_plan_gives() -> None:
    node = Machine({STARTED: FUSE})
    with pytest.raises(AssertionError, match=r"lacks nesting: .*remediation apply"):
        steps.container_is_given(Lxc(node), 950, "nesting, keyctl, fuse")


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ("", "holds no option at all"),
        (f"{GOOD}colour\n", "line 5: 'colour' is no option"),
        (f"{GOOD}[pre]\ncolour\n", "line 6: 'colour' is no option"),
        *(
            (f"arch: x\n[pre]\n{key}: v\n", f"line 3: '{key}: v' stands in section \\[pre\\]")
            for key in ("features", PROFILE, "lxc.mount.entry", "lxc.include")
        ),
    ],
)
def test_every_line(conf: str, message: str) -> None:
    steps.every_line_is_in_effect(pct(), 950)
    steps.every_line_is_in_effect(pct(f"{GOOD}[pre]\n{PROFILE}: p\nhostname: x\n"), 950)
    with pytest.raises(AssertionError, match=message):
        steps.every_line_is_in_effect(pct(conf), 950)


@pytest.mark.parametrize(
    ("conf", "started", "message"),
    [
        ("arch: amd64\n", f"{PROFILE} = p", rf"{CONF} assigns no profile"),
        (GOOD, "lxc.include = /nosuch", "assigns no profile"),
        (f"{PROFILE}: q", f"{PROFILE} = p", "in effect is 'q', not 'p': .* assigns 'q'$"),
        (GOOD, f"{PROFILE} = p\n{PROFILE} = q", "assigns 'p', then 'q'; the last assignment wins"),
    ],
)
def test_the_profile_in_effect(conf: str, started: str, message: str) -> None:
    steps.profile_in_effect(pct(f"{PROFILE}: q\n{GOOD}"), 950, "p")
    runtime = pct(conf, started)
    runtime.node.answers = {  # type: ignore[attr-defined]
        "find -L /nosuch -maxdepth 1 -type f -exec grep -aHZ '' '{}' +": (1, "", "")
    }
    with pytest.raises(AssertionError, match=message):
        steps.profile_in_effect(runtime, 950, "p")


class Asked(Machine):
    """Answers one program, whatever it is told, and keeps what that was."""

    def __init__(self, program: str, answer: Answer) -> None:
        super().__init__({}, {program: answer})
        self.told: tuple[str, ...] = ()

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        self.told = tuple(argv)
        return super().run(argv[:1])


FUSE_DEVICE = guest_root.Node("a character device", 10, 229)


def open_fuse(inside: Answer, seen: guest_root.Node | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Judge /dev/fuse by what the container and the node say of it."""
    monkeypatch.setattr(
        guest_root, "look", lambda _, ctid, path: {(950, "/dev/fuse"): seen}[ctid, path]
    )
    evidence.drain()
    steps.fuse_can_be_opened(Asked("sh", inside), Runtime(Machine()), 950)
    (line,) = evidence.drain().lines
    return line


def test_fuse_that_both_see_as_10_229_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    said = open_fuse("character special file a:e5\n", FUSE_DEVICE, monkeypatch)
    assert said == "/dev/fuse is a character device 10:229"


@pytest.mark.parametrize(
    ("inside", "seen", "message"),
    [
        (
            (2, "", "sh: 1: cannot open /dev/fuse: Operation not permitted\n"),
            FUSE_DEVICE,
            "cannot open /dev/fuse: cannot open /dev/fuse: Oper",
        ),
        (
            "symbolic link 0:0\n",
            guest_root.Node("a symbolic link"),
            "is a symbolic link, as the node sees it, not a character device 10:229",
        ),
        (
            "character special file a:e5\n",
            guest_root.Node("a character device", 1, 3),
            "is a character device 1:3, as the node sees it",
        ),
        ("character special file a:e5\n", guest_root.Node("a block device", 10, 229), "a block"),
        (
            "character special file a:e5\n",
            None,
            "/dev/fuse in the container is absent, as the node",
        ),
        ("character special file 1:3\n", FUSE_DEVICE, "in the container stat says 'character spe"),
        ("", FUSE_DEVICE, "in the container stat says ''"),
    ],
)
def test_fuse_that_is_not_the_device_is_not_compliant(
    inside: Answer, seen: guest_root.Node | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError, match=message):
        open_fuse(inside, seen, monkeypatch)


def keyring(answer: Answer) -> None:
    steps.keyrings_can_be_made(perl := Asked("perl", answer))
    assert perl.told[1] == "-e"
    assert perl.told[2].startswith("my $r = syscall(250, 0, -1, 1); exit 0 if $r >= 0; ")


def test_keyrings() -> None:
    keyring("")
    with pytest.raises(AssertionError, match="keyctl is refused in the container: Function not"):
        keyring((1, "", "Function not implemented\n"))
    with pytest.raises(AssertionError, match="keyctl is refused in the container: \ufffdnot"):
        keyring((1, "", "\udcffnot\n"))
    with pytest.raises(FactError, match="whether keyctl works cannot be asked in pve1: perl: not"):
        keyring((127, "", "perl: not found"))


MAP, GROUPS = "/proc/7/uid_map", "/proc/7/gid_map"
PID = {"lxc-info -P /var/lib/lxc -n 950 -p -H": "7\n"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("         0          0 4294967295\n", "950 is privileged: its root is the node's root"),
        ("1000 101000 1\n0 0 1000\n", "is privileged"),
        ("", "has no root"),
        ("1 100000 65535\n", "has no root"),
    ],
)
def test_root_is_mapped(table: str, message: str) -> None:
    for good in ("0 100000 65536\n", "1000 1000 1\n0 100000 1000\n"):
        node = Machine({MAP: good, GROUPS: good}, PID)
        of_target.root_is_mapped(Runtime(node), node, 950)
    node = Machine({MAP: table, GROUPS: "0 100000 65536\n"}, PID)
    with pytest.raises(AssertionError, match=message):
        of_target.root_is_mapped(Runtime(node), node, 950)


@pytest.mark.parametrize("kind", ["user", "group"])
def test_root_is_mapped_where_another_user_is_the_nodes_root_is_red(kind: str) -> None:
    holed, plain = "0 100000 1000\n1000 0 1\n1001 101001 64535\n", "0 100000 65536\n"
    maps = {MAP: holed if kind == "user" else plain, GROUPS: holed if kind == "group" else plain}
    node = Machine(maps, PID)
    with pytest.raises(AssertionError, match=f"{kind} 1000 of container 950 is the node's root"):
        of_target.root_is_mapped(Runtime(node), node, 950)


def test_configured_unprivileged() -> None:
    of_target.configured_unprivileged(pct(), 950)
    of_target.configured_unprivileged(pct("lxc.idmap: u 0 100000 65536\n"), 950)
    for conf in ("arch: amd64\n", "unprivileged: 0\n", "arch: x\n[pre]\nunprivileged: 1\n"):
        with pytest.raises(AssertionError, match=re.escape(f"{CONF} has no 'unprivileged: 1'")):
            of_target.configured_unprivileged(pct(conf), 950)


IS_RUNNING = "systemctl is-system-running --wait"
UNITS = (
    "systemctl list-units --state=failed,auto-restart,auto-restart-queued --full --plain "
    "--no-legend"
)
EXPECTED = "sys-kernel-config.mount loaded failed failed x\nsys-kernel-debug.mount loaded failed\n"


def guest(state: Answer, units: Answer, **of_node: Any) -> tuple[Runtime, Machine, int]:
    """Return what the step is given; what lies on the node is asked only if a unit has failed."""
    node = Machine(of_node.get("files"), of_node.get("answers"))
    return Runtime(node), Machine({}, {IS_RUNNING: state, UNITS: units}), 950


@pytest.mark.parametrize("units", ["", "\n", EXPECTED, f"docker.service loaded\n{EXPECTED}"])
def test_no_unit_failed(units: str) -> None:
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
    log: failed_units.Log | None = None,
    said: str = "",
    units: tuple[failed_units.FailedUnit, ...] = (MOUNT, SERVICE),
) -> tuple[str, ...]:
    """Ask about units that failed; returns what is said beside the verdict."""
    found = tuple((100.5, each) for line in denials for each in audit_records.parse(line))
    told = log or failed_units.Log(50.0, found)
    names = {each.name for each in units}

    def failed(_: object, asked: Iterable[str]) -> tuple[failed_units.FailedUnit, ...]:
        assert set(asked) == names
        return units

    monkeypatch.setattr(failed_units, "failed", failed)
    monkeypatch.setattr(failed_units, "log", lambda _: told)
    monkeypatch.setattr(failed_units, "refusal", lambda *_: said)
    listed = EXPECTED + "docker.service x\n" + "".join(f"{name} loaded\n" for name in names)
    label = {"/proc/7/attr/apparmor/current": "p//&:ns:unconfined (enforce)\n"}
    evidence.drain()
    of_target.no_unit_failed(*guest(DEGRADED, listed, files=label, answers=PID))
    return evidence.drain().lines


def test_a_unit_with_a_denial_of_its_own_in_its_time_is_red(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = (
        r"1 unit\(s\) failed, each with a denial in its time: b\.service; the last .*allow it: /x"
    )
    with pytest.raises(AssertionError, match=expected):
        units_failed(monkeypatch, ITS_OWN)
    hidden = failed_units.Log(500.0, ((100.5, audit_records.parse(ITS_OWN)[0]),))
    with pytest.raises(AssertionError, match=expected):
        units_failed(monkeypatch, log=hidden, said="permission denied")


def test_a_unit_that_failed_without_a_denial_is_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = failed_units.FailedUnit("systemd-networkd-wait-online.service", 100.0, 220.0)
    lines = units_failed(monkeypatch, units=(SERVICE, waits))
    assert "b.service failed, and not by AppArmor" in lines[1]
    assert "waits 120 s for a network manager that manages nothing" in lines[2]
    assert "systemctl mask systemd-networkd-wait-online.service, in the container" in lines[2]


@pytest.mark.parametrize(
    ("denials", "log", "said", "message"),
    [
        ((ANOTHERS,), None, "", "in its time something was denied that may be its own.*/y"),
        ((), failed_units.Log(100.1), "", "no denial of its time is known, but .* go back"),
        ((), None, "x: permission denied", "refused something without a record .'x: permission"),
    ],
)
def test_a_unit_of_which_nobody_can_tell_is_undetermined(
    monkeypatch: pytest.MonkeyPatch,
    denials: tuple[str, ...],
    log: failed_units.Log | None,
    said: str,
    message: str,
) -> None:
    with pytest.raises(FactError, match=rf"2 unit\(s\) fail cannot be told: a\.mount: .*{message}"):
        units_failed(monkeypatch, *denials, log=log, said=said)


def test_a_log_that_cannot_be_read_is_undetermined() -> None:
    not_running: dict[str, Answer] = {"lxc-info -P /var/lib/lxc -n 950 -p -H": (1, "", "")}
    with pytest.raises(RemediationError, match="cont"):
        of_target.no_unit_failed(*guest(DEGRADED, FAILED, answers=not_running))


def test_units_that_cannot_be_asked() -> None:
    for state in ("starting\n", "", "maintenance\n"):
        with pytest.raises(FactError, match="has not started"):
            of_target.no_unit_failed(*guest(state, ""))
    with pytest.raises(CommandFailed, match="bus"):
        of_target.no_unit_failed(*guest("running", (1, "", "Failed to connect to bus")))
