"""AppArmor's text as statements and profiles; apparmor_parser reads the same."""

import pytest

from docker_lxc_gate.formats.apparmor_profile import profiles, statements
from tests.doubles.apparmor.apparmor_parser import compiled


def test_statements_are_told_apart() -> None:
    text = (
        "abi <abi/3.0>,\n#include <tunables/global>\n@{X} = /a /b\n"
        'profile "a b" /bin/{a,b} flags=(complain,audit) { # why\n'
        "  mount fstype=(proc,\n    sysfs) -> /{a,b}/**, file,\n"
        "  include if exists <local/x>\n  profile child { file, }\n  deny /a#b r,\n}\n"
    )
    assert [(each.kind, each.text, each.line, each.depth) for each in statements(text)] == [
        ("rule", "abi <abi/3.0>", 1, 0),
        ("include", "#include <tunables/global>", 2, 0),
        ("assign", "@{X} = /a /b", 3, 0),
        ("open", 'profile "a b" /bin/{a,b} flags=(complain,audit)', 4, 0),
        ("rule", "mount fstype=(proc, sysfs) -> /{a,b}/**", 5, 1),
        ("rule", "file", 6, 1),
        ("include", "include if exists <local/x>", 7, 1),
        ("open", "profile child", 8, 1),
        ("rule", "file", 8, 2),
        ("close", "}", 8, 1),
        ("rule", "deny /a#b r", 9, 1),
        ("close", "}", 10, 0),
    ]
    (found,) = profiles(text)
    assert (found.name, found.attached, found.line) == ("a b", "/bin/{a,b}", 4)
    assert found.flags == {"complain", "audit"}
    assert [each.text for each in found.rules][-1] == "deny /a#b r"


def test_include_and_assignment_have_their_parts() -> None:
    text = 'include if exists <a b>\n#include "/c"\n@{X} += "/d e" /f'
    optional, named, assigned = statements(text)
    assert (optional.included, optional.of_base) == ("a b", True)
    assert (named.included, named.of_base) == ("/c", False)
    assert (assigned.kind, assigned.assigned) == ("assign", "X")


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("profile p {mount,}", ["mount"]),
        ("profile p flags=(complain){\nmount,\n}", ["mount"]),
        ('profile "p"{\n/a r,}profile q {\n/b r,\n}', ["/a r", "/b r"]),
        ("profile p {\nfile,network,\n}", ["file", "network"]),
        ("profile p {\n/a r,/b w,\n}", ["/a r", "/b w"]),
        ("profile p {\n/a[1,2]b r,\n/c,d r,\n}", ["/a[1,2]b r", "/c,d r"]),
        ("profile p {\n# include <nothing>\n/a r, # include <nothing>\n}", ["/a r"]),
    ],
)
def test_statements_end_where_they_end_for_apparmors_parser(text: str, rules: list[str]) -> None:
    assert [each.text for each in statements(text) if each.kind == "rule"] == rules
    assert {each.kind for each in statements(text)} == {"open", "rule", "close"}
    one_a_line = "".join(f"{each}\n" for each in statements(text))
    assert compiled(f"abi <abi/4.0>,\n{text}\n") == compiled(f"abi <abi/4.0>,\n{one_a_line}")


def test_profiles_whose_path_looks_like_flags_have_only_their_own_flags() -> None:
    (found,) = profiles('profile p "/a flags=(complain)" flags=(kill) {\n}\n')
    assert (found.attached, found.flags) == ("/a flags=(complain)", {"kill"})
