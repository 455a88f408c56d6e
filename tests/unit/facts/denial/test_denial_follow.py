"""A node's denials as they come, read by the real script over a folder of our own."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest

from facts.audit.audit_records import AUDIT_LOG, records
from facts.denial.denial_follow import FollowedNode
from targets.errors import Dropped, FactError, TransportError
from targets.transport import Base, Local
from tests.doubles.foreign import Foreign

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from targets.transport import CommandResult

AUDITD = "printf 'lost 0\\nreader 7\\nprocess S 12 auditd\\n'"
KERNEL = "printf 'lost 0\\nreader 0\\n'"
SECRET = b'type=EXECVE msg=audit(1000.5:9): a0="secret"\n'


def line(number: int) -> bytes:
    return b'type=AVC msg=audit(1000.5:%d): apparmor="DENIED" operation="open" pid=1\n' % number


class Here(Base):
    """A node that keeps its log in a folder of this machine; its connection may be down."""

    machine = "pve1"

    def __init__(self, folder: Path) -> None:
        self.log, self.state = folder / "audit.log", AUDITD
        self.asked: list[tuple[str, ...]] = []
        self.left, self.down = b"", False

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0
    ) -> CommandResult:
        if self.down:
            raise Dropped("the connection to pve1 dropped")
        words = list(argv)
        assert words[5] == AUDIT_LOG
        state = f"{self.state}; stat -c 'log %i %s' {self.log} 2>/dev/null || :"
        self.asked.append(tuple(words[7:]))
        result = Local().run([*words[:4], state, str(self.log), "", *words[7:]])
        self.left += result.stdout
        return result

    def grow(self, *more: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(b"".join(more))

    def rotate(self) -> None:
        for number in (3, 2, 1):
            old = self.log.with_name(f"audit.log.{number}")
            if old.exists():
                old.rename(self.log.with_name(f"audit.log.{number + 1}"))
        self.log.rename(self.log.with_name("audit.log.1"))
        self.log.touch()


@pytest.fixture
def node(tmp_path: Path) -> Here:
    here = Here(tmp_path)
    here.grow(line(0), SECRET)
    return here


def follow(node: Here, since: float | None = None) -> tuple[FollowedNode, list[str]]:
    told: list[str] = []
    return FollowedNode(node, since, told.append), told


def news(followed: FollowedNode) -> list[int]:
    return [int(each.split(b"audit(1000.5:")[1].split(b")")[0]) for each in followed.news()]


def test_news_of_auditds_log_are_what_came_since_then_and_no_other_record(node: Here) -> None:
    followed, told = follow(node)
    assert news(followed) == []
    node.grow(SECRET, line(1), line(2))
    assert news(followed) == [1, 2]
    assert news(followed) == []
    assert (followed.source, followed.doubt, told) == ("auditd", "", [])
    assert b"secret" not in node.left
    assert line(0) not in node.left


def test_news_ask_for_what_is_new_only(node: Here) -> None:
    followed, _ = follow(node)
    for number in (1, 2):
        node.grow(line(number))
        followed.news()
        size = node.log.stat().st_size
        assert node.asked[-1][1] == str(size - len(line(number)))
    assert node.asked[0][0] == "end"


def test_news_since_a_time_are_first_those_of_every_file(node: Here) -> None:
    node.log.with_name("audit.log.2.gz").write_bytes(gzip.compress(line(7)))
    node.log.with_name("audit.log.1").write_bytes(line(8))
    followed, _ = follow(node, since=1.0)
    assert news(followed) == [7, 8, 0]
    node.grow(line(1))
    assert news(followed) == [1]


def test_news_of_a_line_that_is_not_whole_wait_for_its_end(node: Here) -> None:
    node.grow(line(1)[:40])
    followed, _ = follow(node)
    assert news(followed) == []
    node.grow(line(1)[40:], line(2)[:50])
    assert news(followed) == [1]
    node.grow(line(2)[50:])
    assert news(followed) == [2]


def test_news_through_rotations_are_of_all_files(node: Here) -> None:
    followed, told = follow(node)
    for number in (1, 2, 3):
        node.grow(line(number))
        node.rotate()
    node.grow(line(4))
    assert news(followed) == [1, 2, 3, 4]
    node.rotate()
    node.log.unlink()
    assert news(followed) == []  # at this moment it has no name
    node.grow(line(5))
    assert news(followed) == [5]
    assert (followed.doubt, told) == ("", [])


def test_news_of_a_log_that_is_rotated_while_it_is_read_lose_nothing(
    node: Here, programs: Path
) -> None:
    followed, _ = follow(node)
    node.grow(line(1))
    node.rotate()
    node.grow(line(2))
    folder, moved = node.log.parent, programs / "moved"
    (programs / "tail").unlink()
    (programs / "mv").symlink_to("/usr/bin/mv")
    program(
        programs / "tail",
        f"#!/bin/sh\ncd {folder}\nif [ ! -e {moved} ]; then\n    : >{moved}\n"
        "    mv audit.log.1 audit.log.2; mv audit.log audit.log.1; : >audit.log\nfi\n"
        'exec /usr/bin/tail "$@"\n',
    )
    assert news(followed) == [1, 2]
    assert followed.doubt == ""


@pytest.mark.parametrize("grown", [b"", SECRET * 50])
def test_news_of_a_log_that_was_cut_are_from_its_beginning_and_leave_a_doubt(
    node: Here, grown: bytes
) -> None:
    followed, told = follow(node)
    os.truncate(node.log, 0)
    node.grow(line(1), grown)
    assert news(followed) == [1]
    assert "it was cut while it was followed" in followed.doubt
    assert len(told) == 1
    assert news(followed) == []


def test_news_of_a_log_that_was_renamed_to_a_date_leave_a_doubt(node: Here) -> None:
    followed, _ = follow(node)
    node.log.rename(node.log.with_name("audit.log-20261126"))
    node.grow(line(1))
    assert news(followed) == [1]
    assert "without a number" in followed.doubt


def test_news_of_a_log_that_is_gone_for_good_leave_a_doubt(node: Here) -> None:
    followed, _ = follow(node)
    node.log.unlink()
    assert (news(followed), followed.doubt) == ([], "")
    assert news(followed) == []
    assert "is not there" in followed.doubt
    assert "is not there" in follow(node)[0].doubt


def test_news_after_the_connection_dropped_begin_where_the_last_answer_ended(node: Here) -> None:
    followed, told = follow(node)
    node.grow(line(1))
    node.down = True
    assert [news(followed), news(followed)] == [[], []]
    assert told == [
        "the connection to pve1 dropped; asking again, from where the last answer ended"
    ]
    node.down = False
    node.grow(line(2))
    assert news(followed) == [1, 2]
    assert told[1:] == ["pve1 answers again"]
    assert followed.doubt == ""


def test_rest_of_a_node_that_did_not_answer_at_last_leaves_a_doubt(node: Here) -> None:
    followed, _ = follow(node)
    node.down = True
    assert (news(followed), followed.doubt) == ([], "")
    assert followed.rest() == ()
    assert followed.doubt == "what came last was not read: the connection to pve1 dropped"


def test_follow_of_a_node_that_cannot_be_asked_at_first_is_an_error(node: Here) -> None:
    node.down = True
    with pytest.raises(TransportError):
        follow(node)
    with pytest.raises(FactError, match="cannot be read: sh: not found"):
        FollowedNode(Foreign([(127, b"", b"sh: not found")]), None)


def test_owner_of_news_is_by_the_processes_at_that_time(node: Here) -> None:
    followed, _ = follow(node)
    node.grow(line(1).replace(b"pid=1", b"pid=%d" % os.getpid()))
    (found,) = followed.news()
    assert b"== processes" in node.left
    assert followed.owner(records(found.decode())[0], 9e9) is None, "it is in no container"
    assert os.getpid() in followed._known.started


JOURNAL = """#!/bin/sh
echo "$*" >>{folder}/asked
from=0
while [ $# -gt 0 ]; do
    case $1 in
    --after-cursor) from=${{2#s=}} ;;
    -n) from=$(($(wc -l <{folder}/journal) - 1)) ;;
    esac
    shift
done
tail -n "+$((from + 1))" {folder}/journal
echo "-- cursor: s=$(wc -l <{folder}/journal)"
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is the first in PATH; beyond it there is no journal."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for each in ("sh", "date", "sed", "grep", "tail", "head", "xargs", "cat", "find", "getconf"):
        (folder / each).symlink_to(f"/usr/bin/{each}")
    for each in ("stat", "wc", "tr", "ls", "timeout", "env", "sha256sum"):
        (folder / each).symlink_to(f"/usr/bin/{each}")
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_news_of_the_journal_are_behind_its_cursor(node: Here, programs: Path) -> None:
    journal = programs / "journal"
    program(programs / "journalctl", JOURNAL.format(folder=programs))
    journal.write_bytes(line(0))
    node.state = KERNEL
    followed, told = follow(node)
    assert news(followed) == []
    with journal.open("ab") as file:
        file.write(b"noise\n" + line(1))
    assert news(followed) == [1]
    assert news(followed) == []
    asked = (programs / "asked").read_text().splitlines()
    assert asked[0].endswith("-n 1 --show-cursor _TRANSPORT=kernel")
    assert asked[-1].endswith("--after-cursor s=3")
    assert "ten records in five seconds" in told[0]
    assert b"noise" not in node.left


def test_news_of_a_node_whose_auditd_comes_or_goes_are_of_both_logs(
    node: Here, programs: Path
) -> None:
    program(programs / "journalctl", JOURNAL.format(folder=programs))
    (programs / "journal").write_bytes(b"")
    followed, told = follow(node)
    node.state = KERNEL
    (programs / "journal").write_bytes(line(1))
    assert news(followed) == [1]
    assert "--since @" in (programs / "asked").read_text()
    node.state = AUDITD
    node.grow(line(2))
    assert news(followed) == [2]
    assert [each.split("go to ")[1] for each in told] == [
        "kernel now, not auditd",
        "auditd now, not kernel",
    ]


def test_news_of_a_ring_after_auditd_ended_are_not_those_before_it_began(
    node: Here, programs: Path
) -> None:
    program(programs / "dmesg", f"#!/bin/sh\ncat {programs}/ring\n")
    later = line(2).replace(b"1000.5", b"9999999999.5")
    (programs / "ring").write_bytes(line(1) + later)
    followed, _ = follow(node)
    node.state = KERNEL
    assert list(followed.news()) == [later.rstrip()]
    (programs / "ring").write_bytes(line(1) + later + line(3))
    assert news(followed) == [3]


def test_news_of_a_node_without_a_journal_are_the_kernels_last(node: Here, programs: Path) -> None:
    node.state = KERNEL
    ring = programs / "ring"
    program(programs / "dmesg", f"#!/bin/sh\ncat {ring}\n")
    ring.write_bytes(line(0) + line(1))
    followed, _ = follow(node)
    assert news(followed) == []
    ring.write_bytes(line(1) + b"noise\n" + line(2))
    assert news(followed) == [2]
    assert news(followed) == []
    ring.write_bytes(line(3))  # what was told last is not in it any more
    assert news(followed) == [3]
