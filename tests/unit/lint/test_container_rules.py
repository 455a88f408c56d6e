"""A container's configuration: what is found at its edges, and what is left alone, and fixed.

Fixing is exact, keeps what was there, and overwrites nothing that changed since.
"""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.lint.check import check
from docker_lxc_gate.lint.finding import Edit, Kind, Severity, Source
from docker_lxc_gate.lint.fixes import certain, edited, write
from docker_lxc_gate.lint.rules.container_confinement import unneeded
from tests.doubles.examples import examples
from tests.doubles.naming import naming

HEAD = "arch: amd64\nfeatures: nesting=1,fuse=1\nostype: debian\nrootfs: local:1\nunprivileged: 1\n"
PATH = "/etc/pve/lxc/950.conf"
ALLOW = "lxc.cgroup2.devices.allow:"
NAMED = "lxc.apparmor.profile: lxc-docker\n"
SNAPSHOT = f"{HEAD}{NAMED}\n[a1]\n{HEAD}{NAMED}"


def ids(text: str, *more: Source, kind: Kind = Kind.CONTAINER) -> list[str]:
    source = Source(PATH, text.encode(errors="surrogateescape"), kind)
    return [each.id.removeprefix("container-") for each in check([source, *more])]


def fixed(text: str) -> str:
    """The text once what is certain is fixed."""
    found = check([Source(PATH, text.encode(), Kind.CONTAINER)])
    return edited(text.encode(), certain(found).get(PATH, [])).decode()


UNPRIVILEGED = "unprivileged: 1\n"
PRIVILEGED = HEAD.replace(UNPRIVILEGED, "")
FUSE = HEAD.replace("nesting=1,fuse", "fuse")
USERS, GROUPS = "lxc.idmap: u 0 100000 65536\n", "lxc.idmap: g 0 100000 65536\n"
BIND = "lxc.mount.entry: /{} d none bind\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{HEAD}lxc.cgroup.relative: 0\nlxc.cgroup.dir.container: x\n", []),
        (f"{HEAD}{ALLOW} c 10:200 rwm\nlxc.mount.entry: /dev/net a none bind\n", []),
        (f"{HEAD}{ALLOW} c 10:229 rwm\n{ALLOW} c 1:3 rwm\n", []),
        (f"{HEAD}{ALLOW} c 10:200 rwm\nunprivileged: 0\n", ["option-twice", "privileged"]),
        (f"{HEAD}lxc.cap.drop: sys_time CAP_SYS_RAWIO none\n", ["capability-unknown"] * 2),
        (f"{HEAD}lxc.aa_profile = unconfined\n", ["key-former", "unconfined"]),
        (f"{HEAD}lxc.apparmor.profile: unconfined\n{NAMED}", ["option-twice"]),
        (f"{HEAD}lxc.apparmor.profile: :lxc-950:unconfined\n", []),
        (
            f"{HEAD}lxc.apparmor.profile: generated\nlxc.apparmor.allow_nesting: 1\n",
            ["features-overridden"],
        ),
        (f"{HEAD}lxc.apparmor.profile: lxc-container-default-cgns\n", ["features-overridden"]),
        (f"{FUSE}hostname: web-docker\n", ["nesting-off"]),
        (f"{FUSE}tags: a;docker\n", ["nesting-off"]),
        (f"{FUSE}mp0: local:2,mp=/var/lib/docker\n", ["nesting-off"]),
        (f"{FUSE}hostname: dockerless\n", []),
        (f"{FUSE}hostname: docker\n{NAMED}", []),  # its rules then decide
        (f"{FUSE}hostname: docker\nlxc.include: /srv/nesting.conf\n", []),
        (f"{HEAD}{BIND.format('a')}{BIND.format('b')}", ["option-twice"]),
        (f"{HEAD}{BIND.format('a')}lxc.mount.entry: /a d none bind,remount,ro\n", []),
        (f"{HEAD}{BIND.format('a')}lxc.mount.entry: /b d none bind,optional\n", []),
        (
            f"{HEAD}lxc.cgroup.devices.allow: c 10:200 rwm\ndev0: /dev/kvm\n{ALLOW} c 226:0 rwm\n",
            ["key-without-effect"],
        ),
        (f"{HEAD}lxc.cgroup.devices.allow: c 226:* rwm\ndev0: /dev/kvm\n{ALLOW} c 226:0 rwm\n", []),
        (f"{HEAD}{USERS}", ["idmap-invalid"]),  # no group at all
        (f"{HEAD}lxc.idmap: u 0 100000 0\n{GROUPS}", ["idmap-invalid"]),
        (f"{HEAD}lxc.idmap: u 0 100000 1000\n{GROUPS}", ["idmap-hole"]),
        (f"{HEAD}{USERS}lxc.idmap: u 65536 200000 1\n{GROUPS}", []),
        (f"{HEAD}lxc.idmap: u 0 1000 65536\nlxc.idmap: g 0 0 65536\n", ["idmap-root"]),
        (f"{HEAD}lxc.idmap: u 0 100000\n", ["idmap-invalid"]),
        (PRIVILEGED, ["privileged"]),
        (PRIVILEGED + USERS + GROUPS, []),
        # a profile that was there once, and was taken away since; one that was added since
        (f"{HEAD}\n[a1]\n{HEAD}{NAMED}\n[b2]\n{HEAD}", []),
        (f"{HEAD}{NAMED}\n[a1]\n{HEAD}", []),
        # pct never writes these keys behind a raw line: they were appended to a snapshot
        (f"{SNAPSHOT}features: nesting=1,keyctl=1\n", ["option-in-snapshot"]),
        (f"{SNAPSHOT}memory: 12\n", ["option-in-snapshot"]),
        (
            f"{HEAD}lxc.mount.entry: /dev/fuse\ndev/fuse\nnone\nbind,create=file\n",
            ["mount-entry-cut"],
        ),
        (f"{HEAD}lxc.cap.drop: {'xx ' * 1000}\n", ["capability-unknown"] * 200),  # a bound
        ("", ["rootfs-missing"]),
        ("lxc.mount.entry: /a b none bind\n", []),
    ],
)
def test_configuration_has_these_findings_alone(text: str, expected: list[str]) -> None:
    assert sorted(ids(text)) == sorted(expected)


