from pathlib import Path

import pytest

from docker_lxc_gate.lab import sources
from docker_lxc_gate.lab.errors import LabError
from docker_lxc_gate.lab.sources import Archives, archives, of_kind, seen_from_guest

LISTING = """\
Debian Debian main http://a.example/debian/
Debian Debian main http://a.example/debian/
Debian Debian contrib http://b.example/debian/
Debian Debian-Security main http://a.example/debian-security/
Debian Debian Backports main http://c.example/debian/
Debian Debian main file:/srv/debian/
Docker Docker CE main https://download.example/linux/debian/
   cdrom://[Debian]/
"""


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    said = {"apt-get": LISTING, "apt-config": ""}
    monkeypatch.setattr(sources, "_said", lambda program, *_: said[program])
    return said


@pytest.mark.usefixtures("apt")
def test_archives_are_those_of_debian_proper_on_the_network() -> None:
    found = archives()
    assert found == Archives(("http://a.example/debian",), ("http://a.example/debian-security",))


def test_archives_without_a_fetched_list_are_refused(apt: dict[str, str]) -> None:
    apt["apt-get"] = "   http://a.example/debian/\n"
    with pytest.raises(LabError, match="apt-get update"):
        archives()


def test_archives_in_a_file_of_mirrors_are_those_mirrors(tmp_path: Path) -> None:
    listed = tmp_path / "mirrors.list"
    listed.write_text("# first one\nhttps://b.example/debian/\tpriority:1\n")
    assert of_kind(f"Debian Debian main mirror+file:{listed}/\n") == ("https://b.example/debian",)


def test_archives_by_a_mirror_need_no_sources(apt: dict[str, str]) -> None:
    apt["apt-get"] = ""
    found = archives("http://m.example/debian/")
    assert found == Archives(("http://m.example/debian",), ("http://m.example/debian-security",))


def test_seen_from_guest_a_proxy_on_our_loopback_is_the_gateway() -> None:
    settings = (
        'Acquire::http::Proxy "http://127.0.0.1:3142";',
        'Acquire::https::Proxy "http://proxy.example:3142/";',
    )
    assert seen_from_guest(settings) == (
        'Acquire::http::Proxy "http://10.0.2.2:3142";\n'
        'Acquire::https::Proxy "http://proxy.example:3142/";\n'
    )
