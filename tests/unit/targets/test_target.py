"""What a user may write after --target, and in a target file."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from commandline.target_option import with_target
from remediation import desired
from targets import connect, target_file
from targets.errors import FactError, TransportError, Unreachable, UsageError
from targets.runtime.lxc import Lxc
from targets.runtime.pct import Pct
from targets.ssh.address import SshAddress
from targets.target import EXPECTED, Target, parse
from tests.doubles.scripted import Answer, Scripted

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = ", ".join(Target.__struct_fields__)
PHOENIX = ("sh", "-c", "command -v phoenix")


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
        template = "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"
        storage = "local-lvm"
        provision = "make -C '/srv/my things' ct-{ctid}"
        backup_age = 12
        audit = "kernel"

        [here]
        host = "local"
        ctid = 100
        """
    )
    return path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("lab/950", "lab/950"),
        ("local/100", "local/100"),
        ("pve1/950", "pve1/950"),
        ("root@pve1:22/950", "root@pve1/950"),
        ("admin@10.0.0.1:2222/950", "admin@10.0.0.1:2222/950"),
    ],
)
def test_targets(text: str, shown: str) -> None:
    assert str(parse(text)) == str(target_file.find(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("", "lab", "lab/", "lab/abc", "lab/99", "a b/950", "pve1:0/950", "pve1:99999/950", "/1"),
        *("root@lab/950", "local:22/950"),
    ],
)
def test_anything_else_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="target"):
        parse(text)


def test_the_default_is_the_lab_whose_containers_are_ours() -> None:
    assert target_file.find(None) == parse("lab/950")
    assert parse("lab/950").reserved == (951, 952)
    assert parse("lab/951").reserved == (952,)
    assert parse("pve1/950").reserved == ()


def test_the_default_repository_is_the_plans() -> None:
    assert Target("lab", 950).repository == desired.REPOSITORY


def test_a_target_by_its_name(file: Path) -> None:
    found = target_file.find("pve1", file)
    identity = Path("~/.ssh/pve").expanduser()
    assert found.address == SshAddress(
        "pve1.example.com", 2222, "admin", identity, jump="bastion,me@inner:2200"
    )
    assert (found.sudo, found.runtime, found.reserved) == (True, "pct", (951, 952))
    assert (found.storage, found.backup_age, found.audit) == ("local-lvm", 12.0, "kernel")
    assert str(found) == "admin@pve1.example.com:2222/950"
    assert target_file.find("here", file) == parse("local/100")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no target is called 'pve1'; it has: none"),
        ("[pve2]\n[pve3]", "no target is called 'pve1'; it has: pve2, pve3"),
        ("pve1 = = 1", "is not TOML: Invalid value (at line 1, column 8)"),
        (
            "host = 'pve1'\nctid = 950\n[pve1]\nuser = 'root'",
            (
                "host: stands outside of a table; write it below a line [NAME], which names the "
                "target that it is said of"
            ),
        ),
        (
            "[pve1]\nctid = 950",
            (
                "pve1: Object missing required field `host`; a target has at least "
                'host = "HOST" and ctid = NUMBER'
            ),
        ),
        (
            "[pve1]\nhost = 'a'\nctid = 950\nstorrage = 'b'",
            f"pve1: no such key: storrage (did you mean storage?); the keys are: {KEYS}",
        ),
        (
            "[pve1]\nhost = 'a'\nctid = 950\nusr = 'b'\nzzz = 1\nresrved = []",
            (
                "pve1: no such key: usr (did you mean user?), zzz, resrved (did you mean "
                f"reserved?); the keys are: {KEYS}"
            ),
        ),
    ],
)
def test_a_wrong_file_says_where_and_what(file: Path, content: str, said: str) -> None:
    assert refused(file, content) == f"targets.toml: {said}"


def refused(file: Path, content: str) -> str:
    """Return what the user of a target file is told, and ends with."""
    file.write_text(content)
    with pytest.raises(UsageError) as raised:
        target_file.find("pve1", file)
    assert raised.value.exit_code == 2
    return str(raised.value)


