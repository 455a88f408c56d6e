"""Backups, on real archives: which count, what is red, what cannot be told."""

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import backups as backup
from docker_lxc_gate.facts.backup_archives import Backup, defects, expected
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.machines.transport import Command, Local
from remediation.desired import DAEMON_JSON
from steps import prerequisites as steps
from tests.doubles.canned import DATA, HELD, SRV, Answer, Machine, guest
from tests.doubles.naming import naming, not_compliant
from tests.doubles.samples import sample
from tests.doubles.scripted import Scripted

Program = Callable[[str, str], Path]

HOST = os.uname().nodename.split(".")[0]
HOUR = 3600.0


class Rooted(Local):
    """This machine, with a directory in the place of its own root, and a place for backups."""

    def __init__(self, root: Path, dump: Path) -> None:
        self.root, self.dump = root, dump

    def execute(self, command: Command) -> CommandResult:
        places = {place: f"{self.root}{place}" for place in ("/", "/etc/pve", backup.DUMP)}
        return super().execute(replace(command, argv=tuple(places.get(a, a) for a in command.argv)))


class Plain:
    """A runtime without vzdump: a directory as root file system, and a configuration."""

    def __init__(self, node: Rooted, inside: Machine | None = None) -> None:
        self.node, self._inside = node, inside

    def state(self, ctid: int) -> str:
        return "running" if self._inside else "stopped"

    def inside(self, ctid: int) -> Machine:
        assert self._inside is not None
        return self._inside

    def effective(self, ctid: int) -> container_config.ContainerConfig:
        return container_config.parse_lxc(
            "", f"lxc.rootfs.path = dir:{self.node.root}/images/{ctid}\n"
        )

    def config_path(self, ctid: int) -> str:
        return f"{self.node.root}/etc/pve/lxc/{ctid}.conf"


@pytest.fixture
def node(tmp_path: Path) -> Rooted:
    root = tmp_path / "root"
    for directory in ("etc/pve/lxc", "images/950/etc", "images/950/usr", "var/lib/vz"):
        (root / directory).mkdir(parents=True)
    (root / "etc/hostname").write_text(f"{HOST}\n")
    (root / "etc/shadow").write_text("root:*:1::::::\n")
    (root / "etc/pve/lxc/950.conf").write_text("arch: amd64\n")
    (root / "images/950/etc/hostname").write_text("docker-950\n")
    (root / "images/950/random").write_bytes(os.urandom(300_000))
    return Rooted(root, tmp_path / "dump")


def back_up(node: Rooted, place: str = "") -> backup.Backups:
    runtime: Any = Plain(node)
    steps.back_up_lab(runtime, 950, place or str(node.dump))
    return backup.find(node, 950, place or str(node.dump))


@pytest.fixture
def made(node: Rooted) -> backup.Backups:
    return back_up(node)


def find(node: Rooted) -> backup.Backups:
    return backup.find(node, 950, str(node.dump))


def judge(
    node: Rooted,
    backups: backup.Backups | None = None,
    inside: Machine | None = None,
    *,
    age: float | None = None,
    read: bool = True,
) -> None:
    """Judge the backups of a container. Without ``inside`` it is stopped."""
    aim, runtime = Target("pve1", 950, backup_age=age or 24), cast("Any", Plain(node, inside))
    steps.container_is_backed_up(node, backups or find(node), aim, runtime, reads_archives=read)


def of_node(node: Rooted) -> None:
    steps.node_is_backed_up(node, find(node), Target("pve1", 950, backups=str(node.dump)))


def age(path: str, hours: float) -> Path:
    """Give an archive, and its log, the name of another hour; the file's own time stays."""
    stem, dot, kind = path.partition(".")
    then = time.strftime("%Y_%m_%d-%H_%M_%S", time.localtime(time.time() - hours * HOUR))
    new = Path(stem[: -len(then)] + then)
    if (log := Path(f"{stem}.log")).exists():
        log.rename(f"{new}.log")
    return Path(path).rename(f"{new}{dot}{kind}")


