"""pct's own errors are told from the command's: by Proxmox's own words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scripted import Scripted

from remediation.errors import FactError, TransportError
from remediation.runtime import Lxc, Pct

TRANSCRIPTS = json.loads((Path(__file__).parents[1] / "pct/transcripts.json").read_text())["cases"]
CASES = {case["name"]: case for case in TRANSCRIPTS}
ENV = ("env", "HOME=/root", "LC_ALL=C.UTF-8", "timeout", "-k", "5", "60")
TRUE = ("pct", "exec", "200", "--keep-env", "0", "--", *ENV, "true")


def answering(name: str, argv: tuple[str, ...]) -> Pct:
    case = CASES[name]
    answer = (case["exit"], case["stdout"].encode(), case["stderr"].encode())
    return Pct(Scripted({argv: answer}))


@pytest.mark.parametrize("name", ["exec: absent", "exec: stopped"])
def test_a_container_that_cannot_be_entered_is_not_a_failed_command(name: str) -> None:
    with pytest.raises(TransportError, match="200"):
        answering(name, TRUE).inside(200).run(["true"])


@pytest.mark.parametrize(
    ("name", "code"),
    [("exec: true", 0), ("exec: exit 7", 7), ("exec: not found", 127), ("exec: locked", 0)],
)
def test_the_commands_own_exit_code_is_kept(name: str, code: int) -> None:
    result = answering(name, TRUE).inside(200).run(["true"])
    assert result.exit_code == code
    assert result.argv == ("true",)


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("status: absent", None),
        ("status: stopped", "stopped"),
        ("status: running", "running"),
        ("status: locked", "running"),
    ],
)
def test_states(name: str, state: str | None) -> None:
    assert answering(name, ("pct", "status", "200")).state(200) == state


def test_no_container_is_an_error_with_a_way_out() -> None:
    absent = (1, b"", b"cat: /etc/pve/lxc/200.conf: No such file or directory")
    pct = Pct(Scripted({("env", "LC_ALL=C", "cat", "--", "/etc/pve/lxc/200.conf"): absent}))
    with pytest.raises(FactError, match="pct list"):
        pct.configuration(200)


def test_includes_are_resolved_in_order() -> None:
    cat = ("env", "LC_ALL=C", "cat", "--")
    find = ("find", "-L", "/i.conf", "-maxdepth", "1", "-type", "f")
    node = Scripted(
        {
            (*cat, "/var/lib/lxc/200/config"): (
                0,
                b"lxc.apparmor.profile = ours\nlxc.include = /i.conf\n",
                b"",
            ),
            find: (0, b"/i.conf\n", b""),
            (*cat, "/i.conf"): (0, b"lxc.apparmor.profile = theirs\n", b""),
        }
    )
    assigned = Lxc(node).effective(200).all("lxc.apparmor.profile")
    assert [option.value for option in assigned] == ["ours", "theirs"]
