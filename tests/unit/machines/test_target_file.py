"""Target files, right and wrong: an error names the file, the key and what to write instead."""

import errno
import os
from pathlib import Path

import pytest

from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.machines import target_file
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.target import Target, parse
from tests.doubles.naming import naming

PLAIN = {"host": '"a"', "ctid": "950"}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A target file in the current directory, so that messages name it shortly."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/pve").touch()
    path = Path("targets.toml")
    path.write_text(
        """
        [pve1]
        host = "pve1.example.com"
        ctid = 950
        port = 2222
        user = "admin"
        identity = "~/.ssh/pve"
        jump = "bastion,me@inner:2200"
        sudo = true
        runtime = "pct"
        reserved = [951, 952]
        storage = "local-lvm"
        backup_age = 12

        [here]
        host = "local"
        ctid = 100
        """
    )
    return path


def test_find_target_by_its_name_has_what_its_table_says(file: Path) -> None:
    found = target_file.find("pve1", file)
    identity = Path("~/.ssh/pve").expanduser()
    assert found.address == SshAddress(
        "pve1.example.com", 2222, "admin", identity, jump="bastion,me@inner:2200"
    )
    assert (found.sudo, found.runtime, found.reserved) == (True, "pct", (951, 952))
    assert (found.storage, found.backup_age) == ("local-lvm", 12.0)
    assert str(found) == "admin@pve1.example.com:2222/950"
    assert target_file.find("here", file) == parse("local/100")


def test_find_target_whose_name_has_a_slash_is_that_of_the_file(file: Path) -> None:
    file.write_text("['pve1/a']\nhost = 'pve1'\nctid = 950")
    assert target_file.find("pve1/a", file) == parse("pve1/950")


@pytest.mark.parametrize("text", [None, "root@pve1/951", "lab/950", "pve1/abc", "nowhere"])
def test_find_another_name_in_a_file_names_those_it_has(file: Path, text: str | None) -> None:
    with naming(UsageError, text or "--target NAME", "pve1, here"):
        target_file.find(text, file)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", ("'pve1'", "none")),
        ("pve1 = = 1", ("TOML", "line 1, column 8")),
        ("host = 'pve1'\nctid = 950\n[pve1]\nuser = 'root'", ("host", "[NAME]")),
        ("[pve1]\nctid = 950", ("pve1", "`host`", 'host = "TEXT"', "ctid = NUMBER")),
        (
            "[pve1]\nhost = 'a'\nctid = 950\nusr = 'b'\nzzz = 1\nresrved = []",
            ("usr (did you mean user?)", "zzz,", "resrved (did you mean reserved?)"),
        ),
        ("[[pve1]]\nctid = 950\n", ("[[pve1]]", "write [pve1]")),
        ("a = " + "[" * 10_000 + "]" * 10_000, ("nested",)),
        (f"[{'a.' * 5_000}a]\n", ()),
    ],
    ids=str,
)
def test_find_in_a_file_of_another_shape_says_where_and_what_in_one_line(
    file: Path, content: str, named: tuple[str, ...]
) -> None:
    file.write_bytes(content.encode("latin-1"))
    with naming(UsageError, "targets.toml", *named) as raised:
        target_file.find("pve1", file)
    assert raised.value.exit_code == 2  # type: ignore[attr-defined]
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("host = 1", 'host = "TEXT"'),
        ("host = ''", "lab"),
        ("host = 'admin@h'", 'host = "h" and user = "admin"'),
        ("host = '[::1]:2222'", 'host = "::1" and port = 2222'),
        ("ctid = '950'", "ctid = NUMBER"),
        ("port = 65536", "65536"),
        ("identity = '~/.ssh/absent'", "~/.ssh/absent"),
        ("jump = 'a:0'", "'a:0'"),
        ("sudo = 'yes'", "sudo = true or sudo = false"),
        ("runtime = 'docker'", "auto, pct, lxc"),
        ("reserved = 951", "reserved = [951, 952]"),
        ("reserved = [951, 950]", "reserved = []"),
        ("reserved = [951, 952, 951]", "951"),
        ("repository = 'phoenix'", "'phoenix'"),
        ("image = 'hello-world --privileged'", "'hello-world --privileged'"),
        ("provision = 'x {vmid}'", "{ctid}"),
        *((f"backup_age = {never}", never) for never in ("nan", "inf")),  # every backup would count
        ('provision = "x \'y"', "x 'y"),
    ],
)
def test_find_value_that_cannot_work_says_what_to_write(file: Path, line: str, named: str) -> None:
    """In one sentence, with its key."""
    with naming(UsageError, f"targets.toml: pve1.{line.split(maxsplit=1)[0]}", named) as raised:
        found_with(file, line)
    assert "\n" not in str(raised.value)


def found_with(file: Path, line: str) -> Target:
    """Return the target of a file that has this line beside what it must have."""
    key, _, value = line.partition(" = ")
    lines = [f"{name} = {text}" for name, text in (PLAIN | {key: value}).items()]
    file.write_text("\n".join(["[pve1]", *lines]))
    return target_file.find("pve1", file)


@pytest.mark.parametrize(
    "line",
    [
        *("host = 'fe80::1'", "provision = 'sh -c \"x ${HOME} {ctid}\"'", "jump = ''"),
        *("image = 'hello-world'", "image = 'hello-world:latest'", "image = 'library/hello-world'"),
        "image = 'registry.example:5000/library/hello-world:1.0'",
    ],
)
def test_find_value_that_looks_odd_and_works_is_taken(file: Path, line: str) -> None:
    key, _, value = line.partition(" = ")
    assert getattr(found_with(file, line), key) == value.strip("'")


def test_find_in_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    fifo, huge, absent = tmp_path / "fifo", tmp_path / "huge", tmp_path / "absent"
    os.mkfifo(fifo)
    with huge.open("wb") as file:
        file.truncate((1 << 16) + 1)
    for path, named in (
        (fifo, "regular file"),
        (Path("/dev/zero"), "regular file"),
        (tmp_path, "directory"),
        (absent, os.strerror(errno.ENOENT)),
        (huge, "larger than 64 KiB"),
    ):
        with naming(UsageError, path, named):
            target_file.find("pve1", path)
