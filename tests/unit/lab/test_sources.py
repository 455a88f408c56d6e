from pathlib import Path

import pytest

from docker_lxc_gate.lab import sources
from docker_lxc_gate.lab.errors import NoSources
from docker_lxc_gate.lab.sources import Archives, archives, seen_from_guest
from tests.doubles.samples import sample

DEB822 = sample("packages/sources.txt")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_settings", tuple)


def _etc(folder: Path, **files: str) -> Path:
    (folder / "sources.list.d").mkdir()
    for name, content in files.items():
        stem, _, suffix = name.rpartition("_")
        path = folder / "sources.list" if not stem else folder / f"sources.list.d/{stem}.{suffix}"
        path.write_text(content)
    return folder


ONE_LINE = """\
deb http://a.example/debian bookworm main  # the distribution
deb-src http://source.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian-security/ bookworm-security main
# deb http://commented.example/debian bookworm main
"""
FIRST = DEB822.partition("\n\n")[0]


@pytest.mark.parametrize(
    ("kind", "text", "main", "security"),
    [
        ("d_sources", DEB822, "https://a.example/debian", "https://a.example/debian-security"),
        ("_list", ONE_LINE, "http://a.example/debian", "http://a.example/debian-security"),
        ("d_sources", FIRST.replace(":", " :", 1), "https://a.example/debian", None),
        # at an odd path, Debian's by its key
        ("d_sources", FIRST.replace("/debian/", "/pub/os"), "https://a.example/pub/os", None),
    ],
)
def test_archives_of_debian_are_found(
    tmp_path: Path, kind: str, text: str, main: str, security: str | None
) -> None:
    found = archives(etc=_etc(tmp_path, **{kind: text}))
    assert found == Archives((main,), (security,) if security else ())


@pytest.mark.parametrize(
    "text",
    [
        "deb file:/srv/debian trixie main",
        "deb cdrom:[Debian]/debian trixie main",
        "deb https://elsewhere.example/linux/debian trixie stable",
        "deb https://packages.example/debian/13/prod trixie main",
        "deb [trusted=yes] https://flat.example/debian ./",
        f"Enabled: no\n{FIRST}",
    ],
)
def test_archives_that_are_off_or_not_debian_proper_are_left_out(tmp_path: Path, text: str) -> None:
    with pytest.raises(NoSources):
        archives(etc=_etc(tmp_path, **{"_list" if text.startswith("deb") else "d_sources": text}))


def test_archives_in_a_file_of_mirrors_are_those_mirrors(tmp_path: Path) -> None:
    listed = tmp_path / "mirrors.list"
    listed.write_text("# first one\nhttps://b.example/debian/\tpriority:1\n")
    text = (
        f"Types: deb\nURIs: mirror+file://{listed}\nSuites: trixie\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )
    assert archives(etc=_etc(tmp_path, d_sources=text)).main == ("https://b.example/debian",)


def test_archives_by_a_mirror_need_no_sources(tmp_path: Path) -> None:
    found = archives("http://m.example/debian/", etc=tmp_path / "absent")
    assert found == Archives(("http://m.example/debian",), ("http://m.example/debian-security",))


def test_lines_of_a_release_name_its_suites() -> None:
    found = Archives(("http://a/debian",), ("http://a/debian-security",))
    assert found.lines("bookworm") == (
        "deb http://a/debian bookworm main",
        "deb http://a/debian bookworm-updates main",
        "deb http://a/debian-security bookworm-security main",
    )
    assert found.lines("sid") == ("deb http://a/debian sid main",)


def test_seen_from_guest_a_proxy_on_our_loopback_is_the_gateway() -> None:
    settings = (
        'Acquire::http::Proxy "http://127.0.0.1:3142";',
        'Acquire::https::Proxy "http://proxy.example:3142/";',
    )
    assert seen_from_guest(settings) == (
        'Acquire::http::Proxy "http://10.0.2.2:3142";\n'
        'Acquire::https::Proxy "http://proxy.example:3142/";\n'
    )
