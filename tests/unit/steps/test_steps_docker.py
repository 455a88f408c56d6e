"""Docker's sentences, by its own words and by the kernel's mount table."""

import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from docker_lxc_gate.errors import FactError, TransportError
from docker_lxc_gate.facts import dockerd, next_boot
from docker_lxc_gate.lab.docker_images import hello
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from docker_lxc_gate.machines.target import Target
from remediation import desired, plan_file
from steps import docker as steps
from steps import hello_world, probe
from tests.doubles.canned import FIRST_PROCESS, Answer, Host, Machine, Runtime
from tests.doubles.naming import lines_of, naming, not_compliant
from tests.doubles.programs.dockerd import Dockerd, no_dockerd

if TYPE_CHECKING:
    from collections.abc import Callable

DRIVER = "fuse-overlayfs"
ENABLED = "systemctl is-enabled docker.service"
INFO = "docker info -f '{{json .}}'"
MERGED = "/var/lib/docker/fuse-overlayfs/ab/merged"
INSPECT = "docker inspect -f '{{.GraphDriver.Data.MergedDir}}' gate-1"


def result(code: int = 0, out: str = "", err: str = "") -> CommandResult:
    return CommandResult(("docker",), code, out.encode(), err.encode(), "container 950", 0.0, 1.0)


def run(code: int = 0, out: str = "", err: str = "") -> steps.DockerRun:
    return steps.DockerRun("gate-1", result(code, out, err))


MOUNT = "using mount program fuse-overlayfs"
TO_API = "failed to connect to the docker API at"
DURING = "error during connect: Get"
PORTS = "net.ipv4.ip_unprivileged_port_start"


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        (f"open sysctl {PORTS} file: reopen fd 8: permission denied", "without a record"),
        (f"{MOUNT}: failed\nfuse-overlayfs: cannot mount: EPERM", "fuse-overlayfs cannot mount"),
        ("iptables: No chain/target/match by that name.\n (exit status 1))", "rules are gone"),
        ("something new\n (exit status 1))\nSee 'docker run --help'.", "something new"),
        ("", "printed nothing"),
        ("Cannot connect to the Docker daemon at tcp://127.0.0.1:2375. Is", "another address"),
        ("no disk\n\nRun 'docker run --help' for more information", "no disk"),
        (f"{TO_API} tcp://127.0.0.1:2375; check", "another address"),
        ("The server probably has client authentication (--tlsverify) enabled", "another address"),
        ("unable to resolve docker endpoint: open /root/.docker/ca.pem: no", "another address"),
        (f"{TO_API} unix:///run/x; check", "Docker is not running"),
        (f'{DURING} "http://%2Fvar%2Frun%2Fdocker.sock/v1": EOF', f'{DURING} "http://%2F'),
        ("permission denied while trying to connect to the docker API at u", "may not use"),
        ("client version 1.52 is too new. Maximum", "versions are too far apart"),
        # As timeout(1) says it, by which every command there ends.
        ("timeout: failed to run command 'docker': No such file or directory", steps.NO_DOCKER),
        ("timeout: failed to run command \u2018docker\u2019: No such file", steps.NO_DOCKER),
    ],
)
def test_cause_of_dockers_words_is_named_and_not_the_symptom(said: str, meaning: str) -> None:
    assert meaning in steps.cause(said)


def test_docker_runs_but_not_after_a_boot_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(*running: str, obstacle: str = "") -> None:
        monkeypatch.setattr(next_boot, "obstacle", lambda *_: obstacle)
        steps.docker_runs(Machine(), Host(running=running))

    judge("docker")
    with not_compliant(steps.NO_DOCKER):
        judge()
    with not_compliant("next boot", "rescue.target"):
        judge("docker", obstacle="the default target is rescue.target")


def test_docker_runs_where_it_is_down_names_the_cause() -> None:
    for state, enabled, log, why in (
        ("masked\n", "masked\n", "failed to start daemon: x\n", "systemctl unmask docker"),
        ("loaded\n", "disabled\n", "a\nfailed to load x\nunable to do y\nz\n", "unable to do y"),
        ("loaded\n", "disabled\n", "", "systemctl enable --now docker"),
        ("loaded\n", "enabled\n", "remap: no id\ntime=now level=info\n", "remap: no id"),
        ("loaded\n", "enabled\n", "time=now level=info\n", "journalctl -u docker"),
    ):
        answers = {
            "systemctl show docker -p LoadState --value": state,
            ENABLED: enabled,
            "journalctl -t dockerd -b -n 60 -q --no-pager -o cat": log,
        }
        with not_compliant(why) as raised:
            steps.docker_runs(Machine(), Host(programs=("dockerd",), answers=answers))
        assert steps.NO_DOCKER not in str(raised.value)