def test_backup_of_the_lab_counts_and_is_laid_out_as_vzdumps(
    node: Rooted, made: backup.Backups
) -> None:
    judge(node)
    of_node(node)
    (container,), (etc,) = made.container, made.etc
    assert etc.holds == ("etc", "etc/shadow", "etc/pve/lxc")
    listed = subprocess.run(["tar", "tf", container.path], check=True, capture_output=True)
    assert listed.stdout.split()[:2] == [b"./etc/vzdump/pct.conf", b"./"]
    read = ["tar", "xOf", container.path, "./etc/vzdump/pct.conf"]
    assert subprocess.run(read, check=True, capture_output=True).stdout == b"arch: amd64\n"
    assert {oct(p.stat().st_mode)[-3:] for p in node.dump.glob("*")} == {"600"}


def test_backed_up_without_one_is_red_and_its_advice_makes_one(node: Rooted) -> None:
    with not_compliant(f"{node.dump}", "vzdump 950 --mode"):
        judge(node)
    node.dump.mkdir()
    with not_compliant(HOST, "/etc") as red:
        of_node(node)
    advice = str(red.value).partition("make one: ")[2]
    node.run(["sh", "-c", advice.replace("-C / ", f"-C {node.root} ")]).require()
    of_node(node)


@pytest.mark.parametrize(
    ("written", "mode"),
    [
        ("features: nesting=1\n[before]\nfeatures: fuse=1\n", "snapshot"),
        ("features: fuse=1\n", "stop"),
        ("lxc.mount.entry: /dev/fuse dev/fuse none bind,create=file\n", "stop"),
    ],
)
def test_advice_to_back_up_freezes_no_container(node: Rooted, written: str, mode: str) -> None:
    """With /dev/fuse it might stay frozen."""
    (node.root / "etc/pve/lxc/950.conf").write_text(written)
    keep = f"--compress zstd --prune-backups keep-all=1 --dumpdir {node.dump}"
    with not_compliant(f"make one: vzdump 950 --mode {mode} {keep}"):
        judge(node)


#: The volume of each container 950 on this storage.
ROOT = "rootfs: local-lvm:vm-950-disk-0,size=8G\n"


@pytest.mark.parametrize(
    ("kept", "ours"),
    [
        ("hostname: a\nrootfs: local:951/x,size=8G\n", "hostname: b\nrootfs: local:950/x\n"),
        ("net0: name=eth0,hwaddr=AA:00\n", "net0: name=eth0,hwaddr=AA:01,ip=dhcp\n"),
        ("lxc.uts.name = a\nlxc.net.0.hwaddr = aa\n", "lxc.rootfs.path = dir:/x\n"),
        (f"hostname: a\nnet0: hwaddr=AA:00\n{ROOT}", f"hostname: b\nnet0: hwaddr=AA:01\n{ROOT}"),
    ],
)
def test_backed_up_by_an_archive_of_another_is_red(kept: str, ours: str, node: Rooted) -> None:
    written = node.root / "etc/pve/lxc/950.conf"
    written.write_text(kept)
    back_up(node)
    judge(node)
    written.write_text(ours)
    with not_compliant("another container"):
        judge(node)
    more = f"{kept.replace('hostname: a', 'hostname: new')}memory: 4096\n[snap]\nhostname: c\n"
    for same in (more, f"{kept}net9: hwaddr=AA:09\n", "arch: amd64\n"):  # the last says nothing
        written.write_text(same)
        judge(node)


def test_backed_up_by_an_archive_of_the_same_name_and_other_addresses_is_undetermined(
    node: Rooted,
) -> None:
    written = node.root / "etc/pve/lxc/950.conf"
    written.write_text(f"hostname: a\nnet0: hwaddr=AA:00\n{ROOT}")
    back_up(node)
    written.write_text(f"hostname: a\nnet0: hwaddr=AA:01\n{ROOT}")
    with naming(FactError, "AA:00", "former container"):
        judge(node)


