"""Backups, on real archives: which count, what is red, what cannot be told."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from facts import backups as backup
from facts.backup_archives import Backup
from remediation.backup import _MAKE_ETC, make_backup
from steps import prerequisites as steps
from targets.errors import CommandFailed, FactError, VerifyFailed
from targets.runtime import container_config
from targets.target import Target
from targets.transport import CommandResult, Local
from tests.doubles.scripted import Scripted

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST = os.uname().nodename.split(".")[0]
HOUR = 3600.0


class Rooted(Local):
    """This machine, with a directory in the place of its own root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        places = {place: f"{self.root}{place}" for place in ("/", "/etc/pve", backup.DUMP)}
        return super().run([places.get(a, a) for a in argv], stdin=stdin, timeout=timeout)


class Plain:
    """A runtime without vzdump: a directory as root file system, and a configuration."""

    def __init__(self, node: Rooted) -> None:
        self.node = node

    def effective(self, ctid: int) -> container_config.ContainerConfig:
        return container_config.parse_lxc(
            "", f"lxc.rootfs.path = dir:{self.node.root}/images/{ctid}\n"
        )

    def config_path(self, ctid: int) -> str:
        return f"{self.node.root}/etc/pve/lxc/{ctid}.conf"


@pytest.fixture
def node(tmp_path: Path) -> Rooted:
    root = tmp_path / "root"
    for directory in ("etc/pve/lxc", "images/950/etc", "var/lib/vz"):
        (root / directory).mkdir(parents=True)
    (root / "etc/hostname").write_text("node\n")
    (root / "etc/pve/lxc/950.conf").write_text("arch: amd64\n")
    (root / "images/950/etc/hostname").write_text("docker-950\n")
    (root / "images/950/random").write_bytes(os.urandom(300_000))
    return Rooted(root)


@pytest.fixture
def made(node: Rooted, tmp_path: Path) -> backup.Backups:
    return make_backup(Plain(node), 950, f"{tmp_path}/dump")  # type: ignore[arg-type]


def of_container(node: Rooted, tmp_path: Path, settings: Target | None = None) -> None:
    backups = backup.find(node, 950, f"{tmp_path}/dump")
    judge(node, backups, settings)


def judge(node: Rooted, backups: backup.Backups, settings: Target | None = None) -> None:
    runtime: Any = Plain(node)
    steps.container_is_backed_up(node, 950, backups, settings or Target("pve1", 950), runtime)


def of_node(node: Rooted, tmp_path: Path) -> None:
    backups = backup.find(node, 950, f"{tmp_path}/dump")
    steps.node_is_backed_up(node, backups, Target("pve1", 950, backups=f"{tmp_path}/dump"))


def age(path: str, hours: float) -> Path:
    """Give an archive, and its log, the name of another hour; the file's own time stays."""
    stem, dot, kind = path.partition(".")
    then = time.strftime("%Y_%m_%d-%H_%M_%S", time.localtime(time.time() - hours * HOUR))
    new = Path(stem[: -len(then)] + then)
    if (log := Path(f"{stem}.log")).exists():
        log.rename(f"{new}.log")
    return Path(path).rename(f"{new}{dot}{kind}")


def test_what_is_made_counts_and_is_laid_out_as_vzdump_does(
    node: Rooted, made: backup.Backups, tmp_path: Path
) -> None:
    of_container(node, tmp_path)
    of_node(node, tmp_path)
    (container,), (etc,) = made.container, made.etc
    assert etc.holds == ("etc", "etc/pve/lxc")
    listed = subprocess.run(["tar", "tf", container.path], check=True, capture_output=True)
    assert listed.stdout.split()[:2] == [b"./etc/vzdump/pct.conf", b"./"]
    read = ["tar", "xOf", container.path, "./etc/vzdump/pct.conf"]
    assert subprocess.run(read, check=True, capture_output=True).stdout == b"arch: amd64\n"
    assert {oct(p.stat().st_mode)[-3:] for p in tmp_path.glob("dump/*")} == {"600"}
    assert not list(tmp_path.glob("dump/*.new"))


def test_no_backup(node: Rooted, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"none is in .*/dump; make one: vzdump 950 --mode"):
        of_container(node, tmp_path)
    with pytest.raises(AssertionError, match=rf"{HOST}'s /etc .*make one: umask 077; tar "):
        of_node(node, tmp_path)


