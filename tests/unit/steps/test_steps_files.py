"""The scripts of the repository and the container's files: sabotaged line by line."""

import re
import shlex

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats.archive import FileState
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from docker_lxc_gate.machines.target import Target
from docker_lxc_gate.machines.transport import Command
from remediation import desired, phoenix
from remediation.actions.storage_driver import DockerState
from remediation.engine import journal
from remediation.engine.action import Place
from steps import files as steps
from tests.doubles.canned import Answer, Host, Machine, Runtime
from tests.doubles.naming import lines_of, naming, not_compliant
from tests.doubles.programs.dockerd import Dockerd, no_dockerd
from tests.doubles.samples import DATA

SETUP = (DATA / "setup_apparmor.after.sh").read_text()
INSTALL = (DATA / "install_docker.after.sh").read_text()
DAEMON_JSON = desired.DAEMON_JSON
#: Whose repository is elsewhere: the script that is looked at is its own.
TARGET = Target("pve1", 950, repository="/srv/phoenix")
LINE = desired.TUNABLE.decode().strip()


@pytest.fixture(autouse=True)
def _dockerd_reads_daemon_json(monkeypatch: pytest.MonkeyPatch) -> None:
    Dockerd().runs(monkeypatch)


class Node(Machine):
    """A node with a script, of whose whole text and of whose parts bash says what it is told."""

    def __init__(self, path: str, text: str | None, whole: Answer, of_parts: Answer = "") -> None:
        super().__init__({f"{TARGET.repository}/{path}": text})
        self._text, self._whole, self._of_parts = (text or "").encode(), whole, of_parts

    def execute(self, command: Command) -> CommandResult:
        self.answers["bash -n"] = self._whole if command.stdin == self._text else self._of_parts
        return super().execute(command)


def setup(text: str | None, bash: Answer = "") -> Machine:
    return Node(phoenix.SETUP_SCRIPT, text, bash)


def install(text: str | None, bash: Answer = "") -> Machine:
    return Node(phoenix.INSTALL_SCRIPT, text, bash)


def changed(text: str, pattern: str, new: str) -> str:
    result, count = re.subn(pattern, new, text, flags=re.MULTILINE)
    assert count
    return result


ECHO = rf"^\s*echo '{re.escape(LINE)}'.*$"
CHANGES = r"^# --- Storage driver ---$([\s\S]*?)^# --- Docker ---$"


def test_scripts_as_the_plan_makes_them_are_green() -> None:
    steps.setup_script_writes_tunable(setup(SETUP), TARGET)
    steps.install_script_stops(install(INSTALL), TARGET)
    steps.install_script_installs_once(install(INSTALL), TARGET)
    steps.install_script_enters(install(INSTALL), TARGET)


@pytest.mark.parametrize(
    ("pattern", "new", "named"),
    [
        (ECHO, "", "0 times"),
        (ECHO, r"\g<0>\n\g<0>", "2 times"),
        (r"^(\s*)systemctl reload apparmor.*", r"\1true", "AppArmor"),
        (r"\A", "systemctl reload apparmor\n", "AppArmor"),
        (r"^set ", "exit 0\nset ", "'exit 0'"),
        (ECHO, f"echo '{LINE}' > /etc/apparmor/tunables/nesting", "0 times"),
        (ECHO, r"\g<0>\nrm -f /etc/apparmor.d/tunables/nesting || true", "then runs 'rm -f"),
        (ECHO, r"\g<0>\n: >/etc/apparmor.d/tunables/nesting", "/tunables/nesting'"),
        (ECHO, r"write() {\n\g<0>\n}", "never calls write"),
        (ECHO, r"write() {\n\g<0>\n}\nall() {\nwrite\n}", "never calls write"),
    ],
)
def test_setup_script_writes_tunable_or_names_why_not(pattern: str, new: str, named: str) -> None:
    with not_compliant(named):
        steps.setup_script_writes_tunable(setup(changed(SETUP, pattern, new)), TARGET)