@pytest.mark.parametrize(
    ("written", "red"),
    [
        ("pve2\n", True),
        (f"# here\n{HOST}.example.org\n", False),
        ("localhost\n", False),
        (None, False),
    ],
)
def test_backed_up_node_by_an_archive_of_another_node_is_red(
    node: Rooted, written: str | None, red: bool
) -> None:
    """Storage that nodes share has archives of several."""
    name = node.root / "etc/hostname"
    if written is None:
        name.unlink(missing_ok=True)
    else:
        name.write_text(written)
    back_up(node)
    with not_compliant("another node: pve2") if red else nullcontext():
        of_node(node)


@pytest.mark.parametrize(("hours", "named"), [(25.5, "25.5 h"), (-9, "9.0 h in the future")])
def test_backed_up_at_a_time_of_its_name_that_is_too_long_ago_or_to_come_is_red(
    node: Rooted, made: backup.Backups, hours: float, named: str
) -> None:
    age(made.container[0].path, hours)
    with not_compliant(named):
        judge(node)
    if hours > 0:
        judge(node, age=48)


DISK = "mp0: local:950/disk.raw,mp={},size=8G{}\n"
LOGGED = "INFO: excluding {} mount point mp0 ('/srv') from backup ({})\n"
BOUND = "32 30 8:2 {} {} rw - ext4 /dev/b rw\n"


#: The file, the log, the container, and what a red verdict names; empty if it is green.
LEFT_OUT = [
    (DISK.format("/srv", ""), "", guest("/srv/docker"), "/srv (mp0, disabled)"),
    (DISK.format("/var/lib/docker/", ""), "", guest(), "/var/lib/docker (mp0, disabled)"),
    (DISK.format("/var/lib/docker/volumes", ",backup=0"), "", guest(), "volumes (mp0, dis"),
    (DISK.format("/var", ""), "", guest(), "/var (mp0, disabled)"),
    ("mp0: /tank/d,mp=/var/lib/docker,backup=1\n", "", guest(), "(mp0, not a volume)"),
    ("lxc.mount.entry: /d var/lib/docker none bind\n", "", guest(), "(lxc.mount.entry)"),
    ("lxc.mount.entry: /d /var/lib/docker none bind\n", "", guest(), ""),
    ("lxc.mount.entry: tank/d ./var//lib/docker zfs rw\n", "", guest(), "(lxc.mount.entry)"),
    ("", LOGGED.format("volume", "disabled"), guest("/srv"), "/srv (mp0, disabled)"),
    (DISK.format("/srv", ""), "", guest(DATA, "/srv2/x"), ""),
    (DISK.format("/var/lib/docker", ",backup=1"), "", guest(), ""),
    ("lxc.mount.entry: /dev/fuse dev/fuse none bind\n[snap]\nmp0: a,mp=/var\n", "", guest(), ""),
]
#: The same of mp0 on /srv, by what the guest itself has mounted, and by what Docker's settings say.
ELSEWHERE = [
    (guest(mounts=SRV + BOUND.format("/docker", DATA)), "/srv (mp0, disabled)"),
    (guest(mounts=SRV + BOUND.format("/v", f"{DATA}/volumes")), "/srv (mp0, disabled)"),
    (guest("/srv/docker", mounts=SRV + "32 31 8:3 / /srv/docker rw - ext4 /dev/c rw\n"), ""),
    (guest(mounts="31 30 8:1 / /srv rw - ext4 /dev/a rw\n"), ""),  # the root's own file system
    (guest(up=False), ""),
    (guest("/srv/d", up=False, settings='{"data-root": "/srv/d"}'), f"/srv/d, by {DAEMON_JSON}"),
]


