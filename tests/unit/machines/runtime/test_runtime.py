"""pct's own errors are told from the command's: by Proxmox's own words."""

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from threading import Timer

import pytest

from docker_lxc_gate.errors import Busy, FactError, RemediationError, TransportError, Unreachable
from docker_lxc_gate.machines.runtime import waiting
from docker_lxc_gate.machines.runtime.lxc import Lxc
from docker_lxc_gate.machines.runtime.pct import _ENDED, Pct, blocked
from docker_lxc_gate.machines.runtime.waiting import reboot, wait_until_booted
from docker_lxc_gate.machines.transport import Local
from tests.doubles.answering import Answering
from tests.doubles.naming import naming
from tests.doubles.samples import sample
from tests.doubles.scripted import Answer, Scripted

TRANSCRIPTS = json.loads((Path(__file__).parents[3] / "pct/transcripts.json").read_text())["cases"]
CASES = {case["name"]: case for case in TRANSCRIPTS}
ENV = ("env", "HOME=/root", "LC_ALL=C.UTF-8", "timeout", "-k", "5", "60")
ATTACH = (
    *("lxc-attach", "-P", "/var/lib/lxc", "-n", "200", "--clear-env", "-v"),
    *("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "--", *ENV, "true"),
)
NO_INIT = b"lxc-attach: 200: ../src/lxc/attach.c: get_attach_context: 406 Failed to get init pid\n"

CAT = ("cat", "--", "/etc/pve/lxc/200.conf")
SEEN = (
    *("find", "/etc/pve/lxc/200.conf", "-exec"),
    *("lxc-info", "-P", "/var/lib/lxc", "-n", "200", "-s", "-H", ";"),
)
UNSEEN: Answer = (1, b"", b"find: '/etc/pve/lxc/200.conf': No such file or directory\n")
FIND = ("find", "/etc/pve/nodes", "-path", "*/lxc/200.conf")
NOWHERE: Answer = (0, b"", b"")
ABSENT: Answer = (1, b"", b"cat: the configuration: No such file or directory")
CONTROL = ("sh", "control")
ALONE: Answer = (0, b"755\n", b"")


@pytest.mark.parametrize(
    ("runtime", "started", "listed"),
    [(Pct, "pct start", "pct list"), (Lxc, "lxc-start -n", "lxc-ls")],
)
def test_inside_container_that_cannot_be_entered_names_it_and_what_to_do(
    runtime: type[Pct | Lxc], started: str, listed: str
) -> None:
    """Of one that is not running, and of none."""
    config = ("cat", "--", runtime.config_path(runtime(Scripted({})), 200))
    for content, advice in (((0, b"a = b\n", b""), f"{started} 200"), (ABSENT, listed)):
        node = Scripted({ATTACH: (1, b"", NO_INIT), config: content, FIND: NOWHERE})
        with naming(TransportError, "200", "scripted", advice):
            runtime(node).inside(200).run(["true"])


@pytest.mark.parametrize(
    "ask",
    [
        lambda pct: pct.inside(200).run(["true"]),
        lambda pct: pct.state(200),
        lambda pct: pct.start(200),
        lambda pct: pct.configuration(200),
    ],
    ids=["enter", "state", "start", "configuration"],
)
def test_pct_container_of_another_node_names_that(ask: Callable[[Pct], object]) -> None:
    absent = (2, b"", b"Configuration file 'nodes/pve1/lxc/200.conf' does not exist\n")
    argvs = [("pct", "status", "200"), ("pct", "start", "200")]
    answers: dict[tuple[str, ...], Answer] = dict.fromkeys(argvs, absent)
    answers[ATTACH] = (1, b"", NO_INIT)
    answers[CAT] = (1, b"", b"cat: /etc/pve/lxc/200.conf: No such file or directory")
    answers[SEEN] = UNSEEN
    answers[FIND] = (0, b"/etc/pve/nodes/pve2/lxc/200.conf\n", b"")
    answers[CONTROL] = ALONE
    with naming(RemediationError, "200", "scripted", "pve2") as raised:
        ask(Pct(Scripted(answers)))
    assert raised.value.exit_code == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("code", "said", "advice"),
    [
        (255, CASES["stop: locked"]["stderr"], "pct unlock 200"),
        (255, "can't lock file '/run/lock/lxc/pve-config-200.lock' - got timeout", "another pct"),
        (127, "env: 'pct': No such file or directory", "runtime = 'lxc'"),
        (127, "env: \u2018pct\u2019: No such file", "runtime = 'lxc'"),
        (255, "ipcc_send_rec[1] failed: Unknown error -1", "sudo = true"),
        (111, "ipcc_send_rec[1] failed: Connection refused", "systemctl status pve-cluster"),
    ],
)
def test_pct_error_of_its_own_is_told_with_what_to_do(code: int, said: str, advice: str) -> None:
    with naming(TransportError, "scripted", "pct start 200", said.strip(), advice):
        pct = Pct(Scripted({("pct", "start", "200"): (code, b"", said.encode()), CONTROL: ALONE}))
        pct.start(200)