HOSTS = 'expected a host name, an alias of ~/.ssh/config, "local" or "lab"'
PLAIN = {"host": '"a"', "ctid": "950"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("host = 1", 'Expected `str`, got `int`; write host = "TEXT", in quotes'),
        ("host = ''", f"is empty; {HOSTS}"),
        ("host = ' '", f"is empty; {HOSTS}"),
        ("host = 'pve1/950'", f"'pve1/950' is no host; {HOSTS}"),
        (
            "host = 'admin@h'",
            """'admin@h' is more than a host; write host = "h" and user = "admin\"""",
        ),
        ("host = 'h:22'", """'h:22' is more than a host; write host = "h" and port = 22"""),
        ("ctid = '950'", "Expected `int`, got `str`; write ctid = NUMBER, without quotes"),
        ("ctid = 99", "99 is no container id; expected 100 to 999999999"),
        ("port = '22'", "Expected `int | null`, got `str`; write port = NUMBER, without quotes"),
        ("port = 0", "0 is no port; expected 1 to 65535"),
        ("port = 65536", "65536 is no port; expected 1 to 65535"),
        ("user = ''", "is empty; expected the user to log in as"),
        (
            "identity = '~/.ssh/absent'",
            (
                "'~/.ssh/absent' is no file; write the path of a private key on this machine, or "
                "leave it out: then the agent's and those in ~/.ssh are offered"
            ),
        ),
        (
            "jump = 'a b'",
            "'a b': expected [USER@]HOST[:PORT], more of them with commas between",
        ),
        ("jump = 'a,'", "'': expected [USER@]HOST[:PORT], more of them with commas between"),
        ("jump = 'a:0'", "'a:0': expected [USER@]HOST[:PORT], more of them with commas between"),
        (
            "sudo = 'yes'",
            "Expected `bool`, got `str`; write sudo = true or sudo = false, without quotes",
        ),
        ("runtime = 'docker'", "Invalid enum value 'docker'; expected one of: auto, pct, lxc"),
        (
            "audit = ''",
            "Invalid enum value ''; expected one of: auto, auditd, kernel",
        ),
        ("reserved = 951", "Expected `array`, got `int`; write reserved = [951, 952]"),
        ("reserved = [951, 7]", "7 is no container id; expected 100 to 999999999"),
        (
            "reserved = [951, 950]",
            (
                "holds 950, the target's own ctid, and reserved containers are destroyed; write "
                "others, or none: reserved = []"
            ),
        ),
        ("reserved = [951, 952, 951]", "holds 951 more than once; write each id once"),
        ("storage = ''", "is empty; expected a storage of the node (pvesm status)"),
        ("bridge = ''", "is empty; expected a bridge of the node (ip -br link)"),
        (
            "repository = ''",
            "is empty; expected the directory of phoenix's checkout; without one, leave it out",
        ),
        ("image = ''", "is empty; expected the image that Docker runs"),
        ("provision = 'x {vmid}'", "'x {vmid}': {vmid} is not known; write {ctid}"),
        (
            'provision = "x \'y"',
            """\"x 'y\": No closing quotation; expected a command line""",
        ),
        ("backup_age = 0", "is 0; expected hours, more than 0"),
    ],
)
def test_a_value_that_cannot_work_is_wrong_before_anything_is_asked(
    file: Path, line: str, said: str
) -> None:
    key, _, value = line.partition(" = ")
    lines = [f"{name} = {text}" for name, text in (PLAIN | {key: value}).items()]
    assert refused(file, "\n".join(["[pve1]", *lines])) == f"targets.toml: pve1.{key}: {said}"


def test_which_of_a_list_has_the_wrong_type(file: Path) -> None:
    said = refused(file, "[pve1]\nhost = 'a'\nctid = 950\nreserved = [951, 'x']")
    assert said == (
        "targets.toml: pve1.reserved[1]: Expected `int`, got `str`; write reserved = [951, 952]"
    )


@pytest.mark.parametrize(
    "line", ["host = 'fe80::1'", "provision = 'sh -c \"x ${HOME} {ctid}\"'", "jump = ''"]
)
def test_what_looks_odd_and_works(file: Path, line: str) -> None:
    key, _, value = line.partition(" = ")
    lines = [f"{name} = {text}" for name, text in (PLAIN | {key: value}).items()]
    file.write_text("\n".join(["[pve1]", *lines]))
    assert target_file.find("pve1", file).ctid == 950


def test_a_file_without_a_name_or_a_name_without_a_file(file: Path) -> None:
    with pytest.raises(UsageError) as raised:
        target_file.find(None, file)
    assert str(raised.value) == (
        "targets.toml: say which target is meant (--target NAME); it has: pve1, here"
    )
    with pytest.raises(UsageError) as raised:
        target_file.find("pve1")
    assert str(raised.value) == (
        f"target 'pve1': expected {EXPECTED}, or a name in a target file (--target-file)"
    )
    with pytest.raises(UsageError) as raised:
        target_file.find("pve1", Path("absent.toml"))
    assert str(raised.value) == "absent.toml: cannot be read: No such file or directory"


@pytest.mark.parametrize("text", ["root@pve1/951", "lab/950", "pve1/abc"])
def test_a_file_is_not_left_unread_in_silence(file: Path, text: str) -> None:
    with pytest.raises(UsageError) as raised:
        target_file.find(text, file)
    assert str(raised.value) == (
        f"--target-file is given, but {text!r} is not one of its names: pve1, here"
    )


def test_a_name_may_have_a_slash(file: Path) -> None:
    file.write_text("['pve1/a']\nhost = 'pve1'\nctid = 950")
    assert target_file.find("pve1/a", file) == parse("pve1/950")


def test_how_a_container_is_provisioned(file: Path) -> None:
    argv = target_file.find("pve1", file).provisioning(Scripted({}))
    assert argv == ["make", "-C", "/srv/my things", "ct-950"]
    there = Scripted({PHOENIX: (0, b"/usr/local/bin/phoenix\n", b"")})
    assert Target("local", 950).provisioning(there) == ["phoenix", "create", "950"]
    assert Target("local", 950).provisioning(Scripted({PHOENIX: (127, b"", b"")})) == []


