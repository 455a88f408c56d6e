"""What the processes of a container are allowed: by their labels, by attempts, by the text."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import confinement
from docker_lxc_gate.facts.audit import audit_records, canary
from docker_lxc_gate.facts.confinement import ATTEMPTS, Process, label_defect
from docker_lxc_gate.machines.transport import Local
from remediation import desired
from tests.doubles.apparmor.denials import GATE
from tests.doubles.canned import PID, Answer, Machine, Runtime
from tests.doubles.naming import naming
from tests.doubles.programs.guest import guest
from tests.doubles.programs.processes import until

NAME = "lxc-phoenix-v2"
PROCESSES, ATTEMPT = "perl -- 7", "perl 7"
REFUSED = dict.fromkeys(ATTEMPTS, "13 0")


def threads(*found: tuple[int, str, str], more: str = "") -> str:
    """As the node answers of threads by number, name and label."""
    return more + "".join(
        f"/proc/{pid}/comm:{name}\n/proc/{pid}/attr/apparmor/current:{label}\n"
        f"/proc/{pid}/status:Seccomp:\t2\n"
        for pid, name, label in found
    )


def node(answer: Answer) -> Machine:
    return Machine({}, {PROCESSES: answer})


def test_processes_are_returned_with_name_and_label() -> None:
    said = threads((90, "dockerd", "unconfined"), (7, "systemd", f"{NAME} (enforce)"))
    assert confinement.processes(node(said), 7) == (
        Process(7, "systemd", f"{NAME} (enforce)"),
        Process(90, "dockerd", "unconfined"),
    )
    forged = threads((7, "a", "unconfined"), more="/proc/7/comm:/proc/7/attr:x\n/proc/7/comm:b\n")
    assert [each.label for each in confinement.processes(node(forged), 7)] == ["unconfined"]


def test_processes_without_a_filter_or_in_strict_mode_are_defects() -> None:
    said = threads((7, "systemd", f"{NAME} (enforce)"))
    for mode in "01":
        (found,) = confinement.processes(node(said.replace("Seccomp:\t2", f"Seccomp:\t{mode}")), 7)
        assert found.defect(NAME, {}) == "without a seccomp filter"
    (found,) = confinement.processes(node(said), 7)
    assert found.defect(NAME, {}) == ""
    assert found.defect("another", {}) == label_defect(found.label, "another", {}) != ""


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("", "process 7"),
        (threads((90, "sh", "x (enforce)")), "process 7"),
        (threads((7, "systemd", "x (enforce)")) + "alive 7\nalive 90\n", "process 90"),
        ("/proc/7/comm:x\n/proc/7/attr/current:x\nalive 7\n", "process 7"),  # no seccomp
    ],
)
def test_processes_where_one_cannot_be_read_raise(said: str, named: str) -> None:
    with naming(FactError, named):
        confinement.processes(node((4, said, "no cgroup")), 7)


def test_filter_files_are_named_if_they_were_changed_since_the_start(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("config", "own.conf", "list", "other")}
    more = tmp_path / "more"
    more.mkdir()
    files["config"].write_text(f"lxc.include = {more}\nlxc.include = {files['own.conf']}\n")
    files["own.conf"].write_text(f"lxc.seccomp.profile=/nosuch\nlxc.include = {tmp_path}/absent\n")
    (more / "x.conf").write_text(f" lxc.seccomp.profile = {files['list']} \n")
    files["list"].write_text("2\n")
    files["other"].touch()

    def changed() -> set[str]:
        argv = ["sh", "-c", confinement._CHANGED, "changed", files["config"], "echo", pid]
        return set(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split())

    time.sleep(0.05)  # the start is known to a hundredth of a second
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            pid = str(process.pid)
            assert changed() == set()
            time.sleep(0.05)
            for path in files.values():
                path.touch()
                os.utime(path, (0, 0))
            assert changed() == {str(files[name]) for name in ("config", "own.conf", "list")}
            (more / "y.conf").touch()
            assert str(more / "y.conf") in changed()
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("0::/lxc/950/init.scope", "/lxc/950"),
        ("0::/lxc.payload.950/init.scope", "/lxc.payload.950"),
        ("0::/lxc/950/ns/lxc/951/init.scope", "/lxc/950"),
        ("0::/lxc/950/lxc.payload.950/x", "/lxc/950"),
    ],
)
def test_processes_script_reads_the_containers_cgroup(line: str, path: str, tmp_path: Path) -> None:
    """Below the container's cgroup the guest's root makes others, and moves whom it likes."""
    (tmp_path / "cgroup").write_text(f"9:cpu:/a\n{line}\n")
    found = confinement._THREADS.partition("unless (defined $path)")[0]
    argv = ["perl", "-e", found.replace("/proc/$init", "$init") + 'print "$path\\n"', str(tmp_path)]
    assert subprocess.run(argv, capture_output=True, text=True, check=False).stdout == f"{path}\n"


@pytest.mark.parametrize(
    ("label", "profile", "named"),
    [
        (f"{NAME} (enforce)", NAME, ""),
        (f"{NAME}//&:lxc-950_<-var-lib-lxc>:unconfined", NAME, ""),
        ("unconfined", NAME, "unconfined"),
        (f"{NAME} (complain)", NAME, "complain mode"),
        (f"{NAME} (kill)", NAME, "kill mode, which confines"),
        (f"{NAME} (unconfined)", NAME, "unconfined mode"),
        (f"complaining//&{NAME} (mixed)", NAME, ""),
        (f"{NAME}//&complaining (mixed)", "complaining", "complain mode"),
        ("complaining//&:lxc-950_<-var-lib-lxc>:a//&b (mixed)", "complaining", "complain mode"),
        (NAME, NAME, "unknown mode"),
        (f"{NAME}//wide (enforce)", NAME, "a child"),
        ("docker-default (enforce)", NAME, "another profile"),
        (f"other//&:lxc-950_<-var-lib-lxc>:{NAME} (enforce)", NAME, "another profile"),
        # where any profile will do
        ("any (enforce)", "", ""),
        ("lxc-950_</var/lib/lxc>//&:lxc-950_<-var-lib-lxc>:unconfined", "", ""),
        ("any (complain)", "", "complain mode"),
        ("unconfined", "", "unconfined"),
        ("unconfined//&:lxc-950_<-var-lib-lxc>:unconfined", "", "unconfined"),
    ],
)
def test_label_defect_names_the_mode_or_profile(label: str, profile: str, named: str) -> None:
    modes = {NAME: "enforce", "complaining": "complain", "lxc-950_</var/lib/lxc>": "enforce"}
    found = label_defect(label, profile, modes)
    assert named in found if named else found == ""


def allowed(codes: dict[str, str], code: int = 0, err: str = "") -> tuple[str, ...]:
    said = "".join(f"{name} {outcome}\n" for name, outcome in sorted(codes.items()))
    answers: dict[str, Answer] = {PID: "7", ATTEMPT: (code, said, err)}
    attempts = confinement.attempts(Runtime(Machine({}, answers)), 950)
    return tuple(what for what, succeeds in attempts.items() if succeeds)


SUCCEEDS = {name: {name: "0 0"} for name in ATTEMPTS}
#: With another one that did not end, and so was killed by its alarm.
BESIDE = {name: "network" if name == "firmware" else "firmware" for name in ATTEMPTS}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        *((change, ()) for change in ({}, dict.fromkeys(ATTEMPTS, "0 9"), {"firmware": "200 0"})),
        *((SUCCEEDS[name], (ATTEMPTS[name],)) for name in ATTEMPTS),
        *((SUCCEEDS[name] | {BESIDE[name]: "0 14"}, (ATTEMPTS[name],)) for name in ATTEMPTS),
    ],
)
def test_attempts_that_succeed_are_named(change: dict[str, str], named: tuple[str, ...]) -> None:
    assert allowed(REFUSED | change) == named


@pytest.mark.parametrize("name", ["profile", "firmware"])
@pytest.mark.parametrize("outcome", ["2 0", "1 0", "127 0", "0 11"])
def test_attempts_where_one_failed_for_another_reason_raise(outcome: str, name: str) -> None:
    with naming(FactError, ATTEMPTS[name]):
        allowed(REFUSED | {name: outcome})


def test_attempts_where_nothing_can_be_tried_raise() -> None:
    with naming(FactError, "no such file"):
        allowed({}, 127, "no such file")
    with naming(FactError, "3 of 4 attempts"):
        allowed({name: code for name, code in REFUSED.items() if name != "mount"})


def test_attempts_in_a_container_whose_programs_lie_are_made_without_them(tmp_path: Path) -> None:
    """In another namespace, under no profile: what it may is what the kernel lets it."""
    if not Path("/proc/self/attr/current").exists():
        pytest.skip("a kernel without attributes of processes")
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/perl").write_text("#!/bin/sh\ntouch /touched\n")
    (tmp_path / "usr/bin/perl").chmod(0o755)
    with guest(tmp_path) as runtime, suppress(FactError):
        confinement.attempts(runtime, 950)
    assert not (tmp_path / "touched").exists()


@pytest.fixture
def unlabelled(monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the attempts without a label, which not every kernel has; return their program."""
    reads = r"(?m)^POSIX::read\(attribute.*$"
    text, number = re.subn(reads, 'my $label = "unconfined";', confinement._ATTEMPT)
    assert number == 1
    monkeypatch.setattr(confinement, "_ATTEMPT", text)
    return text