def test_who_does_as_the_message_says_has_a_backup(node: Rooted, tmp_path: Path) -> None:
    (tmp_path / "dump").mkdir()
    with pytest.raises(AssertionError) as red:
        of_node(node, tmp_path)
    advice = str(red.value).partition("make one: ")[2]
    node.run(["sh", "-c", advice.replace("-C / ", f"-C {node.root} ")]).require()
    of_node(node, tmp_path)


def test_a_container_without_its_configuration_is_not_backed_up(
    node: Rooted, tmp_path: Path
) -> None:
    (node.root / "etc/pve/lxc/950.conf").unlink()
    with pytest.raises(CommandFailed, match="the log beside the archive says why"):
        make_backup(Plain(node), 950, f"{tmp_path}/dump")  # type: ignore[arg-type]
    assert not list(tmp_path.glob("dump/vzdump-*.tar*"))
    assert next(tmp_path.glob("dump/vzdump-*.log")).read_text().count("No such file") == 1


@pytest.mark.parametrize(
    ("kept", "ours"),
    [
        ("hostname: a\nrootfs: local:951/x,size=8G\n", "hostname: b\nrootfs: local:950/x\n"),
        ("net0: name=eth0,hwaddr=AA:00\n", "net0: name=eth0,hwaddr=AA:01,ip=dhcp\n"),
        ("lxc.uts.name = a\nlxc.net.0.hwaddr = aa\n", "lxc.rootfs.path = dir:/x\n"),
    ],
)
def test_an_archive_of_another_container_under_the_name_is_none_of_this_one(
    kept: str, ours: str, node: Rooted, tmp_path: Path
) -> None:
    written = node.root / "etc/pve/lxc/950.conf"
    written.write_text(kept)
    make_backup(Plain(node), 950, f"{tmp_path}/dump")  # type: ignore[arg-type]
    of_container(node, tmp_path)
    written.write_text(ours)
    with pytest.raises(AssertionError, match="is of another container: "):
        of_container(node, tmp_path)
    written.write_text(f"{kept}memory: 4096\n[snap]\nhostname: c\n")
    of_container(node, tmp_path)
    written.write_text("arch: amd64\n")  # nothing that tells one from another
    of_container(node, tmp_path)


def test_what_was_made_is_judged(node: Rooted, tmp_path: Path) -> None:
    (node.root / "images/950/etc").rename(node.root / "images/950/usr")
    with pytest.raises(VerifyFailed, match=r"does not count: .* does not hold \./etc"):
        make_backup(Plain(node), 950, f"{tmp_path}/dump")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hours", "message"),
    [(25.5, "is 25.5 h old, and 24 h are allowed"), (-9, "is dated 9.0 h in the future")],
)
def test_the_time_is_the_names_not_the_files(
    node: Rooted, made: backup.Backups, tmp_path: Path, hours: float, message: str
) -> None:
    age(made.container[0].path, hours)
    with pytest.raises(AssertionError, match=message):
        of_container(node, tmp_path)


def test_the_allowed_age_is_the_targets(node: Rooted, made: backup.Backups, tmp_path: Path) -> None:
    age(made.container[0].path, 25.5)
    of_container(node, tmp_path, Target("pve1", 950, backup_age=48))


def test_an_older_one_that_is_whole_counts(
    node: Rooted, made: backup.Backups, tmp_path: Path
) -> None:
    whole = age(made.container[0].path, 2)
    make_backup(Plain(node), 950, f"{tmp_path}/dump")  # type: ignore[arg-type]
    found = backup.find(node, 950, f"{tmp_path}/dump").container
    Path(found[0].path).write_bytes(b"")
    found = backup.find(node, 950, f"{tmp_path}/dump").container
    counts, defects = backup.sound(node, found, 24)
    assert counts
    assert Path(counts.path) == whole
    assert [defect.endswith("is empty") for defect in defects] == [True]