@pytest.mark.parametrize(
    ("text", "kind", "severity"),
    [
        (f"{HEAD}{ALLOW} a\n", Kind.CONTAINER, Severity.ADVICE),
        (f"{HEAD}{ALLOW} c *:* rwm\n{ALLOW} b *:* rwm\n", Kind.CONTAINER, Severity.ADVICE),
        (f"{HEAD}dev0: /dev/x,deny-write=1\n{ALLOW} a\n", Kind.CONTAINER, Severity.WARNING),
        (
            f"{HEAD}lxc.cgroup2.devices.deny: c 10:1 rwm\n{ALLOW} a\n",
            Kind.CONTAINER,
            Severity.WARNING,
        ),
        (f"{PRIVILEGED}{ALLOW} a\n", Kind.CONTAINER, Severity.WARNING),
        ("lxc.idmap = u 0 1 2\nlxc.cgroup2.devices.allow = a\n", Kind.LXC, Severity.WARNING),
    ],
)
def test_right_to_every_device_is_advice_only_where_proxmox_gives_it_anyway(
    text: str, kind: Kind, severity: Severity
) -> None:
    found = check([Source(PATH, text.encode(), kind)])
    named = {each.id: each.severity for each in found}
    assert named["container-devices-all"] is severity


TUN = "lxc.mount.entry: /dev/net/tun dev/net/tun none bind,create=file\n"
DRI = "lxc.mount.entry: /dev/dri dev/dri none bind,create=dir\n"


