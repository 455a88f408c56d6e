"""What is asked before an upgrade, run for real, by an apt-get with packages of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from docker_lxc_gate.doctor import upgrade_reads
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.read import Read
from docker_lxc_gate.machines.result import CommandResult

T = TypeVar("T")
_LOCK = "/var/lib/dpkg/lock-frontend"
_HOLDS = (
    "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX); "
    "print('held', flush=True); sys.stdin.read()"
)


def asked(read: Read[T], argv: Sequence[str], env: Mapping[str, str] = os.environ) -> T:
    """What a read finds here, by a command in place of its own."""
    done = subprocess.run(argv, env=env, check=False, capture_output=True)
    said = (done.returncode, done.stdout, done.stderr)
    return read.parse(CommandResult(tuple(argv), *said, "here", 0.0, 0.0))


def stanza(package: str, version: str, *more: str) -> str:
    common = ("Architecture: all", "Maintainer: nobody", "Description: of a test")
    return "\n".join((f"Package: {package}", f"Version: {version}", *common, *more)) + "\n\n"


class Machine:
    """apt and dpkg with a status and a mirror of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("mirror", "state/lists/partial", "cache/archives/partial", "log", "etc"):
            (root / name).mkdir(parents=True)
        (root / "status").write_text("")
        (root / "list").write_text(f"deb [trusted=yes] file:{root}/mirror ./\n")
        places = {
            "State": "state",
            "State::status": "status",
            "Cache": "cache",
            "Log": "log",
            "Etc::sourcelist": "list",
            "Etc::sourceparts": "etc",
            "Etc::preferences": "etc/preferences",
            "Etc::preferencesparts": "etc",
        }
        words = [f'Dir::{key} "{root / place}";\n' for key, place in places.items()]
        (root / "apt.conf").write_text('APT::Sandbox::User "root";\n' + "".join(words))

    def has(self, packages: Mapping[str, str]) -> None:
        status = "Status: install ok installed"
        (self.root / "status").write_text(
            "".join(stanza(*each, status) for each in packages.items())
        )

    def offers(self, packages: Mapping[str, str], *more: str) -> None:
        text = "".join(
            stanza(*each, f"Filename: ./{each[0]}.deb", "Size: 1", *more)
            for each in packages.items()
        )
        (self.root / "mirror/Packages").write_text(text)
        subprocess.run(["apt-get", "-q", "update"], env=self.env, check=True, capture_output=True)

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "APT_CONFIG": str(self.root / "apt.conf")}

    def ask(self, read: Read[T], *, lock: str = "") -> T:
        argv = [word.replace(_LOCK, lock or str(self.root / "no-lock")) for word in read.argv]
        return asked(read, argv, self.env)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_plan_is_what_apt_would_do_with_the_packages_of_the_table(machine: Machine) -> None:
    """It leaves no trace."""
    new = {"docker-ce": "5:29.1.3-1~debian.13~trixie"}
    machine.has({"docker-ce": "5:28.5.1-1", "fuse-overlayfs": "1.16-1", "vim": "1"})
    machine.offers(new | {"fuse-overlayfs": "1.14-1+b1", "vim": "2"})
    before = {each: each.stat().st_mtime_ns for each in machine.root.rglob("*")}
    assert machine.ask(upgrade_reads.PLAN) == new
    assert {each: each.stat().st_mtime_ns for each in machine.root.rglob("*")} == before


def test_plan_knows_removals_and_new_kernels(machine: Machine) -> None:
    machine.has({"docker-ce": "5:28.5.1-1", "fuse-overlayfs": "1.14-1", "linux-image-amd64": "1"})
    kernel = "linux-image-6.17.8+deb14-amd64"
    machine.offers({"linux-image-amd64": "2", kernel: "6.17.8-1"}, f"Breaks: {kernel} (<< 1)")
    text = (machine.root / "mirror/Packages").read_text()
    needs = text.replace(
        "Version: 2\n", f"Version: 2\nDepends: {kernel}\nConflicts: fuse-overlayfs\n"
    )
    (machine.root / "mirror/Packages").write_text(needs)
    subprocess.run(["apt-get", "-q", "update"], env=machine.env, check=True, capture_output=True)
    assert machine.ask(upgrade_reads.PLAN) == {kernel: "6.17.8-1", "fuse-overlayfs": ""}


