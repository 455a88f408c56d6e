"""Which profiles are judged, by which rules, and with what they include from their apparmor.d."""

from pathlib import Path

import pytest

from docker_lxc_gate.lint import discover, includes
from docker_lxc_gate.lint.check import check
from docker_lxc_gate.lint.finding import Finding, Kind, Source
from tests.doubles.apparmor.apparmor_parser import compiled

CONF = Source(
    "/etc/pve/lxc/950.conf",
    b"arch: amd64\nostype: debian\nrootfs: local:1\nunprivileged: 1\n"
    b"lxc.apparmor.profile: lxc-docker\n",
    Kind.CONTAINER,
)


def ids(text: str, *more: Source, name: str = "lxc-docker", base: str = "") -> list[str]:
    source = Source(f"/a/{name}", text.encode(), Kind.PROFILE, base=base)
    return [each.id for each in check([source, *more])]


def test_program_of_debian_with_a_name_alone_is_no_containers_profile() -> None:
    text = (
        "abi <abi/4.0>,\ninclude <tunables/global>\n\n"
        "profile lxc-attach /usr/bin/lxc-attach flags=(unconfined) {\n  userns,\n"
        "  include if exists <local/lxc-attach>\n}\n"
    )
    assert ids(text, name="lxc-attach") == []
    assert ids("profile chrome flags=(unconfined) {\n  userns,\n}\n", name="chrome") == []
    assert ids("/usr/bin/man flags=(complain) {\n  file,\n}\n", name="usr.bin.man") == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("change_profile -> unconfined,", "profile-change-any"),
        ("allow change_profile -> {**},", "profile-change-any"),
        ("change_profile -> lxc-*,", ""),
        ("deny change_profile -> **,", ""),
        ("all,", "profile-allows-everything"),
        ("capability chown sys_rawio,", "profile-rules-node"),
        ("deny capability sys_rawio,", ""),
        ("owner /dev/sda rwk,", "profile-rules-node"),
        ("@{PROC}/sys/kernel/core_pattern w,", "profile-rules-node"),
        ("file /{,**/}proc/kcore r,", "profile-rules-node"),
        ("/proc/sysrq-trigger r,", ""),
        ("/srv/dev/memory rw,", ""),
        ("mount options=(rw, rbind) /proc/sysrq-trigger -> /proc/sysrq-trigger,", ""),
    ],
)
def test_rule_of_a_containers_profile_is_found_or_left_alone(rule: str, expected: str) -> None:
    found = ids(f"profile lxc-docker {{\n  {rule}\n}}\n")
    assert set(found) == ({expected} if expected else set())


@pytest.mark.parametrize("files", ["/** rwk", "/{,**} rwklmix", "allow /{**,} wr"])
def test_rule_of_every_file_allows_as_much_as_file_alone(files: str) -> None:
    others = ("capability", "network", "mount", "ptrace", "signal")
    text = "".join(f"  {each},\n" for each in (files, *others))
    assert ids(f"profile lxc-docker {{\n{text}}}\n") == ["profile-allows-everything"]


def test_profile_that_a_container_is_given_is_judged_whatever_it_is_called() -> None:
    given = CONF.content.replace(b"lxc-docker", b"phoenix")
    conf = Source(CONF.path, given, Kind.CONTAINER)
    found = ids("profile phoenix flags=(complain) {\n  file,\n}\n", conf, name="phoenix")
    assert found == ["profile-complain", "profile-not-enterable", "container-profile-not-enterable"]


def test_profile_is_unknown_only_where_all_are_known() -> None:
    other = "include <tunables/global>\nprofile lxc-other {\n  mount,\n}\n"
    assert "profile-unknown" not in ids(other, CONF, name="lxc-other")
    assert "profile-unknown" in ids(other, CONF, name="lxc-other", base="/etc/apparmor.d")
    assert "profile-unknown" in ids(other.replace("lxc-other", "lxc_docker"), CONF, name="x")


def test_tunable_that_a_profile_uses_has_an_effect() -> None:
    tunable = Source("/a/tunables/nesting", b"@{apparmor_nesting_profiles} = x\n", Kind.TUNABLES)
    text = "profile lxc-docker {\n  change_profile -> @{apparmor_nesting_profiles},\n}\n"
    assert ids(text, tunable) == []


