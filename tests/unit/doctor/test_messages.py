"""A message is known by its text, however a terminal, a journal or a web page shows it."""

import json
import re
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docker_lxc_gate.doctor import guest_reads, messages
from docker_lxc_gate.doctor.case import PROBLEMS
from docker_lxc_gate.doctor.message_table import MESSAGES, SIGNS, Message
from docker_lxc_gate.lint.finding import Severity
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import LIMIT, Local
from tests.doubles.patient import DOWN, advice, container, diagnosis, problems
from tests.doubles.samples import sample

BEFORE = "Error response from daemon: "
RLIMIT = "OCI runtime create failed: error setting rlimit type 8: operation not permitted"
TEXTS = tomllib.loads(sample("messages.toml"))
#: How the same message is shown elsewhere.
SHOWN = {
    "alone": lambda text: text,
    "among others": lambda text: f"+ docker compose up\nPulling web\n{BEFORE}{text}: unknown\n\n",
    "in colours": lambda text: re.sub("([aeiou])", "\x1b[1;31m\\1\x1b[0m", text),
    "as cat -v shows colours": lambda text: f"^[[31m{text}^[[0m",
    "broken at 40 characters": lambda text: "\n".join(re.findall(".{1,40}", f"{BEFORE}{text}")),
    "broken at blanks": lambda text: text.replace(" ", "\n    "),
    "in a field of the journal": lambda text: f"dockerd[7]: level=error msg={json.dumps(text)}",
    "quoted twice": lambda text: json.dumps(json.dumps(f"{BEFORE}{text}")),
    "by compose": lambda text: "".join(f"web-1  | {line}\n" for line in ("x", text, "y")),
    "of a web page": lambda text: text.replace('"', "&quot;").replace(" ", "\xa0"),
    "before the number of no character": lambda text: f"{text} &#{'9' * 5000}; &#x{'9' * 5000};",
    "in curly quotes": lambda text: re.sub('"([^"]*)"', "“\\1”", text).replace("'", "\u2019"),
    "of Windows": lambda text: f"\ufeff{BEFORE}{text}\r\n",
}


@pytest.mark.parametrize("shown", SHOWN)
def test_message_in_a_text_names_its_problem_first(shown: str) -> None:
    for message in MESSAGES:
        found = messages.diagnose(SHOWN[shown](message.text))
        assert [each.id for each in found.problems][:1] == [message.problem], message.text
        assert (found.problems[0].severity is Severity.SEEN) != message.guess
        assert found.problems[0].fix.startswith(f"To make sure, {message.sure}. ")
        assert (len(found.unseen), found.exit_code) == ((1, 3) if message.guess else (0, 1))


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        ("a mount of proc, sysfs, a cgroup or mqueue", "pct config CTID | grep features (without"),
        ("Extension addrtype revision 0 not supported, missing kernel module?", "lsmod | grep xt_"),
        ("bridges' netfilter sysctls", "lsmod | grep br_netfilter"),
    ],
    ids=["of the first row", "of its own", "of its module"],
)
def test_row_is_made_sure_of_by_its_own_command_its_module_or_the_first_row(
    text: str, sure: str
) -> None:
    (row,) = [each for each in (*MESSAGES, *SIGNS) if each.text == text]
    assert row.sure.removesuffix(" nesting=1)") == f"on the node: {sure}"


@pytest.mark.parametrize("text", TEXTS["unknown"])
def test_text_without_a_known_message_is_undetermined(text: str) -> None:
    found = messages.diagnose(text)
    assert (found.problems, found.exit_code) == ((), 3)
    assert "--target" in found.unseen[0].why
    assert "denials -" in found.unseen[0].why


def test_several_causes_are_named_once_each_and_the_most_specific_first() -> None:
    net = "failed to start daemon: Error initializing network controller: iptables failed: "
    table = "can't initialize iptables table `nat': Table does not exist"
    fd = "open sysctl net.ipv4.conf.all.src_valid_mark file: reopen fd 9: permission denied"
    found = messages.diagnose(f"{net}{table}\n{fd}\n{fd}\n")
    assert [each.id for each in found.problems] == ["runc-reopen-refused", "kernel-module-missing"]
    assert "modprobe iptable_nat" in found.problems[1].fix
    assert "reopen fd 9" in found.problems[0].cause


PRE_START = 'Failed to run lxc.hook.pre-start for container "950"'


HOOK = "Script exec /usr/share/lxc/hooks/lxc-pve-prestart-hook 105 lxc pre-start produced output:"
DENIED = 'apparmor="DENIED" operation="mount" profile="lxc-105_</x>" name="/a/" comm="runc" {}'


