"""The parser and the serialiser, against every recorded file and against made-up ones."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.guest.pct import lines
from lab.guest.pct.config import Config, Section, network, parse, serialise
from tests.doubles.nodes import proxmox_snapshots

from .cases import ALL, FILES

RECORDED_FILES = [name for name in FILES if name.startswith("file")]


@pytest.mark.parametrize("name", RECORDED_FILES)
def test_serialise_of_a_recorded_file_is_the_same_bytes(name: str) -> None:
    config, warnings = parse("200", ALL[name].stdout)
    assert warnings == ""
    assert serialise(config) == ALL[name].stdout


def test_parse_of_a_line_after_a_snapshots_header_puts_it_into_the_snapshot() -> None:
    config, _ = parse("210", ALL["file: line appended after a snapshot header"].stdout)
    assert config.current.raw == ()
    assert config.snapshots["pre"].raw == (("lxc.apparmor.profile", "lxc-phoenix-v2"),)


def test_snapshot_of_the_double_is_the_recorded_one() -> None:
    """The file of the recording, but for a line that was appended to it later."""
    recorded = ALL["file: line appended after a snapshot header"].stdout.replace(
        "lxc.apparmor.profile: lxc-phoenix-v2\n", ""
    )
    config, _ = parse("210", recorded)
    before = proxmox_snapshots.deleted(config, "pre")
    assert before == Config(before.current)
    snapshot = config.snapshots["pre"]
    time, about = int(snapshot.get("snaptime")), snapshot.description
    assert serialise(proxmox_snapshots.taken(before, "pre", time, about)) == recorded


def test_serialise_moves_comments_to_the_top_and_sorts_keys() -> None:
    text = "swap: 1\nlxc.include = /x\n# one\narch: amd64\n\n#two%3A\n"
    written = "# one\n#two%3A\narch: amd64\nswap: 1\nlxc.include: /x\n"
    assert serialise(parse("200", text)[0]) == written


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("dev/fuse", "unable to parse config: dev/fuse"),
        ("lxc.rootfs.path: /x", "lxc.rootfs.path: lxc.rootfs.path is auto generated from rootfs"),
        ("lxc.no.such: 1", "unable to parse config: lxc.no.such: 1"),
        ("lxc.mount.entry: /dev/fuse", ""),  # cut short, and nothing tells
        ("[no header", "unable to parse config: [no header"),
        ("memory: many", "unable to parse value of 'memory' - type check ('integer') failed - got"),
        ("colour: red", "unable to parse value of 'colour' - unknown setting 'colour'"),
        ("delete: swap", "property 'delete' is only allowed in [pve:pending]"),
    ],
)
def test_warnings_of_a_line_are_proxmoxs(line: str, complaint: str) -> None:
    said = lines.warnings("200", f"{line}\n")
    assert said.startswith(f"vm 200 - {complaint}") if complaint else said == ""


def test_network_in_any_order_is_printed_as_proxmox_prints_it() -> None:
    printed = network("bridge=lxcbr0,ip=dhcp,name=eth0", "BC:24:11:37:F6:C8")
    expected = "name=eth0,bridge=lxcbr0,hwaddr=BC:24:11:37:F6:C8,ip=dhcp,type=veth"
    assert printed == expected


printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)
names = st.text(string.ascii_lowercase, min_size=1).filter(
    lambda name: name not in {"description", "delete", "snapstate"}
)
about = st.lists(st.text(st.characters(exclude_categories=("Cs",))).map(lambda s: s + ":%"))
sections = st.builds(
    Section,
    st.dictionaries(names, printable),
    st.lists(st.tuples(st.sampled_from(["lxc.mount.entry", "lxc.net.0.type"]), printable)).map(
        tuple
    ),
    about.map(lambda parts: "".join(f"{p}\n" for p in "\n".join(parts).split("\n") if p)),
)
snapshots = st.dictionaries(st.text(string.ascii_lowercase, min_size=2), sections)
configs = st.builds(Config, sections, sections, snapshots)


def known(config: Config) -> Config:
    """What survives writing: keys that check_type rewrites (`onboot: yes`) come back canonical."""
    return parse("200", serialise(config))[0]


@given(configs)
def test_serialise_of_any_config_is_parsed_to_the_same(config: Config) -> None:
    once = known(config)
    assert known(once) == once
    assert serialise(once) == serialise(known(once))
    assert once.current.raw == config.current.raw
    assert once.current.description == config.current.description
    assert set(once.snapshots) == set(config.snapshots)
    assert once.pending.keys.keys() == config.pending.keys.keys()


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_encode_of_any_description_is_decoded_to_the_same(text: str) -> None:
    assert lines.decode(lines.encode(text)) == text
    assert "\n" not in lines.encode(text)


@given(st.text())
def test_parse_of_any_text_is_stable_after_one_write(text: str) -> None:
    config, _ = parse("200", text)
    written = serialise(config)
    assert serialise(parse("200", written)[0]) == written
