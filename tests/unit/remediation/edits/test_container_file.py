"""What becomes of a container's configuration, Proxmox's and plain LXC's."""

import shlex
from collections.abc import Callable

import pytest
from msgspec import structs

from docker_lxc_gate.errors import Busy, FactError
from docker_lxc_gate.formats import container_config
from docker_lxc_gate.formats.archive import FileState
from docker_lxc_gate.machines import files
from docker_lxc_gate.machines.runtime.lxc import Lxc
from docker_lxc_gate.machines.runtime.pct import Pct
from remediation import desired, plan_file
from remediation import docker_in_lxc as it
from remediation.actions.container_options import ContainerOptions
from remediation.edits.container_config import letting_go, put_back, with_lxc_options, with_options
from remediation.edits.container_file import container_options, lxc_options
from tests.doubles.canned import Machine, Runtime
from tests.doubles.naming import naming
from tests.doubles.samples import sample
from tests.doubles.scripted import Scripted

CONF = sample("container_config/edited.conf")


def test_options_go_before_the_first_section_and_once() -> None:
    changed = container_options(CONF.encode()).decode()
    parsed = container_config.parse("950.conf", changed)
    assert parsed.current()["features"] == "nesting=1,mount=nfs,keyctl=1,fuse=1"
    assert [o.value for o in parsed.all("lxc.apparmor.profile")] == [desired.PROFILE]
    assert changed.partition("[pre]")[2] == CONF.partition("[pre]")[2]
    assert container_options(changed.encode()).decode() == changed


@pytest.mark.parametrize(
    ("profile", "wants", "features", "left"),
    [
        (None, "", "nesting=1,keyctl=1", None),
        ("lxc-mine", "", "keyctl=1", "lxc-mine"),
        ("unconfined", "", "nesting=1", None),
        ("lxc-mine", "generated", "nesting=1", None),
        (None, "lxc-mine", "nesting=1", "lxc-mine"),
    ],
)
def test_container_options_of_another_plan_change_the_least(
    profile: str | None, wants: str, features: str, left: str | None
) -> None:
    line = f"lxc.apparmor.profile: {profile}\n" if profile else ""
    text = f"arch: amd64\nfeatures: {features}\n{line}hostname: x\n"
    wanted = structs.replace(plan_file.find("plain"), profile=wants)
    changed = container_options(text.encode(), wanted).decode()
    parsed = container_config.parse("950.conf", changed)
    assert parsed.current().get("lxc.apparmor.profile") == left
    assert {*parsed.current()["features"].split(",")} == {*features.split(","), "nesting=1"}
    assert (changed == text) is ("nesting" in features and profile == left)
    assert container_options(changed.encode(), wanted).decode() == changed


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("", None),
        ("lxc.apparmor.profile = unconfined\n", "generated"),
        ("lxc.apparmor.profile = lxc-mine\n", "lxc-mine"),
    ],
)
def test_lxc_options_of_plain_give_nesting_and_leave_a_profile(text: str, left: str | None) -> None:
    changed = lxc_options(Machine({}), text.encode(), plan_file.find("plain")).decode()
    now = container_config.parse_lxc("", changed).current()
    assert (now.get("lxc.apparmor.profile"), "fuse" in changed) == (left, False)
    assert now["lxc.apparmor.allow_nesting"] == "1"


MASK = "lxc.mount.entry: /dev/null sys/module/apparmor/parameters/enabled none bind 0 0\n"
CURED = f"arch: amd64\nfeatures: nesting=1\nlxc.apparmor.profile: unconfined\n{MASK}"


@pytest.mark.parametrize("profile", ["unconfined", "generated", ""])
def test_cure_of_runc_is_taken_away_by_plain_and_comes_back_exactly(profile: str) -> None:
    line = f"lxc.apparmor.profile: {profile}\n" if profile else ""
    text = CURED.replace("lxc.apparmor.profile: unconfined\n", line)
    for plan in (
        plan_file.find("plain"),
        structs.replace(plan_file.find("plain"), profile="generated"),
    ):
        changed = container_options(text.encode(), plan).decode()
        assert "enabled" not in changed
        assert "unconfined" not in changed
        assert container_options(changed.encode(), plan).decode() == changed
        action = it._options(Pct(Scripted({})), 950, print, plan).action
        assert isinstance(action, ContainerOptions)
        assert action.put_back(changed, text) == text
        plain = lxc_options(Machine({}), text.replace(":", " =").encode(), plan).decode()
        assert "enabled" not in plain
        assert lxc_options(Machine({}), plain.encode(), plan).decode() == plain


