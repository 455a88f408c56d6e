"""What a user may write after --target, what a target says, and how its node is reached."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from docker_lxc_gate.errors import FactError, TransportError, UsageError
from docker_lxc_gate.machines import connect, target_file
from docker_lxc_gate.machines.runtime.lxc import Lxc
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.ssh.address import SshAddress
from docker_lxc_gate.machines.target import EXPECTED, Target, parse
from docker_lxc_gate.machines.transport import Local
from remediation import desired
from tests.doubles.naming import naming

TEMPLATE = "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("lab/950", "lab/950"),
        ("root@pve1:22/950", "root@pve1/950"),
        ("admin@10.0.0.1:2222/950", "admin@10.0.0.1:2222/950"),
        ("root@[fe80::1%eth0]/950", "root@[fe80::1%eth0]/950"),
    ],
)
def test_parse_target_is_shown_without_what_is_the_default(text: str, shown: str) -> None:
    assert str(parse(text)) == str(target_file.find(text)) == shown


def test_parse_target_with_an_ipv6_address_has_its_parts() -> None:
    assert parse("me@[2001:db8::5]:2222/950").address == SshAddress("2001:db8::5", 2222, "me")
    assert parse("root@[fe80::1%eth0]/950").address == SshAddress("fe80::1%eth0", None, "root")


@pytest.mark.parametrize(
    "text",
    [
        *("", "lab", "pve1", "lab/abc", "lab/99", "a b/950", "pve1:99999/950"),
        *("root@lab/950", "local:22/950", "root:secret@pve1/950"),
        *("lab/9\N{FULLWIDTH DIGIT FIVE}0", "root@pve1:2\N{FULLWIDTH DIGIT FIVE}/950"),
        *("[::1/950", "::1/950", "[pve1]/950"),
    ],
)
def test_parse_anything_else_is_a_usage_error_that_names_it(text: str) -> None:
    with naming(UsageError, repr(text), *([EXPECTED] if text == "pve1" else [])):
        parse(text)


def test_parse_lab_reserves_the_other_containers_of_the_lab() -> None:
    assert target_file.find(None) == parse("lab/950")
    assert parse("lab/950").reserved == (951, 952)
    assert parse("lab/951").reserved == (952,)
    assert parse("pve1/950").reserved == ()


def test_provisioning_is_the_targets_own_command() -> None:
    own = Target("local", 950, provision="make -C '/srv/my things' ct-{ctid}")
    assert own.provisioning() == ["make", "-C", "/srv/my things", "ct-950"]
    assert Target("local", 950).provisioning() == []


def test_creation_with_a_template_is_pcts_of_the_container_that_is_asked_for() -> None:
    target = Target("pve1", 950, reserved=(952,), template=TEMPLATE, storage="local-lvm")
    assert target.creation(950, features=desired.FEATURES) == [
        *("pct", "create", "950", TEMPLATE, "--hostname", "docker", "--rootfs", "local-lvm:8"),
        *("--memory", "2048", "--net0", "name=eth0,bridge=vmbr0,ip=dhcp", "--unprivileged", "1"),
        *("--features", "nesting=1,keyctl=1,fuse=1"),
    ]
    assert target.creation(952)[2] == "952"


def test_creation_of_another_container_or_from_nothing_is_refused() -> None:
    with naming(UsageError, "100"):
        Target("pve1", 950, reserved=(952,), template=TEMPLATE).creation(100)
    with naming(FactError, "100", f"template = '{TEMPLATE}'", "create = "):
        Target("local", 100).creation(100)


def test_target_digest_of_any_other_form_is_refused() -> None:
    digest = f"sha256:{'0' * 64}"
    assert Target("local", 950, digest=digest).digest == digest
    others = ("latest", digest[:-1], f"{digest}0", digest.upper(), f"x@{digest}", f"{digest}\n")
    for other in others:
        with naming(ValueError, "digest", repr(other)):
            Target("local", 950, digest=other)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make this machine one that has these programs, and on which we are root."""

    def have(*names: str) -> None:
        for name in ("sh", "timeout", "env", "head", "base64"):
            (tmp_path / name).symlink_to(shutil.which(name) or name)
        for name in ("id", *names):
            (tmp_path / name).write_text("#!/bin/sh\necho 0\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return have


@pytest.mark.parametrize(
    ("runtime", "there", "kind"),
    [
        ("auto", ("pct", "lxc-start"), Pct),
        ("lxc", ("pct", "lxc-start"), Lxc),
        ("auto", (), ("pct", "lxc-start")),
        ("pct", ("lxc-start",), ("pct",)),
    ],
)
def test_runtime_on_a_node_is_the_wanted_one_or_pct_before_lxc_or_named_as_missing(
    runtime: str, there: tuple[str, ...], kind: Any, programs: Callable[..., None]
) -> None:
    programs(*there)
    asked = Target("local", 950, runtime=runtime)  # type: ignore[arg-type]
    if isinstance(kind, type):
        with closing(Local()) as here:
            assert type(connect.runtime_on(here, asked)) is kind
        return
    missing = naming(TransportError, *kind, "localhost", f"runtime is {runtime!r}")
    with closing(Local()) as here, missing:
        connect.runtime_on(here, asked)


def test_opened_lab_without_a_way_to_it_is_a_usage_error() -> None:
    with naming(UsageError, "lab/950"), connect.opened(parse("lab/950")):
        pass
