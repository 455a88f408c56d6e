"""Versions are ordered as dpkg orders them, and a simulation of apt leaves no trace."""

import itertools
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from docker_lxc_gate.facts.apt import is_within, order
from tests.doubles.examples import examples
from tests.doubles.samples import sample

#: Each is older than the next one. From changelogs of the packages that a Docker host has.
ORDERED = sample("packages/versions.txt").split()
_VERSION = st.builds(
    lambda epoch, first, rest, revision: f"{epoch}{first}{rest}{revision}",
    st.sampled_from(["", "0:", "1:", "5:"]),
    st.sampled_from("0129"),
    st.text("012.~+abZ", max_size=6),
    st.one_of(st.just(""), st.text("012.~+ab", min_size=1, max_size=5).map("-{}".format)),
)


def dpkg(one: str, relation: str, other: str) -> bool:
    done = subprocess.run(["dpkg", "--compare-versions", one, relation, other], check=False)
    return done.returncode == 0


def test_order_is_that_of_dpkg_for_real_packages() -> None:
    for one, other in itertools.pairwise(ORDERED):
        assert order(one) < order(other), (one, other)
        assert dpkg(one, "lt", other), (one, other)


@examples(150)
@given(_VERSION, _VERSION)
@example("0", "0~rc1")
@example("1-0", "1-0~bpo1")
@example("1-00", "1")
def test_order_is_that_of_dpkg(one: str, other: str) -> None:
    assert (order(one) < order(other)) is dpkg(one, "lt", other)
    assert (order(one) == order(other)) is dpkg(one, "eq", other)


@pytest.mark.parametrize(
    ("version", "since", "before", "within"),
    [
        ("1.2.8", "1.2.8~", "1.3~", True),
        ("1.2.8~rc1", "1.2.8", "", False),
        ("1.2.9", "1.2.8", "1.2.9", False),
        ("5:28.0.0-1~debian.12~bookworm", "5:28.0.0~", "5:28.0.1~", True),
        ("29.1.3", "5:29.0.0~", "", False),
    ],
)
def test_range_has_its_first_version_and_not_the_one_after_it(
    version: str, since: str, before: str, within: bool
) -> None:
    assert is_within(version, since, before) is within


@pytest.mark.parametrize(
    "text", ["", ":", "-", "~", "a:b-c", "9" * 10_000, "\ud800", "\N{FULLWIDTH DIGIT FIVE}", "-\0"]
)
def test_order_of_what_is_no_version_is_some_place(text: str) -> None:
    assert order(text) < order("999999999:0") or order(text) > order("0")
