"""The two laws for Docker's storage driver: settings, engine, and whose layers there are."""

import json
import os
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.errors import FactError, RemediationError
from docker_lxc_gate.facts import docker
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.transport import Local
from remediation import desired
from remediation.actions.storage_driver import StorageDriver
from remediation.edits.daemon_json import daemon_json
from remediation.engine.action import Consequence, Step
from remediation.engine.apply import apply, apply_side_effects
from remediation.engine.errors import ChangedSince, RollbackFailed
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back, rollback_side_effects
from tests.doubles.death import Death, Died, comes_back_wherever_killed
from tests.doubles.examples import examples
from tests.doubles.flag import journal
from tests.doubles.naming import naming
from tests.doubles.nodes.machines import Docker
from tests.doubles.on_disk import disk, tmp_path
from tests.doubles.states import Laid, links, look

__all__ = ["disk", "tmp_path"]

OURS = desired.DRIVER


@dataclass
class World:
    """A folder with Docker's settings and its root, and Docker."""

    folder: Path
    docker: Docker = field(init=False)

    def __post_init__(self) -> None:
        for each in ("here", "root"):
            (self.folder / each).mkdir()
        self.docker = Docker(self.folder / "root", self.folder / "here/daemon.json")

    def give(self) -> None:
        """Give Docker an image and two containers on overlay2; one runs."""
        for place in ("here/../proc/self", "root/overlay2/layer/diff", "root/overlay2/mount/diff"):
            (self.folder / place).mkdir(parents=True)
        for place, text in _HELD.items():
            (self.folder / place).parent.mkdir(parents=True, exist_ok=True)
            Laid(content=text.encode()).at(self.folder / place)
        self.docker.stored, self.docker.containers = {"1-exited", "2-web"}, {"2-web"}

    def plan(self, death: Death | None = None) -> Plan:
        """Return the plan, put together as the real one is."""
        on, path = (death or Death()).under(self.docker), str(self.folder / "here/daemon.json")
        storage = StorageDriver(
            *("driver", "driver", "STEP-3.1", OURS, path, daemon_json),
            root=lambda _: str(self.folder / "root"),
        )
        kept = journal(self.folder, on=on)

        back = Consequence(
            "as before", "as before", lambda images: storage.resume(on, images["driver"])
        )
        return Plan([Step(storage, on, then_back=(back,))], kept)

    def look(self) -> object:
        """Layers that were rolled back lie aside, and are nobody's."""
        below = {
            name: facts
            for name, facts in look(self.folder / "root").items()
            if not name.startswith("rolled-back-") and name != "image"
        }
        return look(self.folder / "here"), below, self.docker.driver, self.docker.socket


_HELD = {
    "proc/self/uid_map": "0 100000 65536\n",
    "proc/self/mountinfo": "",
    "root/image/overlay2/layerdb/sha256/1/cache-id": "layer",
    "root/image/overlay2/imagedb/content/sha256/1": "{}",
    "root/overlay2/layer/diff/file": "of an image",
    "root/overlay2/mount/diff/file": "of a container",
    "root/containers/1-exited/config.v2.json": '{"Driver":"overlay2"}',
    "root/containers/2-web/config.v2.json": '{"Driver":"overlay2"}',
}
ABSENT, OVERLAY = Laid("absent"), frozenset({"overlay2"})


def world(
    name: str,
    laid: Laid = ABSENT,
    layers: frozenset[str] = OVERLAY,
    *,
    running: bool = True,
    installed: bool = True,
    broken: str = "",
    socket: bool = False,
) -> World:
    made = World(Path(name))
    laid.at(made.folder / "here/daemon.json")
    for layer in layers:
        (made.folder / "root/image" / layer).mkdir(parents=True)
        (made.folder / "root" / layer).mkdir()
    made.docker.installed, made.docker.broken = installed, broken
    made.docker.socket = socket and installed
    if running:
        made.docker.start()
    return made


