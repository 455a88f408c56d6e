"""The prerequisites, but the backups, on real repositories: what is red, what cannot be told."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from facts import denials, prerequisites
from remediation.desired import INSTALL_SCRIPT, PROFILE
from steps import prerequisites as steps
from targets.errors import CommandFailed, FactError
from targets.target import Target
from targets.transport import Local
from tests.doubles.scripted import Scripted

if TYPE_CHECKING:
    from pathlib import Path

# -- PRE-2


def git(where: Path, *words: str) -> str:
    who = ["-c", "user.name=x", "-c", "user.email=x@localhost", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", where, *who, *words], check=True, capture_output=True)
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    upstream, here = tmp_path / "upstream", tmp_path / "phoenix"
    (upstream / INSTALL_SCRIPT).parent.mkdir(parents=True)
    (upstream / INSTALL_SCRIPT).write_text("#!/bin/bash\n")
    (upstream / "other file").write_text("x\n")
    git(upstream, "init", "-q")
    git(upstream, "add", "-A")
    git(upstream, "commit", "-q", "-m", "one")
    git(tmp_path, "clone", "-q", str(upstream), str(here))
    return here


def judged(repository: Path) -> prerequisites.Checkout | None:
    found = prerequisites.checkout(Local(), str(repository))
    steps.is_clean(found)
    steps.is_current(Local(), found)
    return found


def test_a_current_checkout_with_the_plans_changes(repository: Path) -> None:
    (repository / INSTALL_SCRIPT).write_text("#!/bin/bash\nset -e\n")
    index = (repository / ".git/index").stat()
    found = judged(repository)
    assert found == prerequisites.Checkout(
        str(repository),
        git(repository, "rev-parse", "HEAD"),
        "main",
        "origin/main",
        (INSTALL_SCRIPT,),
    )
    now = (repository / ".git/index").stat()
    assert (now.st_mtime_ns, now.st_ino) == (index.st_mtime_ns, index.st_ino)


@pytest.mark.parametrize("name", ["other file", "not known"])
def test_a_foreign_change(repository: Path, name: str) -> None:
    (repository / name).write_text("theirs\n")
    with pytest.raises(AssertionError, match=f"has 1 change.*not the plan's: {name}; commit or"):
        judged(repository)


def test_a_renamed_file_is_two_changes(repository: Path) -> None:
    git(repository, "mv", "other file", "another")
    found = prerequisites.checkout(Local(), str(repository))
    assert found
    assert found.changed == ("another", "other file")


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_foreign_change_that_git_was_told_to_overlook_is_one(repository: Path, flag: str) -> None:
    git(repository, "update-index", flag, "other file")
    judged(repository)
    (repository / "other file").write_text("theirs\n")
    with pytest.raises(AssertionError, match="not the plan's: other file; commit or"):
        judged(repository)
    (repository / "other file").unlink()  # as a sparse checkout leaves it out
    judged(repository)


def test_a_foreign_change_where_git_was_told_to_look_elsewhere_is_one(
    repository: Path, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "-q", str(repository), "elsewhere")
    git(repository, "config", "core.worktree", str(tmp_path / "elsewhere"))
    (repository / "other file").write_text("theirs\n")
    with pytest.raises(AssertionError, match="not the plan's: other file; commit or"):
        judged(repository)


def _owned_by_somebody(repository: Path, upstream: Path) -> Path:
    """Give the checkout to nobody (65534), with a filter and a transport that say who runs them."""
    ran = repository / "ran"
    note = f"id -u >>{ran}"
    git(repository, "config", "filter.x.clean", f"sh -c '{note}; cat'")
    git(repository, "config", "remote.origin.uploadpack", f"{note}; git-upload-pack")
    (repository / ".git/info/attributes").write_text("* filter=x\n")
    (repository / "other file").write_text("changed\n")
    for path in (repository, upstream):
        subprocess.run(["chown", "-R", "65534:65534", str(path)], check=True)
    for parent in repository.parents:  # pytest's own folders are its user's
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    return ran


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could run it as somebody else")
def test_checkout_of_another_owner_runs_nothing_as_root(repository: Path, tmp_path: Path) -> None:
    ran = _owned_by_somebody(repository, tmp_path / "upstream")
    found = prerequisites.checkout(Local(), str(repository))
    assert found is not None
    assert "other file" in found.changed
    assert prerequisites.upstream_commit(Local(), found) == found.commit
    assert set(ran.read_text().split()) == {"65534"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is asked to start nothing")
def test_checkout_of_roots_that_others_may_write_is_refused(repository: Path) -> None:
    (repository / ".git/config").chmod(0o666)
    with pytest.raises(FactError, match="others may write to it, so git is not started as root"):
        prerequisites.checkout(Local(), str(repository))


def git_says(answer: str, code: int = 0) -> prerequisites.Checkout | None:
    argv = ("sh", "-c", prerequisites._STATUS, "status", "/r")
    return prerequisites.checkout(Scripted({argv: (code, answer.encode(), b"no")}), "/r")


def test_every_kind_of_change() -> None:
    kinds = [
        "# branch.oid 1234",
        "# branch.head main",
        "1 .M N... 100644 100644 100644 abc abc a modified file",
        "2 R. N... 100644 100644 100644 abc abc R100 a new name",
        "an old name",
        "u UU N... 100644 100644 100644 100644 abc abc abc an unmerged file",
        "? an unknown file",
        "! an ignored file",
    ]
    assert git_says("\0".join(kinds) + "\0") == prerequisites.Checkout(
        "/r",
        "1234",
        "main",
        "",
        ("a modified file", "a new name", "an old name", "an unknown file", "an unmerged file"),
    )


def test_what_is_no_answer() -> None:
    assert git_says("nothing\0") is None
    assert git_says("no checkout\0") == prerequisites.Checkout("/r", "", "", "", ())
    assert prerequisites.Checkout("/r") == prerequisites.Checkout("/r", "", "", "", ())
    with pytest.raises(FactError, match="nobody says what is at /r"):
        git_says("")
    with pytest.raises(CommandFailed):
        git_says("# branch.oid 1234\0", 128)


def test_behind_its_upstream(repository: Path, tmp_path: Path) -> None:
    git(tmp_path / "upstream", "commit", "-q", "--allow-empty", "-m", "two")
    refs = sorted((repository / ".git").rglob("*"))
    with pytest.raises(AssertionError, match=r"its upstream origin/main at .*pull --ff-only"):
        judged(repository)
    assert sorted((repository / ".git").rglob("*")) == refs, "something was fetched"


def test_an_upstream_that_cannot_be_reached(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "upstream").rename(tmp_path / "gone")
    with pytest.raises(FactError, match=r"upstream of .* cannot be asked: fatal: .*upstream"):
        judged(repository)


def test_an_upstream_that_never_answers(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nexec sleep 30\n")
    ssh.chmod(0o755)
    git(repository, "config", "core.sshCommand", str(ssh))
    git(repository, "remote", "set-url", "origin", "ssh://nobody@localhost/x")
    monkeypatch.setattr(prerequisites, "_UPSTREAM_PATIENCE", 1)
    with pytest.raises(FactError, match="did not answer within 1 s"):
        judged(repository)


def test_an_upstream_without_the_branch(repository: Path, tmp_path: Path) -> None:
    git(tmp_path / "upstream", "branch", "-m", "trunk")
    with pytest.raises(FactError, match="has no origin/main"):
        judged(repository)


def test_no_upstream_and_no_repository_are_no_errors(repository: Path, tmp_path: Path) -> None:
    git(repository, "branch", "--unset-upstream")
    found = judged(repository)
    assert found
    assert found.upstream == ""
    assert judged(tmp_path / "nothing") is None


def test_a_directory_within_another_checkout_is_none(repository: Path) -> None:
    with pytest.raises(AssertionError, match="is a directory, but no git checkout: clone it"):
        judged(repository / "bin")


def test_git_is_not_there(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    with pytest.raises(FactError, match="git is not installed"):
        judged(repository)


# -- PRE-3


def says(answer: str, code: int = 0) -> prerequisites.Access:
    script = 'id -u; id -un; echo "${SUDO_USER:-}"'
    return prerequisites.access(Scripted({("sh", "-c", script): (code, answer.encode(), b"")}))


def test_access() -> None:
    target = Target("local", 950)
    steps.runs_as_root(target, says("0\nroot\n\n"))
    assert says("0\nroot\nalice\n").sudo_user == "alice"
    with pytest.raises(AssertionError, match=r"run as alice \(uid 1000\).*NOPASSWD"):
        steps.runs_as_root(target, says("1000\nalice\n\n"))
    with pytest.raises(FactError, match="id -u said"):
        says("Welcome!\n")
    with pytest.raises(CommandFailed):
        says("0\nroot\n\n", code=1)
    assert says("0") == prerequisites.Access(0, "") == prerequisites.Access(0, "", "")
    assert prerequisites.access(Local()).uid == os.getuid()


# -- PRE-4

CONFIGURATIONS = f"""\
/etc/pve/lxc/950.conf:features: nesting=1,keyctl=1,fuse=1
/etc/pve/lxc/950.conf:lxc.apparmor.profile: {PROFILE}
/etc/pve/lxc/951.conf:lxc.apparmor.profile: {PROFILE}
/etc/pve/lxc/952.conf:features: nesting=1,keyctl=1
/etc/pve/lxc/953.conf:features: nesting=1
/etc/pve/lxc/954.conf:arch: amd64
/etc/pve/lxc/954.conf:[snap]
/etc/pve/lxc/954.conf:lxc.apparmor.profile: {PROFILE}
"""
LISTING = """\
VMID       Status     Lock         Name                
950        running                 ct950               
951        running    backup       ct951               
952        stopped                 ct952               
953        running                 ct953               
954        running                 ct954               
"""  # noqa: W291 - as pct prints it
FIND = ("find", "-L", "/etc/pve/lxc", "-name", "*.conf", "-exec", "grep", "-aH", "", "{}", "+")


@pytest.fixture(autouse=True)
def running(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The containers that the kernel has under the profile, besides what is written."""
    names: set[str] = set()
    monkeypatch.setattr(denials, "running_under", lambda *_: frozenset(names))
    return names


