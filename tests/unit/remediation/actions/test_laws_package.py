"""The two laws for a package: just what came with it goes again, wherever dpkg was cut off."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.errors import FactError, RemediationError
from docker_lxc_gate.machines.result import CommandFailed
from docker_lxc_gate.machines.transport import Local
from remediation.actions import package
from remediation.actions.package import Package
from remediation.engine.action import Step
from remediation.engine.apply import apply, apply_side_effects
from remediation.engine.errors import ChangedSince, RollbackFailed
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back
from tests.doubles.death import Death, Died, comes_back_wherever_killed
from tests.doubles.examples import examples
from tests.doubles.flag import journal
from tests.doubles.naming import naming
from tests.doubles.nodes.apt import Apt
from tests.doubles.states import laws

ACTION = Package("package", "package", "STEP-3.1", "fuse-overlayfs")
NEEDS = {"fuse-overlayfs": ["fuse3"], "fuse3": ["libfuse3-4"], "sshfs": ["fuse3"]}


def _whole(status: dict[str, str]) -> bool:
    """Whether every package that is installed has what it needs, as dpkg sees to."""
    return all(
        status[need] == "ii"
        for name, needs in NEEDS.items()
        if status.get(name) in {"ii", "hi"}
        for need in needs
    )


statuses = st.fixed_dictionaries(
    {
        "fuse-overlayfs": st.sampled_from(["", "rc", "ii", "hi"]),
        "fuse3": st.sampled_from(["", "rc", "ii"]),
        "libfuse3-4": st.sampled_from(["", "ii"]),
    }
).filter(_whole)


def plan(folder: Path, apt: Apt, death: Death | None = None) -> Plan:
    on = (death or Death()).under(apt)
    return Plan([Step(ACTION, on)], journal(folder, on=on))


def known(apt: Apt) -> dict[str, str]:
    return {name: status for name, status in apt.status.items() if status}


@examples(60)
@given(status=statuses, lists=st.booleans(), mirror=st.booleans())
def test_package_holds_the_laws_whatever_was_there(
    status: dict[str, str], lists: bool, mirror: bool
) -> None:
    apt = Apt(NEEDS, status)
    apt.lists, apt.mirror = lists, mirror
    before = known(apt)
    there = status["fuse-overlayfs"] in {"ii", "hi"}
    if not lists and not mirror and not there:
        with naming(CommandFailed, "no mirror answers"):
            ACTION.capture(apt)
    else:
        wanted = "was so" if there else "held" if mirror else "refused"
        assert laws(ACTION, apt) == wanted
    assert known(apt) == before


@examples(100)
@given(status=statuses, steps=st.integers(0, 9), back=st.booleans())
def test_package_cut_off_at_any_step_of_dpkg_is_rolled_back(
    status: dict[str, str], steps: int, back: bool
) -> None:
    with TemporaryDirectory() as name:
        apt = Apt(NEEDS, status)
        before = known(apt)
        if back:
            apply(plan(Path(name), apt))
        apt.steps = steps
        dying = plan(Path(name), apt, Death())
        with suppress(Died):  # in dpkg; else it came to its end
            roll_back(dying) if back else apply(dying)
        apt.steps = -1
        roll_back(plan(Path(name), apt))
        assert known(apt) == before
        assert not apt.interrupted


@dataclass
class World:
    """A folder with the journal, and apt."""

    folder: Path
    apt: Apt

    def plan(self, death: Death | None = None) -> Plan:
        return plan(self.folder, self.apt, death)


@pytest.mark.parametrize("status", [{}, {"fuse-overlayfs": "rc", "libfuse3-4": "ii"}])
@pytest.mark.parametrize("back", [False, True], ids=["apply", "rollback"])
def test_package_killed_at_any_command_is_rolled_back(status: dict[str, str], back: bool) -> None:
    comes_back_wherever_killed(
        lambda name: World(Path(name), Apt(NEEDS, status)),
        lambda it: known(it.apt),
        back=back,
        ways=3,
    )


def test_rollback_of_a_cut_off_removal_ends_it_and_purges(tmp_path: Path) -> None:
    """Seen of a power cut in the middle of a purge: the next one only ended the removal."""

    class Cut(Apt):
        def _remove(self, verb: str, names: list[str]) -> tuple[int, bytes, bytes]:
            half = [name for name in names if self.status.get(name) == "pH"]
            found = super()._remove(verb, [name for name in names if name not in half])
            self.status |= dict.fromkeys(half, "rc")
            return found

    apt = Cut(NEEDS, {})
    apply(plan(tmp_path, apt))
    apt.status |= {"fuse3": "pH", "fuse-overlayfs": ""}
    roll_back(plan(tmp_path, apt))
    assert known(apt) == {}


@pytest.mark.parametrize("status", ["iHR", "iFR", "iUR"])
def test_rollback_of_a_half_unpacked_package_purges_it(tmp_path: Path, status: str) -> None:
    """Seen of a power cut in the middle of an unpacking: dpkg refuses to remove such a package."""
    apt = Apt(NEEDS, {"libfuse3-4": "ii"})
    apply(plan(tmp_path, apt))
    apt.status |= {"fuse3": status, "fuse-overlayfs": ""}
    roll_back(plan(tmp_path, apt))
    assert known(apt) == {"libfuse3-4": "ii"}


@pytest.mark.parametrize("without", ["mirror", "lists"])
def test_rollback_of_a_package_that_cannot_be_reinstalled_names_the_way_out(without: str) -> None:
    apt = Apt(NEEDS, {})
    before = ACTION.capture(apt)
    ACTION.apply(apt, ACTION.capture(apt))
    apt.status |= {"fuse3": "iHR", "fuse-overlayfs": ""}
    setattr(apt, without, False)
    with naming(CommandFailed, "fuse3", "apt-get update"):
        ACTION.rollback(apt, before)
    setattr(apt, without, True)
    ACTION.rollback(apt, before)
    assert known(apt) == {}


def test_rollback_of_a_package_that_apt_left_half_unpacked_quotes_apt() -> None:
    class Says(Apt):
        def _install(self, *names: str, configure: bool = True) -> tuple[int, bytes, bytes]:
            return (
                super()._install(*names) if configure else (0, b"Reinstallation of fuse3 is", b"")
            )

    apt = Says(NEEDS, {})
    before = ACTION.capture(apt)
    ACTION.apply(apt, ACTION.capture(apt))
    apt.status |= {"fuse3": "iHR", "fuse-overlayfs": ""}
    with naming(RemediationError, "Reinstallation of fuse3 is"):
        ACTION.rollback(apt, before)


def test_rollback_that_would_install_another_package_is_refused(tmp_path: Path) -> None:
    apt = Apt(NEEDS, {})
    apply(plan(tmp_path, apt))
    apt.status |= {"fuse3": "iHR", "fuse-overlayfs": ""}
    apt.needs = {**NEEDS, "fuse3": ["libfuse3-4", "libnew"]}
    with naming(RollbackFailed, "libnew"):
        roll_back(plan(tmp_path, apt))
    assert "libnew" not in apt.status


def test_rollback_after_a_dpkg_cut_off_at_a_trigger_ends_it(tmp_path: Path) -> None:
    """All of ours is installed, and apt refuses nevertheless."""
    apt = Apt(NEEDS, {})
    apply(plan(tmp_path, apt))
    apt.interrupted = True
    roll_back(plan(tmp_path, apt))
    assert known(apt) == {}


@pytest.mark.parametrize("status", ["iF", "iHR", "pH"])
def test_capture_of_a_half_installed_package_names_the_way_out(status: str) -> None:
    apt = Apt(NEEDS, {"fuse-overlayfs": status, "fuse3": "ii", "libfuse3-4": "ii"})
    with naming(FactError, "fuse-overlayfs", "dpkg --audit"):
        ACTION.capture(apt)
    assert ACTION.check(apt) is not None


def test_apply_with_old_lists_installs_nothing_that_is_not_recorded(tmp_path: Path) -> None:
    class Old(Apt):
        old = True

        def _apt(self, words: list[str]) -> tuple[int, bytes, bytes] | None:
            if words == ["update"]:
                self.old, self.needs = False, NEEDS
            if words[0] == "install" and self.old:
                return 100, b"", b"E: 404 Not Found"
            return super()._apt(words)

    apt = Old({"fuse-overlayfs": ["fuse3"]}, {})
    with naming(RemediationError, "libfuse3-4"):
        apply(plan(tmp_path, apt))
    assert known(apt) == {}
    apply(plan(tmp_path, apt))
    assert known(apt) == dict.fromkeys(["fuse-overlayfs", "fuse3", "libfuse3-4"], "ii")
    roll_back(plan(tmp_path, apt))
    assert known(apt) == {}


def test_rollback_with_a_dependent_package_is_refused(tmp_path: Path) -> None:
    apt = Apt(NEEDS, {})
    apply(plan(tmp_path, apt))
    apt.status["sshfs"] = "ii"
    with naming(RollbackFailed, "fuse-overlayfs", "sshfs"):
        roll_back(plan(tmp_path, apt))
    assert apt.status["fuse-overlayfs"] == apt.status["sshfs"] == "ii"
    apt.status["sshfs"] = ""
    roll_back(plan(tmp_path, apt))
    assert known(apt) == {}


def test_apply_with_a_foreign_conffile_is_refused(tmp_path: Path) -> None:
    """A purge deletes them, whoever wrote them."""
    apt = Apt(NEEDS, {})
    apt.settings = {"/etc/fuse.conf": b"user_allow_other\n", "/etc/default/docker": b"theirs\n"}
    with naming(FactError, "/etc/fuse.conf", "fuse3"):
        apply(plan(tmp_path, apt))
    assert (known(apt), plan(tmp_path, apt).journal.lines()) == ({}, [])
    apt.lists = False  # nobody knows yet what would come: apt is asked for it once it is begun
    (said,) = map(str, apply_side_effects(plan(tmp_path, apt).drifts()))
    assert "what it upgrades in double is not known" in said
    with naming(FactError, "/etc/fuse.conf", "fuse3"):
        apply(plan(tmp_path, apt))


@pytest.mark.parametrize("status", ["ii", "rc"])
def test_rollback_keeps_the_conffiles_of_a_known_package(tmp_path: Path, status: str) -> None:
    apt = Apt(NEEDS, {"fuse3": status, "libfuse3-4": "ii"})
    before = known(apt)
    apt.settings, apt.edited = {"/etc/fuse.conf": b"theirs\n"}, ["/etc/fuse.conf"]
    apply(plan(tmp_path, apt))
    roll_back(plan(tmp_path, apt))
    assert known(apt) == before


def test_rollback_with_an_edited_conffile_is_refused(tmp_path: Path) -> None:
    apt = Apt(NEEDS, {})
    apply(plan(tmp_path, apt))
    installed = known(apt)
    apt.settings, apt.edited = {"/etc/fuse.conf": b"user_allow_other\n"}, ["/etc/fuse.conf"]
    with naming(ChangedSince, "/etc/fuse.conf"):
        roll_back(plan(tmp_path, apt))
    assert known(apt) == installed
    roll_back(plan(tmp_path, apt), force=True)
    assert known(apt) == {}
    (kept,) = (tmp_path / "journal/kept").iterdir()
    assert kept.read_bytes() == b"# /etc/fuse.conf\nuser_allow_other\n"


@pytest.mark.parametrize("left", ["", "rc"])
def test_rollback_with_a_conffile_edited_after_apply_is_refused(tmp_path: Path, left: str) -> None:
    """What comes back is what the first run found, and that the package was not there."""
    apt = Apt(NEEDS, {})
    apply(plan(tmp_path, apt))
    apt.status |= {"fuse-overlayfs": "", "fuse3": left}
    apply(plan(tmp_path, apt))
    apt.settings, apt.edited = {"/etc/fuse.conf": b"theirs\n"}, ["/etc/fuse.conf"]
    with naming(ChangedSince, "/etc/fuse.conf"):
        roll_back(plan(tmp_path, apt))
    apt.edited = []
    roll_back(plan(tmp_path, apt))
    assert known(apt) == {}


def test_edited_conffiles_are_those_of_which_dpkg_has_another_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real one, of a system of its own; it knows of some no sum, and some were deleted."""
    here = {name: tmp_path / name for name in ("as it came", "edited", "deleted", "new")}
    sum_ = hashlib.md5(b"as it came\n", usedforsecurity=False).hexdigest()
    here = {name: tmp_path / name.replace(" ", "-") for name in here}
    for name, path in here.items():
        path.write_text("as it came\n" if name == "as it came" else "edited\n")
    here["deleted"].unlink()
    lines = [f" {path} {'newconffile' if n == 'new' else sum_}" for n, path in here.items()]
    (tmp_path / "dpkg/info").mkdir(parents=True)
    (tmp_path / "dpkg/updates").mkdir()
    (tmp_path / "dpkg/status").write_text(
        "Package: fuse3\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n"
        "Maintainer: x <x@localhost>\nDescription: x\nConffiles:\n" + "\n".join(lines) + "\n"
    )
    monkeypatch.setenv("DPKG_ADMINDIR", str(tmp_path / "dpkg"))
    said = Local().run(["sh", "-c", package._EDITED, "edited", "docker.io", "fuse3"])
    assert (said.exit_code, said.text) == (0, f"{here['edited']}\n")
    link = tmp_path / "dangling"
    link.symlink_to("/nowhere")
    looked = ["there", str(link), str(here["edited"]), str(here["deleted"])]
    said = Local().run(["sh", "-c", package._THERE, *looked])
    assert (said.exit_code, said.text) == (0, f"{link}\n{here['edited']}\n")