@pytest.fixture
def it(tmp_path: Path) -> World:
    """A Docker that runs on overlay2, and has no settings."""
    return world(str(tmp_path))


_foreign = st.dictionaries(st.sampled_from(["mtu", "dns", "a key"]), st.integers() | st.text())
_texts = st.one_of(
    _foreign.map(lambda keys: json.dumps(keys).encode()),
    _foreign.map(lambda keys: json.dumps(keys, indent=4).replace("\n", "\r\n").encode() + b"\r\n"),
    st.sampled_from([b"", b"\n", b"{}", b'{"storage-driver": "overlay2"}\n']),
    st.just(b'{"storage-driver": "fuse-overlayfs"}'),
    st.sampled_from([b"{", b"[]", b"\xff"]),
)
_settings = st.one_of(
    st.builds(
        Laid,
        content=_texts,
        mode=st.sampled_from([0o600, 0o644]),
        nanoseconds=st.integers(0, 10**18),
    ),
    st.just(Laid("absent")),
    links,
)
_layers = st.frozensets(st.sampled_from(["overlay2", OURS]))


@examples(40)
@given(
    laid=_settings,
    layers=_layers,
    running=st.booleans(),
    installed=st.booleans(),
    ours=st.booleans(),
    socket=st.booleans(),
)
def test_driver_holds_the_laws_whatever_was_there(
    laid: Laid, layers: frozenset[str], *, running: bool, installed: bool, ours: bool, socket: bool
) -> None:
    with TemporaryDirectory() as name:
        broken = "" if ours else OURS
        it = world(
            name, laid, layers, running=running, installed=installed, broken=broken, socket=socket
        )
        before = it.look()
        try:
            outcomes = apply(it.plan())
        except RemediationError as error:
            assert not isinstance(error, RollbackFailed), error  # noqa: PT017
        else:
            assert it.docker.driver == (OURS if installed else "")
            assert all(drift is None for _, drift in it.plan().drifts())
            assert it.look() != before or not any(outcome.changed for outcome in outcomes)
            roll_back(it.plan())
        assert it.look() == before
        assert it.plan().journal.entries() == []
        assert roll_back(it.plan()) == []


BEFORE = {
    "overlay2, running": (Laid(content=b'{"mtu": 1400}\n', nanoseconds=5), {"overlay2"}, True),
    "never started": (Laid("absent"), set(), False),
    "its socket waits": (Laid("absent"), {"overlay2"}, None),
    "both drivers' layers": (
        Laid(content=b'{"storage-driver": "overlay2"}'),
        {"overlay2", OURS},
        True,
    ),
}


@pytest.mark.parametrize("case", BEFORE)
def test_driver_killed_at_any_command_is_rolled_back(case: str) -> None:
    laid, layers, running = BEFORE[case]

    def fresh(name: str) -> World:
        return world(name, laid, frozenset(layers), running=bool(running), socket=running is None)

    comes_back_wherever_killed(fresh, World.look, ways=10)


def test_carrying_over_killed_at_any_command_is_rolled_back() -> None:
    def fresh(name: str) -> World:
        made = world(name)
        made.give()
        return made

    comes_back_wherever_killed(fresh, World.look, ways=10)


def images(made: World, driver: str) -> dict[str, str]:
    """Return the names of each image on a driver, by its id."""
    store = made.folder / "root/image" / driver
    return {each.name: each.read_text() for each in store.glob("sha256:*")}


#: An image with two names, one with none, one of another registry that was pulled by its digest.
IMAGES = {
    "sha256:a": "web:1\nweb:latest\n",
    "sha256:b": "<none>:<none>\n",
    "sha256:c": "host:5000/db:<none>\nhost:5000/db:2\n",
}