def test_backed_up_without_dockers_data_is_red(node: Rooted, made: backup.Backups) -> None:
    log = Path(made.container[0].path.replace(".tar.zst", ".log"))
    finished = log.read_text()
    on_srv = ((DISK.format("/srv", ""), "", *row) for row in ELSEWHERE)
    for written, logged, inside, said in (*LEFT_OUT, *on_srv):
        (node.root / "etc/pve/lxc/950.conf").write_text(f"arch: amd64\n{written}")
        log.write_text(logged + finished)
        with not_compliant(said, "backup=1") if said else nullcontext():
            judge(node, made, inside)


VOLUMES = f"{DATA}/volumes/metadata.db"


@pytest.mark.parametrize(
    ("container", "said"),
    [
        (f"/etc/hostname 999999\n{VOLUMES} 60\n", ""),  # Docker was installed after the backup
        (f"/etc/hostname 999999\n{VOLUMES} 999999\n", f"not hold .{VOLUMES} (by an exclude"),
        ((127, "", "sh: not found"), ""),  # an application's container has no shell
    ],
)
def test_backed_up_by_an_archive_without_most_of_the_container_is_red(
    node: Rooted, made: backup.Backups, container: Answer, said: str
) -> None:
    inside = guest()
    age(made.container[0].path, 2)
    inside.answers[HELD] = container
    with not_compliant(said) if said else nullcontext():
        judge(node, None, inside)
    for unknown in ("", "no\n"):
        inside.answers[HELD] = unknown
        with naming(FactError, "which files"):
            judge(node, None, inside)


def test_backed_up_by_an_archive_of_etc_alone_is_red(node: Rooted) -> None:
    (node.root / "images/950/usr").rmdir()
    back_up(node)
    with not_compliant("does not hold ./usr"):
        judge(node)


_OPTIONS = f"{DATA}/volumes/x/opts.json"
#: The files of a stopped container, and what a verdict names: green if nothing, else what it is.
STOPPED: list[tuple[dict[str, str], type[Exception] | None, str]] = [
    ({}, None, ""),
    ({VOLUMES: "", "usr/sbin/dockerd": "ELF"}, None, ""),
    (
        {
            "opt/d/volumes/metadata.db": "",
            DAEMON_JSON: '{"data-root": "/opt/d"}',
            "usr/bin/dockerd": "",
        },
        None,
        "",
    ),
    ({DAEMON_JSON: '{"data-root": "/srv/d"}', "usr/bin/dockerd": ""}, AssertionError, "/srv/d, by"),
    (
        {VOLUMES: "", _OPTIONS: '{"MountDevice":"/srv/x"}', "usr/bin/dockerd": ""},
        AssertionError,
        "/srv (mp0, disabled)",
    ),
    ({"usr/sbin/dockerd": ""}, FactError, "start the container"),
    ({f"home/volumes/{n}/opts.json": "" for n in range(101)}, FactError, "more than 100 dir"),
    (
        {
            VOLUMES: "",
            "usr/bin/dockerd": "",
            "etc/fstab": f"# own\n/srv/docker {DATA} none bind\n",
        },
        FactError,
        "start the container",
    ),
]


def test_files_of_this_machine_are_told() -> None:
    here = cast("Any", SimpleNamespace(state=lambda _: "running", inside=lambda _: Local()))
    (archive,) = expected([Backup("a", 2, 0, ("./usr",))], here, 950)
    assert {"./usr", "./usr/bin", "./etc/passwd"} <= {*archive.holds}


@pytest.mark.parametrize(("held", "error", "said"), STOPPED)
def test_backed_up_of_a_stopped_container_is_judged_by_its_archive(
    node: Rooted, held: dict[str, str], error: type[Exception] | None, said: str
) -> None:
    for name, content in held.items():
        path = node.root / "images/950" / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (node.root / "etc/pve/lxc/950.conf").write_text("arch: amd64\n")
    made = back_up(node)
    (node.root / "etc/pve/lxc/950.conf").write_text(DISK.format("/srv", ""))
    with naming(error, said) if error else nullcontext():
        judge(node, made)


