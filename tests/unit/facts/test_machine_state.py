"""The witness reads what a machine says of itself, and knows what may differ."""

import hashlib
import os
import re
import tomllib
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import machine_state
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.transport import Local
from tests.doubles.answering import Answering
from tests.doubles.canned import Machine, Runtime
from tests.doubles.naming import naming
from tests.doubles.samples import sample

SAID = sample("machine_state.txt")

PROGRAMS = tuple(
    program("docker_lxc_gate.facts", f"{name}.pl") for name in ("files", "kernel_state")
)


def asked(said: str = SAID, code: int = 0) -> Answering:
    """A machine that says this of itself."""
    return Answering(lambda _: (code, said.encode(), b"find: it went wrong"), "pve1")


def record(said: str = SAID, code: int = 0) -> dict[str, str]:
    return machine_state.record(asked(said, code))


def test_record_of_a_machine_has_every_part() -> None:
    found = record()
    assert found["file /etc/link"] == "l 777 0:0 3 a b|12.5 4 9.5"
    assert found["content of /etc/hosts.allow"].startswith("0123")
    assert found["attributes of /etc/hosts.allow"] == "user.x=0x31\nuser.y=0x32"
    assert found["attributes of /etc/link"] == "user.z=0x33"
    assert found["package bash:amd64"] == "ii  5.2"
    assert found["policy lxc-phoenix-v2"] == "enforce"
    assert found["unit /run/systemd/system/docker.service"] == "l /lib/docker.service"
    assert found["mount /"] == "/dev/vda ext4 rw; overlay overlay rw"
    assert found["content of /etc/two  blanks"] == "4567"
    assert found["flags of /etc/motd"] == "i"
    assert found["sysctl vm/swappiness"] == "60"
    assert found["firewall Docker's ip nat"] == "2 line(s), def"
    assert found["running ssh.service sshd"] == "1 with abc"
    assert not [key for key in found if key.split(" ", 1)[-1] in {"", "of "}]
    odd = "/etc/two\u2028SHA256  /etc/motd"  # a name with another line separator
    assert record(SAID.replace("/etc/two  blanks", odd))[f"content of {odd}"] == "4567"


def test_record_without_getfattr_has_no_attributes() -> None:
    head, _, rest = SAID.partition("# file:")
    none = f"{head}# file: not seen\nno getfattr\n\n== package{rest.partition('== package')[2]}"
    attributes = {k: fact for k, fact in record(none).items() if k.startswith("attributes of")}
    assert attributes == {"attributes of not seen": "no getfattr"}
    assert machine_state.not_seen(attributes) == "attributes: no getfattr"


@pytest.mark.parametrize(("said", "code"), [(SAID, 9), ("", 0), (SAID.replace("bash", ""), 1)])
def test_record_of_what_cannot_be_seen_is_an_error(said: str, code: int) -> None:
    with naming(FactError, "pve1"):
        record(said, code)


PRESET = "/etc/systemd/system-preset/00-pve.preset"
GETTY = "/etc/systemd/system/getty.target.wants/container-getty@1.service"

WRITTEN, LINK = "f 644 0:0 9 |12.5 4", "l 777 0:0 9 there|12.5 4"
ALLOW = ("file /etc/hosts.allow", "f 644 0:0 7 |11.5 3 9.5")
ETC = ("file /etc", "d 755 0:0 4096 |10.5 2 9.5")