def on_vfs(name: str) -> World:
    """Return a world whose Docker runs on vfs, with images and a container."""
    made = world(name, Laid(content=b'{"storage-driver": "vfs"}'), frozenset({"vfs"}))
    for each, names in IMAGES.items():
        Laid(content=names.encode()).at(made.folder / "root/image/vfs" / each)
    made.docker.stored, made.docker.containers = {"2-web"}, {"2-web"}
    (made.folder / "root/containers/2-web").mkdir(parents=True)
    Laid(content=b'{"Driver":"vfs"}').at(made.folder / "root/containers/2-web/config.v2.json")
    return made


def test_apply_carries_images_of_a_driver_with_other_layers_over(tmp_path: Path) -> None:
    it = on_vfs(str(tmp_path))
    before = it.look()
    apply(it.plan())
    assert it.docker.driver == OURS
    assert images(it, OURS) == IMAGES | {"sha256:c": "host:5000/db:2\n"}
    assert not (tmp_path / "root/docker-lxc-gate").exists()
    assert it.docker.started == []  # vfs keeps it
    roll_back(it.plan())
    assert it.look() == before
    assert images(it, "vfs") == IMAGES


@pytest.mark.parametrize("verb", ["save", "load", "image inspect -f loaded"])
def test_apply_that_cannot_carry_all_images_over_is_rolled_back(tmp_path: Path, verb: str) -> None:
    it = on_vfs(str(tmp_path))
    before = it.look()
    it.docker.fails = verb
    with naming(CommandFailed):
        apply(it.plan())
    assert it.look() == before


def test_carrying_images_over_killed_at_any_command_is_rolled_back() -> None:
    comes_back_wherever_killed(on_vfs, World.look, ways=10)


def test_apply_carries_images_and_containers_over_and_starts_what_needs_docker(
    it: World, tmp_path: Path
) -> None:
    it.give()
    it.docker.needing = {"app.service"}
    before = it.look()
    apply(it.plan())
    assert it.docker.needing == {"app.service"}
    assert (tmp_path / "root" / OURS / "mount/diff/file").read_text() == "of a container"
    settings = tmp_path / "root/containers/2-web/config.v2.json"
    assert settings.read_text() == f'{{"Driver":"{OURS}"}}'
    assert (it.docker.containers, it.docker.started) == ({"2-web"}, ["2-web"])
    (tmp_path / "root" / OURS / "mount/diff/file").write_text("newer")
    roll_back(it.plan())
    assert (it.look(), it.docker.needing) == (before, {"app.service"})
    (aside,) = (tmp_path / "root").glob("rolled-back-*")
    assert (aside / OURS / "mount/diff/file").read_text() == "newer"
    assert (aside / "containers/2-web/config.v2.json").read_text() == f'{{"Driver":"{OURS}"}}'
    assert it.docker.synced[-1] == str(tmp_path / "root")  # it may be a file system of its own


def test_apply_whose_carrying_over_fails_is_rolled_back(it: World, tmp_path: Path) -> None:
    """A Docker container goes on running although Docker was stopped."""
    it.give()
    mounted = f"1 1 0:1 / {tmp_path}/root/overlay2/mount/merged rw - overlay overlay rw\n"
    (tmp_path / "proc/self/mountinfo").write_text(mounted)
    before = it.look()
    with naming(CommandFailed, "mount/merged is mounted"):
        apply(it.plan())
    assert it.look() == before


def test_containers_of_a_docker_that_stays_on_its_driver_run_again(it: World) -> None:
    """It chose the plan's driver itself, so it is restarted, and no restart policy is needed."""
    Laid(content=b"{}").at(it.folder / "here/daemon.json")
    for each in (it.folder / "root/overlay2", it.folder / "root/image/overlay2"):
        each.rename(each.with_name(OURS))
    it.docker.driver = ""
    it.docker.start()
    it.docker.stored, it.docker.containers = {"0-exited", "1-web"}, {"1-web"}
    apply(it.plan())
    assert (it.docker.driver, it.docker.containers) == (OURS, {"1-web"})