@pytest.mark.parametrize(
    ("lines", "refused"),
    [
        (TUN, True),
        (f"{TUN}{ALLOW} c 10:* rwm\n", False),
        (f"{DRI}{ALLOW} c 226:128 rwm\n", False),
        (DRI, True),
        ("lxc.mount.entry: /dev/ttyUSB0 dev/ttyUSB0 none bind,optional,create=file\n", True),
        (f"{TUN}lxc.hook.pre-start: /srv/allow\n", False),
        (f"{TUN}lxc.cgroup.devices.allow: c 10:200 rwm\n", False),  # that has a finding of its own
        (UNPRIVILEGED + TUN, False),  # Proxmox refuses it no device
        (f"{UNPRIVILEGED}lxc.cgroup2.devices.deny: a\n{TUN}", True),
    ],
)
def test_device_without_its_right_is_found_where_lxc_has_a_list(lines: str, refused: bool) -> None:
    assert ("device-refused" in ids(PRIVILEGED + lines)) is refused


def test_capabilities_are_kept_in_a_privileged_container_alone() -> None:
    emptied = "lxc.uts.name = a\nlxc.cap.drop =\n"
    assert ids(emptied, kind=Kind.LXC) == ["capabilities-kept"]
    assert ids(emptied + USERS.replace(":", " =") + GROUPS.replace(":", " ="), kind=Kind.LXC) == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (HEAD + "lxc.cap.drop:\nlxc.mount.auto: cgroup:rw\n", {2, 6}),
        (HEAD + "lxc.apparmor.allow_nesting: 1\n", {2}),  # it is nesting
        (HEAD + "lxc.mount.entry: /tank/d var/lib/docker none bind\n", {2}),  # it has the images
        (HEAD + "lxc.apparmor.profile: unconfined\n", {2, 6}),
        (HEAD + NAMED, set[int]()),  # the profile may need both features
        (HEAD.replace(",fuse=1", ",fuse=0,keyctl=0") + "lxc.environment: A=b\n", set[int]()),
        (HEAD + "lxc.idmap: u 0 100000 65536\n[old]\nlxc.cap.drop:\n", {2}),
        ("features: fuse=1\nlxc.cap.drop:\n", {1, 2}),  # what somebody pastes
        (f"{PRIVILEGED}lxc.cap.drop:\n", {0}),  # was not tried
    ],
)
def test_what_docker_does_not_need_is_named_if_it_is_asked_for(text: str, lines: set[int]) -> None:
    found = list(unneeded(Source(PATH, text.encode(), Kind.CONTAINER)))
    assert {each.line for each in found} == lines
    wanted = "not-checked" if lines == {0} else "container-line-unneeded"
    assert {each.id for each in found} <= {wanted}
    assert "line-unneeded" not in ids(text)


def test_id_map_with_two_holes_names_both() -> None:
    maps = "lxc.idmap: u 0 100000 65536\nlxc.idmap: g 1 100001 10\nlxc.idmap: g 20 100020 65516\n"
    found = check([Source(PATH, (HEAD + maps).encode(), Kind.CONTAINER)])
    assert [(each.line, each.cause) for each in found] == [
        (7, "the group id 0 is not mapped"),
        (8, "the group ids 11 to 19 are not mapped"),
    ]


def test_file_full_of_what_nobody_knows_is_judged_up_to_a_bound() -> None:
    first, *others = check([Source(PATH, b"a:\n" * 50_007, Kind.CONTAINER)])
    assert (first.id, first.cause.split()[0]) == ("container-rootfs-missing", "there")
    assert sum("7 more lines" in each.cause for each in others) == 1
    assert len(others) == 50_001