def test_check_without_an_answer_of_dpkg_is_an_error(tmp_path: Path) -> None:
    apt = Apt(NEEDS, {})
    apply(plan(tmp_path, apt))
    apt.dpkg = False
    with naming(CommandFailed, "failed to open"):
        ACTION.check(apt)
    with naming(RollbackFailed, "failed to open"):
        roll_back(plan(tmp_path, apt))
    assert apt.status["fuse-overlayfs"] == "ii"


@pytest.mark.parametrize("status", ["pc", "hn", "ic", "ii"])
def test_capture_of_a_dependency_that_no_purge_restores_is_refused(status: str) -> None:
    """``ii``: for another architecture."""
    apt = Apt(NEEDS, {"libfuse3-4": "ii"})
    apt._new = lambda name: ["fuse3", name]  # type: ignore[method-assign]
    apt.status["fuse3"] = status
    with naming(FactError, "fuse3", f"'{status}'"):
        ACTION.capture(apt)


def test_capture_after_a_dpkg_that_was_cut_off_is_refused() -> None:
    class Broken(Apt):
        def _apt(self, words: list[str]) -> tuple[int, bytes, bytes] | None:
            code, out, err = super()._apt(words) or (1, b"", b"")
            return code, out + b"1 not fully installed or removed.\n", err

    with naming(FactError, "dpkg --audit"):
        ACTION.capture(Broken(NEEDS, {}))


def test_rollback_where_apt_would_install_a_package_is_refused(tmp_path: Path) -> None:
    """A package that came later, and needs this or another."""

    class Either(Apt):
        def _apt(self, words: list[str]) -> tuple[int, bytes, bytes] | None:
            if words[:2] == ["-s", "purge"]:
                return 0, b"Inst podman (5.0)\nPurg fuse-overlayfs [1.0]\n", b""
            return super()._apt(words)

    apt = Either(NEEDS, {})
    apply(plan(tmp_path, apt))
    with naming(RollbackFailed, "podman"):
        roll_back(plan(tmp_path, apt))
    assert known(apt) == {"fuse-overlayfs": "ii", "fuse3": "ii", "libfuse3-4": "ii"}
