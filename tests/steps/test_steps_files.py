"""The scripts of the repository and the container's files: sabotaged line by line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from remediation import docker_in_lxc
from remediation.errors import FactError
from steps import files as steps
from tests.steps.doubles import Answer, Host, Machine

DATA = Path(__file__).parents[1] / "data"
SETUP = (DATA / "setup_apparmor.after.sh").read_text()
INSTALL = (DATA / "install_docker.after.sh").read_text()
DAEMON_JSON = docker_in_lxc.DAEMON_JSON
LINE = docker_in_lxc.TUNABLE.decode().strip()


def node(path: str, text: str | None, bash: Answer = "") -> Machine:
    full = f"{docker_in_lxc.REPOSITORY}/{path}"
    return Machine({full: text}, {f"bash -n {full}": bash})


def setup(text: str | None, bash: Answer = "") -> Machine:
    return node(docker_in_lxc.SETUP_SCRIPT, text, bash)


def install(text: str | None, bash: Answer = "") -> Machine:
    return node(docker_in_lxc.INSTALL_SCRIPT, text, bash)


def changed(text: str, pattern: str, new: str) -> str:
    result, count = re.subn(pattern, new, text, flags=re.MULTILINE)
    assert count
    return result


ECHO = rf"^\s*echo '{re.escape(LINE)}'.*$"


def test_the_scripts_as_the_plan_makes_them() -> None:
    steps.setup_script_writes_tunable(setup(SETUP))
    steps.install_script_stops(install(INSTALL))
    steps.install_script_installs_once(install(INSTALL))
    steps.install_script_enters(install(INSTALL))


@pytest.mark.parametrize(
    ("pattern", "new", "message"),
    [
        (ECHO, "", "writes the tunable 0 times"),
        (ECHO, r"# \g<0>", "writes the tunable 0 times"),
        (ECHO, r"\g<0>\n\g<0>", "writes the tunable 2 times"),
        (r"^(\s*)systemctl reload apparmor.*", r"\1true", "does not reload AppArmor"),
        (r"^(\s*)(systemctl reload apparmor)", r"\1# \2", "does not reload AppArmor"),
        (r"\A", "systemctl reload apparmor\n", "written after AppArmor is reloaded"),
    ],
)
def test_a_setup_script_that_does_not(pattern: str, new: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        steps.setup_script_writes_tunable(setup(changed(SETUP, pattern, new)))


@pytest.mark.parametrize("step", [steps.install_script_stops, steps.install_script_enters])
def test_a_script_that_is_absent_or_broken(step: object) -> None:
    with pytest.raises(FactError, match="is not on pve1: nothing can be said of it"):
        step(install(None))  # type: ignore[operator]
    with pytest.raises(AssertionError, match="is no valid bash: line 3: syntax"):
        step(install(INSTALL, (2, "", "line 3: syntax error\n")))  # type: ignore[operator]


@pytest.mark.parametrize("first", ["", "# set -e\n", "true\nset -e\n", "set -u\n", "set +e\n"])
def test_the_first_command_is_set_e(first: str) -> None:
    with pytest.raises(AssertionError, match="the install script begins with '', not"):
        steps.install_script_stops(install("# nothing\n"))
    for good in ("set -e", "set -eu", "set -uexo pipefail"):
        steps.install_script_stops(install(changed(INSTALL, "^set -e$", good)))
    with pytest.raises(AssertionError, match="the install script begins with '"):
        steps.install_script_stops(install(changed(INSTALL, "^set -e\n", first)))


@pytest.mark.parametrize(
    ("pattern", "new", "message"),
    [
        (r"^if ! installed fuse-overlayfs; then$", "if true; then", "is checked for 0 times"),
        (r"^ *inside apt-get install -y fuse-overlayfs$", "true", "does not install fuse-overla"),
        (r"^# --- Docker ---$", "inside apt-get install -y fuse-overlayfs jq", "without being che"),
        ("Status-Abbrev", "Package", "does not ask for the package's status"),
        (r"\Z", "if ! installed fuse-overlayfs; then\n  true\nfi\n", "is checked for 2 times"),
    ],
)
def test_installing_without_looking(pattern: str, new: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        steps.install_script_installs_once(install(changed(INSTALL, pattern, new)))


@pytest.mark.parametrize(
    ("pattern", "new", "told"),
    [
        (r"inside (apt-get update)$", r"\1", "apt-get update"),
        (
            r"inside (apt-get install -y fuse-overlayfs)$",
            r"\1",
            "apt-get install -y fuse-overlayfs",
        ),
        (r"inside (systemctl restart docker)$", r"\1", "systemctl restart docker"),
        (r"\Z", 'echo "{}" > /etc/docker/daemon.json\n', 'echo "{}" > /etc/docker/daemon.json'),
        (r"\Z", "outside apt-get install x\n", "outside apt-get install x"),
    ],
)
def test_what_runs_on_the_node(pattern: str, new: str, told: str) -> None:
    with pytest.raises(
        AssertionError, match=rf"instead of in the container: \[.*{re.escape(told)}"
    ):
        steps.install_script_enters(install(changed(INSTALL, pattern, new)))


def test_what_enters_and_what_does_nothing() -> None:
    steps.install_script_enters(install("if ! inside apt-get update; then\nfi\n"))
    steps.install_script_enters(install('  pct exec "$1" -- systemctl restart docker\n'))
    with pytest.raises(AssertionError, match="installs and restarts nothing"):
        steps.install_script_enters(install("set -e\n# apt-get install x\n"))


BOTH = {"dpkg": "1.22", "fuse-overlayfs": "1.14"}


@pytest.mark.parametrize(
    ("inside", "outside", "error", "message"),
    [
        ({}, {"dpkg": "1"}, AssertionError, "is not installed in the container"),
        (BOTH, BOTH, AssertionError, "is installed on the node: the step for the container ran"),
        (BOTH, {}, FactError, "not even dpkg is among them"),
    ],
)
def test_the_package_is_inside(
    inside: dict[str, str], outside: dict[str, str], error: type[Exception], message: str
) -> None:
    steps.package_is_inside(Host(packages=BOTH), Host(packages={"dpkg": "1"}), "fuse-overlayfs")
    with pytest.raises(error, match=message):
        steps.package_is_inside(Host(packages=inside), Host(packages=outside), "fuse-overlayfs")


GOOD = '{"storage-driver": "fuse-overlayfs", "registry-mirrors": []}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is absent in the container"),
        ('{\n  "storage-driver": "fuse-overlayfs",,\n}', "line 2, column 38: not JSON"),
        ('{"storage-driver": "overlay2"}', "names the storage driver 'overlay2'"),
        ("{}", "names the storage driver None"),
    ],
)
def test_daemon_json(content: str | None, message: str) -> None:
    steps.daemon_json_names(Host({DAEMON_JSON: GOOD}), "fuse-overlayfs")
    with pytest.raises(AssertionError, match=message):
        steps.daemon_json_names(Host({DAEMON_JSON: content}), "fuse-overlayfs")


def test_other_settings() -> None:
    steps.daemon_json_kept(Host({DAEMON_JSON: GOOD}))
    with pytest.raises(AssertionError, match="the user's settings are lost"):
        steps.daemon_json_kept(Host({DAEMON_JSON: '{"storage-driver": "fuse-overlayfs"}'}))