@pytest.mark.parametrize("kind", ["zst", "gz", ""])
def test_a_truncated_archive(node: Rooted, made: backup.Backups, tmp_path: Path, kind: str) -> None:
    """Of an uncompressed one tar itself lists the half without a word."""
    archive = Path(made.container[0].path)
    plain = archive.with_suffix("")
    subprocess.run(["zstd", "-qd", "--rm", archive], check=True)
    pack = {"zst": ["zstd", "-q", "--rm"], "gz": ["gzip"], "": ["true"]}[kind]
    subprocess.run([*pack, plain], check=True)
    archive = plain.with_suffix(f".tar.{kind}") if kind else plain
    of_container(node, tmp_path)
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(AssertionError, match=r"cannot be read to its end: \S+"):
        of_container(node, tmp_path)


def test_a_flipped_byte(node: Rooted, made: backup.Backups, tmp_path: Path) -> None:
    archive = Path(made.container[0].path)
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    with pytest.raises(AssertionError) as raised:
        of_container(node, tmp_path)
    said = str(raised.value)
    assert said.startswith(
        f"there is no backup of container 950 that counts: {archive} cannot be read to its end: "
    )
    assert said.endswith(
        f"; make one: vzdump 950 --mode snapshot --compress zstd --dumpdir {tmp_path}/dump"
    )


def test_the_nodes_configuration_holds_proxmoxs(node: Rooted, tmp_path: Path) -> None:
    (node.root / "etc/pve").rename(node.root / "pve")
    argv = ["sh", "-c", _MAKE_ETC, "etc", f"{tmp_path}/dump", "/"]
    node.run(argv).require()
    of_node(node, tmp_path)
    (node.root / "pve").rename(node.root / "etc/pve")
    with pytest.raises(AssertionError, match=r"read to its end, but does not hold etc/pve/lxc"):
        of_node(node, tmp_path)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("INFO: Starting\nERROR: Backup of VM 950 failed - no space\n", "ERROR: Backup of VM 950"),
        ("ERROR: no space\nINFO: Finished Backup of VM 950\n", "error in its log: ERROR: no space"),
        (
            "INFO: Finished Backup of VM 950\n" + "INFO: more\n" * 5,
            "its log ends with 'INFO: more'",
        ),
        ("INFO: Starting Backup of VM 950 (lxc)\nINFO: status = running\n", "'INFO: status ="),
        ("INFO: Finished Backup of VM 9501 (00:00:33)\n", "was not finished"),
        ("", "was not finished: its log ends with ''"),
        (None, "nothing says that it was finished"),
    ],
)
def test_the_log_beside_it(
    node: Rooted, made: backup.Backups, tmp_path: Path, log: str | None, message: str
) -> None:
    path = Path(made.container[0].path.replace(".tar.zst", ".log"))
    assert "INFO: Finished Backup of VM 950\n" in path.read_text()
    path.unlink() if log is None else path.write_text(log)
    with pytest.raises(AssertionError, match=message):
        of_container(node, tmp_path)


def test_what_a_log_may_end_with(node: Rooted, made: backup.Backups, tmp_path: Path) -> None:
    """A hook's lines, and empty ones; "no ERROR: here" is what a hook may say of itself."""
    path = Path(made.container[0].path.replace(".tar.zst", ".log"))
    path.write_text("INFO: Finished Backup of VM 950\n" + "INFO: noERROR: \n" * 4 + "\n" * 9)
    of_container(node, tmp_path)


@pytest.mark.parametrize(
    ("age", "size", "defect"),
    [
        (24 * HOUR, 2, None),
        (24 * HOUR + 1, 2, "is 24.0 h old, and 24 h are allowed"),
        (-HOUR, 2, None),
        (-HOUR - 0.5, 2, "is dated 1.0 h in the future"),
        (0.0, 1, "is empty"),
    ],
)
def test_the_last_moment_and_the_smallest_size(age: float, size: int, defect: str | None) -> None:
    one = Backup("a.tar", size, age, ())
    found, defects = backup.listed([one], 24)
    assert (found is None) == (defect is not None)
    assert defects == () if defect is None else f"a.tar {defect}" in defects[0]


@pytest.mark.parametrize(
    "answer",
    ["", "1\nnode\n\n1 2\n\n", "1\nnode\n\n1 2 /etc-node-2026_11_26-00_00_00.tar\n\n"],
    ids=["nothing", "a line too short", "a time too few"],
)
def test_a_listing_that_is_none_is_no_empty_one(answer: str) -> None:
    argv = ("sh", "-c", backup._FIND, "find", "950", "/etc/pve", backup.DUMP)
    with pytest.raises(FactError, match="the list of backups cannot be read"):
        backup.find(Scripted({argv: (0, answer.encode(), b"")}), 950, backup.DUMP)