def test_features_are_overridden_by_a_profile_without_mounts() -> None:
    def profile(rules: str) -> Source:
        text = f"include <tunables/global>\nprofile lxc-docker {{\n{rules}\n}}\n"
        return Source("/etc/apparmor.d/lxc-docker", text.encode(), Kind.PROFILE)

    base = "  #include <abstractions/lxc/container-base>"
    assert ids(HEAD + NAMED, profile(base)) == ["features-overridden"]
    assert ids(HEAD + NAMED, profile(f"{base}\n  mount fstype=fuse.*,")) == []
    assert ids(HEAD + NAMED, profile(f"{base}\n  include <abstractions/site>")) == []
    without = HEAD.replace("nesting=1,fuse=1", "keyctl=1")
    assert ids(without + NAMED, profile(base)) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("swap: 1\n".encode("utf-16"), "iconv -f UTF-16 -t"),
        ("swap: 1\n".encode("utf-16-le"), "iconv -f UTF-16LE -t"),
        (b"swap: 1\n\0", "null bytes"),
    ],
)
def test_file_that_is_no_text_has_one_finding(content: bytes, said: str) -> None:
    for kind in (Kind.CONTAINER, Kind.LXC, Kind.PROFILE):
        (only,) = check([Source("/etc/pve/lxc/950.conf", content, kind)])
        assert only.id == "file-not-text"
        assert said in only.cause


def test_snippet_without_rootfs_is_left_alone() -> None:
    assert check([Source("/a/snippet.conf", b"unprivileged: 1\n", Kind.CONTAINER)]) == []


# -- what is certain is fixed


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("swap : 1\n", "swap: 1\n"),
        ("  swap: 1\n", "swap: 1\n"),
        ("  # a word\n", "# a word\n"),
        ("lxc.aa_profile = lxc-docker\n", "lxc.apparmor.profile: lxc-docker\n"),
        ("lxc.mount.entry = /a  /a none bind\n", "lxc.mount.entry: /a a none bind\n"),
        ("lxc.mount.entry = a\nb\nnone\nbind\n", "lxc.mount.entry = a b none bind\n"),
        (
            "".join(f"lxc.mount.entry: {field}\n" for field in ("a", "b", "none", "bind")),
            "lxc.mount.entry: a b none bind\n",
        ),
        ("mp0: local:1, mp = /a b\n", "mp0: local:1,mp=/a b\n"),
        ("\ufeffswap: 1\n", "swap: 1\n"),
        ("swap : 1\r\n", "swap: 1\r\n"),
        # what is left to the reader: which target, key or options were meant, nobody knows
        *((text, text) for text in ("lxc.mount.entry: /dev/fuse\n", "colour : red\n")),
        *((text, text) for text in ("lxc.network.type: veth\n", "[before]\nswap : 1\n")),
        ("lxc.mount.entry: a\nb\nc\nd\n", "lxc.mount.entry: a\nb\nc\nd\n"),
    ],
)
def test_certain_fix_changes_its_lines_only(before: str, after: str) -> None:
    assert fixed(HEAD + before) == HEAD + after
    assert bool(ids(HEAD + after)) is (before == after)


def test_key_that_proxmox_lets_not_through_is_to_go_into_a_file_that_it_includes() -> None:
    text = b"arch: amd64\nlxc.sysctl.net.ipv4.ip_forward: 1\nswap = 1\n"
    one, other = check([Source("/a/part.conf", text, Kind.CONTAINER)])
    assert (one.id, one.line, one.edit) == ("container-line-dropped", 2, None)
    assert "lxc.include: FILE" in one.fix
    assert other.fix == "Write 'swap: 1'."


_lines = st.sampled_from(
    [
        *("arch : x", " swap: 1", "swap: 1", "memory = 1", " # c", "lxc.aa_profile: lxc-a"),
        *("lxc.mount.entry: a", "b", "none", "bind", "0", "lxc.tty.max = 1", "lxc.tty.max: 1"),
        *("[before]", "[2024]", "rubbish", "", "\udcff", "lxc.mount.entry = a"),
    ]
)


@examples(100)
@given(st.lists(_lines, max_size=12).map("\n".join))
def test_fixed_file_has_no_certain_fix_left_and_keeps_all_other_lines(text: str) -> None:
    def found(content: bytes) -> list[Edit]:
        return certain(check([Source("/a", content, Kind.CONTAINER)])).get("/a", [])

    before = text.encode(errors="surrogateescape")
    content = before
    for _ in range(4):  # a line that is fixed can make another one certain
        content = edited(content, found(content))
    assert found(content) == []
    kept = {line for line in before.split(b"\n") if line in {b"[2024]", b"[before]"}}
    assert kept <= set(content.split(b"\n"))


