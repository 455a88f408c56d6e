"""AppArmor's patterns match what a kernel matches with the compiled policy."""

from __future__ import annotations

import pytest

from docker_lxc_gate.facts.denial.profile_text import matches
from tests.doubles.apparmor.compiled_policy import allows_reading, files_of

PATTERNS = """\
/
/*
/**
/*/
/**/
/a
/a/
/a*
/a**
/a?
/a/*
/a/**
/a/*/
/a/**/
/a/?
/a/?*
/a//b
/a/*b
/a/b*
/a/**b
/a/b**/
/a/*/c
/a/**/c
/a/{b*,c?}/d
/{a,b}
/{a,}
/{*,}
/{,a/}b
/{,**/}b
/{a,b/*}
/{a,{b,c}}x
/a/{,**}
/a{,/**}
/a/{*,**}
/a/*{,/}
/a/*{/,}
/[ab]
/[^a]
/[a-c]x
/[a/]b
/[a[]b
/[[a]
/[a\\]]
/[a\\-c]x
/[\\^a]
/***
/a***
/a/[^/]*
/a\\*
/a\\{b
/a\\,b
/a,b
/a.b
/a+b
/é
/?
/??
"/a b"
""".splitlines()
NAMES = [
    *("/", "/a", "/a/", "/b", "/ab", "/ax", "/bx", "/cx", "/aab", "/axb", "/c", "/[", "/]", "/^"),
    *("/a/a", "/a/b", "/a/b/", "/a/.b", "/a/xb", "/b/x", "/x/b", "/a/\n", "/a\nb", "/é", "/aé"),
    *("/a/b/c", "/a/bb/c", "/a/c/d/c", "/a/b/d", "/a/bx/d", "/a/cx/d"),
    *("/a b", "/a*", "/a{b", "/a,b", "/a.b", "/a+b"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_pattern_matches_what_the_kernel_matches(pattern: str) -> None:
    files = files_of(f"{pattern} r,")
    ours = [name for name in NAMES if matches(pattern, name)]
    assert ours == [name for name in NAMES if allows_reading(files, name)]
