"""Reading a container's configuration: what is in effect, what is not, and what it grants."""

import pytest

from docker_lxc_gate.formats import container_config, proxmox
from tests.doubles.samples import sample

NESTING, KEYCTL, FUSE = "nesting", "keyctl", "fuse"


@pytest.mark.parametrize(
    ("text", "seccomp", "given"),
    [
        ("", "", {KEYCTL}),
        ("lxc.apparmor.allow_nesting = 1", "", {NESTING, KEYCTL}),
        ("lxc.apparmor.profile = generated", "", {KEYCTL}),
        ("lxc.apparmor.profile = lxc-container-default-cgns", "", {KEYCTL}),
        ("lxc.apparmor.profile = lxc-container-default-with-nesting", "", {NESTING, KEYCTL}),
        ("", "2\ndenylist\nkeyctl errno 38\n", set()),
        (f"lxc.mount.entry = {container_config.FUSE_ENTRY}", "", {KEYCTL, FUSE}),
        ("lxc.mount.entry = /dev/fuse dev/fuse none", "", {KEYCTL}),
        ("lxc.mount.entry = /dev/fuse dev/fuse2 none bind", "", {KEYCTL}),
    ],
)
def test_granted_by_plain_lxc_follows_from_profile_entries_and_seccomp(
    text: str, seccomp: str, given: set[str]
) -> None:
    found = container_config.granted(container_config.parse("", text), seccomp)
    assert found == dict.fromkeys(given, "1")


WRITTEN = sample("container_config/written.conf")
#: The same as pct writes it.
ANEW = sample("container_config/written_by_pct.conf")


def test_volumes_are_disks_and_snapshots_however_pct_writes_them() -> None:
    assert container_config.volumes(WRITTEN) == {
        ("", "mp0", "local:x,mp=/x"),
        ("old", "[", "old"),
        ("old", "#", "of: old"),
        ("old", "features", "fuse=1"),
    }
    assert container_config.volumes(ANEW) == container_config.volumes(WRITTEN)
    escaped = "[old]\nhostname: a%3A\n"  # of a description alone Proxmox writes escapes
    assert ("old", "hostname", "a%3A") in container_config.volumes(escaped)


@pytest.mark.parametrize("key", ["rootfs", "mp12", "unused0", "parent", "lxc.rootfs.path"])
def test_volumes_by_key_names_it_and_no_longer_one(key: str) -> None:
    assert container_config.volumes(f"{key}: x\nX{key}: y\n{key}X: z\n") == {("", key, "x")}


def test_same_beside_volumes_of_a_file_rewritten_by_pct_is_true() -> None:
    assert container_config.same_beside_volumes(ANEW.replace("PVE:PENDING", "pve:pending"), WRITTEN)
    assert not container_config.same_beside_volumes(WRITTEN, ANEW)  # pct did not write the rubbish


@pytest.mark.parametrize(
    ("was", "is_", "same"),
    [
        ("mp0: local:x,mp=/x\n", "", True),
        ("[old]\n", "[new]\nrootfs: x\n[old]\n", True),
        ("fuse=1\n", "fuse=0\n", True),
        ("[pve:pending]\n", "\n[pve:pending]\n#\n", True),
        ("arch: amd64\n", "arch: i386\n", False),
        ("mp1: local:y\n", "", False),
        ("lxc.cap.drop = mknod\n", "lxc.cap.drop = mknod\nlxc.cap.drop = mknod\n", False),
        ("arch: amd64\n", "arch: amd64\n#another comment\n", False),
        ("arch: amd64\n", "arch: amd64\nwhat nobody can read\n", False),
        ("arch: amd64\n", "arch: amd64\nonboot: 1\n", False),
    ],
)
def test_same_beside_volumes_allows_disks_and_snapshots(was: str, is_: str, same: bool) -> None:
    assert was in WRITTEN
    assert container_config.same_beside_volumes(WRITTEN.replace(was, is_, 1), WRITTEN) is same


def test_same_beside_volumes_minds_the_order_of_raw_lines_alone() -> None:
    one, other = "lxc.include: a\n", "lxc.apparmor.profile: b\n"
    assert not container_config.same_beside_volumes(one + other, other + one)
    assert container_config.same_beside_volumes(f"{one}arch: x\n", f"arch: x\n{one}")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        *((line, "") for line in ("rubbish X\r", "[pre", "9lives: 1", "arch:", "  # a comment")),
        ("features : nesting=1", "blank before the colon"),
        ("arch = amd64", "'='"),
        (" arch: amd64", "blanks before it"),
        ("lxc.nosuch: x", "lxc.nosuch"),
        ("delete: net0", "[pve:pending]"),
        ("[2024-backup]", "lines below it"),
    ],
)
def test_line_that_proxmox_does_not_read_is_unreadable_for_a_cause(line: str, named: str) -> None:
    found = container_config.parse("", f"arch: amd64\n{line}\nmemory: 512\n")
    assert found.unreadable == ((2, line.strip("\r")),)
    assert found.current() == {"arch": "amd64", "memory": "512"}  # below no section either
    assert named in proxmox.unreadable(line)
    assert not named or "pct set" in proxmox.unreadable(line)


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("mp0:  a \r", ("mp0", "a")),
        ("lxc.include=/x", ("lxc.include", "/x")),
        ("lxc.cgroup2.cpuset.cpus:", ("lxc.cgroup2.cpuset.cpus", "")),
        ("lxc.aa_profile: x", ("lxc.aa_profile", "x")),
        ("unheard: of", ("unheard", "of")),
    ],
)
def test_parse_line_that_proxmox_reads_is_an_option(line: str, option: tuple[str, str]) -> None:
    found = container_config.parse("", f"{line}\n")
    assert ([(o.key, o.value) for o in found.options], found.unreadable) == ([option], ())


DOCKERS = ("nesting", "keyctl", "fuse")
NOW = "features: nesting=1,keyctl=1,fuse=1\nlxc.apparmor.profile: ours\nlxc.include: /x\n"


@pytest.mark.parametrize(
    ("pending", "lost"),
    [
        ("", ()),
        ("features: nesting=1,keyctl=yes,fuse=1,mknod=1\n", ()),
        ("features: nesting=1\n", ("keyctl", "fuse")),
        ("delete: net0,features\n", DOCKERS),
        ("lxc.include: /x\n", ("lxc.apparmor.profile",)),
        ("lxc.apparmor.profile: theirs\n", ("lxc.apparmor.profile",)),
    ],
)
def test_lost_at_next_stop_is_what_pending_takes_away(pending: str, lost: tuple[str, ...]) -> None:
    text = f"{NOW}[pve:pending]\n{pending}[pre]\nfeatures: fuse=0\n"
    assert container_config.lost_at_next_stop(container_config.parse("", text), DOCKERS) == lost


def test_quotes_around_a_value_of_lxc_are_stripped_as_lxc_does() -> None:
    text = 'lxc.apparmor.profile: "generated"\nlxc.mount.auto: \'sys:ro"\ndescription: "x"\n'
    assert container_config.parse("p", text).current() == {
        "lxc.apparmor.profile": "generated",
        "lxc.mount.auto": "'sys:ro\"",
        "description": '"x"',
    }
    plain = container_config.parse_lxc("p", "lxc.uts.name = 'a'\n").current()
    assert plain == {"lxc.uts.name": "a"}