# -- rules without effect: by the text, and by what apparmor_parser makes of it

COVERED = {
    "mount,": "mount options=(rw, bind) /a -> /b,",
    "umount,": "umount /a/,",
    "allow capability,": "capability sys_admin,",
    "network,": "network inet stream,",
    "/a r,": "/a r,",
}
OTHERS = {
    "mount,": "audit mount /a -> /b,",
    "network inet,": "network inet6,",
    "umount,": "deny umount /a/,",
    "signal (receive),": "signal (send) peer=x,",
}


def without_effect(rules: str) -> bool:
    return "profile-rule-without-effect" in ids(f"profile lxc-docker {{\n{rules}\n}}\n")


def policy(rules: str) -> bytes:
    return compiled(f"abi <abi/4.0>,\nprofile lxc-docker {{\n{rules}\n}}\n")


@pytest.mark.parametrize(
    ("one", "other", "covered"),
    [
        *((*rules, True) for rules in COVERED.items()),
        *((*rules, False) for rules in OTHERS.items()),
    ],
)
def test_rule_without_effect_is_one_that_compiles_to_nothing_next_to_another(
    one: str, other: str, *, covered: bool
) -> None:
    assert without_effect(f"{one}\n{other}") is covered
    assert without_effect(f"{other}\n{one}") is covered
    assert (policy(f"{one}\n{other}") == policy(one)) is covered


HEADER = "profile lxc-docker {\n"
ALL = "  file,\n  capability,\n  network,\n  mount,\n  ptrace,\n  signal,\n"
GIVEN = CONF.text + "features: nesting=1\n"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    place = tmp_path / "apparmor.d"
    put(place / "tunables/global", "@{PROC}=/proc/\n")
    put(place / "abstractions/base", "/dev/null rw,\n")
    return place


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def profile(base: Path, *lines: str) -> Path:
    return put(base / "lxc-docker", HEADER + "".join(f"  {each}\n" for each in lines) + "}\n")


def linted(*paths: Path) -> list[Finding]:
    return check(discover.under(*paths).sources)


def said(*paths: Path) -> list[tuple[str, str, int]]:
    return [(each.id, each.path.rpartition("/")[2], each.line) for each in linted(*paths)]


@pytest.mark.parametrize(
    "include",
    [
        "include <local/lxc-docker>",
        "include <lxc-docker.d>",
        "include <abstractions/../lxc-docker.d/own>",
    ],
)
@pytest.mark.parametrize("alone", [False, True])
def test_rule_in_an_included_file_is_a_finding_there(base: Path, include: str, alone: bool) -> None:
    for name in ("local/lxc-docker", "lxc-docker.d/own"):
        put(base / name, "# own\nchange_profile -> **,\n")
    one = profile(base, "file,", include)
    ((rule, name, line),) = said(one if alone else base)
    assert (rule, line) == ("profile-change-any", 2)
    assert name in {"lxc-docker", "own"}


def test_include_of_an_include_counts_and_one_that_includes_itself_ends(base: Path) -> None:
    put(base / "local/a", "include <local/b>\n")
    put(base / "local/b", "include <local/a>\nmount,\n")
    profile(base, "include <local/a>", "include <local/b>")
    ((rule, name, line),) = said(base)
    assert (rule, name, line) == ("profile-mount-any", "b", 2)


def test_file_that_two_profiles_include_is_one_finding(base: Path) -> None:
    put(base / "local/both", "change_profile -> unconfined,\n")
    profile(base, "include <local/both>")
    put(base / "lxc-other", "profile lxc-other {\n  include <local/both>\n}\n")
    ((found),) = linted(base)
    assert found.cause == "'change_profile -> unconfined,', which lxc-docker includes"


def test_abstraction_of_lxcs_nesting_profile_is_no_finding_but_in_another(base: Path) -> None:
    put(base / "abstractions/lxc/start-container", "change_profile -> unconfined,\n")
    own = "lxc-container-default-with-nesting"
    body = "{\n  include <abstractions/lxc/start-container>\n"
    put(base / "lxc/lxc-default-with-nesting", f"profile {own} {body}}}\n")
    assert said(base) == []
    put(base / "lxc/lxc-default-with-nesting", f"profile {own} {body}  change_profile -> **,\n}}\n")
    assert said(base) == [("profile-change-any", "lxc-default-with-nesting", 3)]
    put(base / "lxc/lxc-default-with-nesting", f"profile lxc-mine {body}}}\n")
    assert said(base) == [("profile-change-any", "start-container", 1)]


