"""The scripts, run in a copy of a fresh clone, with stand-ins for all that would install."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doubles.samples import ROOT

#: What a bare machine has; everything else that a script runs is a stand-in.
_THERE = ("bash", "env", "dirname", "cmp", "cp", "mkdir", "cat", "chmod")
#: Writes down how it was called. ``venv`` is missing until the package manager installed it.
_STAND_IN = """#!/bin/bash
echo "${0##*/} $*" >>"$LOG"
[[ "${0##*/} $1" != "python3 -c" || $2 != *ensurepip* || -e $LOG.venv ]] || exit 1
[[ "${0##*/} $*" != *"install"*"python3-venv"* ]] || : >"$LOG.venv"
[[ "$*" != "-m venv"* ]] || { mkdir -p .venv/bin; cp "$0" .venv/bin/python; }
[[ "${0##*/} $1" != "npm ci" ]] || mkdir -p node_modules
"""


class Clone:
    """A clone in which nothing is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder / "clone", folder / "log"
        self.programs = folder / "bin"
        self.programs.mkdir()
        shutil.copytree(ROOT / "scripts", self.folder / "scripts")
        for name in ("constraints.txt", "constraints-dev.txt", "package-lock.json"):
            shutil.copy(ROOT / name, self.folder)
        for name in _THERE:
            (self.programs / name).symlink_to(shutil.which(name) or name)
        for name in ("python3", "apt-get", "sudo"):
            self.install(name)

    def install(self, program: str) -> None:
        """Give the machine a program, which only writes down how it was called."""
        path = self.programs / program
        path.write_text(_STAND_IN)
        path.chmod(0o755)

    def run(self, script: str, *arguments: str) -> list[str]:
        """Return what a script ran, in order; the package manager without its options."""
        done = self.start(script, *arguments)
        assert done.returncode == 0, done.stderr
        self.said = done.stdout + done.stderr
        return self.log.read_text().splitlines()

    def start(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a script; ``touched`` says afterwards whether it ran anything."""
        return subprocess.run(
            [self.folder / "scripts" / script, *arguments],
            env={"PATH": str(self.programs), "LOG": str(self.log)},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def touched(self) -> bool:
        """Whether any stand-in was called."""
        return self.log.exists()


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def pins(ran: list[str]) -> list[str]:
    """Return the files of pins that were installed, in order."""
    return [line.split()[-1] for line in ran if "--require-hashes" in line]


def installed(ran: list[str]) -> str:
    """Return what the package manager was asked to install."""
    return " ".join(line for line in ran if line.startswith(("apt-get", "sudo")))


@pytest.mark.parametrize(
    ("arguments", "lab"),
    [
        (("--target=local/950", "-k", "VAL-4"), False),
        (("--target-file", "targets.toml", "--target", "pve1"), False),
        (("-m", "node", "--target-file=targets.toml"), False),
        (("-k", "VAL-4"), True),
        (("--target=root@pve1/950", "--target=lab/951"), True),
    ],
)
def test_gate_installs_the_labs_programs_only_if_it_goes_there(
    clone: Clone, arguments: tuple[str, ...], lab: bool
) -> None:
    if lab:  # of the lab's packages, too; its program would be there afterwards
        clone.install("npm")
    ran = clone.run("gate", *arguments)
    assert installed(ran).endswith(" openssh-client python3-venv") is not lab
    for program in ("qemu-system-x86 ", "mmdebstrap "):
        assert (program in f"{installed(ran)} ") is lab
    assert ("npm is not installed: the report will not be rendered" in clone.said) is not lab
    assert ran[-1] == " ".join(("python -m pytest features/", *arguments))


def test_gate_installs_what_users_need_and_a_second_time_nothing(clone: Clone) -> None:
    for program in ("npm", "ssh"):
        clone.install(program)
    first = clone.run("gate", "--target", "root@pve1/950")
    assert any(line.startswith("npm ci --ignore-scripts") for line in first)
    assert pins(first) == ["constraints.txt"]
    before = clone.run("setup", "--dev")
    assert pins(before) == ["constraints.txt", "constraints-dev.txt"]  # a developer has more
    again = clone.run("gate", "--target", "root@pve1/950")[len(before) :]
    assert [line for line in again if " -c " not in line] == [
        "python -m pytest features/ --target root@pve1/950"
    ]


def test_setup_with_another_option_ends_with_2_and_names_those_that_there_are(clone: Clone) -> None:
    done = clone.start("setup", "--no-labs")
    assert (done.returncode, clone.touched) == (2, False)
    assert "--no-lab" in done.stderr
    assert "--dev" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("-k", "VAL-4"), ("--target", "lab/950")])
def test_gate_on_a_proxmox_host_without_a_host_of_its_own_is_refused(
    clone: Clone, arguments: tuple[str, ...]
) -> None:
    """Debian's QEMU takes the place of Proxmox's own."""
    clone.install("pveversion")
    done = clone.start("gate", *arguments)
    assert done.returncode == 2
    assert "scripts/gate --target local/950" in done.stderr
    assert not clone.touched


def test_gate_whose_installation_fails_ends_with_3_and_gives_no_verdict(clone: Clone) -> None:
    (clone.programs / "apt-get").write_text("#!/bin/bash\nexit 1\n")
    (clone.programs / "sudo").write_text("#!/bin/bash\nexit 1\n")
    done = clone.start("gate", "--target", "root@pve1/950")
    assert done.returncode == 3
    assert "scripts/setup ended with 1, so the gate did not run" in done.stderr
    assert "pytest" not in (clone.log.read_text() if clone.touched else "")


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "scripts").iterdir()))
def test_help_of_each_script_changes_nothing(clone: Clone, script: str, option: str) -> None:
    before = sorted(clone.folder.rglob("*"))
    done = clone.start(script, option)
    assert (done.returncode, clone.touched, sorted(clone.folder.rglob("*"))) == (0, False, before)
    assert done.stdout.startswith(f"usage: scripts/{script} [")


def test_setup_makes_a_command_that_works_from_any_folder(clone: Clone, tmp_path: Path) -> None:
    clone.folder = clone.folder.rename(tmp_path / "a clone's")
    clone.run("setup", "--no-lab")
    python = clone.folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(sys.executable)
    (clone.folder / "docker_lxc_gate").mkdir()
    (clone.folder / "docker_lxc_gate" / "__main__.py").write_text(
        "import sys\ndef main(): print(sys.argv[1:], __file__)\n"
    )
    done = subprocess.run(
        [clone.folder / ".venv/bin/docker-lxc-gate", "plan", "a b"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"['plan', 'a b'] {clone.folder}/docker_lxc_gate/__main__.py\n"