def test_cure_of_runc_stays_under_a_profile_that_is_named() -> None:
    text = CURED.replace("unconfined", "lxc-mine")
    assert container_options(text.encode(), plan_file.find("plain")).decode() == text
    assert MASK in container_options(CURED.encode()).decode()


@pytest.mark.parametrize(
    ("text", "lxc", "runc", "refused"),
    [
        (CURED, "lxc-pve 6.0.5-1", "1.3.3", "lxc-pve on the node (it is 6.0.5-1) to 6.0.5-2"),
        (CURED, "lxc 6.0.4", "", "what runc 1.3.3 and later opens"),
        (CURED, "lxc-pve 6.0.5-1", "1.1.15", ""),
        (CURED, "lxc-pve 7.0.0-2", "1.3.3", ""),
        ("arch: amd64\n", "lxc-pve 6.0.5-1", "1.3.3", ""),
    ],
)
def test_cure_of_runc_is_not_taken_away_before_lxc_is_new(
    text: str, lxc: str, runc: str, refused: str
) -> None:
    node = Machine({}, {"sh versions": f"kernel 7.0\n{lxc}\n"})
    inside = Machine({}, {"runc --version": f"runc version {runc}" if runc else (7, "", "stopped")})
    told = it._too_early(Runtime(node, inside), 950, plan_file.find("plain"), text)
    assert refused in told
    assert bool(told) is bool(refused)


@pytest.mark.parametrize("old", ["", "lxc.seccomp.profile = /etc/lxc/own.seccomp\n"])
def test_options_of_a_plan_with_a_seccomp_list_assign_it_on_each_runtime(old: str) -> None:
    wanted = structs.replace(plan_file.find("plain"), features=("keyctl",), seccomp="/etc/mine")
    plain = lxc_options(
        Machine({"/etc/lxc/own.seccomp": "2\nkeyctl errno 1\n"}), old.encode(), wanted
    )
    proxmox = container_options(old.replace(" =", ":").encode(), wanted)
    for text, parse in ((plain, container_config.parse_lxc), (proxmox, container_config.parse)):
        options = parse("", text.decode()).all("lxc.seccomp.profile")
        assert [each.value for each in options] == ["/etc/mine"]


def test_container_options_already_set_ignore_pending_changes() -> None:
    done = container_options(CONF.encode()) + b"[pve:pending]\nmemory: 1024\n"
    assert container_options(done) == done
    none = CONF.encode() + b"[pve:pending]\n"
    assert container_options(none).endswith(b"[pve:pending]\n")


def options_of(text: str) -> tuple[ContainerOptions, Machine]:
    node = Machine({"/etc/pve/lxc/950.conf": text})
    action = it._options(Pct(node), 950, print, plan_file.find()).action
    assert isinstance(action, ContainerOptions)
    return action, node


def captures(node: Machine, text: str) -> None:
    """Let the node be in control, and tar answer that the container's file says this."""
    path, state = "/etc/pve/lxc/950.conf", FileState("file", text.encode())
    said = files._archive(path, state).decode(errors="surrogateescape")
    node.answers |= {"sh control": "755\n", shlex.join((*files.CREATE, path)): said}


def test_options_a_pending_change_that_takes_features_away_is_drift_and_refused() -> None:
    done = container_options(CONF.encode()).decode().partition("\n[pre]")[0]
    action, node = options_of(f"{done}\n[pve:pending]\nfeatures: nesting=1\n")
    drift = action.check(node)
    assert drift is not None
    assert drift.summary.startswith("the next stop takes away keyctl, fuse: /etc/pve/lxc/950.conf")
    assert drift.summary.endswith("To drop it: pct set 950 --revert features")
    assert node.ran == ["cat -- /etc/pve/lxc/950.conf"]  # one look
    captures(node, node.files["/etc/pve/lxc/950.conf"] or "")
    with naming(FactError, "keyctl, fuse", "/etc/pve/lxc/950.conf", "--revert features"):
        action.require_reversible(node)


@pytest.mark.parametrize(
    ("line", "named"),
    [("features: nesting=1,fusion=1", "format error: fusion"), ("lxc.aa_profile: x", "LXC 3")],
)
def test_container_options_with_an_option_that_bars_a_start_name_it(line: str, named: str) -> None:
    with naming(FactError, "line 2", f"'{line}'", named):
        container_options(f"arch: amd64\n{line}\n".encode())