def test_a_function_that_the_script_calls_and_another_place_by_a_variable_are_no_matter() -> None:
    for call in ("write", 'if [ -d "$APPARMOR_D" ]; then write; fi', "trap 'write' EXIT"):
        text = changed(SETUP, ECHO, rf"write() {{\n\g<0>\n}}\n{call}")
        steps.setup_script_writes_tunable(setup(text), TARGET)
    undo = "undo() {\nrm /etc/apparmor.d/tunables/nesting\nreload\n}\n"
    steps.setup_script_writes_tunable(setup(f"{SETUP}{undo}"), TARGET)
    to = r'"$D/tunables/nesting"\nrm -f "$D/tunables/nesting" /etc/apparmor.d/tunables/nesting.old'
    steps.setup_script_writes_tunable(setup(changed(SETUP, ECHO, f"echo '{LINE}' > {to}")), TARGET)
    spare = "again() { inside systemctl restart docker; }\n"
    steps.install_script_enters(install(f"{INSTALL}{spare}"), TARGET)
    with not_compliant("the install script never calls main"):
        steps.install_script_enters(install(IN_MAIN), TARGET)


def test_install_script_that_is_absent_is_undetermined_and_a_broken_one_red() -> None:
    for step in (steps.install_script_stops, steps.install_script_enters):
        with naming(FactError, phoenix.INSTALL_SCRIPT, "pve1"):
            step(install(None), TARGET)
        with not_compliant("line 3: syntax error"):
            step(install(INSTALL, (2, "", "line 3: syntax error\n")), TARGET)
        with not_compliant("NUL"):
            step(install(INSTALL + "\0"), TARGET)


@pytest.mark.parametrize("first", ["", "# set -e\n", "true\nset -e\n"])
def test_install_script_stops_unless_its_first_command_is_another(first: str) -> None:
    with not_compliant("''"):
        steps.install_script_stops(install("# nothing\n"), TARGET)
    for good in ("set -e", "set -eu", "set -uexo pipefail"):
        steps.install_script_stops(install(changed(INSTALL, "^set -e$", good)), TARGET)
    with not_compliant("install script"):
        steps.install_script_stops(install(changed(INSTALL, "^set -e\n", first)), TARGET)


IN_MAIN = f"{changed(INSTALL, '^set -e$', 'set -e' + chr(10) + 'main() {')}}}\n"


UPDATE = "inside apt-get update"


@pytest.mark.parametrize(
    "call",
    [
        *("main", 'main "$@"; exit', "true && main", "{ main; }", "source lib.sh; main"),
        *(f"{UPDATE} || {ends}" for ends in ("exit", "return $?", "{ echo no; exit 1; }")),
        f"{UPDATE} ||\n    fail 'apt-get update failed'",
        f"update() {{ {UPDATE}; }}\nupdate || exit 1",
        f'local out; out="$({UPDATE})"',
        f'out="$({UPDATE})" || fail "$out"',
        f'inside() {{ pct exec 950 -- "$@" || return 1; }}\n{UPDATE}',
        f'inside() {{ pct exec 950 -- "$@" && return || echo again; false; }}\n{UPDATE}',
    ],
)
def test_install_script_stops_where_bash_heeds_set_e_is_green(call: str) -> None:
    steps.install_script_stops(install(f"{IN_MAIN}{call}\n"), TARGET)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        *(
            (f"{call} || exit 1", "||")
            for call in ("main", "{ main; }", "(main) 2> /dev/null", "if true; then main; fi")
        ),
        ("my::other() { main; }\nmy::other || exit 1", "||"),
        ("main && echo done", "&&"),
        ("if ! main; then exit 1; fi", "a condition"),
        ("main | tee /var/log/install", "pipefail"),
        ('said="$(main)"', "substitution"),
        ("main &", "background"),
        (f"{UPDATE} && inside apt-get install -y jq; true", "&&"),
        *((f"{UPDATE} || {goes_on}", "||") for goes_on in ("true", "exit 0", "{ echo bad; }")),
        (f'warn() {{ echo "$@"; }}\n{UPDATE} || warn bad', "||"),
        (f"! {UPDATE}", "condition"),
        (f"local out=$({UPDATE})", "substitution"),
        (f'out="$({UPDATE})" || true', "||"),
        (f'out="$({UPDATE}; echo done)"', "substitution"),
        (f"update() {{ {UPDATE}; }}\nout=$(update; true)", "substitution"),
        ("pct_exec 950 -- bash -c 'apt-get update' || true", "||"),
        (f'inside() {{ pct exec "$CTID" -- "$@" || true; }}\n{UPDATE}', "||"),
    ],
)
def test_install_script_stops_unless_bash_ignores_set_e(call: str, why: str) -> None:
    with not_compliant("goes on after an error", why):
        steps.install_script_stops(install(f"{IN_MAIN}{call}\n"), TARGET)