def reached(
    configurations: str = CONFIGURATIONS, listing: str = LISTING
) -> tuple[prerequisites.Affected, ...]:
    answers = {FIND: configurations, ("pct", "list"): listing}
    node = Scripted({argv: (0, text.encode(), b"") for argv, text in answers.items()})
    found = prerequisites.affected(node, PROFILE, 950)
    assert len(node.ran) == 2
    return found


def test_whom_the_change_reaches() -> None:
    assert list(map(str, reached())) == [
        "950 (running, under the profile)",
        "951 (running, under the profile)",
        "952 (stopped, made for Docker)",
    ]
    with pytest.raises(FactError, match="does not name container 950"):
        reached("")
    with pytest.raises(FactError, match="does not name container 950"):
        reached(listing="")


def test_whom_the_change_reaches_by_the_kernel_though_no_file_says_so(running: set[str]) -> None:
    running |= {"953", "web"}
    assert list(map(str, reached()))[3:] == [
        "953 (running, under the profile)",
        "web (running, under the profile)",
    ]
    with pytest.raises(AssertionError, match=r"3 other container\(s\) that run: 951 .*953 .*web"):
        steps.others_are_safe(reached(), 950, Target("pve1", 950), may_change=True)


def test_who_is_made_for_docker() -> None:
    others = """\
/etc/pve/lxc/950.conf:arch: amd64
/etc/pve/lxc/951.conf:features: nesting=1,fuse=1
/etc/pve/lxc/952.conf:features: nesting=1,keyctl=0,fuse=0
/etc/pve/lxc/953.conf:features: keyctl=1,fuse=1
/etc/pve/lxc/954.conf:features: nesting=0,keyctl=1
/etc/pve/lxc/955.conf:features: nesting=1,keyctl=1
"""
    listing = "VMID Status\n\n950 running\nlonely\n951 stopped\n"
    assert list(map(str, reached(others, listing))) == [
        "951 (stopped, made for Docker)",
        "955 (in no known state, made for Docker)",
    ]


