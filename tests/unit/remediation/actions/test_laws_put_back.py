"""Rolling back the plan's own lines alone, from configurations as people write them."""

import contextlib
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given
from hypothesis import strategies as st

from docker_lxc_gate.formats import container_config
from docker_lxc_gate.formats.proxmox import normal_form
from remediation.desired import LXC_OPTIONS, OPTIONS
from remediation.edits.container_config import put_back, with_lxc_options, with_options
from remediation.engine.apply import apply
from remediation.engine.rollback import roll_back
from tests.doubles.death import Death, Died, deaths
from tests.doubles.examples import examples
from tests.doubles.nodes.world import world
from tests.doubles.states import Laid

#: Lines as people write them: spaces, both kinds of line end, a vertical tab in a comment.
_odd = st.sampled_from(
    [
        *(
            "# a\n",
            "#features: x\n",
            "\n",
            "  \r\n",
            "#\x0bfeatures: x\n",
            "rubbish\n",
            "#\udcff\n",
        ),
        *("arch: amd64\n", "arch:i386 \n", "net0: name=a\r\n", "rootfs: a\n", "mp0: b,mp=/b\n"),
        *("features: nesting=1\n", "features:mount=nfs \r\n", "features: keyctl=0,fuse=1\n"),
        *("lxc.apparmor.profile: generated\n", "lxc.apparmor.profile = ours\r\n"),
        *("lxc.apparmor.allow_nesting = 0\n", "lxc.seccomp.profile = /own\n"),
        *("lxc.include = /nesting.conf\n", "lxc.cap.drop: mknod\n", "  lxc.x: y\n"),
        *(
            "lxc.mount.entry = /srv srv none bind\n",
            f"lxc.mount.entry = {container_config.FUSE_ENTRY}\n",
        ),
    ]
)
_currents = st.lists(_odd, max_size=9).map("".join)
_sections = st.lists(
    st.builds("[{}]\n{}".format, st.sampled_from(["one", "two", "Two"]), _currents), max_size=2
).map("".join)
_configs = st.builds(lambda current, rest: current + rest, _currents, _sections)


def _grown(text: str, sizes: str, disk: int, snapshot: bool) -> str:
    """Return it with a disk resized, one more at some line, and a snapshot of all that."""
    current, bracket, sections = text.partition("[")
    lines = current.replace("rootfs: a", f"rootfs: a,size={sizes}").split("\n")
    lines.insert(min(disk, len(lines) - 1), "mp9: c,mp=/c")
    current = "\n".join(lines)
    taken = f"\n[new]\nparent: one\n{current}" if snapshot else ""
    return current + bracket + sections + taken


def _of_the_plan(line: str, keys: tuple[str, ...]) -> bool:
    key = line.replace("=", ":").partition(":")[0].strip()
    fuse = keys == LXC_OPTIONS and line.startswith("lxc.mount.entry") and "dev/fuse" in line
    return not line.startswith(" ") and (key in keys or fuse)


@given(_configs, st.booleans(), st.sampled_from(["8G", "16G"]), st.integers(0, 9), st.booleans())
def test_beside_new_disks_and_snapshots_only_the_plans_own_lines_are_rolled_back(
    before: str, plain: bool, size: str, disk: int, snapshot: bool
) -> None:
    if plain:
        keys, raw = LXC_OPTIONS, dict.fromkeys(LXC_OPTIONS, "1")
        # LXC knows no colon.
        before = re.sub(r"^(lxc\.\S+?) ?:", r"\1 =", before.partition("[")[0], flags=re.MULTILINE)
        today = _grown(with_lxc_options(before, raw), size, disk, snapshot=False)
    else:
        keys = OPTIONS
        applied = with_options(before, {"fuse": "1"}, dict.fromkeys(OPTIONS[1:], "ours"))
        today = _grown(applied, size, disk, snapshot)
    back = put_back(today, before, keys, fuse=plain)
    was, is_ = (
        [line.rstrip() for line in text.split("\n") if not _of_the_plan(line, keys)]
        for text in (today.partition("[")[0], back.partition("[")[0])
    )
    assert is_ == was
    assert container_config.same_beside_volumes(back, before)
    assert back.partition("[")[1:] == today.partition("[")[1:]
    former = container_config.parse("", before).current()
    found = container_config.parse("", back).current()
    assert [found.get(key) for key in keys] == [former.get(key) for key in keys]
    assert put_back(back, before, keys, fuse=plain) == back
    assert container_config.volumes(back) == container_config.volumes(today)


@examples(60)
@example(before="#\udcff\n", running=True, disk=0, ways=[(11, "after")])
@example(before="#\udcff\n", running=True, disk=0, ways=[(7, "after"), (6, "after")])
@given(
    before=_configs,
    running=st.booleans(),
    disk=st.integers(0, 9),
    ways=st.lists(deaths, max_size=3),
)
def test_killed_again_and_again_it_is_back_beside_a_new_disk_and_a_snapshot(
    before: str, running: bool, disk: int, ways: list[tuple[int, str | int]]
) -> None:
    with TemporaryDirectory() as name:
        path = Path(name, "here/config")
        content = before.encode(errors="surrogateescape")
        it = world(name, Laid(content=content, mode=0o640), running=running)
        for number, way in enumerate([*ways, None]):
            dying = it.plan(Death(*way) if way else None)
            with contextlib.suppress(Died):
                roll_back(dying) if number else apply(dying)
            if not number:
                today = _grown(_text(path), "16G", disk, snapshot=True)
                path.write_bytes(today.encode(errors="surrogateescape"))
        roll_back(it.plan())
        # A stop may have rewritten it meanwhile, as Proxmox does.
        assert container_config.same_beside_volumes(normal_form(_text(path)), normal_form(before))
        there, was = (container_config.volumes(normal_form(x)) for x in (_text(path), today))
        assert there == was
        assert [each.name for each in path.parent.iterdir()] == ["config"]
        assert path.stat().st_mode & 0o7777 == 0o640
        assert (it.node.effective is not None) is running
        once = it.look()
        assert roll_back(it.plan()) == []
        assert it.look() == once


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="surrogateescape")
