import io
import tarfile
from pathlib import Path

from docker_lxc_gate.lab import tree
from docker_lxc_gate.lab.tree import Entry, text


def _packed(**files: bytes) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        for name, content in files.items():
            member = tarfile.TarInfo("./" + name.replace("__", "/"))
            member.size, member.uid = len(content), 1234
            out.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    return buffer


def test_digest_changes_with_content_mode_link_and_name() -> None:
    trees = [
        {"/a": text("1")},
        {"/a": text("2")},
        {"/b": text("1")},
        {"/a": text("1", 0o755)},
        {"/a": Entry(link="1")},
    ]
    assert len({tree.digest(one) for one in trees}) == len(trees)
    assert tree.digest(trees[0]) == tree.digest({"/a": text("1")})


def test_folder_keeps_executables_and_leaves_leftovers(tmp_path: Path) -> None:
    (tmp_path / "bin/__pycache__").mkdir(parents=True)
    (tmp_path / "bin/__pycache__/x.pyc").write_bytes(b"")
    (tmp_path / "bin/run").write_bytes(b"#!")
    (tmp_path / "bin/run").chmod(0o700)
    (tmp_path / "data").write_bytes(b"1")
    assert tree.folder(tmp_path, "/at") == {
        "/at/bin/run": Entry(b"#!", 0o755),
        "/at/data": Entry(b"1", 0o644),
    }
    assert tree.folder(tmp_path / "absent", "/at") == {}


def test_lay_over_replaces_drops_and_hands_out_the_kernel() -> None:
    base = _packed(
        etc__hostname=b"old",
        etc__other=b"kept",
        usr__share__gone=b"x",
        **{"boot__vmlinuz-6.12": b"kernel", "boot__initrd.img-6.12": b"ram"},
    )
    out = io.BytesIO()
    boot = tree.lay_over(base, {"/etc/hostname": text("new")}, ["usr/share/gone"], out)
    assert boot == {"vmlinuz": b"kernel", "initrd.img": b"ram"}
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as opened:
        names = opened.getnames()
        assert sorted(names) == ["./etc/hostname", "./etc/other"]
        replaced = opened.extractfile("./etc/hostname")
        assert replaced is not None
        assert replaced.read() == b"new"
        assert opened.getmember("./etc/other").uid == 1234


def test_lay_over_leaves_out_a_hard_link_to_the_kernel_and_no_other() -> None:
    """As Debian's kernel 7.2 has one; mke2fs finds no file that it could lead to."""
    base = _packed(**{"boot__vmlinuz-7.2": b"kernel", "usr__bin__perl": b"perl"})
    links = {
        "./usr/lib/modules/7.2/vmlinuz": "./boot/vmlinuz-7.2",
        "./usr/bin/perl5": "./usr/bin/perl",
    }
    with tarfile.open(fileobj=base, mode="a") as packed:
        for name, first in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.LNKTYPE, first
            packed.addfile(member)
    base.seek(0)
    out = io.BytesIO()
    assert tree.lay_over(base, {}, (), out) == {"vmlinuz": b"kernel"}
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as opened:
        assert sorted(opened.getnames()) == ["./usr/bin/perl", "./usr/bin/perl5"]
