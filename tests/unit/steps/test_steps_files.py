"""The scripts of the repository and the container's files: sabotaged line by line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gate import evidence
from remediation import desired, provision
from remediation.actions.storage_driver import DockerState
from remediation.engine import journal
from remediation.engine.action import Place
from steps import files as steps
from targets.errors import CommandFailed, FactError
from targets.files import FileState
from targets.target import Target
from tests.doubles.canned import Answer, Host, Machine, Runtime
from tests.doubles.dockerd import Dockerd, no_dockerd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.transport import CommandResult

DATA = Path(__file__).parents[2] / "data"
SETUP = (DATA / "setup_apparmor.after.sh").read_text()
INSTALL = (DATA / "install_docker.after.sh").read_text()
DAEMON_JSON = desired.DAEMON_JSON
#: Whose repository is elsewhere: the script that is looked at is its own.
TARGET = Target("pve1", 950, repository="/srv/phoenix")
LINE = desired.TUNABLE.decode().strip()


@pytest.fixture(autouse=True)
def _dockerd_reads_daemon_json(monkeypatch: pytest.MonkeyPatch) -> None:
    Dockerd().runs(monkeypatch)


def node(path: str, text: str | None, bash: Answer = "", whole: Answer = "") -> Machine:
    full = f"{TARGET.repository}/{path}"
    return Machine({full: text}, {f"bash -n {full}": bash, "bash -n": whole})


def setup(text: str | None, bash: Answer = "") -> Machine:
    return node(desired.SETUP_SCRIPT, text, bash)


def install(text: str | None, bash: Answer = "") -> Machine:
    return node(desired.INSTALL_SCRIPT, text, bash)


def changed(text: str, pattern: str, new: str) -> str:
    result, count = re.subn(pattern, new, text, flags=re.MULTILINE)
    assert count
    return result


ECHO = rf"^\s*echo '{re.escape(LINE)}'.*$"


def test_the_scripts_as_the_plan_makes_them() -> None:
    steps.setup_script_writes_tunable(setup(SETUP), TARGET)
    steps.install_script_stops(install(INSTALL), TARGET)
    steps.install_script_installs_once(install(INSTALL), TARGET)
    steps.install_script_enters(install(INSTALL), TARGET)


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
        steps.setup_script_writes_tunable(setup(changed(SETUP, pattern, new)), TARGET)


@pytest.mark.parametrize("step", [steps.install_script_stops, steps.install_script_enters])
def test_a_script_that_is_absent_or_broken(step: object) -> None:
    with pytest.raises(FactError, match="does not exist on pve1, so it cannot be judged"):
        step(install(None), TARGET)  # type: ignore[operator]
    with pytest.raises(AssertionError, match="is no valid bash: line 3: syntax"):
        step(install(INSTALL, (2, "", "line 3: syntax error\n")), TARGET)  # type: ignore[operator]


@pytest.mark.parametrize("first", ["", "# set -e\n", "true\nset -e\n", "set -u\n", "set +e\n"])
def test_the_first_command_is_set_e(first: str) -> None:
    with pytest.raises(AssertionError, match="the install script begins with '', not"):
        steps.install_script_stops(install("# nothing\n"), TARGET)
    for good in ("set -e", "set -eu", "set -uexo pipefail"):
        steps.install_script_stops(install(changed(INSTALL, "^set -e$", good)), TARGET)
    with pytest.raises(AssertionError, match="the install script begins with '"):
        steps.install_script_stops(install(changed(INSTALL, "^set -e\n", first)), TARGET)


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
        steps.install_script_installs_once(install(changed(INSTALL, pattern, new)), TARGET)


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
        steps.install_script_enters(install(changed(INSTALL, pattern, new)), TARGET)


@pytest.mark.parametrize("ends", ["exit 0", "return", "exec true", "exit"])
def test_an_install_script_that_ends_before_it_installs_is_red(ends: str) -> None:
    text = changed(INSTALL, "^set -e$", f"set -e\nexec 2>&1\n{ends}")
    with pytest.raises(AssertionError, match=f"ends with '{ends}' before fuse-overlayfs is inst"):
        steps.install_script_installs_once(install(text), TARGET)
    steps.install_script_installs_once(install(f"{INSTALL}{ends}\n"), TARGET)
    in_a_condition = node(desired.INSTALL_SCRIPT, text, whole=(2, "", "unexpected end"))
    steps.install_script_installs_once(in_a_condition, TARGET)


def test_a_setup_script_that_ends_before_it_reloads_is_red() -> None:
    with pytest.raises(AssertionError, match="ends with 'exit 0' before AppArmor is reloaded"):
        steps.setup_script_writes_tunable(setup(changed(SETUP, "^set ", "exit 0\nset ")), TARGET)


@pytest.mark.parametrize("begin", [": <<LATER", "cat >/dev/null <<-'LATER'", ': << "LATER"'])
def test_an_install_script_whose_changes_are_the_text_of_a_document_is_red(begin: str) -> None:
    text = changed(INSTALL, "^# --- Storage driver ---$", begin)
    text = changed(text, "^# --- Docker ---$", "LATER")
    with pytest.raises(AssertionError, match="is checked for 0 times"):
        steps.install_script_installs_once(install(text), TARGET)


@pytest.mark.parametrize("name", ["inside", "apt-get", "pct", "function systemctl"])
def test_an_install_script_that_defines_what_it_runs_is_red(name: str) -> None:
    text = changed(INSTALL, "^# --- Checks ---$", f"{name}() {{ :; }}")
    with pytest.raises(AssertionError, match=f"redefines {name.rsplit(maxsplit=1)[-1]}"):
        steps.install_script_enters(install(text), TARGET)


def test_what_enters_and_what_does_nothing() -> None:
    steps.install_script_enters(install("if ! inside apt-get update; then\nfi\n"), TARGET)
    steps.install_script_enters(install('  pct exec "$1" -- systemctl restart docker\n'), TARGET)
    with pytest.raises(AssertionError, match="installs and restarts nothing"):
        steps.install_script_enters(install("set -e\n# apt-get install x\n"), TARGET)


BOTH = {"dpkg": "1.22", "fuse-overlayfs": "1.14"}


@pytest.mark.parametrize(
    ("inside", "outside", "error", "message"),
    [
        ({}, {"dpkg": "1"}, AssertionError, "is not installed in the container"),
        (BOTH, BOTH, AssertionError, "is installed on the node: the step for the container ran"),
        (BOTH, {}, FactError, "not even dpkg is listed"),
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
        ("[]", "holds no JSON object"),
        ("", "names the storage driver None"),
        ('{"mtu": NaN}', "NaN is not a number in JSON"),
        ('{"labels": ["a=\udcfc"]}', "not JSON .*utf-8"),
    ],
)
def test_daemon_json(content: str | None, message: str) -> None:
    driver_named(GOOD)
    with pytest.raises(AssertionError, match=message):
        driver_named(content)


def driver_named(
    content: str | None, answers: dict[str, str] | None = None, validated: Answer = ""
) -> None:
    host, inside = Host({DAEMON_JSON: content}, answers=answers or {}), {VALIDATE: validated}
    runtime = Runtime(Machine(), Machine({}, inside))
    steps.daemon_json_names(host, runtime, 950, "fuse-overlayfs")


VALIDATE = "/usr/sbin/dockerd -H fd:// --validate"


@pytest.mark.parametrize(
    ("validated", "why"),
    [
        ((1, "", "warning\nunable to configure: hosts: (from flag: [fd://])\n"), "unable .* hosts"),
        ((137, "", ""), "dockerd --validate ended with 137"),
    ],
)
def test_daemon_json_that_dockerd_would_not_start_on_is_not_compliant(
    validated: Answer, why: str
) -> None:
    driver_named(GOOD, validated="configuration OK\n")
    driver_named(GOOD, validated=(125, "", "unknown flag: --validate\nSee dockerd --help\n"))
    with pytest.raises(AssertionError, match=f"not start on daemon.json as it is now, .*: {why}"):
        driver_named(GOOD, validated=validated)


def test_daemon_json_of_a_dockerd_that_another_program_starts_is_not_validated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Dockerd(argv=("/opt/start", "-x")).runs(monkeypatch)
    driver_named(GOOD, validated=(1, "", "no"))


def test_daemon_json_that_dockerd_does_not_read_is_not_compliant_and_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Dockerd(settings="/etc/other.json").runs(monkeypatch)
    said = "reads its settings from '/etc/other.json'"
    with pytest.raises(AssertionError, match=said):
        driver_named(GOOD)
    with pytest.raises(FactError, match=said):
        judge(applied(MIRROR, KEPT), KEPT)


def test_daemon_json_of_a_docker_that_does_not_run_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    no_dockerd(monkeypatch)
    driver_named(GOOD)


MARKED = "\ufeff" + GOOD
VERSION = "dockerd --version"


def test_daemon_json_with_a_byte_order_mark_is_read_as_dockerd_reads_it() -> None:
    new = {VERSION: "Docker version 26.1.5+dfsg1, build a72d7cd\n"}
    driver_named(MARKED, new)
    old = {VERSION: "Docker version 20.10.24+dfsg1, build 297e128\n"}
    with pytest.raises(AssertionError, match="byte order mark, and Docker 20 does not start on it"):
        driver_named(MARKED, old)
    with pytest.raises(FactError, match="dockerd --version printed ''"):
        driver_named(MARKED, {VERSION: ""})


class Journaled(Machine):
    """A node on which a journal can be written, and whatever else lies on it."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        if "journal.jsonl" in argv[2]:  # appended to
            self.files[JOURNAL] = (self.files.get(JOURNAL) or "") + stdin.decode()
            self.answers[shlex.join(argv)] = ""
        return super().run(argv, stdin=stdin, timeout=timeout)


