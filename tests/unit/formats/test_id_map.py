"""A container's id map: its ranges, its holes, and what Docker says of a missing id."""

import pytest

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.formats import id_map
from docker_lxc_gate.formats.id_map import Range


def test_parse_reads_the_kernels_columns() -> None:
    text = "         0     100000       1000\n      1001     101001      64535\n"
    assert id_map.parse(text, "the map") == (Range(0, 100000, 1000), Range(1001, 101001, 64535))
    assert id_map.parse("", "the map") == ()


@pytest.mark.parametrize("text", ["\n", "0 1\n", "0 1 x\n", "0 1 2 3\n", "0 1 -2\n"])
def test_parse_of_no_map_names_it(text: str) -> None:
    with pytest.raises(FactError, match="the map cannot be read"):
        id_map.parse(text, "the map")


@pytest.mark.parametrize(
    ("ranges", "holes"),
    [
        ([(0, 100000, 65536)], []),
        ([(1, 100000, 65535)], [(0, 0)]),
        ([(0, 1, 10), (20, 50, 10)], [(10, 19), (30, 65535)]),
        ([(10, 0, 65536), (0, 900000, 10)], []),
        ([], [(0, 65535)]),
    ],
)
def test_holes_are_the_ids_below_65536_that_no_range_has(
    ranges: list[tuple[int, int, int]], holes: list[tuple[int, int]]
) -> None:
    assert id_map.holes([Range(*each) for each in ranges]) == holes


def test_missed_reads_dockers_message_and_nothing_else() -> None:
    line = 'failed to Lchown "/x" for UID 1000, GID 44: lchown /x: invalid argument'
    assert id_map.missed(f"failed to register layer: {line}") == (1000, 44)
    assert id_map.missed("for UID 1, GID 2") is None
    assert id_map.missed("") is None