@pytest.mark.parametrize(
    ("key", "was", "now", "differs"),
    [
        (*ALLOW, "f 644 0:0 7 |11.5 99 8.5", False),  # put back: another inode
        (*ALLOW, "f 644 0:0 7 |11.6 3 9.5", True),
        (*ALLOW, "f 600 0:0 7 |11.5 3 9.5", True),
        (*ETC, "d 755 0:0 8192 |99.5 2 9.5", False),
        (*ETC, "d 700 0:0 4096 |10.5 2 9.5", True),
        (*ETC, "d 755 0:1 4096 |10.5 2 9.5", True),
        ("file /var/lib/docker/rolled-back-1/x", "f 644 0:0 7 |1 2", "f 644 0:0 8 |1 2", False),
        ("sysctl vm/swappiness", "60", "10", True),
        ("firewall Docker's ip nat", "2 line(s), def", "3 line(s), def", False),
        (f"container: file {PRESET}", WRITTEN, "f 644 0:0 9 |78.5 9", False),
        (f"container: file {PRESET}", WRITTEN, "f 600 0:0 9 |12.5 4", True),
        (f"container: file {GETTY}", LINK, "l 777 0:0 9 there|78.5 9", False),
        (f"container: file {GETTY}", LINK, "l 777 0:0 9 elsewhere|12.5 4", True),
        (f"container: file {PRESET}.mine", WRITTEN, "f 644 0:0 9 |78.5 9", True),
        (f"node: file {PRESET}", WRITTEN, "f 644 0:0 9 |78.5 9", True),
        ("node: file /etc/resolv.conf", WRITTEN, "f 644 0:0 9 |78.5 9", False),
        ("node: file /etc/two", "", "x", True),  # a name with a line feed: find prints two lines
    ],
)
def test_comparable_after_rollback_facts_differ_by_all_but_what_may_differ(
    key: str, was: str, now: str, differs: bool
) -> None:
    """Files that each start writes may differ by their time alone."""
    other = {"sysctl kernel/x": "1"}
    comparable = machine_state.comparable_after_rollback
    before, after = (comparable({key: fact} | other) for fact in (was, now))
    assert bool(machine_state.differences(before, after)) is differs


@pytest.mark.parametrize("part", machine_state._TABLE.never_empty)
def test_record_without_one_part_is_an_error_that_names_it(part: str) -> None:
    said = re.sub(rf"(== {part}\n)[^=]*?\n(?=\n== |\Z)", r"\1", SAID)
    assert len(said) < len(SAID)
    with naming(FactError, f"({part})", "find: it went wrong"):
        record(said)


MAY_DIFFER = tomllib.loads(sample("may_differ.toml"))
MAY, MAY_NOT = MAY_DIFFER["anywhere"], MAY_DIFFER["nowhere"]
MAY_ON_NODE, MAY_IN_CONTAINER = MAY_DIFFER["node"], MAY_DIFFER["container"]


@pytest.mark.parametrize(
    ("place", "may", "may_not"),
    [
        ("", [*MAY, *MAY_ON_NODE, *MAY_IN_CONTAINER], MAY_NOT),
        ("node: ", [*MAY, *MAY_ON_NODE], [*MAY_NOT, *MAY_IN_CONTAINER]),
        ("container: ", [*MAY, *MAY_IN_CONTAINER], [*MAY_NOT, *MAY_ON_NODE]),
    ],
)
def test_comparable_after_rollback_leaves_out_what_may_differ_there_and_nothing_else(
    place: str, may: list[str], may_not: list[str]
) -> None:
    left_out = dict.fromkeys([f"{place}{key}" for key in may], "f |1 2")
    assert machine_state.comparable_after_rollback(left_out) == {}
    kept = {f"{place}{key}": "f |1 2" for key in may_not}
    assert machine_state.comparable_after_rollback(kept).keys() == kept.keys()


def test_comparable_after_rollback_keeps_the_configuration_and_no_process() -> None:
    keys = ["process first", "configuration", "configuration in effect"]
    state = dict.fromkeys(keys, "as long as it is")
    assert list(machine_state.comparable_after_rollback(state)) == [
        "configuration",
        "configuration in effect",
    ]
    assert machine_state.comparable_after_no_change(state) == state


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        ("node: file /var/lib/dpkg/status", True),
        ("container: file /var/lib/docker/x", False),
        ("node: file /etc/group-", True),
        ("node: active docker.service", True),
        ("node: active systemd-tmpfiles-clean.timer", True),
        ("node: active systemd-tmpfiles-clean.service", False),
        ("container: mount /mnt", True),
        ("container: mount /run/user/0", False),
        ("node: cgroup memory.high", True),
        ("node: cgroup memory.peak", False),
        ("process first", True),
    ],
)
def test_comparable_after_no_change_keeps_what_a_second_run_must_find(key: str, kept: bool) -> None:
    assert (machine_state.comparable_after_no_change({key: "x"}) == {key: "x"}) is kept


