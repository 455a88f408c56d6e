"""``carry_over.pl`` and ``move_aside.sh`` on real files, which a seeded generator makes."""

import json
import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Local
from tests.doubles import states
from tests.doubles.examples import in_depth
from tests.doubles.on_disk import disk, tmp_path

__all__ = ["disk", "tmp_path"]
OVERLAY, FUSE = "overlay2", "fuse-overlayfs"
_NAMES = ("a", "b c", "\udcff\udcfe", "x" * 200, "new\nline", "-t", "*")
_OWNERS = (0, 1000, 65533, 65535)
_OPAQUE, _FUSE_OPAQUE = "user.overlay.opaque", "user.fuseoverlayfs.opaque"
_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


class Tree:
    """Docker's directory with the layers of one image, and of a container on top of it."""

    def __init__(self, folder: Path, driver: str = OVERLAY, seed: int = 0, layers: int = 4) -> None:
        self.root, self.proc, self.driver = folder / "docker data", folder / "proc", driver
        self.new = {OVERLAY: FUSE, FUSE: OVERLAY}[driver]
        self.systemctl = "false"  # Docker does not run
        self.random = random.Random(seed)  # noqa: S311 - the same each time
        (self.proc / "self").mkdir(parents=True)
        self.write(self.proc / "self/uid_map", "         0     100000      65536\n")
        self.write(self.proc / "self/mountinfo", "1 1 0:1 / / rw - ext4 /dev/a rw\n")
        image, old = self.root / "image" / driver, self.root / driver
        for number in range(layers):
            self.layer(old / f"layer{number}")
            self.write(old / f"layer{number}/committed")
            of = image / f"layerdb/sha256/{number}"
            self.write(of / "cache-id", f"layer{number}")
            self.write(of / "tar-split.json.gz", "split")
        for each in ("mount-init", "mount"):
            self.layer(old / each)
        (old / "mount/merged").mkdir()
        self.write(image / "layerdb/mounts/container/mount-id", "mount")
        self.write(image / "imagedb/content/sha256/one", "{}")
        (old / "l").mkdir()
        (old / "l/SHORT").symlink_to("../layer0/diff")
        labels = {"Driver": driver, "x": f'"Driver":"{driver}"'}
        settings = {"Config": {"Labels": labels}, "Name": "Driver", "Driver": driver, "Z": [labels]}
        self.write(self.root / "containers/container/config.v2.json", json.dumps(settings))
        self.write(self.root / "containers/container/container-json.log", "a line\n")
        other = json.dumps({"Driver": "vfs", "Config": {"Labels": labels}})
        self.write(self.root / "containers/other/config.v2.json", other)
        self.write(self.root / "buildkit/snapshots.db", "cache")
        self.write(self.root / "volumes/kept/_data/file", "theirs")
        old.chmod(0o710)

    def write(self, path: Path, text: str = "") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def layer(self, folder: Path) -> None:
        """Fill a layer: it adds to those below, removes from them and hides them."""
        (folder / "work/work").mkdir(parents=True)
        (folder / "work/work").chmod(0)
        self.write(folder / "link", "SHORT")
        self.write(folder / "lower", "l/SHORT")
        (folder / "diff").mkdir()
        made: list[Path] = []
        for _ in range(self.random.randrange(4, 14)):
            folders = [path for path in made if path.is_dir() and not path.is_symlink()]
            path = self.random.choice([folder / "diff", *folders]) / self.random.choice(_NAMES)
            hidden = path.with_name(f".wh.{path.name}")
            if not os.path.lexists(path) and not os.path.lexists(hidden):
                made.append(self.entry(path, hidden, made))
        for path in made if self.driver == FUSE and folder.name == "mount" else ():
            if path.is_file() and not path.is_symlink():  # copied up from a layer below
                os.setxattr(path, "user.fuseoverlayfs.origin", b"a")
        for path in sorted(made, reverse=True):  # what is below first: it changes the times
            if not path.name.startswith(".wh."):
                at = self.random.randrange(10**18)
                os.utime(path, ns=(at, at), follow_symlinks=False)

    def entry(self, path: Path, hidden: Path, made: list[Path]) -> Path:
        """Make something, and return what was made."""
        kinds = ["file", "file", "folder", "opaque", "gone", "link", "odd", "same"]
        files = [each for each in made if each.is_file() and not each.is_symlink()]
        files = [each for each in files if not each.name.startswith(".wh.")]
        match self.random.choice(kinds):
            case "gone" if self.driver == FUSE and self.random.random() < 0.7:
                hidden.touch()
                return hidden
            case "gone":
                os.mknod(path, stat.S_IFCHR)
                return path
            case "link":
                path.symlink_to(self.random.choice(["..", "/etc/passwd", "\udcfe"]))
            case "same" if files:
                path.hardlink_to(self.random.choice(files))
            case "odd":
                os.mkfifo(path)
            case "folder":
                path.mkdir()
            case "opaque":
                path.mkdir()
                self.hide(path)
            case _:
                path.write_bytes(self.random.randbytes(self.random.choice([0, 9, 9999])))
                os.setxattr(path, "user.gate", b"kept")
        owner, group = self.random.choice(_OWNERS), self.random.choice(_OWNERS)
        os.chown(path, owner, group, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(self.random.choice([0o644, 0o4755, 0o2710, 0o1777, 0]))
            if path.is_file() and self.random.random() < 0.3:
                os.setxattr(path, "security.capability", _CAPABILITY)
        return path

    def hide(self, path: Path) -> None:
        if self.driver == OVERLAY:
            os.setxattr(path, _OPAQUE, b"y")
            return
        if self.random.random() < 0.5:
            os.setxattr(path, _FUSE_OPAQUE, b"y")
            os.mknod(path / ".wh..opq", stat.S_IFCHR)  # fuse-overlayfs makes it, too
        (path / ".wh..wh..opq").touch()

    def run(self, verb: str, change: Callable[[str], str] = str) -> CommandResult:
        """Run the program."""
        text = change(program("remediation", "carry_over.pl"))
        text = text.replace('"systemctl"', f'"{self.systemctl}"')
        words = (str(self.root), self.driver, self.new, str(self.proc))
        return Local().run(["perl", "-e", text, verb, *words])

    def roll_back(self, change: Callable[[str], str] = str) -> CommandResult:
        """Move aside what is there, as the action does."""
        places = [f"image/{self.new}", self.new, "docker-lxc-gate"]
        made = [place for place in places if (self.root / place).exists()]
        self.aside = self.root / f"rolled-back-{len(list(self.root.glob('rolled-back-*')))}"
        text = change(program("remediation", "move_aside.sh")).replace("systemctl", self.systemctl)
        return Local().run(["sh", "-c", text, "aside", str(self.root), str(self.aside), *made])

    def look(self) -> dict[str, Any]:
        """Return all that a rollback brings back, with the number of links to each file."""
        return {
            path: (*facts, (self.root / path).lstat().st_nlink)
            for path, facts in look(self.root).items()
            if not path.startswith("rolled-back-") and "/" + path not in {"/image", "/"}
        }


def look(top: Path) -> dict[str, Any]:
    """Return what there is below a directory; hard links are shown by the first path."""
    found: dict[str, Any] = {}
    first: dict[int, str] = {}
    for path, (_, owner, group, attributes, *facts) in states.look(top).items():
        is_ = (top / path).lstat()
        same = first.setdefault(is_.st_ino, path) if facts else path  # not of a directory
        content = facts[-1] if facts else None
        numbers = (is_.st_mode, owner, group, is_.st_rdev, is_.st_mtime_ns)
        found[path] = (*numbers, content, dict(attributes), same)
    return found


_WHITEOUT = "removed"


def meaning(tree: dict[str, Any], layer: str) -> dict[str, Any]:
    """Return what a layer says, in the same words for both drivers."""
    found: dict[str, Any] = {}
    opaque: set[str] = set()
    for path, (mode, user, group, device, at, content, attributes, same) in tree.items():
        if not path.startswith(f"{layer}/diff"):
            continue
        folder, _, name = path.rpartition("/")
        if name == ".wh..wh..opq" or {_OPAQUE, _FUSE_OPAQUE} & attributes.keys():
            opaque.add(folder if name == ".wh..wh..opq" else path)
        if name.startswith(".wh.") or (stat.S_ISCHR(mode) and not device):
            if name != ".wh..wh..opq":
                found[f"{folder}/{name.removeprefix('.wh.')}"] = _WHITEOUT
            continue
        kept = {name: value for name, value in attributes.items() if "overlay" not in name}
        found[path] = mode, user, group, device, at, content, kept, same
    return found | {f"{path} hides": True for path in opaque}


@pytest.mark.parametrize("driver", [OVERLAY, FUSE])
@pytest.mark.parametrize("seed", range(50 if in_depth() else 2))
def test_carry_over_makes_layers_of_the_new_driver(tmp_path: Path, driver: str, seed: int) -> None:
    it = Tree(tmp_path, driver, seed)
    before = it.look()
    was = look(it.root / driver)
    assert it.run("carry").require().text.startswith("1 1 ")
    assert look(it.root / driver) == was
    now = look(it.root / it.new)
    assert {path for path in was if "/diff/" not in path} == {p for p in now if "/diff/" not in p}
    for layer in ("layer0", "layer1", "layer2", "layer3", "mount", "mount-init"):
        assert meaning(now, layer) == meaning(was, layer), layer
    markers = [path for path in now if "/.wh." in path]
    assert not markers, "overlay2 would show them"
    assert look(it.root / "image" / it.new) == look(it.root / "image" / driver)
    settings = (it.root / "containers/container/config.v2.json").read_text()
    kept = (it.root / "docker-lxc-gate/former/containers/container/config.v2.json").read_text()
    assert json.loads(settings) == json.loads(kept) | {"Driver": it.new}
    assert "vfs" in (it.root / "containers/other/config.v2.json").read_text()
    it.roll_back().require()
    assert it.look() == before


def _attribute(it: Tree, name: str, of: str) -> None:
    it.write(it.root / it.driver / of, "x")
    os.setxattr(it.root / it.driver / of, name, b"/x")


def _replace(it: Tree, place: str, text: str) -> None:
    root = str(it.root).replace(" ", "\\040")  # as the kernel writes it
    (it.proc / "self" / place).write_text(text.format(root))


def _deep(folder: Path) -> None:
    names = "/".join(["y" * 200] * 20)
    (folder / names[: 4050 - len(str(folder))]).mkdir(parents=True)


#: What stands in the way, and the words that name it.
OBSTACLES: dict[str, tuple[Callable[[Tree], object], str]] = {
    "metacopy": (lambda it: _attribute(it, "user.overlay.metacopy", "layer1/diff/m"), "metacopy"),
    "redirect": (lambda it: _attribute(it, "user.overlay.redirect", "mount/diff/r"), "redirect"),
    "a privileged container": (
        lambda it: _replace(it, "uid_map", "0 0 4294967295\n"),
        "privileged",
    ),
    "a mount": (
        lambda it: _replace(it, "mountinfo", "1 1 0:1 / {}/overlay2 rw - ext4 /dev/a rw\n"),
        "mounted",
    ),
    "the new driver's": (lambda it: (it.root / it.new).mkdir(), FUSE),
    "kept before": (lambda it: (it.root / "docker-lxc-gate").mkdir(), "docker-lxc-gate"),
    "another driver's": (lambda it: (it.root / "image/vfs").mkdir(), "more than one"),
    "a link": (
        lambda it: ((it.root / OVERLAY).rename(it.root / "x"), (it.root / OVERLAY).symlink_to("x")),
        "no directory",
    ),
    "a device": (
        lambda it: os.mknod(it.root / OVERLAY / "mount/diff/n", stat.S_IFCHR, 259),
        "device",
    ),
    "attributes of a nested overlay": (
        lambda it: _attribute(it, "user.overlay.overlay.opaque", "layer1/diff/n"),
        "overlay.overlay",
    ),
    "attributes of the new driver": (
        lambda it: _attribute(it, "user.fuseoverlayfs.origin", "mount/diff/o"),
        "fuseoverlayfs.origin",
    ),
    "a long path": (lambda it: _deep(it.root / OVERLAY / "mount/diff"), "name too long"),
    "an AUFS name": (lambda it: it.write(it.root / OVERLAY / "layer0/diff/.wh.x"), ".wh.x"),
}


@pytest.mark.parametrize(("change", "named"), OBSTACLES.values(), ids=OBSTACLES)
@pytest.mark.parametrize("verb", ["look", "carry"])
def test_carry_over_with_an_obstacle_changes_nothing_and_names_it(
    tmp_path: Path, change: Callable[[Tree], object], named: str, verb: str
) -> None:
    it = Tree(tmp_path)
    change(it)
    before = look(tmp_path)
    said = it.run(verb)
    assert look(tmp_path) == before
    assert said.ok is (verb == "look")
    assert named in (said.text.removeprefix("no ") if said.ok else said.stderr.decode())
    assert said.text.startswith("no ") is said.ok


def test_look_with_a_copied_up_file_in_an_image_layer_names_it(tmp_path: Path) -> None:
    """Its attribute would have to go, and the file is linked."""
    it = Tree(tmp_path, FUSE)
    _attribute(it, "user.fuseoverlayfs.origin", "layer1/diff/o")
    assert "layer1/diff/o has the attribute user.fuseoverlayfs.origin" in it.run("look").text


def test_look_does_not_wait_for_settings_that_are_no_file(tmp_path: Path) -> None:
    it = Tree(tmp_path)
    (it.root / "containers/pipe").mkdir()
    os.mkfifo(it.root / "containers/pipe/config.v2.json")
    assert it.run("look").text.startswith("1 1 ")


#: Where a file of a running container vanishes: just before which line, and what removes it.
VANISHES = {
    "lstat": ("        my ($on, ", "unlink $path if $path =~ m{/gone$};"),
    "llistxattr": ("    my $length = syscall", "unlink $path if $path =~ m{/gone$};"),
    "opendir": ("    opendir my", "rmdir $_[0] if $_[0] =~ m{/folder$};"),
    "a file instead": (
        "    opendir my",
        "rmdir and open my $f, '>', $_ for grep m{/folder$}, $_[0];",
    ),
}


@pytest.mark.parametrize(("line", "removes"), VANISHES.values(), ids=VANISHES)
@pytest.mark.parametrize("verb", ["look", "carry"])
def test_file_that_vanishes_is_no_obstacle_to_look_and_fails_carry(
    tmp_path: Path, line: str, removes: str, verb: str
) -> None:
    it = Tree(tmp_path)
    it.write(it.root / OVERLAY / "mount/diff/gone")
    (it.root / OVERLAY / "mount/diff/folder").mkdir()
    said = it.run(verb, lambda text: text.replace(line, f"{removes}\n{line}"))
    assert said.text.startswith("1 1 ") is (verb == "look")
    assert said.ok is (verb == "look")


def test_carry_over_of_a_docker_that_was_started_fails_and_leaves_no_copies(tmp_path: Path) -> None:
    it = Tree(tmp_path)
    before, it.systemctl = it.look(), "true"
    assert b"Docker was started" in it.run("carry").stderr
    assert not list((it.root / "docker-lxc-gate").iterdir())
    it.systemctl = "false"
    it.roll_back().require()
    assert it.look() == before
    assert not it.aside.exists()


def test_rollback_leaves_one_link_and_moves_newer_layers_aside(tmp_path: Path) -> None:
    it = Tree(tmp_path)
    file, of_container = (it.root / OVERLAY / each / "diff/file" for each in ("layer0", "mount"))
    it.write(file)
    it.write(of_container)
    it.run("carry").require()
    assert (file.stat().st_nlink, of_container.stat().st_nlink) == (2, 1)  # that one is copied
    it.write(it.root / FUSE / "later/diff/file")
    it.write(it.root / "image" / FUSE / "layerdb/sha256/later/cache-id", "later")
    it.roll_back().require()
    assert file.stat().st_nlink == 1
    assert (it.aside / FUSE / "later/diff/file").exists()
    assert (it.aside / FUSE / "mount/diff").exists()
    assert not (it.aside / FUSE / "layer0/diff").exists()


def test_carry_over_to_overlay2_copies_what_programs_refuse_hard_linked(tmp_path: Path) -> None:
    it = Tree(tmp_path, FUSE)
    places = ("etc/cron.d/job", "etc/crontab", "etc/logrotate.d/apt", "var/spool/cron/tabs/root")
    for place in (*places, "etc/passwd"):
        it.write(it.root / FUSE / "layer0/diff" / place)
    (it.root / FUSE / "layer1/diff/etc").symlink_to("../../layer0/diff/etc")
    before = look(it.root / FUSE)
    it.run("carry").require()
    assert meaning(look(it.root / OVERLAY), "layer0") == meaning(before, "layer0")
    links = {
        place: (it.root / OVERLAY / "layer0/diff" / place).stat().st_nlink
        for place in (*places, "etc/passwd")
    }
    assert links == dict.fromkeys(places, 1) | {"etc/passwd": 2}


def test_carry_over_to_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    it = Tree(tmp_path)
    before = look(tmp_path)
    said = it.run("look", lambda text: text.replace("100 << 20", "1 << 60"))
    assert "lacks space" in said.text
    assert look(tmp_path) == before


def test_look_without_images_and_containers_says_nothing(tmp_path: Path) -> None:
    it = Tree(tmp_path)
    shutil.rmtree(it.root / "image" / OVERLAY / "imagedb")
    shutil.rmtree(it.root / "containers")
    assert it.run("look").require().text == ""
    shutil.rmtree(it.root)
    assert it.run("look").require().text == ""
    assert not it.run("carry").ok


@pytest.mark.parametrize("driver", [OVERLAY, FUSE])
def test_carry_over_killed_at_any_command_is_rolled_back(tmp_path: Path, driver: str) -> None:
    number, killed = 0, True
    while killed:
        number += 1
        it = Tree(tmp_path / str(number), driver, layers=1)
        before = it.look()
        counted = f"kill 9, $$ if ++$main::command == {number};"

        def dying(text: str, counted: str = counted) -> str:
            text = text.replace("    system(@_)", f"    {counted} system(@_)")
            text = text.replace("    rename ", f"    {counted} rename ")
            return text.replace("    mkdir $", f"    {counted} mkdir $").replace(
                "    rmdir ", f"    {counted} rmdir "
            )

        killed = it.run("carry", dying).exit_code == 137
        it.roll_back().require()
        assert it.look() == before
    assert number > 15


def test_rollback_killed_at_any_command_is_brought_to_its_end_by_the_next(tmp_path: Path) -> None:
    lines = program("remediation", "move_aside.sh").splitlines(keepends=True)
    commands = [n for n, line in enumerate(lines) if "mv " in line or "rm -" in line]
    for turn in range(1, 5):
        for at in commands:
            it = Tree(tmp_path / f"{turn}-{at}", layers=1)
            before = it.look()
            it.run("carry").require()
            killed = f"turn=$((turn + 1)); [ $turn -lt {turn} ] || kill -9 $$\n"
            text = "".join([*lines[:at], killed, *lines[at:]])
            it.roll_back(lambda _, text=text: text)
            # A Docker that starts in between makes an empty directory.
            (it.root / "containers").mkdir(exist_ok=True)
            it.roll_back().require()
            assert it.look() == before, (turn, at)
