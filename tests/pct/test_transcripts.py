"""The front end against what the real pct did, wherever no running LXC is needed to tell."""

import re
from pathlib import Path

import pytest

from docker_lxc_gate.lab.guest.pct.__main__ import main

from .cases import ALL, OFFLINE, comparable
from .scripted import ScriptedNode

AFTER_SET = ALL["file after set"].stdout
PENDING = ALL["file with a pending section"].stdout
ONE = AFTER_SET.replace("memory: 600", "memory: 512").replace("keyctl=1", "keyctl=1,fuse=1")
RAW = re.compile(r"vm-(\d+)-disk-0\.raw")
APPENDED = ALL["file: line appended after a snapshot header"].stdout
MALFORMED = "dev/fuse\nnonsense line\nlxc.rootfs.path: /x\n"
NAMED = "lxc.apparmor.profile: lxc-phoenix-v2\n"

# What the file holds before the call, by the words of the transcript's `state` or by its name.
BY_NAME = {
    "create": "",
    "config: malformed lines": AFTER_SET.replace("600", "640") + MALFORMED,
    "set: deletes malformed lines": AFTER_SET.replace("600", "640") + MALFORMED,
    "start: profile not loaded": AFTER_SET + "lxc.apparmor.profile: lxc-nosuch\n",
    "start: mount entry cut short": AFTER_SET + "lxc.mount.entry: /dev/fuse\n",
    "start: named profile overrides features": ONE + NAMED,
    "config: line appended after a snapshot header": APPENDED,
}
PENDING_SHOWN = ("config: pending shown", "config --current")

TOLD = {
    "exec: locked": "become",
    "push: directory missing": "enter",
    "start": "start",
    "start: profile not loaded": "start",
    "start: mount entry cut short": "start",
    "start: named profile overrides features": "start",
    "start: generated profile": "start",
    "stop": "kill",
    "stop: named profile": "kill",
    "shutdown": "shutdown",
}
ELF = b"\x7fELF" + bytes(14) + (62).to_bytes(2, "little")
TEMPLATE = {
    "bin/sh": ELF,
    "etc/hostname": b"template\n",
    "usr/lib/os-release": b'NAME="Debian GNU/Linux"\nID=debian\n',
    "usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so": b"",
}


def before(name: str) -> str:
    """The file's text before a call; empty: there is none."""
    if name in BY_NAME:
        return BY_NAME[name]
    state = ALL[name].state
    if name in PENDING_SHOWN:
        return PENDING
    if "lock: backup" in state:
        return ONE.replace("memory", "lock: backup\nmemory")
    return ONE if "200" in state or name in {*TOLD, "destroy"} else ""


def lxcs_words(stdout: str) -> str:
    """What lxc-start wrote, for Proxmox to show these lines: in the form lxc-attach still has."""
    own = [line for line in stdout.splitlines() if re.match(r"\w+: \d+ ", line)]
    said = [f"lxc-start: 200: ../src/lxc/some.c: {line}\n" for line in own]
    return "".join(said) + "lxc-start: 200: ../src/lxc/tools/lxc_start.c: lxc_start_main: 307 The\n"


@pytest.fixture
def node(tmp_path: Path) -> ScriptedNode:
    return ScriptedNode(str(tmp_path))


def prepare(node: ScriptedNode, name: str, tmp_path: Path) -> list[str]:
    """Bring the node into the state before a call; the argv, with paths of this machine."""
    case = ALL[name]
    ctid = next((word for word in case.argv if re.fullmatch(r"2\d\d", word)), "200")
    for kind in ("template/cache", f"images/{ctid}"):
        (tmp_path / "var/lib/vz" / kind).mkdir(parents=True)
    if text := RAW.sub(r"subvol-\1-disk-0.subvol", before(name)):
        node.conf(ctid).parent.mkdir(parents=True)
        node.conf(ctid).write_text(text)
        volume = "vm-210-disk-0" if ctid == "210" else "subvol-200-disk-0.subvol"
        (tmp_path / f"var/lib/vz/images/{ctid}/{volume}/etc").mkdir(parents=True)
    if "running" in case.state or name == "stop: named profile":
        node.alive.add(ctid)
    node.expected |= set(TOLD.get(name, "").split())
    node.starts[ctid] = lxcs_words(case.stdout) if case.exit else None
    archive = next((w for w in case.argv if w.startswith("local:vztmpl/debian")), None)
    if archive:
        (tmp_path / "var/lib/vz/template/cache" / archive.rpartition("/")[2]).touch()
        node.guest = TEMPLATE
    (tmp_path / "src").touch()
    moved = {"/tmp/src": str(tmp_path / "src")}  # noqa: S108
    argv = case.argv[case.argv.index("pct") :]
    return [moved.get(word, word) for word in argv]


@pytest.mark.parametrize("name", OFFLINE)
def test_pct_in_the_recorded_state_exits_and_says_as_recorded(
    name: str, node: ScriptedNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = ALL[name]
    code = main(prepare(node, name, tmp_path), node)
    out, err = capsys.readouterr()
    assert (code, comparable(out), comparable(err)) == (
        case.exit,
        comparable(case.stdout),
        comparable(case.stderr),
    )
    assert {call[0] for call in node.calls} - {"unpack"} == node.expected


# After the call the file is this, or prints as this.
AFTER = {"create": "config: after create", "set: deletes malformed lines": "file after set"}


@pytest.mark.parametrize(("name", "later"), AFTER.items())
def test_pct_after_the_call_leaves_the_file_of_the_next_recording(
    name: str, later: str, node: ScriptedNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = prepare(node, name, tmp_path)
    assert main(argv, node) == ALL[name].exit
    capsys.readouterr()
    if ALL[later].argv[0] == "cat":
        shown = node.conf(argv[2]).read_text()
    else:
        assert main(list(ALL[later].argv), node) == 0
        shown = capsys.readouterr().out
    assert comparable(shown) == comparable(ALL[later].stdout)


def test_stop_brings_what_is_pending_into_effect_and_writes_the_normal_form(
    node: ScriptedNode, tmp_path: Path
) -> None:
    argv = prepare(node, "stop", tmp_path)
    keys = [line for line in ONE.splitlines() if not line.startswith("#")]
    pending = "\n[pve:pending]\ndelete: swap\nonboot: 1\n"
    edited = ["", "# von Hand: Büro", "nonsense", "  memory: 600", *reversed(keys), pending]
    node.conf().write_text("\n".join(edited))
    assert main(argv, node) == 0
    later = sorted(line for line in [*keys, "onboot: 1"] if not line.startswith("swap"))
    assert node.conf().read_text().splitlines() == ["# von Hand%3A B%C3%BCro", *later]
