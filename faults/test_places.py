"""The whole gate from elsewhere: by LXC's own tools, and on the node itself.

``pytest faults/test_places.py`` needs nothing on the node: the checkout is copied there, along
with its libraries in their pinned versions, for the node's own Python.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faults.catalogue import CTID
from faults.conftest import snapshot
from faults.run import gate
from remediation import backup, target

if TYPE_CHECKING:
    from lab.machine import Lab
    from remediation.ssh import Ssh

_ROOT = Path(__file__).parents[1]
#: Left out are: what is said of a container that was not there before, and what only the lab of a
#: run may create and destroy.
ASKED = (
    *("features/", "--allow-mutation"),
    *("-k", "not from_nothing", "-m", "not before_the_plan"),
)
_TIMEOUT = 1800.0
#: Where nobody looks for changes: /var/tmp.
PLACE = "/var/tmp/gate"  # noqa: S108 - on the lab's node, which is root's alone
_UNPACK = f"rm -rf {PLACE}; mkdir {PLACE}; exec tar --extract --gzip -C {PLACE}"
_RUN = f'cd {PLACE} && PYTHONPATH={PLACE}/site exec python3 -m pytest "$@"'


@pytest.fixture
def backed_up(lab: Lab) -> None:
    """A compliant container, and the backups that the gate asks for and never makes."""
    lab.restore(snapshot("compliant"))
    with target.opened(target.parse(f"lab/{CTID}")) as runtime:
        backup.make_backup(runtime, CTID, backup.DUMP)


@pytest.mark.usefixtures("backed_up")
def test_by_lxcs_own_tools(tmp_path: Path) -> None:
    """Over SSH; there is a pct, which is left alone."""
    file = tmp_path / "targets.toml"
    file.write_text(f'[plain]\nhost = "lab"\nctid = {CTID}\nruntime = "lxc"\n')
    done, said = gate(
        *ASKED, "--target-file", str(file), "--target", "plain", results=tmp_path / "results"
    )
    assert done.returncode == 0, done.stdout
    assert {result["status"] for result in said.values()} == {"passed"}


@pytest.mark.usefixtures("backed_up")
@pytest.mark.parametrize("runtime", ["pct", "lxc"])
def test_on_the_node_itself(node: Ssh, tmp_path: Path, runtime: str) -> None:
    """``local``: no SSH at all."""
    libraries = _libraries(node, tmp_path / "site")
    node.run(["sh", "-c", _UNPACK], stdin=_packed(libraries), timeout=300).require()
    table = f'[here]\nhost = "local"\nctid = {CTID}\nruntime = "{runtime}"\n'
    node.write(f"{PLACE}/targets.toml", table.encode())
    there = ["--target-file", "targets.toml", "--target", "here", "--no-report"]
    done = node.run(["sh", "-c", _RUN, "gate", *ASKED, *there], timeout=_TIMEOUT)
    assert done.exit_code == 0, done.text + done.stderr.decode(errors="replace")
    assert "verdict: compliant" in done.text


def _libraries(node: Ssh, to: Path) -> Path:
    """Install our dependencies, as pinned, for the node's Python instead of ours."""
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = node.run(["python3", "-c", ask]).require().text.strip()
    glibc = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (17, 28, 34)]
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    how = ["--target", str(to), "--no-compile", "--only-binary=:all:"]
    pinned = ["--constraint", str(_ROOT / "constraints.txt"), *project["dependencies"]]
    argv = [*pip, *how, f"--python-version={version}", *glibc, *pinned]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return to


def _packed(libraries: Path) -> bytes:
    """Return an archive of the checkout as git knows it, and of the libraries in ``site``."""
    listed = ["git", "-C", str(_ROOT), "ls-files", "-z"]
    known = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=3) as archive:
        for name in filter(None, known.split("\0")):
            archive.add(_ROOT / name, name)
        archive.add(libraries, "site")
    return buffer.getvalue()