def test_a_listing_that_failed_is_none() -> None:
    argv = ("sh", "-c", backup._FIND, "find", "950", "/etc/pve", backup.DUMP)
    with pytest.raises(CommandFailed):
        backup.find(Scripted({argv: (1, b"1\nnode\n\n\n", b"no")}), 950, backup.DUMP)


def test_where_backups_lie_without_a_storage() -> None:
    assert backup.DUMP == "/var/lib/vz/dump"


@pytest.mark.usefixtures("made")
def test_what_lies_beside_archives_is_none(node: Rooted, tmp_path: Path) -> None:
    for name in (
        "vzdump-lxc-9500-2026_01_01-00_00_00.tar.zst",
        "vzdump-lxc-950-2026_01_01-00_00_00.tar.zst.notes",
        "vzdump-lxc-950-2026_01_01-00_00_00.tar.dat",
        "vzdump-qemu-950-2026_01_01-00_00_00.vma.zst",
        "etc-another-2026_01_01-00_00_00.tar.zst",
    ):
        (tmp_path / "dump" / name).touch()
    (tmp_path / f"dump/etc-{HOST}-by hand.tar.gz").touch()
    found = backup.find(node, 950, f"{tmp_path}/dump")
    assert len(found.container) == 1
    assert [Path(each.path).name for each in found.etc][:1] == [f"etc-{HOST}-by hand.tar.gz"]
    assert len(found.etc) == 2


def test_a_program_that_is_missing_says_nothing_of_the_archive(
    node: Rooted, made: backup.Backups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("sh", "nice", "tar", "env", "cat"):
        found = subprocess.run(["which", program], check=True, capture_output=True, text=True)
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / program).symlink_to(found.stdout.strip())
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    with pytest.raises(FactError, match=r"cannot be opened: .*zstd: Cannot exec"):
        backup.sound(node, made.container, 24)


PVESM = """#!/bin/sh
case $1 in
status) cat <<END
Name         Type     Status     Total (KiB)      Used (KiB) Available (KiB)        %
local         dir     active         8154588          880984         6837792   10.80%
nas           nfs   inactive               0               0               0    0.00%
old           dir   disabled               0               0               0      N/A
vault         pbs     active         8154588          880984         6837792   10.80%
END
;;
path) [ "$2" = local:backup/vzdump-lxc-950-2000_01_01-00_00_00.tar.zst ] || exit 255
    echo "$DUMP/${2#local:backup/}" ;;
list) [ "$*" = "list vault --content backup --vmid 950" ] || exit 255
    cat "$LISTED" 2>/dev/null || { echo "vault: error fetching datastores - 401" >&2; exit 255; } ;;
*) exit 99 ;;
esac
"""


def with_program(name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir(exist_ok=True)
    (tmp_path / "bin" / name).write_text(text)
    (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("DUMP", f"{tmp_path}/dump")
    monkeypatch.setenv("LISTED", f"{tmp_path}/listed")


def on_server(tmp_path: Path, *backups: tuple[float, int]) -> list[str]:
    """Let the server list backups, each so many hours old, and of a size; return their volumes."""
    lines = ["Volid                                    Format  Type          Size VMID"]
    volumes = []
    for hours, size in backups:
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - hours * HOUR))
        volumes.append(f"vault:backup/ct/950/{made}")
        lines.append(f"{volumes[-1]} pbs-ct  backup {size:>11} 950")
    (tmp_path / "listed").write_text("\n".join(lines) + "\n")
    return volumes