@pytest.mark.parametrize(
    "call",
    [
        f"source lib.sh; {UPDATE} || die bad",
        f"if ! {UPDATE}; then exit 1; fi",
        f"until {UPDATE}; do sleep 5; done",
        *(f"{UPDATE} && inside apt-get install -y jq{behind}" for behind in ("", " || exit 1")),
        *(f"{UPDATE} || {{ {ends}; }}" for ends in ("[[ $1 ]] && exit 1", "echo bad; exit $?")),
        f"({UPDATE} || exit 1) || true",
        f"{UPDATE} || exit 1 | tee -a log",
        f"{UPDATE} || exit 1 &",
        f'if [ "$x" ]; then {UPDATE}; fi || exit 1',
        "set +e; main",
    ],
)
def test_install_script_stops_where_the_gate_cannot_tell_is_undetermined(call: str) -> None:
    with naming(FactError, "could not tell", "set +e" if "set +e" in call else UPDATE):
        steps.install_script_stops(install(f"{IN_MAIN}{call}\n"), TARGET)


@pytest.mark.parametrize(
    ("pattern", "new", "named"),
    [
        (r"^if ! installed fuse-overlayfs; then$", "if true; then", "0 times"),
        (r"^ *inside apt-get install -y fuse-overlayfs$", "true", "fuse-overlayfs"),
        (r"^# --- Docker ---$", "inside apt-get install -y fuse-overlayfs jq", "checked"),
        (r"\Z", "if ! installed fuse-overlayfs; then\n  true\nfi\n", "2 times"),
        *(  # the changes are the text of a document
            (CHANGES, rf"{begin}\1LATER", "0 times")
            for begin in (": <<LATER", "cat >/dev/null <<-'LATER'", ': << "LATER"')
        ),
    ],
)
def test_install_script_installs_once_or_names_why_not(pattern: str, new: str, named: str) -> None:
    with not_compliant(named):
        steps.install_script_installs_once(install(changed(INSTALL, pattern, new)), TARGET)


@pytest.mark.parametrize("ends", ["exit 0", "exec true"])
def test_install_script_installs_once_but_ends_before_that_is_red(ends: str) -> None:
    text = changed(INSTALL, "^set -e$", f"set -e\nexec 2>&1\n{ends}")
    with not_compliant(f"'{ends}'", "fuse-overlayfs"):
        steps.install_script_installs_once(install(text), TARGET)
    steps.install_script_installs_once(install(f"{INSTALL}{ends}\n"), TARGET)
    in_a_condition = Node(phoenix.INSTALL_SCRIPT, text, "", of_parts=(2, "", "unexpected end"))
    steps.install_script_installs_once(in_a_condition, TARGET)


OUTSIDE = "apt-get install -y fuse-overlayfs\n"