def test_newest_sound_takes_an_older_one_that_is_whole(node: Rooted, made: backup.Backups) -> None:
    whole = age(made.container[0].path, 2)
    back_up(node)
    found = find(node).container
    Path(found[0].path).write_bytes(b"")
    found = find(node).container
    counts, faulty = backup.newest_sound(found, lambda each: defects(node, each, 24))
    assert counts
    assert Path(counts.path) == whole
    assert [defect.endswith("is empty") for defect in faulty] == [True]


@pytest.mark.parametrize("kind", ["zst", "gz", ""])
def test_backed_up_by_a_cut_archive_is_red(node: Rooted, made: backup.Backups, kind: str) -> None:
    """Of an uncompressed one tar itself lists the half without a word."""
    archive = Path(made.container[0].path)
    plain = archive.with_suffix("")
    subprocess.run(["zstd", "-qd", "--rm", archive], check=True)
    pack = {"zst": ["zstd", "-q", "--rm"], "gz": ["gzip"], "": ["true"]}[kind]
    subprocess.run([*pack, plain], check=True)
    archive = plain.with_suffix(f".tar.{kind}") if kind else plain
    judge(node)
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    with not_compliant("container 950", archive, "read to its end", f"--dumpdir {node.dump}"):
        judge(node)
    judge(node, read=False)


@pytest.mark.parametrize("lacks", ["etc/pve/lxc", "etc/shadow"])
def test_backed_up_node_without_proxmoxs_configuration_or_what_root_alone_reads_is_red(
    node: Rooted, lacks: str
) -> None:
    back_up(node)
    pack = ["tar", "-C", node.root, "--zstd", "-cf", find(node).etc[0].path]
    for etc in ("etc", "./etc"):
        subprocess.run([*pack, etc], check=True)
        of_node(node)
    subprocess.run([*pack, f"--exclude={lacks}", "etc"], check=True)
    with not_compliant(lacks):
        of_node(node)


@pytest.mark.parametrize(
    ("log", "named"),
    [
        ("INFO: Starting\nERROR: Backup of VM 950 failed - no space\n", "ERROR: Backup of VM 950"),
        ("ERROR: no space\nINFO: Finished Backup of VM 950\n", "ERROR: no space"),
        ("INFO: Finished Backup of VM 950\n" + "INFO: more\n" * 5, "'INFO: more'"),
        ("INFO: Finished Backup of VM 9501 (00:00:33)\n", "VM 9501"),
        (None, "finished"),
    ],
)
def test_backed_up_by_a_log_that_does_not_say_finished_is_red_but_for_a_hooks_lines(
    node: Rooted, made: backup.Backups, log: str | None, named: str
) -> None:
    path = Path(made.container[0].path.replace(".tar.zst", ".log"))
    assert "INFO: Finished Backup of VM 950\n" in path.read_text()
    path.unlink() if log is None else path.write_text(log)
    with not_compliant(named):
        judge(node)
    # A hook's lines, and empty ones; "no ERROR: here" is what a hook may say of itself.
    path.write_text("INFO: Finished Backup of VM 950\n" + "INFO: noERROR: \n" * 4 + "\n" * 9)
    judge(node)


@pytest.mark.parametrize(
    "answer",
    ["", "1\nnode\n\n1 2\n"],
    ids=["nothing", "a line too short"],
)
def test_find_by_a_listing_that_cannot_be_read_is_an_error(answer: str) -> None:
    argv = ("sh", "find", "950", "/etc/pve", backup.DUMP)
    with pytest.raises(FactError):
        backup.find(Scripted({argv: (0, answer.encode(), b"")}), 950, backup.DUMP)
    with pytest.raises(CommandFailed):
        backup.find(Scripted({argv: (1, b"1\nnode\n\n\n", b"no")}), 950, backup.DUMP)


