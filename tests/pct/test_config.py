"""The parser and the serialiser, against every recorded file and any text; what is written."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_lxc_gate.lab.guest.pct import files
from docker_lxc_gate.lab.guest.pct.config import parse, serialise

from .cases import ALL

RECORDED_FILES = [name for name in ALL if name.startswith("file")]


@pytest.mark.parametrize("name", RECORDED_FILES)
def test_serialise_of_a_recorded_file_is_the_same_bytes(name: str) -> None:
    config, warnings = parse("200", ALL[name].stdout)
    assert warnings == ""
    assert serialise(config) == ALL[name].stdout


@given(st.text())
def test_parse_of_any_text_is_stable_after_one_write(text: str) -> None:
    config, _ = parse("200", text)
    written = serialise(config)
    assert serialise(parse("200", written)[0]) == written


def test_put_through_a_link_that_the_container_planted_is_refused(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "rootfs/etc").symlink_to("../node")
    for write in (files.put, files.link):
        with pytest.raises(OSError, match="symbolic links"):
            write(tmp_path / "rootfs", "etc/hostname", "x")
    assert not [*(tmp_path / "node").iterdir()]