def test_comparable_after_no_change_takes_ctime_of_files_whose_content_is_not_known() -> None:
    state = {
        "node: file /etc/a": "f 644 0:0 1 |2.5 3 4.5",
        "node: content of /etc/a": "abc",
        "node: file /usr/bin/b": "f 755 0:0 1 |2.5 3 4.5",
        "node: file /etc/pve/c": "f 640 0:33 1 |2.5 3 2.5",  # pmxcfs gives it another inode
    }
    assert machine_state.comparable_after_no_change(state) == state | {
        "node: file /etc/a": "f 644 0:0 1 |2.5 3",
        "node: file /etc/pve/c": "f 640 0:33 1 |2.5",
    }
    units = {"node: active x.timer": "loaded active running", "node: active x.service": "a b c d"}
    fired = units | {"node: active x.timer": "loaded active"}
    for comparable in ("comparable_after_no_change", "comparable_after_rollback"):
        assert getattr(machine_state, comparable)(units) == fired
    rolled_back = machine_state.comparable_after_rollback(state)
    assert rolled_back["node: file /etc/a"] == "f 644 0:0 1  2.5"
    assert rolled_back["node: file /usr/bin/b"] == "f 755 0:0 1  2.5 4.5"


def test_differences_of_two_records_are_told_both_ways() -> None:
    assert machine_state.differences(
        {"a": "1", "b": "2", "d": "0"}, {"b": "3", "c": "4", "d": "0"}
    ) == ["a: 1 -> absent", "b: 2 -> 3", "c: absent -> 4"]
    for before, after in (({}, {"a": "1"}), ({"a": "1"}, {}), ({}, {})):
        with pytest.raises(FactError):
            machine_state.differences(before, after)


UNSEEN = {"node: address not seen": "no ip", "node: a": "1"}


@pytest.mark.parametrize(
    ("after", "lines"),
    [
        (UNSEEN, 0),  # neither time
        ({"node: address eth0 inet": "192.0.2.6/24", "node: a": "1"}, None),
        ({"node: address eth0 inet": "192.0.2.6/24", "node: a": "2"}, 3),  # that differs anyhow
        (UNSEEN | {"container: address eth0 inet": "192.0.2.6/24"}, 1),
    ],
)
def test_differences_of_a_part_that_was_seen_once_are_not_known(
    after: dict[str, str], lines: int | None
) -> None:
    for states in ((UNSEEN, after), (after, UNSEEN)):
        if lines is None:
            with naming(FactError, "node: address: no ip"):
                machine_state.differences(*states)
        else:
            assert len(machine_state.differences(*states)) == lines
    assert machine_state.not_seen(UNSEEN) == "node: address: no ip"


SHOW = "sh docker-witness"
DOCKER = "== unit\nId=docker.service\nMainPID=7\nended with 0\n\n== volume\nv local\nended with 0\n"


PLACE = "/sys/fs/cgroup/lxc/950"
CGROUP = (
    f"find {PLACE} /sys/fs/cgroup/lxc.payload.950 -maxdepth 1 -type f -perm -600 "
    "-exec grep -sH '' '{}' +"
)


def test_record_target_has_both_machines_and_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"pve1": {"policy x": "enforce", "file /a": "1"}, "container 950": {"file /a": "2"}}
    monkeypatch.setattr(machine_state, "record", lambda on: seen[on.machine])
    monkeypatch.setattr(Runtime, "started_with", lambda *_: "as started")
    inside = Machine({}, {SHOW: DOCKER}, "container 950")
    node = Machine(
        {"/etc/pve/lxc/950.conf": "arch: amd64\n"},
        {"lxc-info -P /var/lib/lxc -n 950 -p -H": "9\n", CGROUP: f"{PLACE}/memory.high:max\n"},
    )
    assert machine_state.record_target(Runtime(node, inside), 950) == {
        "node: cgroup memory.high": "max",
        "node: policy x": "enforce",
        "node: file /a": "1",
        "container: file /a": "2",
        "configuration": "arch: amd64\n",
        "configuration in effect": "as started",
        "process first": "9",
        "process dockerd": "MainPID=7",
        "container: docker volume v": "local",
    }
    del seen["pve1"]["policy x"]
    with naming(FactError, "pve1", "policy"):
        machine_state.record_target(Runtime(node, inside), 950)