def test_write_keeps_a_copy_and_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "950.conf"
    path.write_bytes(b"a")
    path.chmod(0o640)
    assert write(str(path), b"a", b"b") == f"{path}.bak"
    assert write(str(path), b"b", b"c") == f"{path}.bak2"
    assert [each.read_bytes() for each in sorted(tmp_path.iterdir())] == [b"c", b"a", b"b"]
    assert [each.stat().st_mode & 0o777 for each in tmp_path.iterdir()] == [0o640] * 3


def test_write_follows_a_link_that_was_named(tmp_path: Path) -> None:
    path = tmp_path / "950.conf"
    path.write_bytes(b"a")
    (tmp_path / "link").symlink_to(path)
    write(str(tmp_path / "link"), b"a", b"b")
    assert (tmp_path / "link").is_symlink()
    assert path.read_bytes() == b"b"


def test_write_refuses_what_was_changed_since(tmp_path: Path) -> None:
    path = tmp_path / "950.conf"
    path.write_bytes(b"new")
    with naming(FactError, path, "changed"):
        write(str(path), b"a", b"b")
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"new"]
    with naming(FactError, tmp_path / "absent", "No such file"):
        write(str(tmp_path / "absent"), b"a", b"b")


def test_lines_that_say_two_things_of_one_key_are_not_fixed() -> None:
    text = b"memory = 512\n swap: 1\nmemory : 1024\n"
    found = check([Source("/a", text, Kind.CONTAINER)])
    assert [each.line for each in found] == [1, 2, 3]
    assert edited(text, certain(found)["/a"]) == b"memory = 512\nswap: 1\nmemory : 1024\n"


def test_write_gives_owner_and_mode_to_its_own_file_whatever_is_put_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, path = tmp_path / "victim", tmp_path / "950.conf"
    victim.write_bytes(b"v")
    victim.chmod(0o600)
    path.write_bytes(b"a")
    path.chmod(0o666)
    fsync = os.fsync

    def swapped(opened: int) -> None:
        fsync(opened)
        for name in ("950.conf.bak", "950.conf.lint-new"):
            if (tmp_path / name).is_file():
                (tmp_path / name).unlink()
                (tmp_path / name).symlink_to(victim)

    monkeypatch.setattr(os, "fsync", swapped)
    write(str(path), b"a", b"b")
    assert victim.stat().st_mode & 0o777 == 0o600
    assert victim.read_bytes() == b"v"


def test_write_while_the_directory_is_exchanged_for_a_link_stays_in_the_old_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, moved, victim = (tmp_path / name for name in ("lxc", "moved", "victim"))
    for each in (folder, victim):
        each.mkdir()
        (each / "950.conf").write_bytes(b"a")
    fsync = os.fsync

    def exchanged(opened: int) -> None:
        fsync(opened)
        if not folder.is_symlink():
            folder.rename(moved)
            folder.symlink_to(victim)

    monkeypatch.setattr(os, "fsync", exchanged)
    write(str(folder / "950.conf"), b"a", b"b")
    assert [each.read_bytes() for each in victim.iterdir()] == [b"a"]
    assert (moved / "950.conf").read_bytes() == b"b"
    assert len([*moved.iterdir()]) == 2


def test_write_to_a_pipe_in_the_place_of_a_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "950.conf"
    os.mkfifo(pipe, 0o644)
    with naming(FactError, pipe, "no regular file"):
        write(str(pipe), b"", b"b")
    assert list(tmp_path.iterdir()) == [pipe]


def test_number_with_a_comment_is_taken_by_proxmox_and_is_advice() -> None:
    for value, severity in (("16384  # 16 GB", Severity.ADVICE), ("much", Severity.ERROR)):
        source = Source("101.conf", f"memory: {value}\nrootfs: a:1\n".encode(), Kind.CONTAINER)
        (found,) = [each for each in check([source]) if each.line == 1]
        assert found.severity is severity
