"""What is wrong with a line of a container's configuration, and what becomes of it."""

import pytest

from docker_lxc_gate.formats.container_config import FUSE_ENTRY, parse, parse_lxc
from docker_lxc_gate.formats.container_defects import defects, stopping

ENTRY = "lxc.mount.entry:"


@pytest.mark.parametrize(
    ("line", "kind", "said", "stops", "certain"),
    [
        ("colour", "line-dropped", "'colour' is no option", False, True),
        (f"{ENTRY} /dev/fuse", "mount-entry-cut", "lacks target, type, options", True, True),
        (f"{ENTRY} /a b none bind create=dir", "mount-entry-cut", "a blank within", False, True),
        (f"{ENTRY} /a /a none bind", "mount-target-absolute", "LXC ignores the entry", False, True),
        ("lxc.aa_profile: x", "key-former", "write lxc.apparmor.profile", True, True),
        ("feature: nesting=1", "key-unknown", "does nothing with it", False, True),
        ("theirs: 1", "key-unknown", "newer than pve-container", False, False),
        ("features: fuse=2", "features-invalid", "the next start fails", True, True),
        ("net0: name=e,ip=192.0.2.7", "value-invalid", "the next start fails", True, True),
        ("net0: name=e,theirs=1", "value-invalid", "newer than pve-container", False, False),
        ("mp0: /a", "value-invalid", "without this mount point", False, True),
        ("onboot: maybe", "value-invalid", "takes it for 1", False, True),
        ("cores: two", "value-invalid", "or 0", False, True),
        ("lxc.mount.auto: shmounts:", "value-invalid", "mounts by itself", True, True),
        (f"{ENTRY} /a b none rbind,optinal", "value-invalid", "ignores it", False, True),
        (f"{ENTRY} /a b none bind,uid=7", "value-invalid", "use chown", False, True),
        (f"{ENTRY} a b tmpfs create=dirs", "value-invalid", "option 'create=dirs'", False, True),
    ],
)
def test_defect_of_a_line_says_what_becomes_of_it(
    line: str, kind: str, said: str, stops: bool, certain: bool
) -> None:
    written = parse("", f"arch: amd64\n{line}\n")
    (defect,) = defects(written)
    assert defect.problem == f"container-{kind}"
    assert (defect.line, defect.stops, defect.certain) == (2, stops, certain)
    assert said in f"{defect.cause}; {defect.effect}"
    assert list(stopping(written)) == ([defect] if stops else [])


@pytest.mark.parametrize(
    "text",
    [
        f"{ENTRY} {FUSE_ENTRY}\n{ENTRY}\n",  # an empty one clears the list
        f"{ENTRY} /a /var/lib/lxc/950/rootfs/a none bind\n",
        f"{ENTRY} /a b none bind # by hand\n{ENTRY} /a b none bind 0 0 # by hand\n",
        "features: fuse=2\nfeatures: fuse=1\n",  # the last one wins
        "arch: amd64\n[pre]\nfeatures: fuse=2\nlxc.aa_profile: x\ntheirs: 1\nsnaptime: 1\n",
        "arch: amd64\n[pve:pending]\ndelete: net0\nmemory: 1024\n",
        "template: 1\nlock: backup\nparent: old\nunprivileged: 0\ntags: a;b\nentrypoint: /app -x\n",
        "lxc.init.uid: 7\nlxc.init.groups: 7\nlxc.environment.runtime: A=1\nenv: A=1\n",
        f"{ENTRY} /a b none bind 0, 0\n",  # LXC reads the numbers that a field begins with
        "# theirs: 1\n",
        "lxc.mount.auto: proc:rw sys:ro\tcgroup2:ro:force shmounts:/a:/b\nlxc.mount.auto:\n",
        *(
            f"lxc.cgroup2.devices.allow: {each}\n"
            for each in ("", "a", "a *:* rwm", "b 7:* rw", "/dev/null rw", "c 1:3 rwm # a")
        ),
        f"{ENTRY} //nas/a b cifs uid=7,gid=7\n",
        f"{ENTRY} a b tmpfs size=1,optinal,noauto\n{ENTRY} /a b none rbind,rslave,create=dir,x=1\n",
    ],
)
def test_line_that_does_what_it_says_has_no_defect(text: str) -> None:
    assert list(defects(parse("", text))) == []