def test_storages_are_asked_where_they_keep_backups(
    node: Rooted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_program("pvesm", PVESM, tmp_path, monkeypatch)
    found = backup.find(node, 950)
    ours = f"{node.root}{backup.DUMP}"
    assert found.places == (f"{tmp_path}/dump", ours)
    said = "vault (pbs, unlisted, vault: error fetching datastores - 401)"
    assert found.unasked == ("nas (nfs, inactive)", said)
    with pytest.raises(FactError) as raised:
        judge(node, found)
    assert str(raised.value) == (
        f"no backup of container 950 in {tmp_path}/dump, {ours} counts "
        f"(none is in {tmp_path}/dump, {ours}), and nas (nfs, inactive), {said} "
        "cannot be listed; for a verdict, make one that the node can read: "
        f"vzdump 950 --mode snapshot --compress zstd --dumpdir {tmp_path}/dump"
    )
    make_backup(Plain(node), 950, f"{tmp_path}/dump")  # type: ignore[arg-type]
    judge(node, backup.find(node, 950))


def of_server(node: Rooted) -> None:
    judge(node, backup.find(node, 950))


def test_what_a_backup_server_lists_is_judged_as_far_as_that_goes(
    node: Rooted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_program("pvesm", PVESM, tmp_path, monkeypatch)
    _, volume = on_server(tmp_path, (30, 5 << 20), (2, 3 << 20))
    with pytest.raises(FactError) as raised:
        of_server(node)
    assert str(raised.value) == (
        f"the newest backup of container 950 is {volume} (2.0 h old, 3.0 MiB), on a Proxmox Backup "
        "Server: it exists and is recent, but the node cannot verify its log and its content. Let "
        "the server verify it (Datastore, Verify). For a verdict here, make one that the node can "
        "read: "
        f"vzdump 950 --mode snapshot --compress zstd --dumpdir {tmp_path}/dump"
    )
    make_backup(Plain(node), 950, f"{tmp_path}/dump")  # type: ignore[arg-type]
    of_server(node)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ((30, 5 << 20), "is 30.0 h old, and 24 h are allowed"),
        ((-9, 5 << 20), "is dated 9.0 h in the future: a clock is wrong"),
        ((2, 1), "is empty"),
    ],
)
def test_what_a_backup_server_lists_may_be_enough_for_a_no(
    node: Rooted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: tuple[float, int], why: str
) -> None:
    with_program("pvesm", PVESM.replace("inactive ", "disabled "), tmp_path, monkeypatch)
    [volume] = on_server(tmp_path, made)
    with pytest.raises(AssertionError) as raised:
        of_server(node)
    assert str(raised.value) == (
        f"there is no backup of container 950 that counts: {volume} {why}; make one: "
        f"vzdump 950 --mode snapshot --compress zstd --dumpdir {tmp_path}/dump"
    )


def test_a_backup_server_that_has_none_is_a_no_for_the_container_and_not_for_the_node(
    node: Rooted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_program("pvesm", PVESM.replace("inactive ", "disabled "), tmp_path, monkeypatch)
    on_server(tmp_path)
    with pytest.raises(AssertionError, match="no backup of container 950 that counts: none is in"):
        of_server(node)
    with pytest.raises(FactError, match=r"/etc in .* counts .*, and vault cannot be listed"):
        steps.node_is_backed_up(node, backup.find(node, 950), Target("pve1", 950))


def test_what_apply_backs_up_counts_where_no_storage_is_for_backups(
    node: Rooted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_program("pvesm", PVESM, tmp_path, monkeypatch)
    on_server(tmp_path, (2, 3 << 20))
    make_backup(Plain(node), 950, f"{node.root}{backup.DUMP}")  # type: ignore[arg-type]
    of_server(node)


def test_storages_that_cannot_be_listed_are_an_error(
    node: Rooted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_program("pvesm", "#!/bin/sh\necho no quorum >&2; exit 5\n", tmp_path, monkeypatch)
    with pytest.raises(CommandFailed, match="no quorum"):
        backup.find(node, 950)


def test_without_proxmox_the_usual_place_is_looked_at(node: Rooted) -> None:
    assert backup.find(node, 950).places == (f"{node.root}{backup.DUMP}",)


def test_vzdump_is_used_where_it_is_and_believed_only_by_its_archive(
    node: Rooted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It exits 0 having done nothing for a container of another node."""
    with_program("vzdump", '#!/bin/sh\necho "$@" >"$DUMP/ran"\n', tmp_path, monkeypatch)
    with pytest.raises(VerifyFailed, match=r"container 950 .*does not count: it is not there"):
        make_backup(Plain(node), 950, f"{tmp_path}/dump")  # type: ignore[arg-type]
    ran = (tmp_path / "dump/ran").read_text().strip()
    assert ran == f"950 --dumpdir {tmp_path}/dump --mode snapshot --compress zstd"
