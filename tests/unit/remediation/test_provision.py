"""Where there is no container: by the target's own command, by phoenix, or by pct and the plan."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from docker_lxc_gate.cli import printing
from docker_lxc_gate.errors import FactError, TransportError, UsageError
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.runtime.lxc import Lxc
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.runtime.waiting import _BOOTED, wait_until_online
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.machines.transport import Local
from remediation import docker_in_lxc, provision
from remediation.engine import journal
from remediation.engine.action import Drift
from remediation.engine.errors import NotClean
from remediation.engine.journal_format import VERSION, written
from remediation.phoenix import CONTAINERS
from remediation.provision import boot_created, create, reserved, thrown_away
from tests.doubles.answering import Answering
from tests.doubles.naming import naming

TARGET = Target("pve1", 950, reserved=(951,), template="local:vztmpl/debian.tar.zst")
ROUTE = b"Iface\tDestination\tGateway\neth0\t00000000\t0103000A\n"
JOURNAL = f"{journal.DIRECTORY}/journal.jsonl"
SIX = b"0" * 32 + b" 00 " + b"0" * 32 + b" 00 fe80 00000400 00000001 00000000 00000003     "


@dataclass(eq=False)
class Pve(Answering):
    """A node with pct: which containers there are, and in which state.

    Args:
        phoenix: it is installed.
        others: another gate is quicker, creates the reserved container and has the lock no more.
        cut_off: this program is interrupted in the creation.
        at_once: somebody creates it in the same moment, without the lock.
        fails: the verbs of pct that fail.
    """

    phoenix: bool = False
    others: bool = False
    cut_off: bool = False
    at_once: str = ""
    containers: dict[str, str] = field(default_factory=dict)
    fails: str = ""
    route: bytes = ROUTE
    route6: bytes = b""
    locked: bool = False
    journal: bytes = b""
    others_may: bytes = b""
    described: bytes = b'{"lxc_configs": {"950": {}}}'

    def __post_init__(self) -> None:
        super().__init__(self.told, "pve1")

    def told(self, words: list[str]) -> tuple[int, bytes, bytes]:  # noqa: C901, PLR0911, PLR0912 - a table
        if words[0] == "pct" and words[1] in self.fails.split():
            return 255, b"", b"storage 'local' does not support container directories"
        match words:
            case ["find", _, "-exec", "lxc-info", "-P", _, "-n", ctid, "-s", "-H", ";"]:
                if ctid in self.containers:
                    return 0, f"{self.containers[ctid].upper()}\n".encode(), b""
                return 1, b"", b"find: No such file or directory"
            case ["pct", "status", ctid]:
                assert ctid not in self.containers, "pct is started for what LXC says"
                said = f"Configuration file 'nodes/pve1/lxc/{ctid}.conf' does not exist"
                return 2, b"", said.encode()
            case ["sh", "-c", _, "ended", _]:
                return 0, b"", b""
            case ["sh", "-c", _, "control"]:
                return 0, b"755\n", b""
            case ["find", "/etc/pve/nodes", *_]:
                return 0, b"", b""
            case ["pct", "create", ctid, *_]:
                assert self.locked, "somebody else may be at work"
                self.containers[ctid] = "stopped"
                if self.at_once:
                    return 255, b"", self.at_once.encode()
                if self.cut_off:
                    raise KeyboardInterrupt
                return 0, b"", b""
            case ["pct", "shutdown", ctid, *_]:
                self.containers[ctid] = "stopped"
                return 0, b"", b""
            case ["pct", "destroy", ctid]:
                assert self.containers.pop(ctid) == "stopped"
                return 0, b"", b""
            case ["pct", "start", ctid]:
                self.containers[ctid] = "running"
                return 0, b"", b""
            case ["lxc-attach", *_, "sh", "-c", waits] if waits == _BOOTED:
                return 0, b"running\n", b""
            case ["lxc-attach", *_, "/proc/net/route"]:
                return 0, self.route, b""
            case ["lxc-attach", *_, "/proc/net/ipv6_route"]:
                return 0, self.route6, b""
            case ["test", "-d", _]:
                return 1, b"", b""
            case ["cat", "--", path]:
                if path == JOURNAL and self.journal:
                    return 0, self.journal, b""
                return 1, b"", f"cat: {path}: No such file or directory\n".encode()
            case ["sh", "-c", _, "phoenix", _]:
                return 0, b"/opt/phoenix\n" + self.others_may if self.phoenix else b"", b""
            case ["sh", "-c", _, "owner", _, name, "cat", "--"] if name == CONTAINERS:
                return 0, self.described, b""
            case ["/opt/phoenix", "create", "950"]:
                return 1, b"", b"phoenix: error: container 950: no template\n"
        raise AssertionError(f"nobody said what {words} answers")

    def hold(self, argv: Sequence[str], word: str) -> Any:
        assert "flock" in argv[2]
        assert word == "held"
        self.locked = True
        if self.others:
            self.containers["951"] = "running"
        return self

    def alive(self) -> bool:
        return self.locked

    def release(self) -> None:
        self.locked = False

    @property
    def changed(self) -> list[str]:
        return [" ".join(w[:3]) for w in self.ran if w[0] == "pct" and w[1] != "status"]


@dataclass
class FakePlan:
    """A plan, by what it finds."""

    left: Drift | None = None
    applied: list[bool] = field(default_factory=list)

    def drifts(self) -> list[tuple[None, Drift | None]]:
        return [(None, self.left)]

    def apply(self) -> None:
        self.applied.append(True)


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> FakePlan:
    made = FakePlan()
    monkeypatch.setattr(docker_in_lxc, "plan", lambda *_, **__: made)
    monkeypatch.setattr(provision, "apply", FakePlan.apply)
    return made


def run(node: Pve, target: Target = TARGET) -> provision.Provisioned:
    return provision.provision(Pct(node), target, lambda _: None)


def test_provision_with_phoenix_runs_phoenix_create(plan: FakePlan) -> None:
    ended = run(Pve(phoenix=True))
    assert (ended.how, ended.ok) == ("/opt/phoenix create 950", False)
    assert "no template" in ended.output
    assert plan.applied == []


@pytest.mark.parametrize("described", [b"", b"[]", b"{}", b'{"lxc_configs": {"951": {}}}'])
def test_provision_of_what_phoenix_does_not_know_is_ours(described: bytes, plan: FakePlan) -> None:
    node = Pve(phoenix=True, described=described)
    assert run(node).how == "pct create and the plan"
    node = Pve(phoenix=True, described=b"{")
    with naming(FactError, CONTAINERS, "not JSON"):
        run(node)


def test_provision_by_a_phoenix_that_others_may_change_is_refused(plan: FakePlan) -> None:
    node = Pve(phoenix=True, others_may=b"/opt/phoenix\n/srv/checkout/lib.sh\n")
    with naming(FactError, "/opt/phoenix;", "provision = 'phoenix create {ctid}'"):
        run(node)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that nobody else may change")
def test_phoenix_is_roots_if_nothing_of_it_is_anothers() -> None:
    home = Path(tempfile.mkdtemp(dir="/root"))
    try:
        program, checkout = home / "bin/phoenix", home / "checkout"
        (checkout / "lib").mkdir(parents=True)
        (checkout / "phoenix").write_text("#!/bin/sh\n")
        (checkout / "phoenix").chmod(0o755)
        program.parent.mkdir()
        program.symlink_to(checkout / "phoenix")

        def said() -> list[str]:
            argv = ["sh", "-c", provision._PHOENIX, "phoenix", str(checkout)]
            path = {"PATH": f"{program.parent}:/usr/bin:/bin"}
            done = subprocess.run(argv, env=path, capture_output=True, text=True, check=True)
            return done.stdout.splitlines()

        assert said() == [str(checkout / "phoenix")]
        (checkout / "lib/a.sh").touch()
        for bad in (checkout / "lib/a.sh", checkout, home / "checkout/phoenix"):
            os.chown(bad, 65534, 0)
            assert str(bad) in said()[1:]
            os.chown(bad, 0, 0)
            mode = bad.stat().st_mode
            bad.chmod(mode | 0o020)  # the mask of an ACL, perhaps
            assert str(bad) in said()[1:]
            bad.chmod(mode)
        program.unlink()
        assert said() == []
    finally:
        shutil.rmtree(home)


@pytest.mark.parametrize("exists", [False, True])
def test_provision_without_phoenix_creates_starts_and_applies(plan: FakePlan, exists: bool) -> None:
    node = Pve(containers={"950": "running"} if exists else {})
    ended = run(node)
    assert (ended.how, ended.ok) == ("the plan" if exists else "pct create and the plan", True)
    assert node.changed == ([] if exists else ["pct create 950", "pct start 950"])
    assert plan.applied == [True]
    assert not node.locked


def test_provision_of_a_container_without_the_plan_is_refused(plan: FakePlan) -> None:
    node = Pve(containers={"950": "running"})
    plan.left = Drift("package fuse-overlayfs is not installed")
    with naming(FactError, "fuse-overlayfs", "docker-lxc-gate apply --target pve1/950"):
        run(node)
    assert (node.changed, plan.applied) == ([], [])


def test_provision_with_a_failing_create_returns_the_failure(plan: FakePlan) -> None:
    node = Pve(fails="create")
    ended = run(node)
    assert not ended.ok
    assert "does not support container directories" in ended.output
    assert plan.applied == []


@pytest.mark.parametrize(
    ("machine", "path", "goes"),
    [
        ("container", "", False),
        ("node", "/etc/pve/lxc/950.conf", False),
        ("node", "/etc/apparmor.d/tunables/nesting", True),
    ],
)
def test_provision_with_entries_of_a_former_container_is_refused(
    plan: FakePlan, machine: str, path: str, goes: bool
) -> None:
    """What the plan changed of the node alone is there before its container."""
    node = Pve()
    line = {"v": VERSION, "at": "", "ctid": 950, "kind": "before", "action": "an action"}
    node.journal = written(line | {"machine": machine, "path": path, "state": 1})
    with nullcontext() if goes else naming(NotClean, "container 950", "journal accept 'an action'"):
        run(node)
    assert ("pct create 950" in node.changed) == goes


_ARGV = ("pct", "create", "950", "t.tar", "--password", "hunter2 and hunter3", "--storage=x")


@pytest.mark.parametrize("made", ["by create", "by provision"])
def test_provision_tells_its_argv_masked(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    node = Pve()
    if made == "by create":
        create(Pct(node), 950, _ARGV, printing.tell)
    else:
        node.locked = True
        target = Target("pve1", 950, provision=shlex.join(_ARGV))
        provision.provision(Pct(node), target, printing.tell)
    assert list(_ARGV) in node.ran
    [told] = [line for line in capsys.readouterr().err.splitlines() if "pct create" in line]
    assert "hunter" not in told
    assert told.startswith("… pct create 950 t.tar --password ")
    assert told.endswith("--storage=x")


def test_create_on_plain_lxc_is_refused() -> None:
    with naming(FactError, "pve1", "LXC"):
        create(Lxc(Pve()), 950, TARGET.creation(950), lambda _: None)


@pytest.mark.parametrize(
    ("four", "six", "online"),
    [
        (ROUTE, b"", True),
        (b"Iface\tDestination\n", SIX + b"eth0\n", True),
        (b"Iface\tDestination\n", SIX + b"lo\n", False),
        (b"", b"", False),
    ],
)
def test_wait_until_online_needs_a_default_route(four: bytes, six: bytes, online: bool) -> None:
    node = Pve(route=four, route6=six)
    if online:
        wait_until_online(Pct(node).inside(950))
    else:
        with naming(TransportError, "container 950", "DHCP"):
            wait_until_online(Pct(node).inside(950))


def test_reserved_returns_the_first_reserved_ctid() -> None:
    ctid, argv = reserved(TARGET, ("nesting",))
    assert (ctid, argv[:4]) == (951, ["pct", "create", "951", "local:vztmpl/debian.tar.zst"])
    assert argv[-2:] == ["--features", "nesting=1"]
    with naming(FactError, "reserved = [951]"):
        reserved(Target("pve1", 950))
    with naming(FactError, "template"):
        reserved(Target("pve1", 950, reserved=(951,)))


def test_thrown_away_destroys_the_container_at_the_end() -> None:
    node, told = Pve(), list[str]()
    with thrown_away(Pct(node), TARGET, told.append) as ctid:
        assert (ctid, node.containers) == (951, {"951": "running"})
    assert (node.containers, told) == ({}, ["throwing away container 951"])


STOPPED = {"951": "stopped"}


@pytest.mark.parametrize(
    ("how", "there", "error", "said", "left"),
    [
        ({"others": True}, {}, UsageError, ("container 951", "running"), {"951": "running"}),
        *(
            ({"at_once": said}, {}, CommandFailed, (said, "951 is on pve1", "stays"), STOPPED)
            for said in ("CT 951 already exists on node 'a'", "can't lock file 'pve-config-951'")
        ),
        ({}, {"951": "stopped"}, FactError, ("container 951",), {"951": "stopped"}),
        ({"cut_off": True}, {}, KeyboardInterrupt, (), {}),
    ],
    ids=["another gate's", "made just before", "being made", "an existing one", "interrupted"],
)
def test_thrown_away_keeps_what_is_anothers_and_leaves_nothing_of_its_own(
    how: dict[str, Any],
    there: dict[str, str],
    error: type[BaseException],
    said: tuple[str, ...],
    left: dict[str, str],
) -> None:
    node = Pve(**how, containers=dict(there))
    with naming(error, *said), thrown_away(Pct(node), TARGET, lambda _: None):
        raise AssertionError
    assert node.containers == left


def test_boot_created_that_does_not_start_destroys_it_and_says_so() -> None:
    node = Pve(containers={"950": "stopped"}, fails="start")
    with naming(CommandFailed, "pct start 950", "container 950", "the target file"):
        boot_created(Pct(node), 950)
    assert node.containers == {}


def test_boot_created_that_cannot_be_destroyed_names_it() -> None:
    node = Pve(containers={"950": "stopped"}, fails="start destroy")
    with naming(CommandFailed, "container 950", "pve1", "pct destroy"):
        boot_created(Pct(node), 950)
    assert node.containers == {"950": "stopped"}


def test_thrown_away_that_cannot_destroy_the_container_names_it() -> None:
    node, told = Pve(), list[str]()
    with pytest.raises(CommandFailed), thrown_away(Pct(node), TARGET, told.append):
        node.fails = "destroy"
    assert "container 951 may be left on pve1" in told[-1]


DAEMON = "/etc/docker/daemon.json"

VOLUME = "local:vztmpl/debian.tar.zst"


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A template in a storage that only this machine's pvesm knows."""
    root = tmp_path / "root"
    for place, text in (("", b'{"debug": true}\n'), ("0/", b"{}"), ("srv/", b"{}")):
        (root / f"{place}etc/docker").mkdir(parents=True)
        (root / f"{place}etc/docker/daemon.json").write_bytes(text)
    (root / "0/noise").write_bytes(os.urandom(1 << 17))
    archive = tmp_path / "debian.tar.zst"
    packed(archive, "./0", "./etc", "./srv")
    pvesm = tmp_path / "bin/pvesm"
    pvesm.parent.mkdir()
    pvesm.write_text(f'#!/bin/sh\n[ "$1 $2" = "path {VOLUME}" ] && echo {archive}\n')
    pvesm.chmod(0o755)
    monkeypatch.setenv("PATH", str(pvesm.parent), prepend=os.pathsep)
    return archive