SHOW = (
    "systemctl show docker -pExecStart -pNeedDaemonReload -pEnvironment -pUnsetEnvironment "
    "-pEnvironmentFiles"
)
UNIT = (
    "ExecStart={ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS ; "
    "ignore_errors=no ; start_time=[n/a] ; pid=7 }\nNeedDaemonReload=no\n"
)


def engine(driver: str = DRIVER, id: str = "e1", kind: str = "") -> dockerd.Info:  # noqa: A002
    return dockerd.Info(driver, [["driver-type", kind]], "26.1", id)


def cli(driver: str = DRIVER, id: str = "e1") -> str:  # noqa: A002
    status = [["Supports d_type", "true"]]
    told = {"Driver": driver, "DriverStatus": status, "ServerVersion": "26.1", "ID": id}
    return json.dumps(told)


def judge_driver(info: Answer, unit: str = UNIT) -> None:
    inside = Machine({}, {INFO: info, SHOW: unit})
    steps.storage_driver_is(inside, Runtime(Machine()), 950, DRIVER)


def test_storage_driver_is_of_a_docker_whose_unit_was_changed_is_red(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Dockerd(engine()).runs(monkeypatch)
    (line,) = lines_of(judge_driver, cli(), UNIT)
    assert "fuse-overlayfs, Docker 26.1" in line
    judge_driver(cli(), UNIT.replace("/usr/sbin/dockerd", "/opt/start"))
    with not_compliant("changed since", "systemd"):
        judge_driver(cli(), UNIT.replace("=no", "=yes"))
    with not_compliant("changed since", "dockerd -H fd:// -s vfs"):
        judge_driver(cli(), UNIT.replace("-H fd:// $DOCKER_OPTS", "-H fd:// -s vfs"))


@pytest.mark.parametrize(
    ("info", "told", "named"),
    [
        (cli("overlay2"), engine("overlay2"), ("'overlay2', not 'fuse-overlayfs'",)),
        (cli(), engine("vfs"), ("'vfs', not 'fuse-overlayfs'", "docker info")),
        (cli(id="e2"), engine(), ("'e2', not 'e1'",)),
        ((1, "", "Cannot connect to the Docker daemon at"), engine(), ("not running",)),
        (cli("overlayfs"), engine("overlayfs", kind="io.snapshotter.v1"), ("containerd",)),
        (cli(), None, ("'fuse-overlayfs'", "no dockerd")),
    ],
)
def test_storage_driver_is_wrong_by_either_witness_is_red(
    info: Answer, told: dockerd.Info | None, named: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    Dockerd(told).runs(monkeypatch) if told else no_dockerd(monkeypatch)
    with not_compliant(*named):
        judge_driver(info)


@pytest.mark.parametrize("driver", ["overlay2", "fuse-overlayfs", "overlayfs", "vfs"])
def test_driver_does_not_copy_is_any_but_vfs(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = "io.containerd.snapshotter.v1" if driver == "overlayfs" else ""
    Dockerd(engine(driver, kind=kind)).runs(monkeypatch)
    inside = Machine({}, {INFO: cli(driver), SHOW: UNIT})
    given = (Runtime(Machine()), 950, plan_file.find("plain"))
    with not_compliant("'vfs', not 'overlay2' or") if driver == "vfs" else nullcontext():
        steps.driver_does_not_copy(inside, *given)


TABLE = "1 0 7:0 / / rw - ext4 /dev/vda rw\n2 1 0:9 / {1} rw - {2} {0} rw,nodev\n"


def root(
    table: str,
    docker_run: steps.DockerRun | None = None,
    merged: Answer = MERGED,
    data: str = "/var/lib/docker",
) -> None:
    node = Machine({"/proc/7/mountinfo": table, desired.PROFILE_LOCAL: None}, FIRST_PROCESS)
    inside = Machine({}, {INSPECT: merged, "docker info -f '{{.DockerRootDir}}'": f"{data}\n"})
    probe.root_is_fuse(inside, Runtime(node), 950, docker_run or run())


def test_root_is_fuse_of_a_mount_whose_source_looks_like_another_is_red(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel escapes blank, tab and line feed in it, and nothing else."""
    no_dockerd(monkeypatch)
    for line, blank in (("\x0b", "\xa0"), ("\u2028", "\x1f")):
        forged = blank.join(("fuse-overlayfs", MERGED, "fuse.fuse-overlayfs", "rw"))
        with not_compliant(MERGED):
            root(TABLE.format(f"x{line}{forged}", "/mnt", "tmpfs"))


def test_root_is_fuse_of_a_root_that_is_not_names_what_it_is_and_the_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = TABLE.format("overlay", MERGED, "overlay")
    for kind in ("fuse.fuse-overlayfs", "fuse"):  # the last mount counts
        root(over + TABLE.format("fuse-overlayfs", MERGED, kind))
    under = TABLE.format("fuse-overlayfs", MERGED, "fuse.fuse-overlayfs")
    for table, named in (
        (under + over, "overlay (overlay)"),
        (TABLE.format("fuse-overlayfs", f"{MERGED}2", "fuse"), MERGED),
    ):
        Dockerd(engine()).runs(monkeypatch)
        with not_compliant(named):
            root(table)
        Dockerd(engine("vfs")).runs(monkeypatch)
        with not_compliant("'vfs'", named):
            root(table)


def test_root_is_fuse_without_a_container_or_its_directory_names_the_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Dockerd(engine()).runs(monkeypatch)
    failed = run(125, err="create keyring x: function not implemented")
    with not_compliant("keyctl") as raised:
        root("", failed)
    assert "/var/lib/docker" not in str(raised.value)
    with not_compliant("keyctl", "/srv/d"):
        root("", failed, data="/srv/d")
    with pytest.raises(CommandFailed):
        root("", merged=(1, MERGED, "No such object"))
    for merged in ("<no value>", "", "merged", "--help", "/a b"):
        with not_compliant("no directory"):
            root("", merged=merged)
        with not_compliant("no directory"):
            probe.mount_serves(Machine({}, {INSPECT: merged}), run())


def test_mount_serves_nothing_is_red() -> None:
    ls = f"ls -A {MERGED}"
    probe.mount_serves(Machine({}, {INSPECT: MERGED, ls: "hello\n"}), run())
    for listing in ((2, "hello", "ls: Transport endpoint is not connected"), "\n"):
        with not_compliant():
            probe.mount_serves(Machine({}, {INSPECT: MERGED, ls: listing}), run())


GREETING = "\nHello from Docker!\nThis message shows that"


def greets(docker_run: steps.DockerRun, guest: Machine | None = None) -> None:
    given = (Runtime(Machine()), 950, docker_run, "hello-world", plan_file.find("plain"))
    hello_world.it_greets(guest or Machine(), *given)


def test_it_greets_where_it_said_something_else_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    greets(run(out=GREETING))
    failed = run(125, GREETING, "create keyring x: function not implemented")
    for told in (engine(), None):
        Dockerd(told).runs(monkeypatch) if told else no_dockerd(monkeypatch)
        with not_compliant("125", "keyctl"):
            greets(failed)
    with not_compliant("'Hello'"):
        greets(run(out="Hello"))


def test_it_greets_where_runc_is_too_new_names_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    Dockerd(engine()).runs(monkeypatch)
    failed = run(126, err=f"open sysctl {PORTS}: permission denied")
    runc = Machine({}, {"runc --version": "runc version 1.3.3\ncommit: x\n"})
    with not_compliant("126", "runc version 1.3.3"):
        greets(failed, runc)


def test_image_is_absent_that_cannot_be_removed_is_undetermined() -> None:
    def judge(**said: Answer) -> None:
        answers = {f"docker image {what} hello-world": each for what, each in said.items()}
        hello_world.image_is_absent(Machine({}, answers), "hello-world")

    judge(**{"rm -f": "", "inspect": (1, "[]", "No such image")})
    with naming(FactError, "hello-world"):
        judge(**{"rm -f": (1, "", "in use"), "inspect": "[{}]"})


PULLED_AT = "1700000000"
LOG = f"journalctl -u docker --since @{PULLED_AT} -q --no-pager -o cat"


def hello_runs(
    pull: Answer,
    monkeypatch: pytest.MonkeyPatch,
    said: Answer = GREETING,
    log: str = "",
    users: str = "0 100000 65536\n",
) -> tuple[steps.DockerRun, list[str]]:
    monkeypatch.setattr(hello_world.secrets, "token_hex", lambda n: "0" * n)
    inside = Machine(
        {},
        {
            "date +%s": f"{PULLED_AT}\n",
            "docker pull hello-world": pull,
            LOG: log,
            "docker run --name gate-0000 hello-world": said,
            "docker rm -f gate-0000": "",
        },
    )
    finalizers: list[Callable[[], Any]] = []
    request: Any = SimpleNamespace(addfinalizer=finalizers.append)
    maps = f"{users}==\n0 100000 65536\n"
    runtime = Runtime(Machine({}, {**FIRST_PROCESS, "perl -- 7": maps}))
    found = hello_world.hello_world_runs(inside, runtime, 950, "hello-world", request)
    for finalize in finalizers:
        finalize()
    return found, inside.ran


def test_hello_world_runs_after_a_pull_and_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    found, ran = hello_runs("Status: Downloaded newer image", monkeypatch)
    assert found.name == "gate-0000"
    assert found.result.text == GREETING
    assert [line.split()[1] for line in ran] == ["+%s", "pull", "run", "rm"]


#: What registries, proxies, firewalls and resolvers say.
UNSERVED = (
    "toomanyrequests: x",
    "error from registry: You have reached your unauthenticated pull rate limit",
    "pull access denied for x, repository does not exist or may require 'docker login'",
    'denied: Permission denied for "latest" from request "/v2/p/x/manifests/latest"',
    "error parsing HTTP 403 response body: invalid character '<': \"<html>\"",
    "failed to unpack image on snapshotter overlayfs: unexpected media type text/html",
    "manifest unknown",
    'Get "https://registry-1.docker.io/v2/": EOF',
    "dial tcp 1.1.1.1:443: connect: permission denied",
    "write udp 10.0.3.2:4->1.1.1.1:53: write: operation not permitted",
)
#: What dockerd and containerd say of the container's own system.
NOT_STORED = (
    "failed to register layer: unexpected EOF",
    'failed to extract layer (x sha256:1) to overlayfs as "y": z: unknown',
    "failed to prepare extraction snapshot: x",
    "creating temporary lease: database is closed",
    "open /var/lib/docker/tmp/GetImageBlob7: no such file or directory",
    "mkdir /x: permission denied",
    "link /a /b: operation not permitted",
    "mkdir /x: not a directory",
    "write /x: no space left on device",
    "write /x: disk quota exceeded",
    "fork/exec /usr/bin/unpigz: input/output error",
    "open /x: read-only file system",
    "chmod /x: function not implemented",
)
ELSEWHERE = f'{DURING} "https://nas:2376/v1": dial tcp: i/o timeout'


@pytest.mark.parametrize("said", UNSERVED)
def test_hello_world_runs_without_a_registry_is_undetermined(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with naming(TransportError, "registry did not serve hello-world", said):
        hello_runs((1, "", said), monkeypatch, log=f"msg=Health check: {NOT_STORED[5]}")
    found, _ = hello_runs((1, "", ELSEWHERE), monkeypatch, (125, "", ELSEWHERE))
    assert "another address" in steps.cause(steps.output(found.result))


@pytest.mark.parametrize("said", NOT_STORED)
def test_hello_world_runs_with_an_image_that_cannot_be_stored_is_red(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it asks the next registry, dockerd says it in its log alone."""
    for told, log in (
        (f"Error response from daemon: {said}\n{UNSERVED[0]}", ""),
        (UNSERVED[0], f'level=info msg="Attempting next endpoint for pull after error: {said}"\n'),
        (UNSERVED[0], f'msg="Handler for POST /v1/images/create returned error: {said}"'),
        (UNSERVED[0], f'msg="Download failed" error="{said}"'),
    ):
        found, _ = hello_runs((1, "", told), monkeypatch, (125, "", "no"), log)
        with pytest.raises(AssertionError) as raised:
            greets(found)
        assert str(raised.value) == f"hello-world cannot be pulled: {said}"


OTHER_IDS = "failed to Lchown /x for UID 99999, GID 0: lchown /x: invalid argument"
HELD = "failed to Lchown /x for UID 1000, GID 0: lchown /x: invalid argument"
HOLE = "0 100000 1000\n1001 101001 64535\n"


@pytest.mark.parametrize(("said", "log"), [(OTHER_IDS, ""), ("unexpected EOF", f"{OTHER_IDS}\n")])
def test_hello_world_runs_with_an_image_of_other_ids_is_undetermined(
    said: str, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with naming(FactError, "hello-world", "Lchown /x"):
        hello_runs((1, "", said), monkeypatch, log=log)
    hello_runs("", monkeypatch, log=OTHER_IDS)  # it was pulled: of another image, then
    with naming(FactError, "hello-world", "Lchown /x"):  # of another id than the one left out
        hello_runs((1, "", said), monkeypatch, log=log, users=HOLE)


def test_hello_world_runs_with_an_id_in_a_hole_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = hello_runs((1, "", HELD), monkeypatch, (125, "", HELD), users=HOLE)
    with not_compliant("files of user 1000", "has a hole there"):
        greets(found)
    with naming(FactError, "hello-world"):  # every id is mapped: the image is to blame
        hello_runs((1, "", HELD), monkeypatch)
    with naming(FactError, "hello-world"):  # the message names no ids
        hello_runs((1, "", "failed to Lchown /x: invalid argument"), monkeypatch, users=HOLE)


RAN, DIGEST = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


def recorded(status: str = "exited", code: int = 0) -> dockerd.ContainerRecord:
    return dockerd.ContainerRecord(RAN, dockerd.ContainerState(status, code))


def pulled(*digests: str, record: dockerd.ContainerRecord | None = None) -> Dockerd:
    """Return an engine that ran an image with these digests."""
    images = {RAN: dockerd.Image(RAN, list(digests) or None)}
    return Dockerd(engine(), {"gate-1": record or recorded()}, dict(images))


def test_record_says_the_same_where_it_does_not_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    pulled().runs(monkeypatch)
    hello_world.record_says_the_same(Runtime(Machine()), 950, run())
    for record, named in ((recorded(code=1), "'exited', exit code 1"), (None, "gate-1")):
        Dockerd(engine(), {"gate-1": record}).runs(monkeypatch)
        with not_compliant(named):
            hello_world.record_says_the_same(Runtime(Machine()), 950, run())
    no_dockerd(monkeypatch)
    with not_compliant("no dockerd"):
        hello_world.record_says_the_same(Runtime(Machine()), 950, run())


def genuine(image: str = "hello-world", target: Target | None = None) -> str:
    where = target or Target("pve1", 950)
    (line,) = lines_of(hello_world.image_is_genuine, Runtime(Machine()), 950, run(), image, where)
    return line


def test_image_is_genuine_by_the_registrys_digest_of_its_own_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def judge(image: str, digest: str) -> str:
        pulled("x@sha256:2", f"{digest}@{DIGEST}").runs(monkeypatch)
        return genuine(image)

    for image, digest in (
        ("hello-world", "hello-world"),
        ("hello-world", "docker.io/library/hello-world"),
        (f"hello-world:latest@{DIGEST}", "hello-world"),
        ("r.example:5000/hello-world", "r.example:5000/hello-world"),
    ):
        assert judge(image, digest).endswith("any image of that name (digest in the target file)")
    for image, digest in (
        ("r.example:5000/library/hello-world", "hello-world"),
        ("hello-world", "evil/hello-world"),
        ("hello-world", "othello-world"),
    ):
        with not_compliant(RAN, image):
            judge(image, digest)


def test_image_is_genuine_with_the_targets_digest_or_id_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for without in (pulled(), Dockerd(engine(), {"gate-1": recorded()}, {RAN: None})):
        without.runs(monkeypatch)
        with not_compliant("hello-world"):
            genuine()
    pulled(f"hello-world@{DIGEST}").runs(monkeypatch)
    for wanted in (DIGEST, RAN):
        target = Target("pve1", 950, digest=wanted)
        assert genuine(target=target).endswith("as it has to be")
    other = f"sha256:{'3' * 64}"
    with not_compliant(other, f"hello-world@{DIGEST}"):
        genuine(target=Target("pve1", 950, digest=other))


def test_image_is_genuine_on_the_lab_if_it_is_the_labs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Target("lab", 950)
    pulled(f"hello-world@{DIGEST}").runs(monkeypatch)
    with not_compliant(hello.image_id()):
        genuine(target=lab)
    ours = dockerd.ContainerRecord(hello.image_id(), dockerd.ContainerState("exited", 0))
    images = {ours.image: dockerd.Image(ours.image, [f"hello-world@{DIGEST}"])}
    Dockerd(engine(), {"gate-1": ours}, dict(images)).runs(monkeypatch)
    assert genuine(target=lab).endswith("as it has to be")
    pulled(f"r.example/other@{DIGEST}").runs(monkeypatch)
    other = Target("lab", 950, image="r.example/other")
    assert "any image" in genuine("r.example/other", other)