def test_record_script_on_a_tree_lists_hashes_and_prunes(tmp_path: Path) -> None:
    """The script itself, on a tree of this machine's: what is pruned, hashed and listed."""
    node = asked()
    machine_state.record(node)
    script = node.ran[0][2]
    for asked_for in ("dpkg-query", "systemctl list-units"):
        script = script.replace(asked_for, f"echo {asked_for} #", 1)
    script = script.replace("/etc/pve", f"{tmp_path}/etc")
    for folder in ("priv/lock/ha_agent_pve1_lock", "priv/lock2", "nodes/pve1", "nodes/pve2"):
        (tmp_path / "etc" / folder).mkdir(parents=True)
        (tmp_path / "etc" / folder / "lrm_status").write_text("b")
    for name in ("a", ".version", "authkey.pub.old", "nodes/pve1/lrm_status.tmp.7"):
        (tmp_path / "etc" / name).write_text("a")
    (tmp_path / "etc/local").symlink_to("nodes/pve1")
    (tmp_path / "units").mkdir()
    (tmp_path / "units/masked.service").symlink_to("/dev/null")
    (tmp_path / "etc/nodes/pve1/kept").write_text("c")
    pruned = [path for path in machine_state._TABLE.pruned if path.startswith("/etc/pve/")]
    pruned = [path.replace("/etc/pve", f"{tmp_path}/etc") for path in pruned]
    argv = [
        *("sh", "-c", script, "witness", f"{tmp_path}/etc"),
        f"{tmp_path}/etc {tmp_path}/absent",
        f"{tmp_path}/units {tmp_path}/absent",
        *PROGRAMS,
        *(word for path in pruned for word in ("-path", path, "-prune", "-o")),
    ]
    looked = Local().run(argv)
    assert looked.stderr == b""
    parts = looked.text.split("\n== ")
    assert parts[2].startswith("flags\n")
    files, content = parts[1], parts[3]
    assert re.search(
        rf"^{tmp_path}/etc/a\tf 644 \d+:\d+ 1 \|[\d.]+ \d+ [\d.]+$", files, re.MULTILINE
    )
    seen = {line.split("\t")[0].removeprefix(f"{tmp_path}/etc") for line in files.split("\n")[1:]}
    assert seen - {""} == {
        *("/a", "/local", "/priv", "/priv/lock2"),
        *("/nodes", "/nodes/pve1", "/nodes/pve1/kept"),
    }
    hashed = dict(line.split("  ", 1)[::-1] for line in content.splitlines()[1:] if line)
    assert hashed.keys() == {f"{tmp_path}/etc{path}" for path in ("/a", "/nodes/pve1/kept")}
    units = next(part for part in parts if part.startswith("unit"))
    assert f"\n{tmp_path}/units/masked.service\tl /dev/null\n" in units
    assert hashed[f"{tmp_path}/etc/a"] == hashlib.sha256(b"a").hexdigest()


def test_file_that_was_exchanged_for_a_link_is_not_opened(tmp_path: Path) -> None:
    """Find lists what its owner exchanges before it is hashed: here by an action of find's own."""
    for name in ("kept", "odd\nname"):
        (tmp_path / name).write_text(name)
    hashes = ["perl", "-e", program("docker_lxc_gate.facts", "files.pl"), "hash", tmp_path]
    listed = [*hashes, "-type", "f", "-print0"]
    plain = Local().run([str(word) for word in listed])
    of = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("kept", "odd\nname")}
    assert sorted(plain.text.splitlines()) == sorted(
        [of["kept"] + f"  {tmp_path}/kept", of["odd\nname"] + rf"  {tmp_path}/odd\nname"]
    )
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)  # would be waited for
    (tmp_path / "way").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "way")
    (tmp_path / "way" / "file").touch()
    for exchanged in (fifo, tmp_path / "link" / "file"):
        (tmp_path / "list").write_bytes(os.fsencode(exchanged) + b"\0")
        argv = [*hashes, "-name", "list", "-exec", "cat", "{}", ";"]
        said = Local().look([str(word) for word in argv])
        assert (said.exit_code, said.stdout) == (9, b""), exchanged
        assert b"not the file any more" in said.stderr