PLAIN = """# ours
lxc.include = /usr/share/lxc/config/common.conf
lxc.apparmor.profile = lxc-phoenix-v2
lxc.include = /usr/share/lxc/config/nesting.conf
lxc.mount.entry = /srv srv none bind,create=dir 0 0
lxc.rootfs.path = dir:/var/lib/lxc/953/rootfs"""
OWN_LIST = ("cat", "--", "/etc/lxc/own.seccomp")


def on_lxc(text: str, own: str = "") -> str:
    node = Scripted({OWN_LIST: (0, own.encode(), b"")})
    return lxc_options(node, text.encode()).decode()


def test_plain_lxc_gets_its_own_options_after_what_it_includes() -> None:
    changed = on_lxc(PLAIN)
    assert changed == PLAIN.replace(f"lxc.apparmor.profile = {desired.PROFILE}\n", "") + (
        "\nlxc.apparmor.allow_nesting = 1\n"
        f"lxc.apparmor.profile = {desired.PROFILE}\n"
        "lxc.mount.entry = /dev/fuse dev/fuse none bind,create=file 0 0\n"
    )
    assert on_lxc(changed) == changed
    given = container_config.granted(container_config.parse("", changed), "")
    assert given == {"nesting": "1", "keyctl": "1", "fuse": "1"}


def test_rolled_back_alone_each_runtimes_own_options_are_as_before() -> None:
    plain = PLAIN.replace("# ours", "# ours\nlxc.seccomp.profile = /etc/lxc/own.seccomp") + "\n"
    for runtime, before, changed in (
        (Lxc(Scripted({})), plain, on_lxc(plain, "2\nblacklist\n[all]\nkeyctl errno 38\n")),
        (Pct(Scripted({})), CONF, container_options(CONF.encode()).decode()),
    ):
        action = it._options(runtime, 950, print, plan_file.find()).action
        assert isinstance(action, ContainerOptions)
        assert changed != before
        assert action.put_back(changed, before) == before


@pytest.mark.parametrize(
    ("own", "refused"),
    [
        ("2\nblacklist\n[all]\nkeyctl errno 38\n", True),
        ("2\nwhitelist\n[all]\nread\nkeyctl\n", False),
    ],
)
def test_list_that_refuses_keyrings_gives_way_to_lxcs(own: str, refused: bool) -> None:
    changed = on_lxc("lxc.seccomp.profile = /etc/lxc/own.seccomp\n", own)
    used = container_config.parse("", changed).all("lxc.seccomp.profile")
    assert [o.value for o in used] == [
        container_config.COMMON_SECCOMP if refused else "/etc/lxc/own.seccomp"
    ]


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (container_options, "arch: amd64\nlxc.mount.entry: /dev/fuse\n"),
        (lambda text: on_lxc(text.decode()), "# a\nlxc.mount.entry = /dev/fuse\n"),
    ],
)
def test_container_options_with_a_cut_mount_entry_name_it(
    edit: Callable[[bytes], object], text: str
) -> None:
    with naming(FactError, "line 2", "'/dev/fuse'", "target, type, options"):
        edit(text.encode())
    assert with_lxc_options(text, {}).startswith(text)


def test_options_locked_since_they_were_checked_are_refused() -> None:
    """The lock that counts is in the before-image: an earlier read may know nothing of it."""
    action, node = options_of(CONF)
    captures(node, f"lock: backup\n{CONF}")
    with naming(Busy, "locked (backup)"):
        action.require_reversible(node)


# -- single lines: what is set, what is put back, and what stays

KEYS = ("features", "lxc.apparmor.profile")


