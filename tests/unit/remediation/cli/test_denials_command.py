"""``docker-lxc-gate denials`` as a user meets it, over files and standard input."""

from __future__ import annotations

import gzip
import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from docker_lxc_gate.machines.runtime.pct import Pct
from remediation.cli import denials
from remediation.cli.group import main
from tests.doubles.apparmor.apparmor_parser import parse_profile
from tests.doubles.apparmor.denials import CORPUS, EXAMPLE, KERNEL, LAB_CONTAINER
from tests.doubles.foreign import Foreign

if TYPE_CHECKING:
    from click.testing import Result

ROOT = Path(__file__).parents[4]
MOUNT = (
    'type=AVC msg=audit(1795717106.123:42): apparmor="DENIED" operation="mount" class="mount" '
    'info="failed type match" error=-13 profile="lxc-950_</var/lib/lxc>" name="/mnt/" pid=42 '
    'comm="fuse-overlayfs" fstype="fuse" srcname="x" flags="rw, nosuid"\n'
)


def ran(*words: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(main, ["denials", *words], input=stdin)


def test_denials_says_in_words_what_was_tried_how_often_and_the_rule(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(MOUNT + MOUNT.replace("106.123:42", "107.5:43"))
    result = ran(str(tmp_path / "log"))
    assert result.exit_code == 0
    assert result.stdout == (
        "2 denials of 1 kind\n\n"
        "fuse-overlayfs in container 950 wanted to mount a file system of type fuse from x on "
        "/mnt/ (rw, nosuid)\n"
        "  count:      2 times, 2026-11-26 18:18:26Z to 2026-11-26 18:18:27Z\n"
        "  profile:    lxc-950_</var/lib/lxc> (failed type match)\n"
        "  container:  950, by its generated profile\n"
        "  try first:  if the container has no nesting, give it nesting (Proxmox: nesting=1 in "
        "features; else lxc.apparmor.allow_nesting = 1), and restart it: the profile that LXC "
        "generates then allows this without a rule\n"
        "  rule:       mount options=(rw,nosuid) fstype=fuse -> /mnt/,\n"
        "  where:      LXC generates this profile, so no file has it: lxc.apparmor.raw: RULE in "
        "the container's configuration, and restart it\n"
    )


def test_denials_of_the_pages_example_are_what_the_page_shows() -> None:
    page = (ROOT / "docs/denials.md").read_text("utf-8")
    profile = "remediation/content/lxc-phoenix-v2"
    told = ran(str(EXAMPLE), "--profile", str(ROOT / profile)).stdout
    assert f"```text\n{told.replace(f'{ROOT}/{profile}', 'lxc-phoenix-v2')}```" in page
    suggested = ran(str(EXAMPLE), "--suggest", "--profile", str(ROOT / profile)).stdout
    assert f"```text\n{suggested}```" in page


def test_denials_of_the_labs_records_are_what_the_page_shows() -> None:
    page = (ROOT / "docs/denials.md").read_text("utf-8")
    block = page.partition("### Recorded on the lab")[2].split("```")[1]
    shown = block.removeprefix("text\n").strip().split("\n\n")
    told = ran(str(LAB_CONTAINER)).stdout
    assert told.startswith("67 denials of 67 kinds\n")
    assert len(shown) == 2
    assert set(shown) <= set(told.strip().split("\n\n"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_denials_of_standard_input_are_those_of_the_file(pack: type[bytes]) -> None:
    told = ran("-", stdin=pack(CORPUS.read_bytes()))
    assert told.exit_code == 3
    assert told.stdout == ran(str(CORPUS)).stdout


@pytest.mark.parametrize("quote", ["”", '\\"', "&quot;", '\x1b[K"'])
def test_denials_of_a_pasted_line_with_other_quotes_are_those_of_the_line(quote: str) -> None:
    assert (
        ran("-", stdin=MOUNT.replace('"', quote).encode()).stdout
        == ran("-", stdin=MOUNT.encode()).stdout
    )


UNREADABLE = MOUNT.replace('"', "'")


@pytest.mark.parametrize(
    ("text", "plainly", "fails"),
    [
        ("type=USER_ACCT msg=audit(1.5:1): pid=1\n", 0, 0),
        (MOUNT.replace("/mnt/", "canary0123456789abcdefroot"), 0, 0),
        (MOUNT, 0, 1),
        ('apparmor="DENIED"\n', 3, 1),
        (UNREADABLE, 3, 3),
        (MOUNT + UNREADABLE, 3, 1),
    ],
    ids=["none", "the gate's own", "one", "one that says nothing", "unreadable", "both"],
)
@pytest.mark.parametrize("words", [[], ["--format", "json"], ["--suggest"]])
def test_denials_end_with_1_for_a_denial_if_asked_and_3_if_it_is_not_known(
    text: str, plainly: int, fails: int, words: list[str]
) -> None:
    told = ran("-", *words, stdin=text.encode())
    assert told.exit_code == plainly
    assert ran("-", "--fail-on-denial", *words, stdin=text.encode()).exit_code == fails
    assert ("error: standard input: a line may hold" in told.stderr) == (plainly == 3)


def test_denials_show_lines_that_cannot_be_read_and_what_to_change() -> None:
    odd = "password=hunter2 \t" + UNREADABLE.replace("x", "\u202e" * 600)
    told = ran("-", stdin=(MOUNT + odd * 5 + UNREADABLE * 2).encode())
    assert told.stdout.startswith("1 denial of 1 kind\n")
    assert "no denial" not in told.stdout
    assert told.stdout.count("a line that may be a denial: ") == 2
    assert '  unreadable: a denial is a whole line with apparmor="DENIED"' in told.stdout
    assert "7 lines may hold a denial" in told.stderr
    assert "hunter2" not in told.output
    assert "\u202e" not in told.output
    read = json.loads(ran("-", "--format", "json", stdin=(MOUNT + odd).encode()).stdout)
    (unread,) = read["unread"]
    assert (read["total"], read["unreadable"], read["incomplete"]) == (
        1,
        1,
        "standard input: a line may hold a denial, and could not be read",
    )
    assert "hunter2" not in unread["line"]
    assert "whole line" in unread["what_to_change"]


def test_denials_of_a_directory_are_those_of_all_rotated_files(tmp_path: Path) -> None:
    (tmp_path / "audit.log.1.gz").write_bytes(gzip.compress(MOUNT.encode()))
    (tmp_path / "audit.log").write_text(MOUNT)
    assert ran(str(tmp_path)).stdout.startswith("2 denials of 1 kind\n")


def test_denials_of_a_quiet_log_claims_nothing(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("type=USER_ACCT msg=audit(1.5:1): pid=1\n")
    result = ran(str(tmp_path / "log"))
    assert result.exit_code == 0
    assert "proves nothing by itself" in result.stdout


@pytest.mark.parametrize("form", ["text", "json"])
def test_denials_of_a_file_that_is_cut_are_shown_and_the_exit_code_is_3(
    form: str, tmp_path: Path
) -> None:
    packed = gzip.compress(MOUNT.encode() * 9)
    (tmp_path / "log.gz").write_bytes(packed[:-9])
    result = ran(str(tmp_path / "log.gz"), "--format", form)
    assert result.exit_code == 3
    assert "fuse-overlayfs in container 950" in result.stdout
    assert "cannot be read to its end" in result.stderr
    if form == "json":
        assert "cannot be read to its end" in json.loads(result.stdout)["incomplete"]


def test_denials_that_are_suggested_are_rules_alone_that_apparmors_parser_takes() -> None:
    result = ran(str(CORPUS), "--suggest")
    assert result.exit_code == 3
    rules = result.stdout
    assert "mount options=(rw,rbind) -> /var/lib/docker/fuse-overlayfs/ab/merged/," in rules
    assert all(line.startswith("#") or line.endswith(",") for line in rules.splitlines())
    done = parse_profile(f"abi <abi/4.0>,\ninclude <tunables/global>\nprofile x {{\n{rules}\n}}\n")
    assert done.returncode == 0, done.stderr
    assert "that no rule would allow" in result.stderr


def test_denials_as_json_are_all_members_of_each_kind() -> None:
    told = json.loads(ran(str(CORPUS), "--format", "json").stdout)
    assert told["total"] == sum(each["count"] for each in told["denials"])
    (kcore,) = [each for each in told["denials"] if each["count"] == 2]
    assert kcore["rule"] == "/proc/kcore r,"
    assert kcore["dangerous"]
    assert kcore["fields"]["operation"] == "open"
    assert kcore["container"] is None


def test_denials_that_a_profile_forbids_name_the_line_and_are_not_suggested(
    tmp_path: Path,
) -> None:
    profile = tmp_path / "profile"
    profile.write_text("include <nothing>\nprofile lxc-phoenix-v2 {\n  audit deny /proc/k* r,\n}\n")
    result = ran(str(KERNEL), "--profile", str(profile))
    assert f"whatever is added, by {profile}, line 3: audit deny /proc/k* r," in result.stdout
    assert "includes nothing, which was not found here" in result.stderr
    assert "/proc/kcore" not in ran(str(KERNEL), "--suggest", "--profile", str(profile)).stdout


@pytest.mark.parametrize(
    ("since", "shown"),
    [
        ("2026-11-26 18:18:26", True),
        ("2026-11-26T19:18:26+01:00", True),
        ("2026-11-27", False),
        ("1d", None),
        ("30min", None),
    ],
)
def test_denials_since_a_time_leave_out_what_is_older(
    since: str, shown: bool | None, tmp_path: Path
) -> None:
    (tmp_path / "log").write_text(MOUNT)
    result = ran(str(tmp_path / "log"), "--since", since)
    assert result.exit_code == 0
    if shown is not None:
        assert ("in container 950" in result.stdout) == shown


@pytest.mark.parametrize(
    "words",
    [
        ["log", "--since", "yesterdays"],
        ["log", "--since", "9999-99-99"],
        ["log", "--target", "root@pve1/950"],
        ["--target", "nowhere"],
        [],
    ],
)
def test_denials_of_a_command_line_that_is_wrong_end_with_2(words: list[str]) -> None:
    assert ran(*words).exit_code == 2


def test_denials_of_nothing_say_what_to_type() -> None:
    told = ran().stderr
    for words in ("-", "audit.log", "--target root@pve1/950"):
        assert f"\n  docker-lxc-gate denials {words} " in told


def test_denials_of_two_logs_name_both() -> None:
    assert "'log' and a target's" in ran("log", "--target", "root@pve1/950").stderr


def test_denials_of_a_file_that_is_not_there_end_with_3(tmp_path: Path) -> None:
    result = ran(str(tmp_path / "nothing"))
    assert (result.exit_code, "cannot be read: No such file" in result.stderr) == (3, True)
    assert result.stdout == "", "it says nothing of a log that was not read"


@pytest.mark.parametrize("when", ["999999w", "0001-01-02"])
def test_denials_since_before_any_clock_are_all(tmp_path: Path, when: str) -> None:
    (tmp_path / "log").write_text(MOUNT)
    result = ran(str(tmp_path / "log"), "--since", when)
    assert (result.exit_code, "1 denial of 1 kind" in result.stdout) == (0, True)
    context, option = click.Context(denials.denials), denials.denials.params[1]
    assert denials._since(context, option, when) == 0.0


def test_denials_show_no_control_character_of_whoever_was_denied(tmp_path: Path) -> None:
    forged = MOUNT.replace('comm="fuse-overlayfs"', "comm=1B5B324A0A6E6F")
    (tmp_path / "log").write_text(forged.replace('name="/mnt/"', "name=2F1B5D35323B"))
    for form in ("text", "json"):
        result = ran(str(tmp_path / "log"), "--format", form)
        assert result.exit_code == 0
        assert "\x1b" not in result.output
    assert "no rule" in ran(str(tmp_path / "log")).stdout


def test_denials_of_a_target_are_those_of_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = f"== state\n== kernel\n{MOUNT}== clock\n== end\n".encode()
    opened = Pct(Foreign([(0, answer, b"")]))
    monkeypatch.setattr(denials, "opened", lambda _: nullcontext(opened))
    result = ran("--target", "root@pve1/950")
    assert (result.exit_code, "in container 950 wanted" in result.stdout) == (0, True)
    assert "ten records in five seconds" in result.stderr
    quiet = answer.replace(MOUNT.encode(), b"")
    cut = Pct(Foreign([(0, quiet, b"cat: Permission denied")]))
    monkeypatch.setattr(denials, "opened", lambda _: nullcontext(cut))
    result = ran("--target", "root@pve1/950")
    assert result.exit_code == 3
    assert "the kernel's log on a machine" in result.stderr