@pytest.mark.parametrize(
    ("text", "problem", "said"),
    [
        (f"{HOOK} a\n{HOOK} no subvol 7\nScript exited with status 2\n", "hook-failed", "subvol 7"),
        (
            f"{HOOK} mount: /dev/loop7: can't read superblock\nScript exited with status 255\n",
            "hook-failed container-disk-damaged",
            "superblock",
        ),
        (f"{HOOK} odd\nERROR start - an odd end\n", "", ""),  # that hook ended well
        (f"{HOOK} odd\nERROR start - Failed to run lxc.hook.post-stop\n", "", ""),
        (
            "mkdir: cannot create directory '/config/x': Permission denied\n"
            + DENIED.format('fstype="tmpfs" flags="rw"'),
            "denied-lately",
            "runc wanted to mount a file system of type tmpfs on /a/ (rw)",
        ),
    ],
)
def test_words_of_a_hook_and_of_the_kernel_count_for_more_than_a_guess(
    text: str, problem: str, said: str
) -> None:
    found = messages.diagnose(text)
    assert [each.id for each in found.problems] == problem.split()
    assert found.exit_code == (1 if problem else 3)
    assert all(said in each.cause for each in found.problems)


MKDIR = "mkdir: cannot create directory '/config/x': Permission denied"
FAILED = "lxc-start: 950: start.c: lxc_init: 845 odd"
SNAP = 'apparmor="DENIED" operation="mount" info="failed flags match" profile="snap.x" comm="y"'


@pytest.mark.parametrize(
    ("text", "kernels"),
    [
        (f"{MKDIR}\n{SNAP}", False),
        (f"{PRE_START}\n{SNAP}", False),  # nor is it named before what else is vague
        (f"{MKDIR}\n{SNAP.replace('snap.x', 'containers-default-0.62')}", True),
        (f'{MKDIR}\n{SNAP[:-2]}runc"', True),
        (f"{MKDIR}\n{SNAP.replace('snap.x', 'lxc-phoenix-v2')}", True),
        (f"{MKDIR}\n{SNAP}\n{DENIED}", True),
        (f"{MKDIR}\n{FAILED}\n{DENIED}", False),  # of container 105
        (f"{MKDIR}\n{FAILED}\n{DENIED.replace('105', '950')}", True),
        ('apparmor="DENIED" operation="mount"', True),
        (SNAP, True),
    ],
)
def test_denial_of_another_program_or_container_stops_no_guess(text: str, kernels: bool) -> None:
    (found,) = messages.diagnose(text).problems
    assert (found.id == "denied-lately") == kernels
    assert kernels or found.cause.endswith(text.partition("\n")[0])


def test_line_around_a_message_is_shown_as_far_as_it_is_near() -> None:
    near, far = "b " * 80, "b " * 500
    for around, shown in (
        (near, f"{near}X{near}".strip()),
        (far, f"…{near[2:]}X{near}".rstrip() + "…"),
    ):
        text = f"a\n{around}X{around}\nc"
        assert messages._around(text, 2 + len(around), 3 + len(around)) == shown


def test_messages_of_a_docker_that_says_much_fit_in_a_look_and_end_with_the_last_one(
    stub: Callable[[str, str], Path],
) -> None:
    stub("systemctl", "echo 1a2b")
    stub("journalctl", f"yes 'level=info {'x' * 3000}' | head -n 5000; echo '{RLIMIT}'")
    result = Local().run(messages.READ.argv)
    assert len(result.stdout) < LIMIT
    assert messages.READ.parse(result) == (RLIMIT,)


def test_journal_is_searched_for_every_message_of_docker_and_in_no_time() -> None:
    of_docker = [each.text for each in MESSAGES if each.docker]
    loud = 'level=info msg="fuse chown .{1,600} failed to start is mounted on error while"\n' * 5000
    log = loud + "".join(f"{each}\n" for each in of_docker)
    began = time.process_time()
    found = messages.READ.parse(CommandResult(("x",), 0, log.encode(), b"", "c", 0.0, 0.0))
    assert time.process_time() - began < 5
    assert found == tuple(of_docker)


WORDINGS = {each["text"]: each for each in tomllib.loads(sample("signs.toml"))["sign"]}


def test_refusals_by_the_ten_thousand_are_looked_at_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    around, looked = messages._around, Counter[str]()

    def counting(*given: Any) -> str:
        looked["at"] += 1
        return around(*given)

    monkeypatch.setattr(messages, "_around", counting)
    messages.diagnose("error " * 20_000)
    assert 0 < looked["at"] <= 5000


@pytest.mark.parametrize("sign", SIGNS, ids=lambda each: each.text)
def test_sign_takes_its_wordings_as_a_guess_and_leaves_a_near_one(sign: Message) -> None:
    sure, wordings = f"To make sure, {sign.sure}. ", WORDINGS[sign.text]
    for text in wordings["takes"]:
        found = messages.diagnose(f"{BEFORE}\n\x1b[31m{text}\x1b[0m\n")
        assert [each.id for each in found.problems] == [sign.problem]
        assert found.problems[0].cause.startswith(f"perhaps {PROBLEMS[sign.problem].title}: ")
        assert found.problems[0].fix.startswith(sure)
        assert (len(found.unseen), found.exit_code) == (1, 3)
    found = messages.diagnose(wordings["leaves"])
    assert not [each for each in found.problems if each.fix.startswith(sure)]