def firmware_of(root: Path, *mounts: tuple[str, str]) -> bool:
    """Return whether the firmware may be listed in a container whose root made these mounts."""
    with guest(root) as runtime:
        enter = ["nsenter", "--target", str(runtime.init_pid(950)), "--user", "--mount"]
        for each in mounts:
            argv = [*enter, "--preserve-credentials", "mount", "--rbind", *each]
            subprocess.run(argv, check=True)
        return confinement.attempts(runtime, 950)[ATTEMPTS["firmware"]]


FIRMWARE = [*map(str, sorted(path for path in Path("/sys/firmware").glob("*") if path.is_dir()))]


@pytest.mark.usefixtures("unlabelled")
@pytest.mark.skipif(not FIRMWARE, reason="a machine without firmware to list")
def test_attempts_on_firmware_that_is_mounted_over_are_undetermined(tmp_path: Path) -> None:
    """Only the kernel's own directory counts: what stands in its place could refuse by itself."""
    assert firmware_of(tmp_path)
    assert firmware_of(tmp_path, ("/sys", "/sys"))  # as LXC does with ``sys:mixed``
    (empty := tmp_path / "empty").mkdir()
    sysfs = next(place for place, below, _ in os.walk("/sys/kernel/mm") if not below)
    for mounts in (
        [(sysfs, "/sys/firmware")],  # without a directory in it
        [("/sys/kernel", FIRMWARE[0])],
        [(str(empty), FIRMWARE[0])],
        [(str(empty), "/sys")],
        [("/sys/kernel", "/sys")],
    ):
        with naming(FactError, "/sys"):
            firmware_of(tmp_path, *mounts)


