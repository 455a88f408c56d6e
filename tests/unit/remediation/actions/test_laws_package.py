"""The two laws for a package: just what came with it goes again, wherever dpkg was cut off."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.errors import FactError, RemediationError
from docker_lxc_gate.machines.result import CommandFailed, CommandResult
from docker_lxc_gate.machines.transport import Local
from remediation.actions import package
from remediation.actions.package import Package, PackageState
from remediation.engine.action import Step
from remediation.engine.apply import apply, apply_side_effects
from remediation.engine.errors import ChangedSince, RollbackFailed
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back
from tests.doubles.answering import Answering
from tests.doubles.death import Death, Died, comes_back_wherever_killed
from tests.doubles.examples import examples
from tests.doubles.flag import journal
from tests.doubles.naming import naming
from tests.doubles.nodes.apt import Apt
from tests.doubles.samples import sample
from tests.doubles.scripted import Scripted
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


@dataclass
class World:
    """A folder with the journal, and apt."""

    folder: Path
    apt: Apt

    def plan(self, death: Death | None = None) -> Plan:
        on = (death or Death()).under(self.apt)
        return Plan([Step(ACTION, on)], journal(self.folder, on=on))


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
        it, before = World(Path(name), apt), known(apt)
        if back:
            apply(it.plan())
        apt.steps = steps
        dying = it.plan()
        with suppress(Died):  # in dpkg; else it came to its end
            roll_back(dying) if back else apply(dying)
        apt.steps = -1
        roll_back(it.plan())
        assert known(apt) == before
        assert not apt.interrupted


@pytest.mark.parametrize("status", [{}, {"fuse-overlayfs": "rc", "libfuse3-4": "ii"}])
def test_package_killed_at_any_command_is_rolled_back(status: dict[str, str]) -> None:
    comes_back_wherever_killed(
        lambda name: World(Path(name), Apt(NEEDS, status)),
        lambda it: known(it.apt),
        ways=3,
    )


HALF_UNPACKED = {"fuse3": "iHR", "fuse-overlayfs": ""}


@pytest.fixture
def it(tmp_path: Path) -> World:
    """Where none of these packages is."""
    return World(tmp_path, Apt(NEEDS, {}))


@pytest.fixture
def applied(it: World) -> World:
    apply(it.plan())
    return it


@pytest.mark.parametrize("status", ["iHR", "iFR", "iUR", "pH"])
def test_rollback_of_a_package_that_was_cut_off_by_dpkg_purges_it(it: World, status: str) -> None:
    """Seen of power cuts: dpkg refuses to remove one half unpacked, and a purge only ended another.

    ``pH`` is one in the middle of a purge, the others are in the middle of an unpacking.
    """
    it.apt.status["libfuse3-4"] = "ii"
    apply(it.plan())
    it.apt.status |= {"fuse3": status, "fuse-overlayfs": ""}
    roll_back(it.plan())
    assert known(it.apt) == {"libfuse3-4": "ii"}


@pytest.mark.parametrize("without", ["mirror", "lists"])
def test_rollback_of_a_package_that_cannot_be_reinstalled_names_the_way_out(without: str) -> None:
    apt = Apt(NEEDS, {})
    before = ACTION.capture(apt)
    ACTION.apply(apt, before)
    apt.status |= HALF_UNPACKED
    setattr(apt, without, False)
    with naming(CommandFailed, "fuse3", "apt-get update"):
        ACTION.rollback(apt, before)
    setattr(apt, without, True)
    ACTION.rollback(apt, before)
    assert known(apt) == {}


def test_rollback_of_a_package_that_apt_left_half_unpacked_quotes_apt(applied: World) -> None:
    said = b"Reinstallation of fuse3 is"
    applied.apt.status |= HALF_UNPACKED
    applied.apt = Answering(lambda w: said if "--reinstall" in w else None, behind=applied.apt)
    with naming(RollbackFailed, said.decode()):
        roll_back(applied.plan())


def test_rollback_that_would_install_another_package_is_refused(applied: World) -> None:
    applied.apt.status |= HALF_UNPACKED
    applied.apt.needs = {**NEEDS, "fuse3": ["libfuse3-4", "libnew"]}
    with naming(RollbackFailed, "libnew"):
        roll_back(applied.plan())
    assert "libnew" not in applied.apt.status


@pytest.mark.parametrize("status", ["iF", "iHR", "pH"])
def test_capture_of_a_half_installed_package_names_the_way_out(status: str) -> None:
    apt = Apt(NEEDS, {"fuse-overlayfs": status, "fuse3": "ii", "libfuse3-4": "ii"})
    with naming(FactError, "fuse-overlayfs", "dpkg --audit"):
        ACTION.capture(apt)
    assert ACTION.check(apt) is not None


def test_apply_with_old_lists_installs_nothing_that_is_not_recorded(it: World) -> None:
    class Old(Apt):
        old = True

        def _apt(self, words: list[str]) -> tuple[int, bytes, bytes] | None:
            if words == ["update"]:
                self.old, self.needs = False, NEEDS
            if words[0] == "install" and self.old:
                return 100, b"", b"E: 404 Not Found"
            return super()._apt(words)

    it.apt = apt = Old({"fuse-overlayfs": ["fuse3"]}, {})
    with naming(RemediationError, "libfuse3-4"):
        apply(it.plan())
    assert known(apt) == {}
    apply(it.plan())
    assert known(apt) == dict.fromkeys(["fuse-overlayfs", "fuse3", "libfuse3-4"], "ii")
    roll_back(it.plan())
    assert known(apt) == {}


def test_rollback_with_a_dependent_package_is_refused(applied: World) -> None:
    applied.apt.status["sshfs"] = "ii"
    with naming(RollbackFailed, "fuse-overlayfs", "sshfs", "remove what needs it first"):
        roll_back(applied.plan())
    assert applied.apt.status["fuse-overlayfs"] == applied.apt.status["sshfs"] == "ii"
    applied.apt.status["sshfs"] = ""
    roll_back(applied.plan())
    assert known(applied.apt) == {}


def test_apply_with_a_foreign_conffile_is_refused(it: World) -> None:
    """A purge deletes them, whoever wrote them."""
    apt = it.apt
    apt.settings = {"/etc/fuse.conf": b"user_allow_other\n", "/etc/default/docker": b"theirs\n"}
    with naming(FactError, "/etc/fuse.conf", "fuse3"):
        apply(it.plan())
    assert (known(apt), it.plan().journal.lines()) == ({}, [])
    apt.lists = False  # nobody knows yet what would come: apt is asked for it once it is begun
    (said,) = map(str, apply_side_effects(it.plan().drifts()))
    assert "what it upgrades in double is not known" in said
    with naming(FactError, "/etc/fuse.conf", "fuse3"):
        apply(it.plan())


@pytest.mark.parametrize("status", ["ii", "rc"])
def test_rollback_keeps_the_conffiles_of_a_known_package(it: World, status: str) -> None:
    apt = it.apt
    apt.status |= (before := {"fuse3": status, "libfuse3-4": "ii"})
    apt.settings, apt.edited = {"/etc/fuse.conf": b"theirs\n"}, ["/etc/fuse.conf"]
    apply(it.plan())
    roll_back(it.plan())
    assert known(apt) == before


@pytest.mark.parametrize("left", [{}, {"fuse3": ""}, {"fuse3": "rc"}])
def test_rollback_with_an_edited_conffile_is_refused(
    applied: World, tmp_path: Path, left: dict[str, str]
) -> None:
    """Also after a second run: what comes back is what the first one found, and no package."""
    applied.apt.status |= left and {"fuse-overlayfs": "", **left}
    apply(applied.plan())
    installed = known(applied.apt)
    applied.apt.settings, applied.apt.edited = {"/etc/fuse.conf": b"theirs\n"}, ["/etc/fuse.conf"]
    with naming(ChangedSince, "/etc/fuse.conf"):
        roll_back(applied.plan())
    assert known(applied.apt) == installed
    roll_back(applied.plan(), force=True)
    assert known(applied.apt) == {}
    (kept,) = (tmp_path / "journal/kept").iterdir()
    assert kept.read_bytes() == b"# /etc/fuse.conf\ntheirs\n"


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


def test_check_without_an_answer_of_dpkg_is_an_error(applied: World) -> None:
    applied.apt.dpkg = False
    with naming(CommandFailed, "failed to open"):
        ACTION.check(applied.apt)
    with naming(RollbackFailed, "failed to open"):
        roll_back(applied.plan())
    assert applied.apt.status["fuse-overlayfs"] == "ii"


@pytest.mark.parametrize("status", ["pc", "hn", "ic", "ii"])
def test_capture_of_a_dependency_that_no_purge_restores_is_refused(status: str) -> None:
    """``ii``: for another architecture."""
    apt = Apt(NEEDS, {"libfuse3-4": "ii"})
    apt._new = lambda name: ["fuse3", name]  # type: ignore[method-assign]
    apt.status["fuse3"] = status
    with naming(FactError, "fuse3", f"'{status}'"):
        ACTION.capture(apt)


# -- what apt is asked, and that nothing else is taken away

DPKG = ("dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\\n")
THERE = ("sh", "-c", package._THERE, "there", *package.SETTINGS)
SIMULATE = ("sh", "-c", package._CHOSEN, "simulate", "fuse-overlayfs")
PLAN = b"""Inst libfuse3-4 [3.17.1-1] (3.17.2-1 Debian:13 [amd64])
Inst fuse3 (3.17.2-1 Debian:13 [amd64])
Inst fuse-overlayfs (1.14-1 Debian:13 [amd64])
Conf libfuse3-4 (3.17.2-1 Debian:13 [amd64])
"""
UNKNOWN = (0, b"dpkg ii \n", b"")


def test_upgrade_is_not_an_addition_and_a_dpkg_that_was_cut_off_is_refused() -> None:
    told = {DPKG: UNKNOWN, SIMULATE: (0, PLAN, b""), THERE: (0, b"", b"")}
    node = Scripted(told)
    assert ACTION.capture(node) == PackageState("", {"fuse-overlayfs": "", "fuse3": ""})
    assert ACTION.check(node) is not None
    told[SIMULATE] = (0, PLAN + b"1 not fully installed or removed.\n", b"")
    with naming(FactError, "dpkg --audit"):
        ACTION.capture(node)


def test_side_effects_name_what_is_upgraded_by_what_comes_beside() -> None:
    both = Package("package", "package", "STEP-3.1", "fuse-overlayfs", beside=("openssl",))
    upgrade = b"Inst libssl3t64 [3.5.1] (3.5.4 Debian:13 [amd64])\n"
    node = Scripted({(*SIMULATE, "openssl"): (0, PLAN + upgrade, b"")})
    (sentence,) = map(str, both.side_effects(node, None))
    assert sentence.startswith("libfuse3-4, libssl3t64: upgraded in ")


#: Knows the packages in ``$HAS``, and prints what it is asked of them.
APT_GET = sample("programs/apt-get")


def with_apt_get(folder: Path, has: str, *words: str) -> tuple[CommandResult, list[str]]:
    """Run a script with an apt-get of ours; return the result, and what apt was asked."""
    apt, log = folder / "apt-get", folder / "log"
    apt.write_text(APT_GET)
    apt.chmod(0o755)
    log.touch()
    environment = (f"PATH={folder}:{os.environ['PATH']}", f"HAS={has}", f"LOG={log}")
    done = Local().run(["env", *environment, "sh", "-c", *words])
    return done, log.read_text().splitlines()


@pytest.mark.parametrize(
    ("verb", "names", "has", "asked"),
    [
        ("simulate", "a b c", "a b c", ["-s a b c"]),
        ("simulate", "a b c", "a c", ["-s a b c", "-s a b", "-s a c", "-s a c"]),
        ("simulate", "a", "", ["-s a", "-s a"]),
        ("install", "a b", "a", ["a b", "-s a b", "-s a b", "a"]),
        ("install", "a b", "a b", ["a b"]),
    ],
)
def test_chosen_packages_are_those_that_the_release_has(
    tmp_path: Path, verb: str, names: str, has: str, asked: list[str]
) -> None:
    done, ran = with_apt_get(tmp_path, has, package._CHOSEN, verb, *names.split())
    assert [line.replace("install ", "") for line in ran] == asked
    assert done.exit_code == (0 if has else 100)
    assert done.stderr == b"none\n" * (not has or (len(asked) > 1 and verb == "install"))
    assert done.text.splitlines() == [f"Inst {name} (1)" for name in has.split()]


@pytest.mark.parametrize(
    ("ours", "does", "told", "ran"),
    [
        ("a b", "purge a b", (0, "Purg a (1) Purg b (1)"), ["-s purge a b", "purge a b"]),
        ("a", "purge a b c", (3, "b c"), ["-s purge a b c"]),
        ("a", "install a b", (3, "b"), ["-s install a b"]),
        ("a d", "purge a d", (100, ""), ["-s purge a d"]),
    ],
)
def test_alone_touches_nothing_but_what_is_ours(
    tmp_path: Path, ours: str, does: str, told: tuple[int, str], ran: list[str]
) -> None:
    words = (package._ALONE, "alone", ours, "-o", "DPkg::X::=true", *does.split())
    done, asked = with_apt_get(tmp_path, "a b c", *words)
    assert ((done.exit_code, " ".join(done.text.split())), asked) == (told, ran)


def test_alone_runs_nothing_if_the_plan_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "awk").write_text("#!/bin/sh\nexit 2\n")
    (tmp_path / "awk").chmod(0o755)
    words = (package._ALONE, "alone", "a", "purge", "a", "b")
    done, asked = with_apt_get(tmp_path, "a b", *words)
    assert (done.exit_code, asked) == (2, ["-s purge a b"])