@pytest.mark.parametrize(
    "script",
    [
        (
            f'log_info "Installing the container\'s packages"\n{OUTSIDE}'
            'log_info "Restarting the container\'s Docker"\n'
        ),
        f'log_info "Step # 2"\n{OUTSIDE}',
        f'a="${{x//\'/}}"\n{OUTSIDE}a="${{x//\'/}}"\n',
        f'true;# comment "a\n{OUTSIDE}',
        f"# it's\n{OUTSIDE}true # it's \\\n{OUTSIDE}",
        f"echo 'a\\'\n{OUTSIDE}echo $'it\\'s'\n{OUTSIDE}",
        f"case x in (a) {OUTSIDE} ;; (b) if true; then {OUTSIDE} fi\nesac",
        f"packages=(docker.io)\n(true) 2>&1\n{OUTSIDE}",
    ],
)
def test_install_script_with_quotes_in_quotes_and_comments_is_read_to_its_end(script: str) -> None:
    with not_compliant(OUTSIDE.strip()):
        steps.install_script_enters(install(f"set -e\n{script}"), TARGET)
    healthy = script.replace(OUTSIDE, f"inside {OUTSIDE}")
    steps.install_script_enters(install(f"set -e\n{healthy}"), TARGET)
    with not_compliant("before ||"):
        unheeded = healthy.replace(OUTSIDE, f"{OUTSIDE.strip()} || true\n")
        steps.install_script_stops(install(f"set -e\n{unheeded}"), TARGET)


@pytest.mark.parametrize(
    "script",
    [
        f'set -e; echo "Step # 1"; {UPDATE}',
        f"case x in\n(a) {UPDATE};; # b\n(b)   {UPDATE};;\nesac",
        f"CMD=(inside {OUTSIDE.strip()})\n{UPDATE}",
        f"CMD=(\n  inside # it's\n  {OUTSIDE})\n{UPDATE}",
        f"echo foo#bar ${{x#a}} a\\ #; {UPDATE}",
        f"if ! {UPDATE}; then\nfi\n",
        '  pct exec "$1" -- systemctl restart docker\n',
        "inside sh -c 'apt-get install x; echo $(id)'\n",
        "inside sh -c '\napt-get install x\n'\n",
        f'inside() {{ timeout 9 pct exec 950 -- "$@"; }}\n{UPDATE}',
        f'inside() {{ in_container "$@"; }}\n{UPDATE}\npct_exec apt-get install x',
        'A=902\nif [ "$1" ]; then\n  A=903\nfi\npct exec "$A" -- apt-get install x',
    ],
)
def test_install_script_that_enters_in_whatever_form_is_green(script: str) -> None:
    steps.install_script_enters(install(script), TARGET)


INSIDE = r"^ *pct exec[^}]*"
CHECKS = "^# --- Checks ---$"


@pytest.mark.parametrize(
    ("pattern", "new", "named"),
    [
        (r"inside (apt-get update)$", r"\1", "apt-get update"),
        (
            r"inside (apt-get install -y fuse-overlayfs)$",
            r"\1",
            "apt-get install -y fuse-overlayfs",
        ),
        (r"inside (systemctl restart docker)$", r"\1", "systemctl restart docker"),
        (r"\Z", 'echo "{}" > /etc/docker/daemon.json\n', "daemon.json"),
        (r"\Z", "outside apt-get install x\n", "apt-get install x"),
        (r"\Z", 'inside sh -c "$(apt-get install x)"\n', "apt-get install x"),
        (r"\Z", "inside true && apt-get install x\n", "apt-get install x"),
        (r"\Z", "inside cat <(apt-get install x)\n", "apt-get install x"),
        (r"\Z", 'bash -c "apt-get install x"\n', "apt-get install x"),
        (r"[\s\S]+", "set -e\n# apt-get install x\n", "nothing"),
        (CHECKS, "inside() { :; }", "defines inside"),
        (CHECKS, "function systemctl() { :; }", "defines systemctl"),
        (INSIDE, 'timeout 9 env A=b "$@" </dev/null\n', "the container: ['timeout 9"),
        (INSIDE, 'echo "$@"\n:\n', """['echo "$@"', ':']"""),
        (INSIDE, 'pct exec 902 -- "$@"\n', "enters container 902, whichever"),
        (CHECKS, "CTID=902 # mine", "enters container 902, whichever"),
        ("inside apt-get", "pct exec 902 -- apt-get", "enters container 902, whichever"),
    ],
)
def test_install_script_enters_but_for_one_names_it(pattern: str, new: str, named: str) -> None:
    with not_compliant(named):
        steps.install_script_enters(install(changed(INSTALL, pattern, new)), TARGET)