PLAIN = """\
/var/lib/lxc/950/config:lxc.apparmor.profile = lxc-phoenix-v2
/var/lib/lxc/web/config:# lxc.apparmor.profile = other
/var/lib/lxc/web/config:lxc.apparmor.profile = lxc-phoenix-v2
/var/lib/lxc/docker/config:lxc.apparmor.allow_nesting = 1
/var/lib/lxc/docker/config:lxc.mount.entry = /dev/fuse dev/fuse none bind,create=file 0 0
/var/lib/lxc/other/config:lxc.apparmor.allow_nesting = 1
"""
OF_PLAIN = (
    *("find", "-L", "/var/lib/lxc", "-mindepth", "2", "-maxdepth", "2", "-name", "config"),
    *("-exec", "grep", "-aH", "", "{}", "+"),
)
LXC_LS = ("lxc-ls", "-P", "/var/lib/lxc", "--fancy", "--fancy-format", "NAME,STATE")


def test_whom_it_reaches_on_plain_lxc() -> None:
    listing = (
        "NAME   STATE   \n950    RUNNING \nweb    RUNNING \ndocker STOPPED \nother  RUNNING \n"
    )

    def found(listing: str) -> tuple[prerequisites.Affected, ...]:
        node = Scripted({OF_PLAIN: (0, PLAIN.encode(), b""), LXC_LS: (0, listing.encode(), b"")})
        return prerequisites.affected_plain(node, PROFILE, 950)

    assert list(map(str, found(listing))) == [
        "950 (running, under the profile)",
        "docker (stopped, made for Docker)",
        "web (running, under the profile)",
    ]
    assert found(listing)[0].ctid == 950
    with pytest.raises(FactError, match="does not name container 950"):
        found("NAME STATE\n")


