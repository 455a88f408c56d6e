"""What Proxmox makes of a container's file at a stop, held to the lab's front end."""

from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.formats.proxmox import dropped, normal_form
from docker_lxc_gate.lab.guest.pct.config import parse, serialise

_line = st.sampled_from(
    [
        *("", "  ", "\t", "# a: b%", "#", "#  Büro", "#%41%zz%", "#\udcff", " # indented", "#a\r"),
        *("arch: amd64", "arch:i386 ", "arch : x", " arch: x", "arch = x", "memory: 0512", "x: y"),
        *("onboot: yes", "onboot: maybe", "unprivileged: On", "features: nesting=yes,fuse=1"),
        *("net0: a\r", "rootfs: a", "mp0: b,mp=/b", "unused12: c", "description: a%3Ab", "tty: 00"),
        *("lxc.idmap = u 0 1 1", "lxc.idmap: g 0 1 1", "lxc.cap.drop:", "lxc.foo: 1"),
        *("lxc.apparmor.profile : x", "  lxc.idmap: u", "rubbish", "[2024-backup]", "[x]"),
        *("[pve:pending]", "[PVE:pending] ", "[old]", "[Old]", "[a_b-1]  ", "delete: net0"),
        *("lxc.environment.runtime: A=1", "lxc.environment.runtime = B=2", "env: C=3", "env: D=4"),
        *("lxc.init.uid: 7", "unused1: local:a", "mp1: local:a,mp=/a", "mp1: volume=local:a,mp=/b"),
        *("snaptime: 12", "parent: old", "ü: 1", "memory: ²", "lock: backup", "a\x0bb: c"),
    ]
)
_texts = st.lists(_line, max_size=14).map("\n".join)


@given(_texts, st.sampled_from(["", "\n"]))
def test_normal_form_of_any_configuration_is_what_the_labs_pct_writes(text: str, end: str) -> None:
    assert normal_form(text + end) == serialise(parse("950", text + end)[0])


@given(st.text(st.characters(exclude_categories=[]), max_size=60))
def test_normal_form_of_a_normal_form_is_itself_and_drops_nothing(text: str) -> None:
    once = normal_form(text.encode(errors="ignore").decode())
    assert normal_form(once) == once
    assert dropped(once) == frozenset()


def test_normal_form_has_the_environment_before_other_lxc_lines_and_no_volume_twice() -> None:
    assert normal_form(
        "lxc.init.uid: 7\nlxc.environment.runtime = B=2\nenv: A=1\nlxc.environment.runtime: C=\n"
        "unused0: local:a\nunused1: local:b\nmp0: local:a,mp=/a\nipmanagehost: yes\n[old]\n"
        "unused0: x\n"
    ) == (
        "ipmanagehost: yes\nmp0: local:a,mp=/a\nunused1: local:b\nlxc.environment.runtime: A=1\n"
        "lxc.environment.runtime: C=\nlxc.init.uid: 7\n\n[old]\nunused0: x\n"
    )
