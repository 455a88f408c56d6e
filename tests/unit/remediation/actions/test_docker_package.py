"""Docker where there was none: what comes with it goes again, and nothing of the user's does."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from docker_lxc_gate.errors import FactError, RemediationError
from docker_lxc_gate.facts import docker
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.transport import Local
from remediation.actions import docker_package
from remediation.actions.docker_package import DockerPackage, EngineState, is_in_the_kernel
from tests.doubles.death import Death, Died
from tests.doubles.naming import naming
from tests.doubles.nodes.apt import Answer, Apt

ACTION = DockerPackage(
    "Docker is installed", "Docker is installed", "STEP-3.1", ("fuse-overlayfs",)
)
#: In Docker's data of elsewhere: the script that a removal had put there.
NUKE = "var/lib/docker/nuke-graph-directory.sh"
_SCRIPT = "usr/share/docker.io/contrib/nuke-graph-directory.sh"


class Guest(Apt):
    """A container's apt, dpkg, groups and systemd; its files are real, below a folder.

    As Debian's docker.io does, a purge destroys all of ``/var/lib/docker`` with the script that
    the removal puts there, and starting Docker makes directories.
    """

    machine = "container 950"

    def __init__(self, root: Path) -> None:
        needs = {
            "docker.io": ["adduser", "containerd", "runc"],
            "docker-cli": [],
            "ca-certificates": [],
            "fuse-overlayfs": ["adduser", "fuse3"],
        }
        super().__init__(needs, {})
        self.root = root
        self.conflicts: list[str] = []
        self.groups: set[str] = set()
        self.shadow: set[str] = set()
        self.foreign = ""
        self.kept_in_the_kernel = False
        self.held_back = False  # whether a policy forbids packages to start services

    @property
    def docker(self) -> bool:
        return self.status.get("docker.io") == "ii"

    def answer(self, words: list[str], stdin: bytes) -> Answer | None:
        told = self._told(words)
        if told is None:
            return super().answer(words, stdin)
        code, out = told
        return code, out.encode(), b""

    def _told(self, words: list[str]) -> tuple[int, str] | None:  # noqa: C901, PLR0911 - a table
        runs = self.docker or bool(self.foreign)
        match words:
            case ["sh", "-c", docker_package._TRACES, "traces", name, *paths]:
                known = {"group": self.groups, "gshadow": self.shadow}
                traces = [db for db, names in known.items() if name in names]
                traces += [path for path in paths if Path(path).exists()]
                return 0, "".join(f"{trace}\n" for trace in traces)
            case ["groupadd", "--system", name]:
                assert name not in self.groups
                self.add_group(name)
                return 0, ""
            case ["groupdel", name]:
                self.groups.remove(name)
                self.shadow.discard(name)
                return 0, ""
            case ["sh", "-c", "command -v dockerd"]:
                found = self.foreign or ("/usr/sbin/dockerd" if self.docker else "")
                return (0, f"{found}\n") if found else (127, "")
            case ["systemctl", "is-enabled", "docker"]:
                return (0, "enabled\n") if runs else (1, "not-found\n")
            case ["systemctl", "is-active", "-q", "docker" | "docker.socket"]:
                return (0, "") if runs and not self.held_back else (3, "")
            case ["systemctl", "start", "docker"]:
                self.held_back = False
                return 0, ""
            case ["systemctl", "stop", *_] if not self.docker:
                return 5, ""
            case ["sh", "-c", script] if "docker ps -q" in script or "docker ps -a" in script:
                return (0, "") if runs else (3, "")
            case ["sh", "-c", script] if script.startswith("systemctl is-active -q docker || exit"):
                return (0, "fuse-overlayfs\n") if runs else (3, "")
            case ["sh", "-c", script] if "docker0" in script:
                return int(not self.kept_in_the_kernel), ""
            case ["sh", "-c", docker.OPTIONS_SCRIPT]:
                return 0, ""
        return None

    def _apt(self, words: list[str]) -> Answer | None:
        match words:
            case ["-s", "install", "--no-install-recommends", "--no-upgrade", *names]:
                if not set(names) <= set(self.needs):
                    return 100, b"", b"E: Unable to locate package"
                gone = "".join(f"Remv {name} [1.0]\n" for name in self.conflicts)
                code, out, err = super()._apt(words) or (1, b"", b"")
                return code, gone.encode() + out, err
        return super()._apt(words)

    def before_removal(self, option: str) -> None:
        for path in option.partition("rm -f -- ")[2].split():
            (self.root / path.removeprefix(str(self.root)).lstrip("/")).unlink(missing_ok=True)

    def _install(self, *names: str, configure: bool = True) -> Answer:
        answer = super()._install(*names, configure=configure)
        if "docker.io" in names:
            self.lay(_SCRIPT)
        if "docker.io" in names and configure:
            self.add_group("docker")
            self.lay("var/lib/docker/image/fuse-overlayfs/repositories.json")
            self.lay("var/lib/docker/volumes/metadata.db")
            self.lay("var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db")
            self.lay("var/lib/docker/network/files/local-kv.db")
            for empty in ("docker/tmp", "containerd/opt/bin"):
                (self.root / "var/lib" / empty).mkdir(parents=True, exist_ok=True)
            for left in (self.root / "var/lib/docker/tmp").iterdir():  # dockerd's start does so
                left.unlink()
            self.lay("etc/docker/key.json")
            (self.root / "etc/cni/net.d").mkdir(parents=True, exist_ok=True)
        return answer

    def _remove(self, verb: str, names: list[str]) -> Answer:
        script = self.root / _SCRIPT
        nuke = script.exists() or (self.root / "var/lib/docker" / script.name).exists()
        code, out, err = super()._remove(verb, names)
        if code == 0 and "docker.io" in names:
            script.unlink(missing_ok=True)
            if verb == "purge" and nuke:
                Local().run(["sh", "-c", f"rm -rf {self.root}/var/lib/docker/*"])
        return code, out, err

    def add_group(self, name: str) -> None:
        self.groups.add(name)
        self.shadow.add(name)

    def lay(self, path: str, content: str = "x") -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(content)

    def tree(self) -> list[str]:
        """Everything that is there, but for what was moved aside."""
        found = (str(path.relative_to(self.root)) for path in self.root.rglob("*"))
        return sorted(path for path in found if "rolled-back-" not in path)


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    """A container without Docker."""
    data = tuple(f"{tmp_path}{path}" for path in docker_package.DATA)
    rest = tuple(f"{tmp_path}{path}" for path in docker_package.LEFT[2:])
    monkeypatch.setattr(docker_package, "KEY", rest[0])
    monkeypatch.setattr(docker_package, "DATA", data)
    monkeypatch.setattr(docker_package, "LEFT", (*data, *rest))
    monkeypatch.setattr(
        docker_package, "_WRITTEN", tuple(f"{tmp_path}{p}" for p in docker_package._WRITTEN)
    )
    monkeypatch.setattr(docker_package, "_NUKES", f"{tmp_path}{docker_package._NUKES}")
    for folder in ("etc/docker", "var/lib", "opt", "usr/share/docker.io/contrib"):
        (tmp_path / folder).mkdir(parents=True)
    return Guest(tmp_path)


def applied(guest: Guest) -> tuple[EngineState, list[str]]:
    """Apply the action; return the state before, and what there was."""
    before, looked = ACTION.capture(guest), guest.tree()
    ACTION.apply(guest, before)
    return before, looked


def test_rollback_of_a_new_docker_removes_all_of_it(guest: Guest) -> None:
    before, looked = ACTION.capture(guest), guest.tree()
    assert ACTION.check(guest) is not None
    assert ACTION.side_effects(guest, None) == []
    ACTION.apply(guest, ACTION.capture(guest))
    assert ACTION.check(guest) is None
    assert guest.status["docker-cli"] == guest.status["containerd"] == "ii"
    assert "var/lib/docker/image" in guest.tree()
    said = "\n".join(map(str, ACTION.side_effects(guest, before)))
    assert [word for word in ("docker-cli", "restarted", "rolled-back") if word not in said] == []
    ACTION.rollback(guest, before)
    assert (ACTION.capture(guest), guest.tree(), guest.groups) == (before, looked, set())
    assert not list(guest.root.rglob("*rolled-back-*"))  # there was nothing of a user's in it
    assert {name for name, status in guest.status.items() if status} == {"adduser"}  # see below


@pytest.mark.parametrize("path", ["/etc/default/docker", "/etc/systemd/system/docker.service"])
def test_capture_with_a_foreign_conffile_is_refused(guest: Guest, path: str) -> None:
    guest.settings = dict.fromkeys([path, "/etc/fuse.conf"], b"")
    with naming(FactError, path, "docker.io"):
        ACTION.capture(guest)
    guest.status["docker.io"] = "rc"
    assert ACTION.capture(guest).packages.status == "rc"


@pytest.mark.parametrize("half", [False, True])
def test_rollback_keeps_docker_data_from_before_the_plan(guest: Guest, half: bool) -> None:
    """Unpacking a half-unpacked Docker anew, for dpkg to remove it, brings the script."""
    guest.lay("var/lib/docker/overlay2/layer", "precious")
    guest.lay("var/lib/docker/volumes/mine/data", "precious")
    before, looked = applied(guest)
    if half:
        guest.status["docker.io"] = "iHR"
        (guest.root / _SCRIPT).unlink()
    ACTION.rollback(guest, before)
    assert ACTION.restored(guest, before)
    left = guest.tree()
    assert [path for path in left if path != "var/lib/docker/volumes/metadata.db"] == looked
    assert (guest.root / "var/lib/docker/volumes/mine/data").read_text() == "precious"


@pytest.mark.parametrize(
    "made",
    [
        "docker/volumes/mine/data",
        "docker/rolled-back-17/image/overlay2/imagedb/content/sha256/abc",
        "docker/compose/shop/data.db",
        "docker/tmp/mine",
        "docker/network/mine.json",
        "containerd/opt/bin/mine",
    ],
)
def test_rollback_moves_the_users_new_data_aside(guest: Guest, made: str) -> None:
    before, looked = applied(guest)
    guest.lay(f"var/lib/{made}", "theirs")
    ACTION.rollback(guest, before)
    assert guest.tree() == looked
    folder, _, path = made.partition("/")
    (aside,) = (guest.root / "var/lib").glob(f"{folder}.rolled-back-*")
    assert (aside / path).read_text() == "theirs"


def test_what_dockers_first_start_would_delete_is_moved_aside_and_back(guest: Guest) -> None:
    guest.lay("var/lib/docker/tmp/mine", "theirs")
    guest.lay("var/lib/docker/tmp.rolled-back-17/mine", "of an earlier rollback")
    tmp = guest.root / "var/lib/docker/tmp"
    tmp.chmod(0o1770)
    before = ACTION.capture(guest)
    assert any("var/lib/docker/tmp" in str(each) for each in ACTION.side_effects(guest, None))
    ACTION.apply(guest, before)
    former, aside = sorted((guest.root / "var/lib/docker").glob("tmp.rolled-back-*"))
    assert (aside / "mine").read_text() == "theirs"
    shutil.rmtree(tmp)  # Docker makes it anew
    tmp.mkdir(0o700)
    assert ACTION.rollback(guest, before) is None
    assert ACTION.restored(guest, before)
    assert ((tmp / "mine").read_text(), tmp.stat().st_mode & 0o7777) == ("theirs", 0o1770)
    assert (aside.exists(), (former / "mine").exists()) == (False, True)


def test_what_has_no_place_any_more_in_dockers_tmp_stays_aside_and_is_named(guest: Guest) -> None:
    for name in ("mine", "other"):
        guest.lay(f"var/lib/docker/tmp/{name}", "theirs")
    before, _ = applied(guest)
    guest.lay("var/lib/docker/tmp/mine", "newer")
    left = ACTION.rollback(guest, before)
    (aside,) = (guest.root / "var/lib/docker").glob("tmp.rolled-back-*")
    assert left
    assert str(aside) in left
    tmp = guest.root / "var/lib/docker/tmp"
    assert {each.name: each.read_text() for each in tmp.iterdir()} == {
        "mine": "newer",
        "other": "theirs",
    }
    assert [each.name for each in aside.iterdir()] == ["mine"]


@pytest.mark.parametrize("path", ["etc/cni/net.d/mine.conf", "etc/networks"])
def test_rollback_keeps_a_file_with_content_and_names_it(guest: Guest, path: str) -> None:
    before, _ = applied(guest)
    guest.lay(path, "theirs")
    with naming(CommandFailed, path):
        ACTION.rollback(guest, before)
    assert (guest.root / path).read_text() == "theirs"
    (guest.root / path).unlink()
    ACTION.rollback(guest, before)
    assert ACTION.capture(guest) == before


def test_rollback_after_a_power_cut_removes_what_the_scripts_left(guest: Guest) -> None:
    boot = "etc/systemd/system/multi-user.target.wants"
    (guest.root / boot).mkdir(parents=True)
    before, looked = applied(guest)
    guest.lay("etc/networks", "")
    (guest.root / boot / "containerd.service").symlink_to("/no/such/containerd.service")
    ACTION.rollback(guest, before)
    assert (ACTION.capture(guest), guest.tree()) == (before, looked)


@pytest.mark.parametrize("cut", range(1, 10))
@pytest.mark.parametrize("left", ["group", "gshadow"])
def test_rollback_after_a_power_cut_removes_a_half_written_group(
    guest: Guest, left: str, cut: int
) -> None:
    """The file that was renamed first reached the disk, and the other one is half-way there."""
    before, looked = applied(guest)
    ACTION.rollback(guest, before)
    {"group": guest.groups, "gshadow": guest.shadow}[left].add("docker")
    guest.lay("etc/gshadow+", "root:*::")
    assert not ACTION.restored(guest, before)
    with suppress(Died):  # at the later ones it is done
        ACTION.rollback(Death(cut).under(guest), before)
    ACTION.rollback(guest, before)
    assert ACTION.restored(guest, before)
    assert (guest.groups, guest.shadow, guest.tree()) == (set(), set(), looked)


def test_rollback_keeps_an_empty_file_and_a_link_from_before(guest: Guest) -> None:
    boot = "etc/systemd/system/multi-user.target.wants"
    guest.lay("etc/networks", "")
    guest.lay(f"{boot}/other.service")
    (guest.root / boot / "docker.service").symlink_to("/no/such/docker.service")
    before, looked = applied(guest)
    ACTION.rollback(guest, before)
    assert (ACTION.capture(guest), guest.tree()) == (before, looked)


@pytest.mark.laws
@pytest.mark.parametrize("status", ["ii", "iHR", "iFR"])
@pytest.mark.parametrize("old", [False, True], ids=["nothing there", "an older Docker's layers"])
def test_rollback_cut_off_at_any_command_can_be_repeated(
    guest: Guest, old: bool, status: str
) -> None:
    if old:
        guest.lay("var/lib/docker/overlay2/layer", "precious")
        guest.lay("var/lib/docker/tmp/mine", "precious")
    before, looked = applied(guest)
    guest.status["docker.io"] = status
    whole = Death()
    ACTION.rollback(whole.under(guest), before)
    ways = list(whole.ways())
    assert len(ways) >= 6
    assert {way[1] for way in ways} >= {1, 2}  # in the middle of the shell's script, too
    for way in ways:
        ACTION.apply(guest, ACTION.capture(guest))
        guest.status["docker.io"] = status
        with pytest.raises(Died):
            ACTION.rollback(Death(*way).under(guest), before)
        ACTION.rollback(guest, before)
        assert (ACTION.capture(guest), guest.tree(), guest.groups) == (before, looked, set())


def test_rollback_of_a_removed_but_not_purged_docker_restores_that_state(guest: Guest) -> None:
    guest.status = {"docker.io": "rc", "containerd": "rc"}
    guest.lay(NUKE)
    guest.lay("var/lib/docker/overlay2/layer", "precious")
    guest.add_group("docker")
    before, looked = applied(guest)
    ACTION.rollback(guest, before)
    assert (ACTION.capture(guest), guest.tree(), guest.groups) == (before, looked, {"docker"})
    assert (guest.root / "var/lib/docker/overlay2/layer").read_text() == "precious"


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda guest: guest.shadow.add("docker"), "groupadd docker; groupdel docker"),
        (lambda guest: guest.conflicts.append("podman-docker"), "podman-docker"),
        (lambda guest: guest.lay(NUKE), f"/{NUKE}"),
    ],
    ids=["half a group", "a package that apt would remove", "Debian's script"],
)
def test_capture_of_what_no_rollback_can_restore_is_refused(
    guest: Guest, spoil: Callable[[Guest], None], named: str
) -> None:
    spoil(guest)
    with naming(FactError, named):
        ACTION.capture(guest)


def test_apply_where_a_policy_keeps_packages_from_starting_starts_docker(guest: Guest) -> None:
    guest.held_back = True
    ACTION.apply(guest, ACTION.capture(guest))
    assert not guest.held_back


def test_rollback_with_a_foreign_docker_is_refused_and_keeps_its_data(guest: Guest) -> None:
    before, _ = applied(guest)
    guest.foreign = "/usr/bin/dockerd"
    assert ACTION.check(guest) is None
    guest.lay("var/lib/docker/volumes/theirs/_data/file", "theirs")
    guest.status["docker.io"] = "rc"  # docker-ce's package conflicts with it
    installed = dict(guest.status)
    with naming(RemediationError, "/usr/bin/dockerd"):
        ACTION.rollback(guest, before)
    assert guest.status == installed  # their purge takes away the links that start it at boot
    assert "var/lib/docker/volumes/theirs/_data/file" in guest.tree()
    assert "docker" in guest.groups
    assert not list(guest.root.rglob("*rolled-back-*"))
    guest.foreign = ""  # removed, as it was told
    ACTION.rollback(guest, before)
    assert ACTION.capture(guest) == before


def test_require_reversible_with_another_data_root_is_refused(guest: Guest) -> None:
    elsewhere = DockerPackage(
        "Docker is installed", "Docker is installed", "STEP-3.1", root=lambda _: "/srv/docker"
    )
    with naming(FactError, "/srv/docker"):
        elsewhere.require_reversible(guest)
    ACTION.require_reversible(guest)


def test_is_in_the_kernel_sees_what_only_a_restart_removes(guest: Guest) -> None:
    assert not is_in_the_kernel(guest)
    guest.kept_in_the_kernel = True
    assert is_in_the_kernel(guest)
    guest.foreign = "/usr/bin/dockerd"
    assert not is_in_the_kernel(guest)  # it runs