JOURNAL = f"{journal.DIRECTORY}/journal.jsonl"
OURS = '{"storage-driver": "fuse-overlayfs"}'
MIRROR = '{"registry-mirrors": ["https://m.example"], "debug": true}'
KEPT = MIRROR.replace("{", '{"storage-driver": "fuse-overlayfs", ')


def applied(before: str, after: str | None, *, ctid: int = 950) -> Journaled:
    """Return a node whose journal has the images of a run; None: cut off."""

    def image(settings: str) -> DockerState:
        there = FileState("file", settings.encode()) if settings else FileState("absent")
        return DockerState(there, "active active enabled", ())

    node = Journaled({JOURNAL: None})
    book, action = journal.Journal(node, ctid), "docker-storage-driver"
    book.record([(action, Place.CONTAINER, image(before))])
    if after is not None:
        book.complete(action, Place.CONTAINER, image(after))
    return node


def made_by_phoenix(template: Answer) -> Journaled:
    """Return a node without a journal, whose phoenix makes the container from a template."""
    containers = '{"lxc_configs": {"950": {"template": "local:vztmpl/d.tar.zst"}}}'
    node = Journaled({JOURNAL: None, CONTAINERS: containers})
    argv = ["env", "LC_ALL=C", "sh", "-c", provision._IN_TEMPLATE, "template"]
    node.answers[shlex.join([*argv, "local:vztmpl/d.tar.zst", DAEMON_JSON])] = template
    return node


