"""The two laws for a profile in its file and in the kernel; compiled by the real compiler."""

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.errors import FactError, RemediationError
from docker_lxc_gate.machines.transport import Local, Transport
from remediation import desired, docker_in_lxc
from remediation.actions.apparmor_profile import AppArmorProfile
from remediation.engine.action import Step
from remediation.engine.apply import apply
from remediation.engine.errors import ChangedSince, RollbackFailed
from remediation.engine.plan import Plan
from remediation.engine.rollback import roll_back
from tests.doubles.answering import Answer, Answering
from tests.doubles.death import Death, comes_back_wherever_killed
from tests.doubles.examples import examples
from tests.doubles.flag import journal
from tests.doubles.naming import naming
from tests.doubles.nodes.machines import Kernel
from tests.doubles.states import Laid, anything, laws, look

NAME = "lxc-test"
OURS = f"profile {NAME} flags=(attach_disconnected) {{\n  mount,\n}}\n".encode()
THEIRS = f"profile {NAME} {{\n  file,\n}}\n".encode()


@cache
def compiled(text: bytes) -> bytes:
    argv = ["apparmor_parser", "-S", "-K"]
    return subprocess.run(argv, input=text, capture_output=True, check=True).stdout


@dataclass
class World:
    """A folder with the profile's file, and a kernel."""

    folder: Path
    kernel: Kernel

    def action(self) -> AppArmorProfile:
        return AppArmorProfile(
            "profile", "profile", "STEP-2.2", NAME, str(self.folder / "here" / NAME), OURS
        )

    def look(self) -> object:
        return look(self.folder / "here"), self.kernel.policy

    def cache_is_true(self) -> bool:
        """Whether the next boot loads what the file says, from the cache or compiled anew."""
        now = Local().run(["apparmor_parser", "-S", "-K", str(self.folder / "here" / NAME)])
        return self.kernel.cached() in {b"", now.stdout if now.ok else b""}

    def plan(self, death: Death | None = None) -> Plan:
        on: Transport = (death or Death()).under(self.kernel)
        return Plan([Step(self.action(), on)], journal(self.folder, on=on))


def world(name: str, laid: Laid, policy: bytes) -> World:
    folder = Path(name)
    (folder / "here").mkdir()
    laid.at(folder / "here" / NAME)
    kernel = Kernel(NAME, folder)
    kernel.policy = policy
    return World(folder, kernel)


profiles = st.one_of(
    anything.filter(lambda laid: laid.kind != "socket"),
    st.sampled_from([Laid(content=OURS), Laid(content=THEIRS, mode=0o600, nanoseconds=5)]),
)
policies = st.sampled_from([b"", compiled(OURS), compiled(THEIRS), b"\xff foreign \x00 policy"])


@examples(60)
@given(laid=profiles, policy=policies)
def test_profile_holds_the_laws_whatever_was_there(laid: Laid, policy: bytes) -> None:
    with TemporaryDirectory() as name:
        it = world(name, laid, policy)
        before = it.look()
        outcome = laws(it.action(), it.kernel)
        assert it.look() == before
        assert it.cache_is_true()
        if outcome == "refused":
            assert laid.kind in {"link", "directory"}
        assert (outcome == "was so") == (laid.content == OURS and policy == compiled(OURS))


@examples(20)
@given(laid=profiles, policy=policies)
def test_apply_that_the_kernel_refuses_is_rolled_back(laid: Laid, policy: bytes) -> None:
    """The file is written before the kernel says no: a plan rolls it back."""
    with TemporaryDirectory() as name:
        it = world(name, laid, policy)
        it.kernel.refuses = True
        before = it.look()
        try:
            outcomes = apply(it.plan())
        except RemediationError as error:
            assert not isinstance(error, RollbackFailed)  # noqa: PT017
        else:
            assert not any(outcome.changed for outcome in outcomes)
        assert it.look() == before
        assert it.cache_is_true()
        assert it.plan().journal.entries() == []