def test_plan_with_unmet_dependencies_says_so(machine: Machine) -> None:
    text = stanza("runc", "1", "Status: install ok installed", "Depends: nothing-there")
    (machine.root / "status").write_text(text)
    machine.offers({"runc": "1"})
    with pytest.raises(FactError, match="Unmet dependencies"):
        machine.ask(upgrade_reads.PLAN)


def test_plan_while_another_apt_is_at_work_is_none(machine: Machine) -> None:
    machine.has({"runc": "1"})
    machine.offers({"runc": "2"})
    lock = machine.root / "lock"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _HOLDS, lock], stdin=pipe, stdout=pipe) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(FactError, match="at work"):
            machine.ask(upgrade_reads.PLAN, lock=str(lock))
    assert machine.ask(upgrade_reads.PLAN, lock=str(lock)) == {"runc": "2"}


def test_installed_packages_are_those_that_dpkg_knows(tmp_path: Path) -> None:
    there = {
        "runc": ("1.1.15+ds1-2", "install ok installed"),
        "lxc-pve": ("6.0.5-1", "hold ok installed"),
        "docker-ce": ("5:28.5.1-1", "install ok half-configured"),
        "containerd.io": ("1.7.27-1", "install ok unpacked"),
        "fuse-overlayfs": ("1.14-1", "install reinstreq half-installed"),
        "apparmor": ("4.1.0-1", "install ok triggers-pending\nTriggers-Pending: x"),
        "linux-image-6.17.8+deb14-amd64": ("6.17.8-1", "install ok installed"),
    }
    gone = {"docker.io": ("26.1.5", "deinstall ok config-files"), "vim": there["runc"]}
    status = ((name, version, f"Status: {how}") for name, (version, how) in (there | gone).items())
    (tmp_path / "status").write_text("".join(stanza(*each) for each in status))
    program, *words = upgrade_reads.INSTALLED.argv
    argv = [program, f"--admindir={tmp_path}", *words]
    expected = {name: version for name, (version, _) in there.items()}
    assert asked(upgrade_reads.INSTALLED, argv) == expected


def lists(folder: Path) -> str:
    argv = [word.replace("/var/lib/apt", str(folder)) for word in upgrade_reads.LISTS.argv]
    return asked(upgrade_reads.LISTS, argv)


def test_lists_are_as_old_as_the_last_question_to_a_mirror(tmp_path: Path) -> None:
    partial = tmp_path / "lists/partial"
    partial.mkdir(parents=True)
    assert "no lists" in lists(tmp_path)
    (tmp_path / "lists/mirror_Packages.lz4").write_text("")
    assert lists(tmp_path) == ""
    os.utime(partial, (1, time.time() - 10 * 86400))
    assert "10 days old" in lists(tmp_path)
    stamp = tmp_path / "periodic/update-success-stamp"
    stamp.parent.mkdir()
    stamp.write_text("")
    assert lists(tmp_path) == ""
    release = tmp_path / "lists/mirror_InRelease"
    release.write_text("Origin: x\nValid-Until: Mon, 02 Nov 2020 02:22:31 UTC\nSuite: y\n")
    assert "expired" in lists(tmp_path)


def test_modules_of_a_kernel_are_asked_of_modinfo(stub: Callable[[str, str], Path]) -> None:
    stub("modinfo", '[ "$1" = iptable_raw ]')
    assert asked(upgrade_reads.KERNEL_HAS, upgrade_reads.KERNEL_HAS.argv) == {"iptable_raw"}