#: The units that need a unit, as systemctl shows them: each property's on a line of its own.
NEED = """
case $1:$last in
show:docker.socket) echo docker.service ;;
show:docker.service) printf '\\napp.service off.service\\n\\n' ;;
show:app.service) echo last@1.service docker.service ;;
is-active:off.service) exit 3 ;;
esac
"""


def test_units_that_need_docker_are_those_that_systemd_stops_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\nfor last; do :; done\n{NEED}")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert Local().ask(docker.NEEDING) == ("app.service", "last@1.service")


@pytest.mark.parametrize(
    ("settings", "options", "carries"),
    [
        (b'{"live-restore": true}', b"", False),
        (b"{}", b"dockerd --live-restore -H fd://\n", False),
        (b"{}", b'{ path=/usr/bin/dockerd }\nDOCKER_OPTS="--live-restore=true"\n', False),
        (b"{}", b"dockerd --live-restore=false\n# DOCKER_OPTS=--live-restore\n", True),
    ],
)
def test_apply_with_live_restore_carries_nothing_over_and_hides_nothing_that_runs(
    it: World, tmp_path: Path, settings: bytes, options: bytes, carries: bool
) -> None:
    """Unseen, they would go on writing, beside those that somebody makes on the same volumes."""
    it.give()
    it.docker.told = options
    Laid(content=settings).at(tmp_path / "here/daemon.json")
    if not carries:
        with naming(FactError, "live-restore"):
            apply(it.plan())
        assert it.docker.driver == "overlay2"
        it.docker.containers = set()
    apply(it.plan())
    assert (tmp_path / "root/docker-lxc-gate").exists() is carries


def test_rollback_of_edited_settings_is_refused(it: World, tmp_path: Path) -> None:
    apply(it.plan())
    path = tmp_path / "here/daemon.json"
    path.write_bytes(edited := path.read_bytes().replace(b"{", b'{"debug": true,', 1))
    with naming(ChangedSince, path):
        roll_back(it.plan())
    assert (path.read_bytes(), it.docker.driver) == (edited, OURS)


def test_rollback_with_a_docker_that_does_not_start_fails(it: World) -> None:
    before = it.look()
    apply(it.plan())
    it.docker.broken = "overlay2"
    with naming(RollbackFailed, "journalctl -u docker"):
        roll_back(it.plan())
    assert it.plan().journal.interrupted()
    it.docker.broken = ""
    roll_back(it.plan())
    assert it.look() == before


@pytest.mark.parametrize(
    ("settings", "data", "nouns"),
    [
        # The settings name ours already, and Docker was not restarted: it could not come back.
        (b'{"storage-driver": "fuse-overlayfs"}', "", ("overlay2", "fuse-overlayfs")),
        (b'{"storage-driver": "vfs"}', "", ("overlay2", "vfs")),
        (b"", "/srv/docker", ("/srv/docker", '"data-root"')),
        (b"", "{}/root/100000.100000", ("userns-remap",)),
    ],
)
def test_apply_to_a_docker_that_runs_otherwise_than_its_settings_say_is_refused(
    it: World, tmp_path: Path, settings: bytes, data: str, nouns: tuple[str, ...]
) -> None:
    if settings:
        Laid(content=settings).at(tmp_path / "here/daemon.json")
    if data:
        it.docker.data = data.format(tmp_path)
    before = it.look()
    with naming(FactError, *nouns):
        apply(it.plan())
    assert (it.look(), it.plan().journal.lines()) == (before, [])


#: What a stopped Docker is told, and the place of it that it would take once it is started.
TOLD = {
    "by its unit": (
        b"{ argv[]=/usr/sbin/dockerd -H fd:// --data-root=/srv/docker ; pid=0 }\n",
        "--data-root /srv/docker",
    ),
    "by options alone": (b'DOCKER_OPTS="--graph=/srv/docker"\n', "--graph /srv/docker"),
    "for other users": (
        b"{ argv[]=/usr/bin/dockerd --userns-remap=default ; pid=0 }\n",
        "--userns-remap default",
    ),
    "another": (b"{ argv[]=/usr/sbin/dockerd --group docker --log-level=-g ; pid=0 }\n", ""),
    "the place of its settings": (b"{ argv[]=/usr/sbin/dockerd --data-root=%s/ ; pid=0 }\n", ""),
}


