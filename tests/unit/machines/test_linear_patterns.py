"""The product's patterns mean what the same pattern means to Python, whatever the text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate import patterns

_PATTERNS = (
    *(r"(\w+)=(\S*)", r"(?i)a(b)?|(?P<c>c+)", r"(?m)^[^\n]*$", r"[^a]", r"(?s)a.*?\x00", r"\s*"),
    *("[\ud800-\udfff]+", "é|\udcff", r"\b", r"(?P<a>a)(?P<b>b)?", r"x*", r",|\n"),
)
_LETTERS = "aAbBcCxé=, \t\n\0\udcff\ud800\U0001f600-_1"


@given(st.sampled_from(_PATTERNS), st.text(st.sampled_from(_LETTERS), max_size=20))
def test_pattern_of_ours_finds_what_pythons_finds(pattern: str, text: str) -> None:
    ours, theirs = patterns.compile(pattern), re.compile(pattern, re.ASCII)
    found = [(m.span(), m.groups()) for m in ours.finditer(text)]
    assert found == [(m.span(), m.groups()) for m in theirs.finditer(text)]
    assert ours.findall(text) == theirs.findall(text)
    assert ours.split(text) == theirs.split(text)
    assert ours.sub(r"\1", text) == theirs.sub(r"\\1", text)
    assert ours.sub(lambda found: f"<{found[0]}>", text, 1) == theirs.sub(r"<\g<0>>", text, count=1)
    for verb in ("search", "match", "fullmatch"):
        one, other = getattr(ours, verb)(text), getattr(theirs, verb)(text)
        assert (one and one.span()) == (other and other.span())


@given(st.binary(max_size=20))
def test_pattern_of_bytes_finds_what_pythons_finds(text: bytes) -> None:
    for pattern in (rb"[^\x80-\xff]+", rb"(a|\xff)(.)?", rb"\n"):
        assert patterns.findall(pattern, text) == re.findall(pattern, text)
        assert patterns.split(pattern, text) == re.split(pattern, text)


@given(st.text(st.sampled_from(_LETTERS + r".^$*+?{}[]\|()/<>"), max_size=20))
def test_pattern_that_is_escaped_fits_its_text_alone(text: str) -> None:
    assert patterns.fullmatch(patterns.escape(text), text)
    assert not patterns.fullmatch(patterns.escape(text), text + "a")


@pytest.mark.parametrize("pattern", ["(", r"(?=a)", "(?:a{1000}){1000}"])
def test_pattern_that_is_none_or_too_large_is_invalid(pattern: str) -> None:
    with pytest.raises(patterns.Invalid):
        patterns.compile(pattern)