def test_profile_that_includes_a_deny_does_not_allow_everything(base: Path) -> None:
    put(base / "abstractions/lxc/container-base", "deny /sys/firmware/** rwklx,\n")
    one = profile(base, *ALL.split("\n"), "include <abstractions/lxc/container-base>")
    assert [rule for rule, _, _ in said(base)] == ["profile-mount-any"]
    assert [rule for rule, _, _ in said(one)] == ["profile-mount-any"]
    put(base / "abstractions/lxc/container-base", "umount,\n")
    assert [rule for rule, _, _ in said(base)] == ["profile-allows-everything"]


def test_profile_whose_includes_are_elsewhere_is_not_said_to_deny_nothing(tmp_path: Path) -> None:
    text = f"{HEADER}{ALL}  #include <abstractions/lxc/container-base>\n}}\n"
    one = put(tmp_path / "apparmor/lxc-docker", text)
    assert [rule for rule, _, _ in said(one)] == ["profile-mount-any"]


def test_mount_rule_in_a_local_file_is_one_of_the_profile(base: Path, tmp_path: Path) -> None:
    conf = put(tmp_path / "lxc/950.conf", GIVEN)
    profile(base, "include <local/lxc-docker>")
    put(base / "local/lxc-docker", "file,\n")
    assert [rule for rule, _, _ in said(base, conf)] == ["container-features-overridden"]
    put(base / "local/lxc-docker", "mount fstype=proc -> /**,\n")
    assert said(base, conf) == []


def test_include_that_leads_out_of_the_directory_is_not_opened(base: Path, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside/own", "change_profile -> **,\n")
    (base / "local").mkdir()
    (base / "local/link").symlink_to(outside)
    (base / "more").symlink_to(outside.parent)
    profile(
        base,
        "include <../outside/own>",
        f'include "{outside}"',
        "include <local/link>",
        "include <more>",
        "include <more/own>",
        "include <>",
    )
    assert said(base) == []
    assert said(base / "lxc-docker") == []


def test_absolute_include_below_the_directory_is_opened(base: Path) -> None:
    own = put(base / "own.d/a", "change_profile -> **,\n")
    one = profile(base, f'include "{own}"')
    assert said(one) == [("profile-change-any", "a", 1)]


def test_include_of_a_directory_leaves_out_what_the_parser_skips(base: Path) -> None:
    put(base / "own.d/a", "file,\n")
    for name in (".a", "a.dpkg-old", "a~", "sub/a"):
        put(base / "own.d" / name, "change_profile -> **,\n")
    profile(base, "include <own.d>")
    assert said(base) == []


def test_no_more_files_are_open_than_the_limit(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        put(base / f"own.d/{number}", "file,\n")
    profile(base, "include <own.d>")
    monkeypatch.setattr(includes, "_MOST_FILES", 3)
    found = discover.under(base).sources
    assert sum(each.inside.startswith("own.d/") for each in found) == 3


def test_profile_that_is_named_alone_does_not_name_the_others(base: Path, tmp_path: Path) -> None:
    one = profile(base, "file,")
    put(base / "lxc-other", "profile lxc-other {\n}\n")
    conf = put(tmp_path / "lxc/950.conf", GIVEN.replace("lxc-docker", "lxc-other"))
    assert said(one, conf) == []
    put(base / "lxc-other", "profile lxc-another {\n}\n")
    assert "profile-unknown" in [rule for rule, _, _ in said(base, conf)]


def test_file_that_is_reached_by_two_names_is_linted_once(base: Path, tmp_path: Path) -> None:
    one = profile(base, "file,")
    (tmp_path / "link").symlink_to(base)
    for paths in (
        (base, one),
        (one, base),
        (base, tmp_path / "link"),
        (base, base / "../apparmor.d"),
    ):
        assert said(*paths) == [], paths
    assert len(discover.under(one, base).sources) == len(discover.under(base).sources)
    kinds = [each.kind for each in discover.under(base, one).sources]
    assert kinds.count(Kind.PROFILE) == 1
