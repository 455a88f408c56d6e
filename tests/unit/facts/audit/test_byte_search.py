"""A search for words in a buffer finds each of them, with the C library's help and without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facts.audit import byte_search
from facts.audit.byte_search import Search
from tests.doubles.examples import examples

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = (b"one", b"two")
#: Longer than what Python's own search is given.
FAR = b"-" * 2 * byte_search._NEAR

SEARCHES = pytest.mark.parametrize("memmem", [byte_search.memmem, lambda: None])


@SEARCHES
@examples(100)
@given(
    parts=st.lists(st.sampled_from([*WORDS, b"on", b"e", b"tw", b"\0", b"\xff", FAR]), max_size=12),
    cut=st.integers(0, 5),
)
def test_places_are_of_every_word_that_ends_before_the_end(
    memmem: Callable[[], None], parts: list[bytes], cut: int
) -> None:
    text = b"".join(parts)
    end = max(0, len(text) - cut)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(byte_search, "memmem", memmem)
        found = list(Search(bytearray(text), WORDS).places(end))
    assert found == [n for n in range(end) if text[n : min(n + 3, end)] in WORDS]


@SEARCHES
def test_places_are_of_what_the_buffer_holds_now(
    memmem: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byte_search, "memmem", memmem)
    buffer = bytearray(b"one two")
    search = Search(buffer, WORDS)
    buffer[:] = b"two one"
    assert list(search.places(7)) == [0, 4]
    assert list(search.places(6)) == [0]


def test_places_beyond_the_buffer_are_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        list(Search(bytearray(3), WORDS).places(4))


def test_memmem_of_a_system_without_it_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: None) -> object:
        return object()

    byte_search.memmem.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(byte_search.ctypes, "CDLL", none)
        assert byte_search.memmem() is None
    byte_search.memmem.cache_clear()