def test_install_script_with_brackets_that_the_gate_misreads_is_undetermined() -> None:
    for step in (steps.install_script_stops, steps.install_script_enters):
        step(install(f"set -e\n{UPDATE} # (case"), TARGET)
        with naming(FactError, "'if'"):  # a pattern
            step(install(f"set -e\ncase $1 in\nif) {UPDATE} ;;\nesac"), TARGET)


BOTH = {"dpkg": "1.22", "fuse-overlayfs": "1.14"}


def test_package_is_inside_where_it_is_elsewhere_or_nowhere_is_red() -> None:
    def judge(inside: dict[str, str], outside: dict[str, str]) -> None:
        steps.package_is_inside(Host(packages=inside), Host(packages=outside), "fuse-overlayfs")

    judge(BOTH, {"dpkg": "1"})
    with not_compliant("in the container"):
        judge({}, {"dpkg": "1"})
    with not_compliant("on the node"):
        judge(BOTH, BOTH)
    with naming(FactError, "dpkg"):
        judge(BOTH, {})


GOOD = '{"storage-driver": "fuse-overlayfs", "registry-mirrors": []}'


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "absent"),
        ('{\n  "storage-driver": "fuse-overlayfs",,\n}', "line 2, column 38"),
        ('{"storage-driver": "overlay2"}', "'overlay2'"),
        ("", "None"),
    ],
)
def test_daemon_json_with_another_driver_or_no_json_is_red(content: str | None, named: str) -> None:
    driver_named(GOOD)
    with not_compliant(named):
        driver_named(content)


def driver_named(
    content: str | None, answers: dict[str, str] | None = None, validated: Answer = ""
) -> None:
    host, inside = Host({DAEMON_JSON: content}, answers=answers or {}), {VALIDATE: validated}
    runtime = Runtime(Machine(), Machine({}, inside))
    steps.daemon_json_names(host, runtime, 950, "fuse-overlayfs")


VALIDATE = "/usr/sbin/dockerd -H fd:// --validate"


def test_daemon_json_names_the_driver_and_dockerd_refuses_it_is_red() -> None:
    driver_named(GOOD, validated="configuration OK\n")
    driver_named(GOOD, validated=(125, "", "unknown flag: --validate\nSee dockerd --help\n"))
    with not_compliant("daemon.json", "hosts: (from"):
        driver_named(GOOD, validated=(1, "", "warning\nunable: hosts: (from flag: [fd://])\n"))
    with not_compliant("daemon.json", "137"):
        driver_named(GOOD, validated=(137, "", ""))


def test_daemon_json_that_dockerd_does_not_read_is_red_and_undetermined_of_what_it_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Dockerd(settings="/etc/other.json").runs(monkeypatch)
    with not_compliant("'/etc/other.json'"):
        driver_named(GOOD)
    with naming(FactError, "'/etc/other.json'"):
        judge(applied(MIRROR, KEPT), KEPT)
    no_dockerd(monkeypatch)
    driver_named(GOOD)


MARKED = "\ufeff" + GOOD
VERSION = "dockerd --version"