def packed(archive: Path, *names: str) -> None:
    argv = ["tar", "--zstd", "-cf", archive, "-C", archive.parent / "root", *names]
    subprocess.run(argv, check=True)


@pytest.mark.parametrize(
    "names",
    ["./0 ./etc ./srv", "etc", "0 srv"],  # in the last one it is in other places only
)
def test_of_template_returns_the_files_content_or_nothing(template: Path, names: str) -> None:
    packed(template, *names.split())
    content = b"" if names.endswith("srv") and "etc" not in names else b'{"debug": true}\n'
    assert provision.of_template(Local(), VOLUME, DAEMON) == content


@pytest.mark.parametrize("part", [0.01, 0.6])
def test_of_template_that_is_cut_off_is_an_error(template: Path, part: float) -> None:
    packed(template, "./0", "./srv")
    whole = template.read_bytes()
    template.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(CommandFailed):
        provision.of_template(Local(), VOLUME, DAEMON)


@pytest.mark.parametrize("volume", ["local:backup/a.tar.zst", "local:vztmpl/../a"])
def test_of_template_of_another_volume_is_refused(volume: str) -> None:
    with naming(FactError, "no template"):
        provision.of_template(Local(), volume, DAEMON)


def test_of_template_whose_file_has_a_colon_is_read_from_this_machine(template: Path) -> None:
    """For tar, the words in front of a colon name another machine."""
    template.rename(other := template.with_name("x:y.tar.zst"))
    (template.parent / "bin/pvesm").write_text(f"#!/bin/sh\necho {other.name}\n")
    here = f"cd {template.parent}\n{provision._IN_TEMPLATE}"
    argv = ["sh", "-c", here, "template", VOLUME, DAEMON]
    assert Local().run(argv).stdout == b'{"debug": true}\n'


def test_of_template_without_pvesm_reads_proxmoxs_directory(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (template.parent / "bin/pvesm").unlink()
    here = provision._IN_TEMPLATE.replace("/var/lib/vz/template/cache", str(template.parent))
    monkeypatch.setattr(provision, "_IN_TEMPLATE", here)
    assert provision.of_template(Local(), VOLUME, DAEMON) == b'{"debug": true}\n'