def test_attempts_in_a_root_that_changes_all_the_time_are_undetermined(
    tmp_path: Path, unlabelled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = unlabelled.replace('stat("/")', f'stat("{tmp_path}")')
    text = text.replace("select undef", f'mkdir "{tmp_path}/$_"; select undef')
    text = text.replace("0.04", "0.4").replace("$tick / 2", "$tick / 80")
    monkeypatch.setattr(confinement, "_ATTEMPT", text)
    with guest(tmp_path) as runtime, naming(FactError, "changes all the time"):
        confinement.attempts(runtime, 950)


def test_attempts_that_fail_while_the_root_changes_are_undetermined(
    tmp_path: Path, unlabelled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under another name the same directory can be refused by another rule."""
    text = unlabelled.replace('stat("/")', f'stat("{tmp_path}")')
    text = text.replace("sub change {", f'sub change {{ mkdir "{tmp_path}/new";')
    monkeypatch.setattr(confinement, "_ATTEMPT", text)
    with guest(tmp_path) as runtime, naming(FactError, "changed meanwhile"):
        confinement.attempts(runtime, 950)


def test_caused_by_attempt_is_decided_by_process_name_and_operation() -> None:
    own = GATE.read_text("utf-8")
    found = audit_records.parse(own)
    assert [*map(confinement.caused_by_attempt, found)] == [False] * 3 + [True] * 4
    assert [*map(canary.is_canary, found)] == [True] * 3 + [False] * 4


@pytest.mark.parametrize(
    ("own", "imitated"),
    [
        ("gate-attempt", "sh"),
        ('name="unconfined"', 'name="lxc-container-default"'),
        ('"/proc/"', '"10.0.0.1:/evil"'),
        ('"rw, rbind"', '"rw, rbind" fstype="nfs"'),
        ('requested_mask="r"', 'requested_mask="wr"'),
        ("acpi/", "efi/efivars/"),
        ('"raw"', '"dgram"'),
        ("change_onexec", "change_profile"),
        ('"label not found"', '"x"'),
        ('profile="unconfined"', 'profile="lxc-phoenix-v2"'),
        ('profile="unconfined"', 'namespace="root//lxc-950_<-x>" profile="unconfined"'),
    ],
)
def test_caused_by_attempt_and_is_canary_know_the_gates_own_alone(own: str, imitated: str) -> None:
    records = GATE.read_text("utf-8").splitlines()
    changed = [line.replace(own, imitated) for line in records if own in line]
    found = audit_records.parse("\n".join(changed))
    assert changed
    assert not any(map(confinement.caused_by_attempt, found))
    assert not any(map(canary.is_canary, found))


SHIPPED = desired.profile().decode()


def with_rule(*rules: str) -> str:
    return SHIPPED.replace("  file,\n", "  file,\n" + "".join(f"  {rule}\n" for rule in rules), 1)


PLACE = f"/etc/apparmor.d/{NAME}"
WIDER = (
    *("change_profile -> **,", "/usr/bin/dockerd Ux,", "/usr/bin/x rpix -> other,", "mount,"),
    *("/usr/bin/x Cx -> wide,", "all,", "include <abstractions/lxc/container-base>"),
)
LACKED = "audit deny /{,**/}proc/kcore rwklx,"


@pytest.mark.parametrize(
    ("profile", "local", "named"),
    [
        ("", "", []),
        (SHIPPED, "", []),
        (with_rule("deny /nosuch r,", "/srv/** rw,"), "# x\n", []),
        # What keeps a program in the profile, and what widens nothing.
        *((with_rule(rule), "", []) for rule in ("/usr/bin/x ix,", "/usr/bin/x mrix,")),
        *((with_rule(rule), "", []) for rule in ("/srv/** rwlk,", "deny mount,")),
        *((with_rule(rule), "", [f"{PLACE}: {rule}"]) for rule in WIDER),
        (SHIPPED.replace("leted)", "leted, unconfined)"), "", [f"{PLACE}: flags=(unconfined)"]),
        (SHIPPED.replace(f"  {LACKED}\n", ""), "", [f"{PLACE} lacks: {LACKED}"]),
        (
            SHIPPED,
            "# ours\n/usr/bin/dockerd Ux, # why\n/srv/** rw,\n",
            [f"/etc/apparmor.d/local/{NAME}: {r}" for r in ("/usr/bin/dockerd Ux,", "/srv/** rw,")],
        ),
    ],
)
def test_widening_rules_are_all_of_a_site_and_those_beyond_the_shipped_ones(
    profile: str, local: str, named: list[str]
) -> None:
    assert [*confinement.widening_rules(profile, local, NAME, shipped=SHIPPED)] == named


def test_processes_of_one_outside_of_a_container_are_an_error() -> None:
    """Where this runs in no container of LXC's, it says so, and fails."""
    if "lxc" in Path("/proc/self/cgroup").read_text():
        pytest.skip("in a container of LXC's")
    with naming(FactError, f"process {os.getpid()}", "cgroup of LXC's"):
        confinement.processes(Local(), os.getpid())


@contextmanager
def container(below: str) -> Iterator[tuple[int, int]]:
    """Yield a first process in user and pid namespaces of its own, and one in others below them."""
    inner = f"exec unshare {below} --map-root-user sleep 60"
    argv = ["unshare", "-Upf", "--map-root-user", "sh", "-c", f"({inner}) & exec sleep 60"]
    with subprocess.Popen(argv, start_new_session=True) as made:
        try:
            first = first_child(made.pid)
            yield first, first_child(first) if below == "-U" else first_child(first_child(first))
        finally:
            os.killpg(made.pid, signal.SIGKILL)


def first_child(pid: int) -> int:
    return int(until(Path(f"/proc/{pid}/task/{pid}/children").read_text).split()[0])


def threads_of(init: int, tmp_path: Path) -> dict[str, str]:
    """Return the threads by id, with their names; this test is in a group of the container's."""
    said = listed_threads(init, tmp_path)
    assert said.returncode == 0
    return dict(re.findall(r"^/proc/([0-9]+)/comm:(.*)$", said.stdout, re.MULTILINE))


def listed_threads(init: int, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    (tmp_path / "cgroup").write_text("0::/lxc/950/init.scope\n")
    (below := tmp_path / "groups/lxc/950/ns/system.slice").mkdir(parents=True, exist_ok=True)
    (below / "cgroup.threads").write_text(f"{os.getpid()}\n")
    (below.parent / "cgroup.threads").write_text("")
    (below / "link").unlink(missing_ok=True)
    (below / "link").symlink_to("..")
    asks = confinement._THREADS.replace("/proc/$init/cgroup", f"{tmp_path}/cgroup")
    asks = asks.replace('"/sys/fs/cgroup"', f'"{tmp_path}/groups"')
    asks = asks.replace('"attr/apparmor/current" : "attr/current"', '"comm" : "comm"')
    argv = ["perl", "-e", asks, "--", str(init)]
    return subprocess.run(argv, capture_output=True, check=False, text=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes these namespaces everywhere")
@pytest.mark.parametrize(
    ("above", "length", "read"), [(3900, 4080, True), (3900, 4081, False), (4000, 4200, False)]
)
def test_threads_in_a_group_whose_path_is_too_long_are_an_error(
    tmp_path: Path, above: int, length: int, read: bool
) -> None:
    """Such a group's list of threads cannot be opened by its path, which the guest chose."""
    (top := tmp_path / "groups/lxc/950").mkdir(parents=True)
    at, was = len(str(top)), os.open(".", os.O_RDONLY)
    try:
        os.chdir(top)
        for end in (*range(at + 200, above, 200), above, length):
            Path(name := "x" * (end - at - 1)).mkdir()
            os.chdir(name)
            at = end
            Path("memory.swap.events.of.its.own").touch()
        Path("cgroup.threads").write_text(f"{os.getppid()}\n")
    finally:
        os.fchdir(was)
        os.close(was)
    with container("-U") as (first, _):
        said = listed_threads(first, tmp_path)
    assert (said.returncode, "nested too deeply" in said.stderr) == (
        (0, False) if read else (4, True)
    )
    assert (f"/proc/{os.getppid()}/" in said.stdout) is read


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes these namespaces everywhere")
def test_threads_in_namespaces_below_the_containers_are_its(tmp_path: Path) -> None:
    with container("-Upf") as (first, below):
        found = threads_of(first, tmp_path)
    assert {str(first), str(below), str(os.getpid())} <= found.keys()
    assert str(os.getppid()) not in found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes these namespaces everywhere")
def test_threads_of_a_program_that_hops_from_process_to_process_are_seen(tmp_path: Path) -> None:
    """It is another process each millisecond, so whoever reads a list through finds it gone."""
    hopper = tmp_path / "hopper"
    hopper.symlink_to(sys.executable)
    hops = "import os, time\nwhile True:\n os.fork() and os._exit(0)\n time.sleep(0.001)"
    with container("-U") as (first, _):
        enter = ["nsenter", "-t", str(first), "-U", "-p", hopper, "-c", hops]
        subprocess.run(enter, check=True)
        assert "hopper" in threads_of(first, tmp_path).values()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes these namespaces everywhere")
def test_id_maps_of_a_first_process_that_left_for_its_own_namespace_are_undetermined() -> None:
    with container("-U") as (first, below):
        its, left = (Path(f"/proc/{pid}/ns/user") for pid in (first, below))
        until(lambda: left.readlink() != its.readlink())
        users, groups = Local().ask(confinement.id_maps(first))
        assert users.split() == groups.split() == ["0", "0", "1"]
        with naming(FactError, "user namespace of its own"):
            Local().ask(confinement.id_maps(below))
