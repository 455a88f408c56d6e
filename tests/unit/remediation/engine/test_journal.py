"""The journal's own words: what it writes, what it reads back, and what it refuses to read."""

import json
import stat
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats.archive import FileState
from remediation.engine.action import Place
from remediation.engine.journal import Journal
from remediation.engine.journal_entries import JournalEntry, Life
from remediation.engine.journal_entries import JournalImage as Before
from tests.doubles.examples import examples
from tests.doubles.flag import journal
from tests.doubles.naming import naming

BEFORE = [("one", Place.NODE, FileState("file", b"old\n")), ("two", Place.NODE, True)]
LARGE = bytes(range(256)) * 17


def bare(**line: object) -> bytes:
    """A line without a sum, as a hand may have written it."""
    common = {"v": 3, "at": "2026-11-24T18:30:00Z", "ctid": 950}
    return json.dumps(common | line, separators=(",", ":")).encode()


def first(of: Journal, type_: Any) -> Any:
    return of.image(of.entries()[0].before, type_)


_B, _A = {"kind": "before", "state": "old"}, {"kind": "after", "state": "new"}
_BACK, _ROLLING, _END = ({"kind": kind} for kind in ("rolled_back", "rolling_back", "finished"))
_LAST = _BACK | {"last": True}


@pytest.mark.parametrize(
    ("kinds", "life", "images"),
    [
        ([_B], Life.PENDING, 1),
        ([_B, _A], Life.APPLIED, 1),
        ([_B, _A, _END], Life.APPLIED, 1),
        ([_B, _END], Life.INTERRUPTED, 1),
        ([_B, _ROLLING], Life.INTERRUPTED, 1),
        ([_B, _ROLLING, _A], Life.APPLIED, 1),
        ([_B, _ROLLING, _B], Life.PENDING, 1),
        ([_B, _A, _ROLLING], Life.APPLIED, 1),
        ([_B, _A, _B], Life.PENDING, 2),
        ([_B, _A, _B, _A], Life.APPLIED, 2),
        ([_B, _A, _B, _LAST], Life.APPLIED, 1),
        ([_B, _A, _B, _LAST, _LAST], None, 0),
        ([_B, _A, _BACK], None, 0),
        ([_B, _A, _B, _BACK], None, 0),
        ([_B, {"kind": "accepted"}], None, 0),
        ([_B, _A, {"kind": "accepted"}, _A], None, 0),
        ([_B, _A, {"kind": "accepted"}, _B], Life.PENDING, 1),
        ([_A], None, 0),
    ],
)
def test_entry_life_follows_the_kinds_of_its_lines(
    tmp_path: Path, kinds: list[dict[str, Any]], life: Life | None, images: int
) -> None:
    path = tmp_path / "journal/journal.jsonl"
    path.parent.mkdir()
    named = [
        each
        | ({} if each in (_ROLLING, _END) else {"action": "one"})
        | ({"machine": "node"} if "state" in each else {})
        for each in kinds
    ]
    path.write_bytes(b"".join(bare(**each) + b"\n" for each in named))
    found = journal(tmp_path).entries()
    assert [(entry.life, len(entry.images)) for entry in found] == (
        [(life, images)] if life else []
    )
    for entry in found:
        assert entry.complete == (life is Life.APPLIED) == (entry.images[-1].after is not None)
        alone = entry.without_a_run().life
        assert alone == (Life.APPLIED if entry.complete else Life.INTERRUPTED)


@dataclass(frozen=True)
class Image:
    """Bytes and texts, wherever an image may have them."""

    content: bytes
    name: str
    many: list[bytes] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)


_bytes = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=50).map(str.encode),
    st.integers(4090, 4100).map(lambda n: b"\xfe" * n),
    st.sampled_from([b'"kind":"cut"}', b'{"text": "x"}', b"\n", b"\r\n\x00", LARGE]),
)
#: As tar's names and attributes come: bytes that are no text are escaped.
_texts = st.binary(max_size=40).map(lambda raw: raw.decode(errors="surrogateescape"))
_keys = _texts.map("SCHILY.xattr.user.".__add__)


@examples(80)
@given(
    image=st.builds(
        Image, _bytes, _texts, st.lists(_bytes, max_size=3), st.dictionaries(_keys, _texts)
    )
)
def test_before_returns_every_stored_image(image: Image) -> None:
    with TemporaryDirectory() as name:
        journal(Path(name)).record([("one", Place.NODE, image)])
        again = journal(Path(name))
        assert first(again, Image) == image
        assert len(again.lines()) == 1


