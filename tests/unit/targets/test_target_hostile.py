"""Target files and targets that are none: one sentence each, and nothing hangs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from remediation.cli.group import main
from targets import target_file
from targets.errors import UsageError
from targets.ssh.address import SshAddress
from targets.target import parse

HEAD = '[pve1]\nhost = "pve1"\nctid = 950\n'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("backup_age = nan", "backup_age: is nan; expected hours, more than 0"),
        ("backup_age = inf", "backup_age: is inf; expected hours, more than 0"),
        ('image = "--privileged"', "image: '--privileged' is no reference of an image"),
        ('image = "-v=/:/host"', "is no reference of an image"),
        ('image = "Hello World"', "is no reference of an image"),
        ('image = "hello-world --privileged"', "is no reference of an image"),
        ('registry = "--flag"', "registry: '--flag': expected HOST[:PORT][/PATH]"),
        ('repository = "phoenix"', "repository: 'phoenix' is not absolute"),
        ('repository = "../phoenix"', "is not absolute"),
        ('backups = "dump"', "backups: 'dump' is not absolute"),
    ],
)
def test_target_file_with_a_value_that_cannot_work_names_the_key(
    tmp_path: Path, line: str, said: str
) -> None:
    file = tmp_path / "targets.toml"
    file.write_text(HEAD + line)
    with pytest.raises(UsageError) as raised:
        target_file.find("pve1", file)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "image",
    [
        "hello-world",
        "hello-world:latest",
        "library/hello-world",
        "registry.example:5000/library/hello-world:1.0",
        "[fe80::1]:5000/hello-world",
        f"ghcr.io/one/a__b.c-d@sha256:{'0' * 64}",
    ],
)
def test_target_file_with_an_image_as_docker_names_it_is_taken(tmp_path: Path, image: str) -> None:
    file = tmp_path / "targets.toml"
    file.write_text(HEAD + f'image = "{image}"\nregistry = "registry.example:5000/library"')
    assert target_file.find("pve1", file).image == image


DEEP = 100_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[pve1]]\nctid = 950\n", "[[pve1]] is a list of tables; a target is one table: write [p"),
        (f"[{'a.' * 5_000}a]\n", "nested too deep|pve1"),
        (f"a = {'[' * DEEP}{']' * DEEP}\n", "nested too deep"),
        (f"a = {'{a = ' * DEEP}1{'}' * DEEP}\n", "nested too deep"),
        ("\xff\xfe", "is not TOML"),
    ],
    ids=["a list of tables", "dotted", "arrays", "inline tables", "no UTF-8"],
)
def test_target_file_of_another_shape_is_refused_in_one_line(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "targets.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError) as raised:
        target_file.find("pve1", file)
    assert any(each in str(raised.value) for each in said.split("|"))
    assert len(str(raised.value)) < 500


def test_target_file_that_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    fifo, huge = tmp_path / "fifo", tmp_path / "huge"
    os.mkfifo(fifo)
    with huge.open("wb") as file:
        file.truncate(1 << 32)
    for path, said in (
        (fifo, "is not a regular file"),
        (Path("/dev/zero"), "is not a regular file"),
        (tmp_path, "is not a regular file|Is a directory"),
        (huge, f"is too large ({1 << 32} bytes); a target file has at most 1 MiB"),
        (tmp_path / "absent", "cannot be read: No such file or directory"),
    ):
        with pytest.raises(UsageError) as raised:
            target_file.find("pve1", path)
        assert any(each in str(raised.value) for each in said.split("|"))


def test_plan_with_a_fifo_for_a_target_file_ends_with_2(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    argv = ["plan", "--target", "pve1", "--target-file", str(tmp_path / "fifo")]
    done = CliRunner().invoke(main, argv)
    assert done.exit_code == 2
    assert "is not a regular file" in done.output


@pytest.mark.parametrize(
    ("text", "host", "port", "user"),
    [
        ("root@[fe80::1%eth0]/950", "fe80::1%eth0", None, "root"),
        ("[::1]/950", "::1", None, None),
        ("me@[2001:db8::5]:2222/950", "2001:db8::5", 2222, "me"),
    ],
)
def test_target_with_an_ipv6_address_is_read_and_shown_as_it_was_given(
    text: str, host: str, port: int | None, user: str | None
) -> None:
    found = parse(text)
    assert (found.host, found.port, found.user) == (host, port, user)
    assert str(found) == text
    assert found.address == SshAddress(host, port, user)


@pytest.mark.parametrize("text", ["[::1/950", "::1/950", "[pve1]/950", "[]/950", "[::1]x/950"])
def test_target_with_brackets_around_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected lab/CTID"):
        parse(text)


def test_target_file_with_a_host_in_brackets_says_what_to_write(tmp_path: Path) -> None:
    file = tmp_path / "targets.toml"
    file.write_text('[a]\nhost = "[::1]:2222"\nctid = 950\n[b]\nhost = "::1"\nctid = 950\n')
    with pytest.raises(UsageError, match=r'write host = "::1" and port = 2222'):
        target_file.find("a", file)
    assert target_file.find("b", file).address == SshAddress("::1")