BEFORE = [(Laid("absent"), b""), (Laid(content=THEIRS, nanoseconds=7), compiled(THEIRS))]


@pytest.mark.parametrize(("laid", "policy"), BEFORE, ids=["absent", "another one"])
def test_profile_killed_at_any_command_is_restored(laid: Laid, policy: bytes) -> None:
    comes_back_wherever_killed(
        lambda name: world(name, laid, policy),
        lambda it: (it.look(), it.cache_is_true()),
        ways=10,
    )


def test_rollback_to_a_broken_profile_restores_the_policy_without_a_cache(tmp_path: Path) -> None:
    """What the kernel holds is older than the file, which somebody broke since."""
    it = world(str(tmp_path), Laid(content=b"profile {\n", nanoseconds=7), compiled(THEIRS))
    before = it.look()
    apply(it.plan())
    assert it.kernel.cached() == compiled(OURS)
    roll_back(it.plan())
    assert it.look() == before
    assert it.kernel.cached() == b""
    assert it.plan().journal.entries() == []


def test_rollback_of_an_edited_profile_is_refused(tmp_path: Path) -> None:
    it = world(str(tmp_path), Laid(content=THEIRS), compiled(THEIRS))
    apply(it.plan())
    path = tmp_path / "here" / NAME
    path.write_bytes(edited := OURS + b"# theirs\n")
    with naming(ChangedSince, path):
        roll_back(it.plan())
    assert (path.read_bytes(), it.kernel.policy) == (edited, compiled(OURS))


def test_rollback_of_a_profile_in_use_fails_and_keeps_it_loaded(tmp_path: Path) -> None:
    it = world(str(tmp_path), Laid("absent"), b"")
    before = it.look()
    apply(it.plan())
    it.kernel.users = [4711]
    with naming(RollbackFailed, NAME, "4711"):
        roll_back(it.plan())
    assert it.kernel.policy == compiled(OURS)
    it.kernel.users = []
    roll_back(it.plan())
    assert it.look() == before


def test_apply_where_the_kernel_exports_no_policy_is_refused(tmp_path: Path) -> None:
    it = world(str(tmp_path), Laid("absent"), compiled(THEIRS))
    mute = Answering(
        lambda words: b"" if words[-1].endswith("/raw_data") else None, behind=it.kernel
    )
    with naming(FactError, "double", "raw_data"):
        apply(Plan([Step(it.action(), mute)], journal(tmp_path)))
    assert look(tmp_path / "here") == {}


@pytest.mark.parametrize("policy", [b"", compiled(OURS)], ids=["never loaded", "an older one"])
@pytest.mark.parametrize("part", [False, True], ids=["all", "the tunable first"])
def test_rollback_with_a_reload_restores_the_loaded_policy(
    policy: bytes, part: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = world(str(tmp_path), Laid(content=THEIRS), policy).kernel
    path = tmp_path / "here" / NAME

    def reload(words: list[str]) -> Answer | None:
        """Read the profile's file, as AppArmor's unit reads all there are."""
        if words != ["systemctl", "reload", "apparmor"]:
            return None
        return kernel._load(compiled(path.read_bytes())) if path.exists() else b""

    on = Answering(reload, behind=kernel)
    monkeypatch.setattr(desired, "PROFILE", NAME)
    monkeypatch.setattr(desired, "PROFILE_PATH", str(path))
    monkeypatch.setattr(desired, "TUNABLE_PATH", str(tmp_path / "here/nesting"))
    monkeypatch.setattr(desired, "profile", lambda *_: THEIRS + b"# the plan's\n")
    it = Plan(docker_in_lxc._apparmor(on), journal(tmp_path))
    before = look(tmp_path / "here")
    assert [outcome.changed for outcome in apply(it)] == [True, True, True]
    if part:
        roll_back(it.only(["STEP-1"]))
        assert kernel.policy == compiled(path.read_bytes())
        kernel.policy = compiled(path.read_bytes())
    roll_back(it)
    assert (look(tmp_path / "here"), kernel.policy) == (before, policy)
    assert roll_back(it) == []