def test_what_creates_a_container(file: Path) -> None:
    argv = target_file.find("pve1", file).creation(950, features=desired.FEATURES)
    assert argv == [
        *("pct", "create", "950", "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"),
        *("--hostname", "docker", "--rootfs", "local-lvm:8", "--memory", "2048"),
        *("--net0", "name=eth0,bridge=vmbr0,ip=dhcp", "--unprivileged", "1"),
        *("--features", "nesting=1,keyctl=1,fuse=1"),
    ]


def test_no_other_container_is_created_and_none_from_nothing(file: Path) -> None:
    assert target_file.find("pve1", file).creation(952)[2] == "952"
    with pytest.raises(UsageError, match="container 100 is neither the target's own nor reserved"):
        target_file.find("pve1", file).creation(100)
    with pytest.raises(FactError) as raised:
        target_file.find("here", file).creation(100)
    assert "the target has no template for container 100 on local" in str(raised.value)
    assert "template = 'local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst'" in str(raised.value)


def test_what_docker_pulls() -> None:
    assert Target("local", 950).reference == "hello-world"
    mirror = Target("local", 950, registry="registry.example:5000/library")
    assert mirror.reference == "registry.example:5000/library/hello-world"


def test_digest_of_the_form_is_taken_and_any_other_text_is_refused() -> None:
    digest = f"sha256:{'0' * 64}"
    assert Target("local", 950, digest=digest).digest == digest
    for wrong in (
        "latest",
        digest[:-1],
        f"{digest}0",
        digest.upper(),
        f"x@{digest}",
        f"{digest}\n",
    ):
        with pytest.raises(ValueError, match=r"digest: .* is no digest of an image"):
            Target("local", 950, digest=wrong)


def test_the_options_of_a_command(file: Path) -> None:
    @click.command()
    @with_target
    @click.option("--loud", is_flag=True)
    def show(asked: Target, loud: bool) -> None:
        click.echo(f"{asked} {loud}")

    def run(*args: str) -> tuple[int, str]:
        result = CliRunner().invoke(show, args)
        return result.exit_code, result.output

    assert run() == (0, "lab/950 False\n")
    assert run("--loud", "--target", "pve1/950") == (0, "pve1/950 True\n")
    assert run("--target-file", "targets.toml", "--target", "here") == (0, "local/100 False\n")
    code, said = run("--target", "nowhere", "--target-file", "targets.toml")
    assert code == 2
    assert "targets.toml: no target is called 'nowhere'; it has: pve1, here" in said


AUTO = ("sh", "-c", "command -v pct || command -v lxc-start")


@pytest.mark.parametrize(
    ("runtime", "argv", "answer", "kind"),
    [
        ("auto", AUTO, b"/usr/sbin/pct\n", Pct),
        ("auto", AUTO, b"/usr/bin/lxc-start\n", Lxc),
        ("pct", ("sh", "-c", "command -v pct"), b"/usr/sbin/pct\n", Pct),
        ("lxc", ("sh", "-c", "command -v lxc-start"), b"/usr/bin/lxc-start\n", Lxc),
    ],
)
def test_the_runtime_is_found_out(
    runtime: str, argv: tuple[str, ...], answer: bytes, kind: type
) -> None:
    asked = Target("local", 950, runtime=runtime)  # type: ignore[arg-type]
    assert type(connect._runtime(Scripted({argv: (0, answer, b"")}), asked)) is kind


@pytest.mark.parametrize(
    ("runtime", "argv", "tried"),
    [
        ("auto", AUTO, "neither pct nor lxc-start"),
        ("pct", ("sh", "-c", "command -v pct"), "no pct"),
        ("lxc", ("sh", "-c", "command -v lxc-start"), "no lxc-start"),
    ],
)
def test_no_runtime_is_an_error(runtime: str, argv: tuple[str, ...], tried: str) -> None:
    nothing: Answer = (127, b"", b"")
    asked = Target("local", 950, runtime=runtime)  # type: ignore[arg-type]
    with pytest.raises(TransportError) as raised:
        connect._runtime(Scripted({argv: nothing}), asked)
    assert str(raised.value) == (
        f"{tried} was found on scripted: is it the machine that manages the containers? "
        f"(runtime is {runtime!r})"
    )
    assert raised.value.exit_code == 3


def test_the_lab_where_nobody_says_how_to_reach_it_is_a_usage_error() -> None:
    with (
        pytest.raises(UsageError, match=r"target lab/950: the lab cannot be reached from here"),
        connect.opened(parse("lab/950")),
    ):
        pass


def test_the_lab_is_reached_as_the_caller_says_and_told_of() -> None:
    told: list[str] = []

    def lab(tell: Callable[[str], None]) -> SshAddress:
        tell("booting the node")
        with socket.socket() as probe:  # closed by the time that it is connected to
            probe.bind(("127.0.0.1", 0))
            return SshAddress("127.0.0.1", probe.getsockname()[1], "root", only_known=True)

    with (
        pytest.raises(Unreachable, match="the lab's node"),
        connect.opened(parse("lab/950"), lab=lab, tell=told.append),
    ):
        pass
    assert told == ["booting the node"]