def test_daemon_json_with_a_byte_order_mark_is_read_as_dockerd_reads_it() -> None:
    new = {VERSION: "Docker version 26.1.5+dfsg1, build a72d7cd\n"}
    driver_named(MARKED, new)
    old = {VERSION: "Docker version 20.10.24+dfsg1, build 297e128\n"}
    with not_compliant("byte order mark", "Docker 20"):
        driver_named(MARKED, old)
    with naming(FactError, VERSION):
        driver_named(MARKED, {VERSION: ""})


class Journaled(Machine):
    """A node on which a journal can be written, and whatever else lies on it."""

    def execute(self, command: Command) -> CommandResult:
        if "journal.jsonl" in command.argv[2]:  # appended to
            self.files[JOURNAL] = (self.files.get(JOURNAL) or "") + command.stdin.decode()
            self.answers[shlex.join(command.argv)] = ""
        return super().execute(command)


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
    argv = ["env", "LC_ALL=C", "sh", "template", "local:vztmpl/d.tar.zst", DAEMON_JSON]
    node.answers[shlex.join(argv)] = template
    return node


def by_hand() -> Journaled:
    return Journaled({JOURNAL: None, CONTAINERS: None})


CONTAINERS = f"{TARGET.repository}/{phoenix.CONTAINERS}"
NO_FILE: Answer = (2, "", f"tar: *{DAEMON_JSON}: Not found in archive\n")


def judge(node: Journaled, now: str | None) -> str:
    """Judge a container with these settings, and return what is said of it."""
    host = Host({DAEMON_JSON: now})
    (line,) = lines_of(steps.daemon_json_kept, host, node, Runtime(node), TARGET)
    return line


@pytest.mark.parametrize(
    ("node", "now", "said"),
    [
        (applied(MIRROR, KEPT), KEPT, "kept: debug, registry-mirrors"),
        (applied("", OURS), OURS, "kept: nothing"),
        # Changed since by whoever may: what apply left is what counts.
        (applied(MIRROR, KEPT), OURS, "kept: debug, registry-mirrors; changed since apply: debug,"),
        # A run that was cut off left no image: what is there now is what it left.
        (applied(MIRROR, None), KEPT, "kept: debug, registry-mirrors"),
        (made_by_phoenix(MIRROR), KEPT, "kept: debug, registry-mirrors"),
        (made_by_phoenix(NO_FILE), OURS, "kept: nothing"),
        (by_hand(), KEPT, "has debug, registry-mirrors; the settings before the plan are not"),
        (applied(MIRROR, OURS, ctid=951), KEPT, "has debug, registry-mirrors; the"),
    ],
)
def test_daemon_json_kept_names_what_it_kept(node: Journaled, now: str | None, said: str) -> None:
    node.files.setdefault(CONTAINERS, None)
    assert judge(node, now).startswith(said)


@pytest.mark.parametrize(
    ("node", "now", "error", "named"),
    [
        (applied(MIRROR, OURS), OURS, AssertionError, "lost: debug, registry-mirrors"),
        (applied(MIRROR, KEPT.replace("true", "false")), KEPT, AssertionError, "lost: debug"),
        (applied(MIRROR, None), OURS, AssertionError, "lost: debug, registry-mirrors"),
        (made_by_phoenix(MIRROR), OURS, AssertionError, "lost: debug, registry-mirrors"),
        (made_by_phoenix((2, "", "tar: d.tar.zst: Cannot open")), KEPT, CommandFailed, "d.tar.zst"),
        (by_hand(), " \n", FactError, "journal"),
        (by_hand(), "[]", FactError, "JSON"),
        (applied(MIRROR, KEPT), None, FactError, "absent"),
        (Journaled({JOURNAL: '{"v": 1}\n'}), KEPT, FactError, "format 1"),
    ],
)
def test_daemon_json_kept_unless_it_is_lost_or_cannot_be_read(
    node: Journaled, now: str | None, error: type[Exception], named: str
) -> None:
    with naming(error, named) as raised:
        judge(node, now)
    assert error is not AssertionError or str(raised.value).endswith(named)