DRI = f"dev0: /dev/dri/card0\n{ENTRY} /dev/dri dev/dri none"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dev0: /dev/kvm\ndev7: path=/dev//kvm,gid=9\n", "dev7 gives the container /dev/kvm"),
        ("features: fuse=1\ndev0: /dev/fuse\n", "so does fuse=1"),
        (f"{DRI} bind,optional,create=dir\n", "so does line 2"),
        (f"dev0: /dev/kvm\n{ENTRY} /dev/kvm dev/kvm none bind,create=file\n", "so does line 2"),
        (f"{DRI} bind,optional\n", ""),  # there is no place for it, so LXC leaves it out
        (f"{DRI} rbind,create=dir\n{ENTRY}\n", ""),  # an empty one clears the list
        (f"{DRI} bind,create=dir\nlxc.autodev: 0\n", ""),
        (f"dev0: /dev/dri/card0\n{ENTRY} /srv/dri dev/dri none bind,create=dir\n", ""),
        (f"features: fuse=0\ndev0: /dev/fuse\n{ENTRY} {FUSE_ENTRY}\n{ENTRY}\n", ""),
        ("dev0: /dev/kvm\ndev0: /dev/kvm\ndev1: /dev/dri/card0\n", ""),  # one line counts
        ("dev0: kvm\ndev1: kvm\n[pre]\ndev2: /dev/kvm\ndev3: /dev/kvm\n", ""),
    ],
)
def test_device_that_is_given_twice_stops_the_container(text: str, said: str) -> None:
    found = [each for each in stopping(parse("", text)) if each.problem == "device-given-twice"]
    assert [said in each.cause for each in found] == [True] * bool(said)


def test_defects_of_plain_lxc_are_those_of_lxc() -> None:
    text = (
        "lxc.rootfs.path = dir:/srv/one\nlxc.mount.entry = /a /srv/one/a none bind\n"
        "lxc.mount.entry = /a /b none bind\narch: amd64\nlxc.nosuch = 1\n"
        "lxc.network.type = veth\nlxc.rootfs = /a\n"
    )
    found = {each.line: each for each in defects(parse_lxc("", text))}
    assert {line: each.problem.removeprefix("container-") for line, each in found.items()} == {
        3: "mount-target-absolute",
        4: "lxc-line",
        6: "key-former",
        7: "key-former",
    }
    assert found[4].stops


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("lxc.aparmor.profile: x", "lxc.apparmor.profile"),
        ("lxc.mount.auto: proc cgroup:rww", "proc cgroup:rw"),
        ("lxc.cgroup2.devices.allow: c  10 200 rwm", "c 10:200 rwm"),
        (f"{ENTRY} /a b none bind,creat=dir 0 0", "/a b none bind,create=dir 0 0"),
    ],
)
def test_value_that_lxc_does_not_know_is_told_which_was_meant(line: str, meant: str) -> None:
    assert [each.meant for each in defects(parse("", line))] == [meant]


def test_values_that_are_pending_are_judged_as_those_in_effect() -> None:
    text = "memory: eight\n[PVE:pending]\ncores: two\ndelete: net0\n[old]\ncores: three\n"
    assert [each.line for each in defects(parse("", text))] == [1, 3]


def test_unknown_keys_are_judged_up_to_a_bound() -> None:
    """A stranger's file may hold a million of them."""
    keys = [f"{a}{b}x" for a in "abcdefghij" for b in "abcdefghij"]
    text = "".join(f"{key}: 1\n" for key in keys)
    assert 0 < len(list(defects(parse("", text)))) < len(keys)