#: As Proxmox writes it, and as its documentation allows it to be written.
RESOURCES = sample("resources.cfg")


@pytest.mark.parametrize(("line", "state"), [("", "started"), ("\tstate disabled\n", "disabled")])
@pytest.mark.parametrize("act", ["start", "shutdown"])
def test_pct_container_that_ha_manages_is_left_alone(act: str, line: str, state: str) -> None:
    """Asked to shut it down and to start it, pct would have it stopped, later and for good."""
    pct = Pct(Scripted({CONTROL: (0, f"755\n{RESOURCES % line}".encode(), b"")}))
    with naming(FactError, "200", "scripted", "HA", "--state ignored", f"--state {state}"):
        getattr(pct, act)(200)


@pytest.mark.parametrize(
    "answer",
    [
        *(f"755\n{RESOURCES}" % "\tstate ignored\n", "755\n", "755\nct: 2000\n\tstate started\n"),
        *("755\nvm: 20\n", "755\n# ct: 200\n"),
        # A plain Debian with a double of pct; there a link has any mode.
        *("stat: cannot statx '/etc/pve/local': No such file or directory\n", "777\n"),
    ],
)
def test_require_control_of_what_neither_ha_nor_quorum_forbids_passes(answer: str) -> None:
    pct = Pct(Scripted({CONTROL: (0, answer.encode(), b"")}))
    pct.require_control(200)
    assert blocked(pct.node) == ""


@pytest.mark.parametrize("act", ["start", "shutdown"])
@pytest.mark.parametrize(
    ("mode", "kind", "named"),
    [
        ("555", Busy, "pvecm status"),
        ("stat: cannot statx '/etc/pve/local': Transport endpoint is not connected", FactError, ""),
    ],
)
def test_pct_container_of_a_node_without_quorum_is_left_alone(
    act: str, mode: str, kind: type[FactError], named: str
) -> None:
    """Proxmox would stop it, could not write its file, and could not start it again."""
    with naming(kind, "scripted", named):
        getattr(Pct(Scripted({CONTROL: (0, f"{mode}\n".encode(), b"")})), act)(200)


@pytest.mark.parametrize("unit", ["pve-container@950.service", "pve-container-debug@950.service"])
def test_end_of_a_container_is_waited_for_whichever_unit_started_it(
    unit: str, tmp_path: Path, stub: Callable[[str, str], Path]
) -> None:
    active = f'[ "$unit" = {unit} ] && [ ! -e {tmp_path}/asked ]'
    once = f"for unit; do if {active}; then touch {tmp_path}/asked; exit 0; fi; done; exit 3"
    stub("systemctl", once)
    assert Local().run(["sh", "-c", _ENDED, "ended", "pve-container@950.service"]).ok
    assert (tmp_path / "asked").exists()


@pytest.mark.parametrize("name", ["exec: true", "exec: exit 7", "exec: not found", "exec: locked"])
def test_inside_command_keeps_its_own_exit_code(name: str) -> None:
    case = CASES[name]
    answer = (case["exit"], case["stdout"].encode(), case["stderr"].encode())
    result = Pct(Scripted({ATTACH: answer})).inside(200).run(["true"])
    assert (result.exit_code, result.argv) == (case["exit"], ("true",))
    said = b"grep: init pid: No such file or directory\n"
    assert Lxc(Scripted({ATTACH: (1, b"", said)})).inside(200).run(["true"]).exit_code == 1


@pytest.mark.parametrize(
    ("seen", "state", "asked"),
    [
        ((0, b"RUNNING\n", b""), "running", 1),
        ((0, b"FROZEN\n", b""), "running", 1),
        ((0, b"STOPPED\n", b""), "stopped", 1),
        ((0, b"200 doesn't exist\n", b""), "stopped", 1),
        ((0, b"", b"200 doesn't exist\n"), "stopped", 1),
        (UNSEEN, "running", 2),
        ((0, b"", b""), "running", 2),
        ((0, b"ABORTING\n", b""), "running", 2),
        ((127, b"", b""), "running", 2),
    ],
)
def test_state_is_asked_of_pct_only_where_lxc_does_not_say_it(
    seen: Answer, state: str, asked: int
) -> None:
    node = Scripted({SEEN: seen, ("pct", "status", "200"): (0, b"status: running\n", b"")})
    assert Pct(node).state(200) == state
    assert len(node.ran) == asked


def test_configuration_of_no_container_names_what_lists_those_there_are() -> None:
    absent = (1, b"", b"cat: /etc/pve/lxc/200.conf: No such file or directory")
    there = {CAT: absent, SEEN: UNSEEN, FIND: NOWHERE}
    said = b"Configuration file 'nodes/pve1/lxc/200.conf' does not exist\n"
    pct = Pct(Scripted({**there, ("pct", "status", "200"): (2, b"", said)}))
    for runtime, advice in ((pct, "pct list"), (Lxc(Scripted({CAT_PLAIN: ABSENT})), "lxc-ls")):
        with naming(FactError, "200", advice):
            runtime.configuration(200)
    unmounted = b"ipcc_send_rec[1] failed: Connection refused\n"  # then /etc/pve is empty
    with naming(TransportError, "systemctl status pve-cluster"):
        Pct(Scripted({**there, ("pct", "status", "200"): (111, b"", unmounted)})).configuration(200)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Plain LXC's folder of a container, on this machine."""
    monkeypatch.setattr(Lxc, "_LXC_PATH", str(tmp_path))
    (tmp_path / "200").mkdir()
    return tmp_path