@pytest.mark.parametrize(("told", "option"), TOLD.values(), ids=TOLD)
def test_apply_to_a_stopped_docker_with_a_data_root_option_is_refused(
    tmp_path: Path, told: bytes, option: str
) -> None:
    it = world(str(tmp_path), running=False)
    before, it.docker.told = it.look(), told.replace(b"%s", f"{tmp_path}/root".encode())
    with naming(FactError, option) if option else nullcontext():
        apply(it.plan())
    assert bool(it.plan().journal.lines()) is not bool(option)
    roll_back(it.plan())
    assert it.look() == before


def test_options_script_prints_the_unit_and_the_options_that_it_reads(tmp_path: Path) -> None:
    """The real script, with a systemctl of ours."""
    options = tmp_path / "options"
    options.write_text("DOCKER_OPTS=-g /srv\n")
    script = docker.OPTIONS_SCRIPT.replace("/etc/default/docker", str(options))

    def said(exec_: str) -> str:
        systemctl = f"systemctl() {{ echo '{exec_}'; }}\n"
        return Local().run(["sh", "-c", systemctl + script]).require().text

    assert said("") == "\nDOCKER_OPTS=-g /srv\n"
    assert said("dockerd $DOCKER_OPTS") == "dockerd $DOCKER_OPTS\nDOCKER_OPTS=-g /srv\n"
    assert said("dockerd -H fd://") == "dockerd -H fd://\n"
    options.unlink()
    assert said("") == "\n"


def test_rollback_through_a_linked_data_root_moves_the_layers_aside(tmp_path: Path) -> None:
    it = world(str(tmp_path), layers=frozenset({"vfs"}), running=False)
    (tmp_path / "root").rename(tmp_path / "elsewhere")
    (tmp_path / "root").symlink_to("elsewhere")
    apply(it.plan())
    assert (tmp_path / "elsewhere" / OURS).is_dir()
    roll_back(it.plan())
    there = sorted(each.name for each in (tmp_path / "elsewhere").iterdir())
    assert [name for name in there if not name.startswith("rolled-back-")] == ["image", "vfs"]
    assert [each.name for each in (tmp_path / "elsewhere/image").iterdir()] == ["vfs"]


def test_rollback_moves_images_without_layers_aside(tmp_path: Path) -> None:
    """As where Docker came with the plan, beside an older one's data: its layers went first."""
    it = world(str(tmp_path), running=False)
    before = it.look()
    apply(it.plan())
    (tmp_path / "root" / OURS).rmdir()
    roll_back(it.plan())
    assert it.look() == before
    (aside,) = (tmp_path / "root").glob("rolled-back-*")
    assert (aside / "image" / OURS).is_dir()


def test_rollback_of_an_older_before_image_keeps_images_it_does_not_list(tmp_path: Path) -> None:
    """Written by an earlier version: it says of which drivers there were layers, and no more."""
    it = world(str(tmp_path), layers=frozenset({"vfs"}))
    before = it.look()
    apply(it.plan())
    journal = it.plan().journal
    (step,) = it.plan().steps
    (entry,) = journal.entries()
    image = journal.image(entry.before, step.action.before)
    assert image.images == ("overlay2", "vfs")
    older = replace(image, images=())
    step.action.rollback(step.on, older)
    it.docker.start()
    assert step.action.restored(step.on, older)
    assert it.look()[:2] == before[:2]  # type: ignore[index]


