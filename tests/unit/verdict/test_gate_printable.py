"""A hostile string, sent through every exit of the gate."""

import json
import re
from xml.etree import ElementTree as ET

import pytest

from tests.doubles.samples import sample
from tests.unit.cli.test_printable import OBEYED, texts
from tests.unit.verdict.conftest import Toy

_MORE = sample("toy/hostile_guest.txt")
HOWS = (
    *("holds", "differs", "cannot be read", "breaks", "is skipped", "needs what is not there"),
    "cleans up badly",
)


def hostile(toy: Toy) -> None:
    toy.conftest(_MORE)
    for how in HOWS:
        toy.feature("Given a hostile guest", f"Then it {how}", name=how)


@pytest.mark.laws
def test_gate_with_hostile_text_writes_none_of_it_raw_to_the_terminal(toy: Toy) -> None:
    hostile(toy)
    for options in ((), ("-v", "-rA"), ("-v", "--full-trace")):
        done = toy.run(*options, "--color=no")
        said = done.stdout.str() + done.stderr.str()
        assert "evil" in said
        assert not OBEYED.search(said), ascii(said)
        lines = [line for line in said.split("\n") if line.startswith("verdict: ")]
        assert lines[-1].startswith("verdict: not compliant (1 compliant, 1 not compliant,")
        if not options:
            assert len(lines) == 1


def test_gate_with_hostile_text_writes_none_of_it_raw_to_a_file(toy: Toy) -> None:
    hostile(toy)
    toy.run()
    files = [path for path in (toy.path / "reports").rglob("*") if path.is_file()]
    seen = ""
    for path in files:
        text = path.read_text()
        seen += text
        if path.suffix == ".json":
            for each in texts(json.loads(text)):
                assert not OBEYED.search(each), (path.name, ascii(each))
        elif path.suffix == ".xml":
            for element in ET.fromstring(text).iter():  # noqa: S314 - ours
                told = "".join([element.text or "", *element.attrib.values()])
                assert not OBEYED.search(told), ascii(told)
        else:
            assert not OBEYED.search(text), (path.name, ascii(text))
    assert {path.suffix for path in files} >= {".json", ".xml", ".txt", ".properties"}
    assert seen.count("evil") > len(HOWS)
    [environment] = (toy.path / "reports").rglob("environment.properties")
    assert not re.search("^verdict", environment.read_text(), re.MULTILINE)
