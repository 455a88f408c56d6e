"""All containers of a node: only one that surely has no Docker is left out."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from docker_lxc_gate.errors import LimitExceeded, UsageError
from docker_lxc_gate.machines import fleet
from docker_lxc_gate.machines.fleet import Listing
from docker_lxc_gate.machines.runtime.lxc import Lxc
from docker_lxc_gate.machines.runtime.pct import Pct
from docker_lxc_gate.machines.target import parse
from tests.doubles.answering import Answer, Answering

FILES = "".join(f"/etc/pve/lxc/{each}.conf\n" for each in (950, 951, 952, 953, "old"))
#: 952 is stopped, 951 has no Docker, and of 953 nobody can tell.
PIDS = {"950": b"11\n", "951": b"12\n", "952": b"", "953": b"13\n"}
LOOKS = {"11": 0, "12": 4, "13": 3}
TAGS = {"950": b"tags: docker;prod\n", "951": b"tags: dockers\n", "952": b"#tags: docker\n"}
TAGS |= {"953": b"cores: 1\n[before]\ntags: docker\n"}


def node(files: str = FILES) -> Answering:
    def answer(argv: list[str]) -> Answer:
        if argv[0] == "lxc-info":
            return PIDS[argv[4]]
        if argv[0] == "perl":
            assert "/usr/sbin/dockerd" in argv
            return LOOKS[argv[4]], b"", b""
        if argv[:2] == ["cat", "--"]:
            return TAGS[Path(argv[-1]).stem]
        assert argv[:2] == ["sh", "-c"]
        return files.encode()

    return Answering(answer)


def test_listing_leaves_out_what_surely_has_no_docker_and_names_what_is_stopped() -> None:
    listing = fleet.listed(Pct(node()), "root@pve1/all")
    assert listing == Listing("root@pve1/all", (950, 953), (951,), (952,))
    assert str(listing) == "root@pve1/all: asked: 950, 953; left out: 951; stopped: 952"


LATE = LimitExceeded("double", ["lxc-info"], "60 s", late=True)


@pytest.mark.parametrize(
    "answer", [(1, b"", b"Permission denied\n"), (127, b"", b"not found\n"), LATE], ids=str
)
def test_listing_asks_about_a_container_whose_state_is_not_known(answer: Any) -> None:
    lxc_info = Mock(side_effect=[answer] * 4)
    machine = Answering(lambda argv: lxc_info() if argv[0] == "lxc-info" else None, behind=node())
    assert fleet.listed(Pct(machine), "all").asked == (950, 951, 952, 953)


def test_listing_by_tag_takes_the_current_tag_alone() -> None:
    assert fleet.listed(Pct(node()), "all", "docker") == Listing("all", (950,), (951, 952, 953))


def test_listing_of_plain_lxc_takes_containers_whose_names_are_ids() -> None:
    files = "/var/lib/lxc/950/config\n/var/lib/lxc/web/config\n"
    assert fleet.listed(Lxc(node(files)), "all").asked == (950,)


@pytest.mark.parametrize("files", ["", "/etc/pve/lxc/*.conf\n"])
def test_listing_of_a_node_without_containers_is_empty(files: str) -> None:
    assert str(fleet.listed(Pct(node(files)), "lab/all")) == "lab/all: no container"


def test_later_listing_tells_what_came_and_went() -> None:
    before, after = Listing("root@pve1/all", (950, 951)), Listing("root@pve1/all", (951, 952))
    assert [*before.changes(after)] == [
        "root@pve1/950 went while the run went on",
        "root@pve1/952 came while the run went on, and was not judged",
    ]


def test_target_of_a_listed_container_keeps_the_node_and_may_create_none(tmp_path: Path) -> None:
    file = tmp_path / "targets.toml"
    file.write_text('[pve1]\nhost = "pve1"\nctid = 950\nsudo = true\nreserved = [951]\n')
    every = fleet.node_of("pve1/all", file)
    assert every is not None
    (one,) = fleet.targets(every, Listing("pve1/all", (951,)))
    assert (one.ctid, one.sudo, one.reserved) == (951, True, ())
    assert fleet.node_of("root@pve1/950", None) is None
    assert fleet.node_of("root@pve1:2222/all", None) == parse("root@pve1:2222/100")
    with pytest.raises(UsageError):
        fleet.node_of("root@/all", None)