@pytest.mark.parametrize("refused", [FIND, ("pct", "list")])
def test_what_cannot_be_listed(refused: tuple[str, ...]) -> None:
    answers = {FIND: (0, CONFIGURATIONS), ("pct", "list"): (0, LISTING)}
    answers[refused] = (1, answers[refused][1])
    node = Scripted({argv: (n, text.encode(), b"no") for argv, (n, text) in answers.items()})
    with pytest.raises(CommandFailed):
        prerequisites.affected(node, PROFILE, 950)


def test_another_that_runs_needs_consent() -> None:
    settings = Target("pve1", 950)
    with pytest.raises(AssertionError, match=r"1 other container\(s\) that run: 951 \(running"):
        steps.others_are_safe(reached(), 950, settings, may_change=True)
    steps.others_are_safe(reached(), 950, Target("pve1", 950, reserved=(951,)), may_change=True)
    steps.others_are_safe(reached(), 950, settings, may_change=False)
    busy = CONFIGURATIONS.replace(f"951.conf:lxc.apparmor.profile: {PROFILE}", "951.conf:arch: x")
    steps.others_are_safe(reached(busy), 950, settings, may_change=True)
    stopped = LISTING.replace("951        running", "951        stopped")
    steps.others_are_safe(reached(listing=stopped), 950, settings, may_change=True)


# -- PRE-5


PLACES = {"auditd": "/var/log/audit", "kernel": "/run"}


def room(answer: str, source: str = "auditd", code: int = 0) -> prerequisites.Room:
    argv = ("sh", "-c", prerequisites._LOG_ROOM, "room", PLACES[source])
    node = Scripted({argv: (code, answer.encode(), b"")})
    window: Any = SimpleNamespace(source=source)
    steps.log_has_room(node, window)
    return prerequisites.log_room(node, source)


def test_room() -> None:
    gib = 1 << 30
    assert room(f"{gib} {8 * gib} /var/log\n").needed == prerequisites.LEAST_ROOM
    assert room(f"{gib} {8 * gib} /var/log\n75\n").needed == 75 << 20
    assert room(f"{gib} {8 * gib} /\n10%\n").needed == 8 * gib // 10
    with pytest.raises(
        AssertionError,
        match=r"/var/log on .* has 70 MiB left for auditd's log, and 75 MiB are needed",
    ):
        room(f"{70 << 20} {8 * gib} /var/log\n75\n")
    with pytest.raises(AssertionError, match="has 0 MiB left for auditd's log, and 64 MiB"):
        room(f"0 {8 * gib} /var/log\n")
    assert room(f"{gib} {8 * gib} /run\n75\n", "kernel").needed == prerequisites.LEAST_ROOM
    with pytest.raises(FactError, match="is not known"):
        room("df: no such file\n")
    with pytest.raises(CommandFailed):
        room(f"{gib} {8 * gib} /var/log\n", code=1)


def test_room_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prerequisites, "_LOGS", {"kernel": ("a log", str(tmp_path))})
    assert prerequisites.log_room(Local(), "kernel").free > 0