def test_line_of_lxcs_debug_log_names_nothing_and_that_of_an_error_does() -> None:
    refused = "conf - conf.c:lxc_mount_auto_mounts:758 - Permission denied - Failed to mount /proc"
    end = "\nlxc-start 950 20261201.600 ERROR    start - start.c:start:2107 - An odd end"
    for level, named in (("DEBUG", 0), ("TRACE", 0), ("INFO ", 0), ("ERROR", 1)):
        text = f"lxc-start 950 20261201.500 {level}    {refused}{end}"
        assert len(messages.diagnose(text).problems) == named


TUN, CIFS = "open: /dev/net/tun: ENOENT, no such file", "mount error: cifs: Operation not permitted"
WARNED = f'level=warning msg="{TUN}"'
LONG = "storaged on the first node wants to begin: mounting nas:/export as nfs4\n  for it: EPERM"


IN_POD = "open /sys/fs/cgroup/kubepods/x/memory.max: no such file or directory"
SYNC = "sync_wait: 34 An error occurred in another process (expected sequence number 4)"
ENTRY = 'mount_entry: 2200 Not a directory - Failed to mount "/dev/fuse" on "/x"'
OVERRIDES = "explicitly configured lxc.apparmor.profile overrides the following settings: fuse"
NETWORK = "network-mount-refused"
#: A text, and the problems that are named of it, and no others.
NAMED: list[tuple[str, str]] = [
    # A consequence is not named next to its cause, and of several only the first is.
    (f"{SYNC}\n{PRE_START}\n", "hook-failed"),
    (f"{ENTRY}\n{SYNC}\n{PRE_START}\n", "container-mount-entry-cut"),
    (f"{OVERRIDES}\n{PRE_START}\n", "hook-failed"),
    # The id of a file tells a hole from an image above the map.
    *(
        (f'failed to Lchown "/a b/c" for {ids}: lchown /a b/c: invalid argument', problem)
        for ids, problem in (
            ("UID 65535, GID 0", "id-map-hole"),
            ("UID 65536, GID 0", "image-above-id-map"),
            ("UID 0, GID 197121", "image-above-id-map"),
        )
    ),
    # The sign of the innermost refusal counts, where there is no literal.
    (f"{TUN}\n{CIFS}", ""),  # they contradict
    (f"{CIFS}\n{CIFS}", NETWORK),
    (f"lxc-start: {TUN}\n{CIFS}", "tun-missing"),
    (f"{CIFS}\n{WARNED}", NETWORK),
    (f"failed to start daemon: {CIFS}", NETWORK),
    (f"{CIFS}\n{RLIMIT}", "rlimit-refused"),
    (f"open /dev/net/tun, which the mount of {'x' * 60} needs: cifs: EPERM", NETWORK),
    (LONG, NETWORK),
    # A text of another world names what holds there, and guesses nothing.
    (IN_POD, ""),
    (f"{IN_POD}\nKubelet: /dev/kmsg: no such file or directory", "kmsg-missing"),
    (f"Linux k3s 6.8.12-2-pve\n{IN_POD}", "cgroup-controller-missing"),
    (f"Linux x 5.15.90.1-microsoft-standard-WSL2\n{CIFS}", ""),
    (f"{MKDIR}\ntype=AVC msg=audit(1.1:1): avc:  denied  {{ write }}", ""),
    (f"{MKDIR}\navc:  denied  {{ write }} lxc-attach", "file-of-another-user"),
    # A socket that may be of any kind is not one that docker-default refuses.
    ("gpg-agent[9]: can't create socket: Permission denied", ""),
    ("creating raw socket: failed to create socket: permission denied", "network-right-missing"),
    *TEXTS["forms"].items(),
]


@pytest.mark.parametrize(("text", "named"), NAMED)
def test_text_names_these_problems_and_no_others(text: str, named: str) -> None:
    assert [each.id for each in messages.diagnose(text).problems] == named.split()


def test_message_is_a_problem_if_it_keeps_docker_or_a_container_of_it_from_starting() -> None:
    found = diagnosis({guest_reads.CONTAINERS: container(Error=RLIMIT)})
    assert problems(found) == ["rlimit-refused"]
    assert "lxc.prlimit.memlock" in found.problems[0].fix
    running = diagnosis({messages.READ: RLIMIT})
    assert (problems(running), "rlimit-refused" in advice(running)) == ([], True)
    down = diagnosis({messages.READ: RLIMIT, guest_reads.UNIT: DOWN})
    assert "rlimit-refused" in problems(down)