@pytest.mark.usefixtures("made")
def test_find_leaves_out_what_is_no_archive_of_the_two(node: Rooted) -> None:
    for name in (
        "vzdump-lxc-9500-2026_01_01-00_00_00.tar.zst",
        "vzdump-lxc-950-2026_01_01-00_00_00.tar.zst.notes",
        "vzdump-lxc-950-2026_01_01-00_00_00.tar.dat",
        "vzdump-qemu-950-2026_01_01-00_00_00.vma.zst",
        "etc-another-2026_01_01-00_00_00.tar.zst",
    ):
        (node.dump / name).touch()
    (node.dump / f"etc-{HOST}-by hand.tar.gz").touch()
    found = find(node)
    assert len(found.container) == 1
    assert [Path(each.path).name for each in found.etc][:1] == [f"etc-{HOST}-by hand.tar.gz"]
    assert len(found.etc) == 2


def test_newest_sound_without_the_unpacker_is_an_error(
    node: Rooted, made: backup.Backups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("sh", "nice", "tar", "env", "cat", "awk"):
        found = subprocess.run(["which", program], check=True, capture_output=True, text=True)
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / program).symlink_to(found.stdout.strip())
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    with naming(FactError, "zstd: Cannot exec"):
        backup.newest_sound(made.container, lambda each: defects(node, each, 24))


PVESM = sample("programs/pvesm")


@pytest.fixture
def program(node: Rooted, stub: Program, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return a function that installs a program on the node."""
    monkeypatch.setenv("DUMP", str(node.dump))
    monkeypatch.setenv("LISTED", str(node.dump.with_name("listed")))
    return stub


def on_server(node: Rooted, *backups: tuple[float, int]) -> list[str]:
    """Let the server list backups, each so many hours old, and of a size; return their volumes."""
    lines = ["Volid                                    Format  Type          Size VMID"]
    volumes = []
    for hours, size in backups:
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - hours * HOUR))
        volumes.append(f"vault:backup/ct/950/{made}")
        lines.append(f"{volumes[-1]} pbs-ct  backup {size:>11} 950")
    node.dump.with_name("listed").write_text("\n".join(lines) + "\n")
    return volumes


def test_find_asks_proxmoxs_storages_where_backups_are_kept(node: Rooted, program: Program) -> None:
    program("pvesm", PVESM)
    found = backup.find(node, 950)
    ours = f"{node.root}{backup.DUMP}"
    assert found.places == (f"{node.dump}", ours)
    said = "vault (pbs, unlisted, vault: error fetching datastores - 401)"
    assert found.unasked == ("nas (nfs, inactive)", said)
    where = f"{node.dump}"
    with naming(FactError, "950", f"{where}, {ours}", *found.unasked, f"--dumpdir {where}"):
        judge(node, found)
    back_up(node)
    judge(node, backup.find(node, 950))


def test_backed_up_on_a_backup_server_alone_is_undetermined(node: Rooted, program: Program) -> None:
    program("pvesm", PVESM)
    _, volume = on_server(node, (30, 5 << 20), (2, 3 << 20))
    with naming(FactError, "950", f"{volume} (2.0 h old, 3.0 MiB)", f"--dumpdir {node.dump}"):
        judge(node, backup.find(node, 950))
    config = node.root / "etc/pve/lxc/950.conf"
    config.write_text(DISK.format("/var/lib/docker", ""))
    with not_compliant(volume, "/var/lib/docker (mp0, disabled)"):  # wherever the backup is
        judge(node, backup.find(node, 950))
    config.write_text("arch: amd64\n")
    back_up(node)
    judge(node, backup.find(node, 950))


def test_backed_up_nowhere_beside_a_backup_server_is_red_for_the_container_alone(
    node: Rooted, program: Program
) -> None:
    program("pvesm", PVESM.replace("inactive ", "disabled "))
    on_server(node)
    with not_compliant("container 950"):
        judge(node, backup.find(node, 950))
    with naming(FactError, "/etc", "vault"):
        steps.node_is_backed_up(node, backup.find(node, 950), Target("pve1", 950))