@pytest.mark.parametrize(
    ("before", "text", "after"),
    [
        ("arch: x\nfeatures: a", "#1\narch: x", "#1\narch: x\nfeatures: a\n"),
        ("arch: x\r\nfeatures: a\r\n", "arch: x\r\n\r\n", "arch: x\r\nfeatures: a\r\n\r\n"),
        ("a: 1\nb: 1\nfeatures: a\n", "b: 2\na: 1\n\n", "b: 2\na: 1\nfeatures: a\n\n"),
        ("features: a\nb: 1\n", "#1\n\na: 1\nlxc.c: 1\n", "#1\n\nfeatures: a\na: 1\nlxc.c: 1\n"),
        ("features: a\n", "#1\n\n[sn]\nfeatures: b\n", "#1\nfeatures: a\n\n[sn]\nfeatures: b\n"),
        (
            "a: 1\nfeatures: a\nfeatures: b\nb: 1\n",
            "a: 1\nb: 1\nfeatures: ours\n[pve:pending]\nfeatures: c\nb: 2\n",
            "a: 1\nfeatures: a\nfeatures: b\nb: 1\n[pve:pending]\nb: 2\n",
        ),
        (
            "lxc.c: 1\na: 1\nlxc.apparmor.profile: old\nlxc.d: 1\n",
            "a: 1\nlxc.c: 1\nlxc.apparmor.profile: our\nlxc.d: 1\n[sn]\nlxc.apparmor.profile: sn\n",
            "a: 1\nlxc.c: 1\nlxc.apparmor.profile: old\nlxc.d: 1\n[sn]\nlxc.apparmor.profile: sn\n",
        ),
        (
            "lxc.include = n\nlxc.apparmor.profile = old\nlxc.include = n\n",
            "lxc.include = n\nlxc.include = n\nlxc.apparmor.profile = ours\n",
            "lxc.include = n\nlxc.apparmor.profile = old\nlxc.include = n\n",
        ),
    ],
)
def test_some_keys_are_put_back_to_where_they_were(before: str, text: str, after: str) -> None:
    assert put_back(text, before, KEYS) == after
    assert put_back(after, before, KEYS) == after


def test_of_mount_entries_those_that_give_fuse_are_put_back() -> None:
    other = "lxc.mount.entry = /srv srv none bind\n"
    added = with_lxc_options(other, {})
    assert put_back(added, other, (), fuse=True) == other
    assert put_back(added, other, ()) == added
    own = f"lxc.mount.entry = /dev/fuse dev/fuse none bind,optional\n{other}"
    assert put_back(added, own, (), fuse=True) == own


def test_put_back_an_indented_option_of_plain_lxc_is_as_it_was() -> None:
    before = "lxc.x = 1\n  lxc.apparmor.profile = own\nlxc.y = 1\n"
    changed = with_lxc_options(before, {"lxc.apparmor.profile": "ours"})
    assert "own" not in changed
    assert put_back(changed, before, KEYS, fuse=True) == before


@pytest.mark.parametrize("line", ["features : nesting=1", "features = fuse=1", " features: fuse=1"])
def test_with_options_what_proxmox_does_not_read_is_no_option(line: str) -> None:
    assert with_options(f"{line}\n", {"fuse": "1"}, {}) == f"{line}\nfeatures: fuse=1\n"


def test_with_options_below_a_header_that_is_none_a_line_is_in_effect() -> None:
    text = "arch: amd64\n[2024-backup]\nfeatures: fuse=1\n[pre]\nfeatures: fuse=0\n"
    assert with_options(text, {"fuse": "1"}, {}) == text
    changed = with_options(text, {"nesting": "1"}, {})
    assert changed == text.replace("features: fuse=1", "features: fuse=1,nesting=1")


def test_with_options_what_says_the_same_stays_as_it_is_written() -> None:
    text = "features: nesting=yes,keyctl=On,fuse=TRUE,mknod=no\n"
    wanted = {"nesting": "1", "keyctl": "1", "fuse": "1"}
    assert with_options(text, wanted, {}) == text
    changed = with_options(text.replace("On", "off"), wanted, {})
    assert changed == "features: nesting=yes,keyctl=1,fuse=TRUE,mknod=no\n"


NOW = "features: nesting=1,keyctl=1,fuse=1\nlxc.apparmor.profile: ours\nlxc.include: /x\n"


def test_letting_go_names_what_is_pending_and_the_way() -> None:
    text = f"{NOW}[pve:pending]\ndelete: net0\nfeatures: nesting=1\n"
    assert letting_go(container_config.parse("950.conf", text), 950) == (
        "950.conf holds 'delete: net0' (line 5); 'features: nesting=1' (line 6) in [pve:pending]. "
        "To drop it: pct set 950 --revert net0,features"
    )
    raw = letting_go(container_config.parse("", f"{NOW}[pve:pending]\nlxc.include: /y\n"), 950)
    assert raw.endswith("To drop it: delete the lxc.* lines of its section [pve:pending]")