def test_effective_includes_are_read_in_their_order(here: Path) -> None:
    for name, text in {
        "200/config": "x = 1\nlxc.include = i.conf\n lxc.include=d/ \nlxc.include = no\nx = 9\n",
        "i.conf": "x = 2\nlxc.include = d/b.conf\nx = 4",
        "d/b.conf": "x = 3\n\n",
        "d/a.conf": "# a\nx = 2\n",
        "d/c.conf.old": "x = 0\n",
    }.items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(re.sub(r"(include ?= ?)", rf"\g<1>{here}/", text))
    (here / "d/c.conf").symlink_to(here / "200/e.conf")
    (here / "200/e.conf").write_bytes(b"x = \xff")
    found = [option.value for option in Lxc(Local()).effective(200).all("x")]
    assert found == ["1", "2", "3", "4", "2", "3", "\ufffd", "9"]


def test_started_with_by_pct_has_the_seccomp(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of keyctl the configuration says nothing: it names but the list's path, always the same."""
    monkeypatch.setattr(Pct, "_LXC_PATH", str(here))
    calls = here / "200/rules.seccomp"
    (here / "200/config").write_text(
        f"lxc.seccomp.profile = {calls}\nlxc.cgroup2.cpuset.cpus = 1\n"
    )
    said = []
    for rules in ("2\ndenylist\n", "2\ndenylist\nkeyctl errno 38\n"):
        calls.write_text(rules)
        said.append(Pct(Local()).started_with(200))
    assert said == [
        f"lxc.seccomp.profile = {calls}\n2\ndenylist",
        f"lxc.seccomp.profile = {calls}\n2\ndenylist\nkeyctl errno 38",
    ]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("lxc.include = {here}/200/config\n", "8 deep"),
        # LXC takes it from wherever it was started, which nobody knows; and find would, as a word.
        *((f"x = 1\nlxc.include = {place}\n", place) for place in ("i.conf", "-delete")),
        ("lxc.include = {here}/i.conf\n", "lxc.include = -delete"),
    ],
)
def test_effective_includes_without_an_end_or_an_absolute_path_are_an_error(
    here: Path, text: str, named: str
) -> None:
    (here / "i.conf").write_text("lxc.include = -delete\n")
    (here / "200/config").write_text(text.format(here=here))
    with naming(FactError, named):
        Lxc(Local()).effective(200)


CAT_PLAIN = ("cat", "--", "/var/lib/lxc/200/config")


def boots(*answers: str | Exception) -> Answering:
    """A container on its way: what it answers, one after the other."""
    left = list(answers)

    def next_answer(_: list[str]) -> bytes:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer.encode()

    return Answering(next_answer, "container 200")


def test_wait_until_booted_of_one_that_cannot_be_entered_yet_waits() -> None:
    booting = boots(TransportError("no such process"), "starting", "degraded")
    wait_until_booted(booting)
    assert len(booting.ran) == 3


def test_wait_until_booted_on_a_node_that_is_gone_ends_at_once() -> None:
    booting = boots("starting", Unreachable("cannot reach pve1 by SSH"), "running")
    with pytest.raises(Unreachable):
        wait_until_booted(booting)
    assert len(booting.ran) == 2


def test_reboot_waits_until_the_node_has_another_boot_id_and_has_booted() -> None:
    gone = TransportError("the connection dropped")
    booting = boots("one\n", gone, "one\n", gone, "two\n", "degraded")
    reboot(booting)
    assert booting.ran[1] == ["systemctl", "reboot"]
    assert [argv[0] for argv in booting.ran] == ["cat", "systemctl", "cat", "cat", "cat", "sh"]


def test_wait_until_booted_before_systemd_listens_asks_once(
    tmp_path: Path, stub: Callable[[str, str], Path]
) -> None:
    """The real script, with a systemctl of ours."""
    private = tmp_path / "private"
    stub("systemctl", f"test -S {private} && echo running")
    script = waiting._BOOTED.replace("/run/systemd/private", str(private))
    with socket.socket(socket.AF_UNIX) as server:
        listens = Timer(0.3, server.bind, [str(private)])
        listens.start()
        said = Local().run(["sh", "-c", script])
        listens.join()
    assert said.require().text.split()[-1] == "running"


@pytest.mark.parametrize("pid", ["", "9" * 5000, "4711 4712", "\u0664\u0667"])
def test_init_pid_that_is_no_pid_is_no_running_container(pid: str) -> None:
    argv = ("lxc-info", "-P", "/var/lib/lxc", "-n", "200", "-p", "-H")
    node = Scripted({argv: (0, f"{pid}\n".encode(), b"")})
    with naming(TransportError, "container 200", "is not running"):
        Pct(node).init_pid(200)