def test_journal_files_are_readable_by_root_only(tmp_path: Path) -> None:
    it = journal(tmp_path)
    it.record([("one", Place.NODE, FileState("file", LARGE))])
    it.keep("one", b"theirs")
    found = {
        path: path.lstat().st_mode for path in [tmp_path / "journal", *tmp_path.rglob("j*/**/*")]
    }
    assert len(found) == 6
    for path, mode in found.items():
        assert stat.S_IMODE(mode) == (0o700 if stat.S_ISDIR(mode) else 0o600), path


@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_before_with_a_missing_or_damaged_content_is_an_error(tmp_path: Path, harm: str) -> None:
    journal(tmp_path).record([("one", Place.NODE, FileState("file", LARGE))])
    (stored,) = (tmp_path / "journal/contents").iterdir()
    if harm == "missing":
        stored.unlink()
    else:
        stored.write_bytes(LARGE[:-1])
    with naming(FactError, stored.name, "localhost", harm):
        first(journal(tmp_path), FileState)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"v":2,"kind":"finished"}', "format 2"),
        (b'{"v":4,"kind":"before"}', "use a newer version"),
        (b'{"v":[4],"kind":"before"}', "format [4]"),
        (bare(kind="undone", action="one"), "'undone'"),
        (b'{"v":3,"kind":"bef', "damaged"),
        (b'{"v":3,"kind":"\xff"}', "damaged"),
        (b"", "damaged"),
        (bare(kind="before", action="one", machine="pve1", state="old"), "'pve1'"),
        (bare(kind="before", action="one", machine="node"), "`state`"),
        (bare(kind="rolled_back", action="one", lest=True), "unknown field `lest`"),
        (bare(kind="finished", ctid="950"), "ctid"),
        (bare(kind="finished", sum="0" * 16), f"its sum is {'0' * 16}"),
    ],
)
def test_journal_with_an_unreadable_line_is_an_error_for_every_method(
    tmp_path: Path, line: bytes, said: str
) -> None:
    journal(tmp_path).record(BEFORE)
    path = tmp_path / "journal/journal.jsonl"
    texts = path.read_bytes().splitlines()
    texts.insert(1, line)
    path.write_bytes(content := b"\n".join(texts) + b"\n")
    it = journal(tmp_path)
    for ask in (it.entries, it.interrupted, lambda: it.note("finished")):
        with naming(FactError, path, "line 2", "localhost", said):
            ask()
    assert path.read_bytes() == content


def test_lines_with_any_changed_byte_are_damaged(tmp_path: Path) -> None:
    """Also of a line that was cut off: a lost line's end before it would take that line along."""
    path = tmp_path / "journal/journal.jsonl"
    journal(tmp_path).record(BEFORE[1:])
    path.write_bytes(path.read_bytes() + b'{"v":3,"at":"2026')
    it = journal(tmp_path)
    it.note("finished")
    it.rolled_back(["two"], last=True, ended=False)
    content = path.read_bytes()
    assert journal(tmp_path).entries() == []
    for place in range(len(content) - 1):  # without the last, the last line is a torn one
        harmed = bytearray(content)
        harmed[place] ^= 1
        path.write_bytes(harmed)
        with naming(FactError, path, "damaged"):
            journal(tmp_path).lines()


@pytest.mark.parametrize(
    "content",
    [{"text": 5}, {"base64": "/w=!="}, {"sha256": 5, "size": 1}, "a text"],
)
def test_before_with_an_invalid_content_is_an_error(tmp_path: Path, content: object) -> None:
    """As a hand may have written it: what this program writes has a sum."""
    path = tmp_path / "journal/journal.jsonl"
    path.parent.mkdir()
    state = {"kind": "file", "content": content}
    path.write_bytes(bare(kind="before", action="one", machine="node", state=state) + b"\n")
    with naming(FactError, path):
        first(journal(tmp_path), FileState)


@examples(60)
@given(tears=st.lists(st.integers(1, 600), min_size=1, max_size=4))
def test_entries_after_repeated_tears_are_read(tears: list[int]) -> None:
    """Each writer gets only so many bytes onto the disk; the next one goes on."""
    with TemporaryDirectory() as name:
        path = Path(name, "journal/journal.jsonl")
        for keep in tears:
            size = path.stat().st_size if path.exists() else 0
            journal(Path(name)).record(BEFORE)
            path.write_bytes(path.read_bytes()[: size + keep])
        it = journal(Path(name))
        assert {entry.action for entry in it.entries()} <= {"one", "two"}
        it.record(BEFORE)
        assert journal(Path(name)).entries() == [
            JournalEntry("one", Place.NODE, (Before(it.entries()[0].before),)),
            JournalEntry("two", Place.NODE, (Before(before=True),)),
        ]
        assert first(journal(Path(name)), FileState) == BEFORE[0][2]