def by_hand() -> Journaled:
    return Journaled({JOURNAL: None, CONTAINERS: None})


CONTAINERS = f"{TARGET.repository}/{desired.CONTAINERS}"
NO_FILE: Answer = (2, "", f"tar: *{DAEMON_JSON}: Not found in archive\n")


def judge(node: Journaled, now: str | None) -> str:
    """Judge a container with these settings, and return what is said of it."""
    evidence.drain()
    steps.daemon_json_kept(Host({DAEMON_JSON: now}), node, Runtime(node), TARGET)
    (line,) = evidence.drain().lines
    return line


@pytest.mark.parametrize(
    ("node", "now", "said"),
    [
        (applied(MIRROR, KEPT), KEPT, "kept: debug, registry-mirrors"),
        (applied(MIRROR.replace("{", '{"storage-driver": "vfs", '), KEPT), KEPT, "kept: debug, re"),
        (applied("", OURS), OURS, "kept: nothing"),
        # Changed since by whoever may: what apply left is what counts.
        (applied(MIRROR, KEPT), OURS, "kept: debug, registry-mirrors"),
        (applied(MIRROR, KEPT), None, "kept: debug, registry-mirrors"),
        # A run that was cut off left no image: what is there now is what it left.
        (applied(MIRROR, None), KEPT, "kept: debug, registry-mirrors"),
        (made_by_phoenix(MIRROR), KEPT, "kept: debug, registry-mirrors"),
        (made_by_phoenix(NO_FILE), OURS, "kept: nothing"),
        (
            by_hand(),
            KEPT,
            "has debug, registry-mirrors; the settings before the plan are not known",
        ),
        (applied(MIRROR, OURS, ctid=951), KEPT, "has debug, registry-mirrors; the"),
    ],
)
def test_other_settings_are_kept(node: Journaled, now: str | None, said: str) -> None:
    node.files.setdefault(CONTAINERS, None)
    assert judge(node, now).startswith(said)


@pytest.mark.parametrize(
    ("node", "now", "lost"),
    [
        (applied(MIRROR, OURS), OURS, "debug, registry-mirrors"),
        (applied(MIRROR, OURS), KEPT, "debug, registry-mirrors"),  # put back by hand
        (applied(MIRROR, KEPT.replace("true", "false")), KEPT, "debug"),
        (applied(MIRROR, None), OURS, "debug, registry-mirrors"),
        (made_by_phoenix(MIRROR), OURS, "debug, registry-mirrors"),
        (made_by_phoenix(MIRROR), KEPT.replace("m.example", "n.example"), "registry-mirrors"),
    ],
)
def test_other_settings_are_lost(node: Journaled, now: str, lost: str) -> None:
    with pytest.raises(AssertionError, match=f"the user's settings are lost: {lost}$"):
        judge(node, now)


@pytest.mark.parametrize(
    ("node", "now", "error", "message"),
    [
        (
            made_by_phoenix((2, "", "tar: d.tar.zst: Cannot open: No such file or directory")),
            KEPT,
            CommandFailed,
            "Cannot open",
        ),
        (by_hand(), OURS, FactError, "holds the storage driver only, and neither a journal"),
        (by_hand(), " \n", FactError, "holds the storage driver only"),
        (by_hand(), None, FactError, "is absent: whether it kept settings is unknown"),
        (by_hand(), "{,}", FactError, "is not JSON"),
        (by_hand(), "[1]", FactError, "holds no JSON object"),
        (applied("{,}", KEPT), KEPT, FactError, "is not JSON"),
        (made_by_phoenix("[]"), KEPT, FactError, "holds no JSON object"),
        (Journaled({JOURNAL: '{"v": 1}\n'}), KEPT, FactError, "written in format 1"),
    ],
)
def test_what_was_kept_cannot_be_said(
    node: Journaled, now: str | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        judge(node, now)
