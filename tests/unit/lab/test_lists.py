"""apt's lists, cut down: what is kept, whole, and what is not."""

from docker_lxc_gate.lab import lists
from tests.doubles.samples import sample

MAIN = sample("packages/main.txt").encode()
SECURITY = b"Package: libc\nVersion: 2\n\nPackage: unneeded\nVersion: 2\n\n"


def test_cut_keeps_what_a_root_needs_at_any_remove() -> None:
    kept = lists.cut({"main": MAIN, "security": SECURITY}, ["wanted"])
    assert lists.names(kept["main"]) == lists.names(MAIN) - {"unneeded"}
    assert kept["security"] == b"Package: libc\nVersion: 2\n\n"