def test_rollback_starts_the_containers_that_were_running(it: World) -> None:
    it.docker.containers = {"1-database", "2-web", "3-fleeting"}
    apply(it.plan())
    assert it.docker.containers == set()  # the new driver knows none of them
    it.docker.stored = {"0-exited", "1-database", "2-web"}  # without the one with --rm
    it.docker.containers = {"new"}
    roll_back(it.plan())
    assert it.docker.containers == {"1-database", "2-web"}
    assert it.docker.started == ["1-database", "2-web"]  # one may need the network of an older


def test_apply_while_docker_has_yet_to_start_is_refused(tmp_path: Path) -> None:
    """What ran before the plan would be recorded as nothing, and stopped by a rollback."""
    it = world(str(tmp_path), running=False)
    it.docker.boots = True
    with naming(FactError, "still booting", "run it again"):
        apply(it.plan())
    it.docker.boots = False
    apply(it.plan())


def test_rollback_whose_containers_do_not_start_says_so_and_ends(it: World) -> None:
    """Their network is another one, perhaps: no second rollback would change that."""
    it.give()
    told: list[str] = []
    apply(it.plan())
    it.docker.refuses = b"network not found"
    plan = it.plan()
    (step,) = plan.steps
    told_of = replace(step.action, tell=told.append)
    resume = Consequence("resume", "resume", lambda i: told_of.resume(step.on, i["driver"]))
    roll_back(replace(plan, steps=[replace(step, action=told_of, then_back=(resume,))]))
    assert "network not found" in told[0]
    assert it.plan().journal.entries() == []


def roll_back_twice_while_docker_is_started(it: World, word: str) -> None:
    """Roll back: somebody starts Docker before the command with this word, and it fails; again."""
    answer = it.docker.answer

    def started(words: list[str], stdin: bytes) -> tuple[int, bytes, bytes] | None:
        if word in words:
            it.docker.start()
        return answer(words, stdin)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(it.docker, "answer", started)
        with naming(RollbackFailed, "Docker was started during the rollback"):
            roll_back(it.plan())
    roll_back(it.plan())


def test_rollback_during_which_docker_was_started_is_not_said_to_be_done(it: World) -> None:
    """It would know none of its containers, whose settings are still those of the new driver."""
    Laid(content=b'{"storage-driver": "overlay2"}').at(it.folder / "here/daemon.json")
    it.give()
    before = it.look()
    apply(it.plan())
    roll_back_twice_while_docker_is_started(it, "aside")
    assert it.look() == before
    assert it.docker.containers == {"2-web"}


def test_rollback_of_a_cut_off_apply_finds_what_a_docker_made_that_was_started_meanwhile(
    it: World,
) -> None:
    """Docker had not been started on the new driver yet: there was nothing to move aside."""
    before = it.look()
    with TemporaryDirectory() as folder:
        apply(world(folder).plan(death := Death()))
    written = next(n for n, (argv, _) in enumerate(death.ran, 1) if "restore" in argv)
    with pytest.raises(Died):
        apply(it.plan(Death(written, "after")))
    roll_back_twice_while_docker_is_started(it, "remove")
    assert it.look() == before


def test_rollback_with_a_dockerd_without_a_unit_is_exact(tmp_path: Path) -> None:
    """A static binary, started by hand: it was there before the plan."""
    it = world(str(tmp_path), running=False, installed=False, layers=frozenset())
    before, it.docker.daemon = it.look(), "/usr/local/bin/dockerd"
    apply(it.plan())
    roll_back(it.plan())
    assert it.look() == before


def test_rollback_with_another_docker_leaves_it_alone(tmp_path: Path) -> None:
    it = world(str(tmp_path), running=False, installed=False, layers=frozenset())
    assert apply_side_effects(it.plan().drifts()) == []  # there is none to restart
    apply(it.plan())
    it.docker.installed, it.docker.daemon = True, "/usr/bin/dockerd"
    it.docker.start()
    assert rollback_side_effects(it.plan()) == []
    with naming(RollbackFailed, "/usr/bin/dockerd"):
        roll_back(it.plan())
    assert it.docker.driver == OURS
    assert not list((tmp_path / "root").glob("rolled-back-*"))
