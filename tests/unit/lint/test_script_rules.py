"""Scripts as commands, and what is said of them."""

import pytest

from docker_lxc_gate.lint import shell_text
from docker_lxc_gate.lint.check import check
from docker_lxc_gate.lint.finding import Kind, Source
from docker_lxc_gate.lint.shell_text import TooTangled, commands


def ids(text: str, *, mode: int = 0o755) -> list[str]:
    source = Source("/a/install.sh", text.encode(), Kind.SCRIPT, mode)
    return [each.id.removeprefix("script-") for each in check([source])]


def words(text: str) -> list[list[str]]:
    return [list(each.words) for each in commands(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 'b c' \"d $(e f) g\"\n", [["a", "'b c'", '"d $(e f) g"'], ["e", "f"]]),
        ("a # b\n#c\nd e#f\n", [["a"], ["d", "e#f"]]),
        ("a \\\n  b\n", [["a", "b"]]),
        ("cat <<X; b\nc; d\nX\ne\n", [["cat"], ["b"], ["e"]]),
        ("cat <<-'X' >f 2>&1 | b\n\tc\n\tX\ne\n", [["cat", ">f", "2>&1"], ["b"], ["e"]]),
        ("cat <<X <<Y\nc\nX\nd\nY\ne\n", [["cat"], ["e"]]),
        ("# cat <<X\na\nX\n", [["a"], ["X"]]),
        ("cat <<<x\nx\n", [["cat", "<<<x"], ["x"]]),
        ("x=(a b); ((n++)); y=$((1 << 2)) c\n", [["c"]]),
        ("a 2>&1 &>b >&2 & c\n", [["a", "2>&1", "&>b", ">&2"], ["c"]]),
        ("$(case x in a) b;; esac); c\n", [["$(case x in a) b;; esac)"], ["b"], ["c"]]),
        ("$( (a) ); b\n", [["$( (a) )"], ["a"], ["b"]]),
        ('"${x:-$(a b)}" c\n', [['"${x:-$(a b)}"', "c"], ["a", "b"]]),
        ("for a in $b 'c d'; do e; done\n", [["for", "a", "in", "$b", "'c d'"], ["e"]]),
        ("if ! a; then { b; } >c; fi\n", [["a"], ["}", ">c"], ["b"]]),
        (">f\n", [[">f"]]),
        ("! # a\nb\n", [["b"]]),
    ],
)
def test_text_is_cut_into_commands(text: str, expected: list[list[str]]) -> None:
    assert words(text) == expected


def test_commands_know_their_lines_pipes_and_functions() -> None:
    found = commands("f() {\n  a |\n    b\n}\nc || d\nwhile e; do f; done | { ! g; h; }\n")
    assert [(each.words, each.line, each.function, each.reads) for each in found] == [
        (("a",), 2, "f", ()),
        (("b",), 3, "f", ("a",)),
        (("c",), 5, "", ()),
        (("d",), 5, "", ()),
        (("e",), 6, "", ()),
        (("f",), 6, "", ()),
        (("g",), 6, "", ("done",)),
        (("h",), 6, "", ()),
    ]


def test_substitutions_without_end_are_given_up() -> None:
    assert ids("$(" * 100_000) == []


def test_text_that_the_parser_repairs_too_slowly_is_not_checked() -> None:
    source = Source("/a.sh", b"a | " * 25_000, Kind.SCRIPT)
    assert [each.id for each in check([source])] == ["not-checked"]


def test_large_script_is_read() -> None:
    assert len(commands("a b\n" * 8_000)) == 8_000


def test_time_ends_after_the_parser_is_done_the_text_is_not_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shell_text, "_PATIENCE", -1.0)
    with pytest.raises(TooTangled):
        commands("a; b\n")


#: tree-sitter cannot read these brackets.
UNREADABLE = r"""pct exec 1 -- true
if a && [ \( ! -h "$x" -a -d "$x" \) -o \( -h "$x" -a \( "$(b c)" = "$x" \) \) ] &&
  d; then
  apt-get install -y docker.io || \
    e
fi
"""
INSIDE = 'inside() {\n    timeout 5 pct exec "$CTID" -- "$@" </dev/null\n}\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("apt-get install -y docker.io\n", []),  # it enters no container: it is for the node
        ("pct exec 1 -- true\napt-get install -y jq\n", []),
        ("pct exec 1 -- true\napt-get install -y docker.io\n", ["runs-on-node"]),
        ("pct exec 1 -- true\nif ! apt install docker-ce; then :; fi\n", ["runs-on-node"]),
        ("pct exec 1 -- bash -c 'apt-get update\napt-get install -y docker.io'\n", []),
        ("pct exec 1 -- bash <<X\napt-get install docker.io\nX\n", []),
        ("lxc-attach -n 1 -- true\nsystemctl restart docker\n", ["runs-on-node"]),
        ("pct exec 1 -- true\nsystemctl restart apparmor\n", []),
        ("pct exec 1 -- systemctl restart docker\n", []),
        ("pct exec 1 -- echo '{}' >/etc/docker/daemon.json\n", ["runs-on-node"]),
        ("pct exec 1 -- true\ncat > /etc/docker/daemon.json <<X\n{}\nX\n", ["runs-on-node"]),
        ("echo '{}' | pct exec 1 -- tee /etc/docker/daemon.json >/dev/null\n", []),
        (f"{INSIDE}inside apt-get install -y docker.io\n", []),
        (f"{INSIDE}inside command -v docker\n", ["builtin-executed"]),
        (f"{INSIDE}inside sh -c 'command -v docker'\ncommand -v jq\n", []),
        ("timeout -k 5 10 command -v x\n", ["builtin-executed"]),
        ("env A=1 cd /x\n", ["builtin-executed"]),
        ("pct exec 1 -- env HOME=/root type docker\n", ["builtin-executed"]),
        ("pct exec 1 --keep-env 0 -- test -e /x\n", []),
        ("dpkg -l docker.io | grep -c '^ii'\n", []),
        ('inside() { pct exec 1 -- "$@"; }\ninside dpkg -l | grep -q x\n', ["dpkg-grep"]),
        ("set -o pipefail\npct list | grep -q 950\n", ["grep-quiet-pipefail"]),
        ("set -eo pipefail\nif a | grep -Fqx b; then :; fi\n", ["grep-quiet-pipefail"]),
        ("pct list | grep -q 950\nset -o pipefail\n", []),
        ("set -o pipefail\nset +o pipefail\npct list | grep -q 950\n", []),
        ("set -o 'pipefail'\npct list | grep -q 950\n", ["grep-quiet-pipefail"]),
        ("set -e pipefail\npct list | grep -q 950\n", []),
        ("set -- -o pipefail\npct list | grep -q 950\n", []),
        ("#!/bin/sh\nset -o pipefail\npct list | grep -q 950\n", []),
        ("#!/usr/bin/env bash\nset -o pipefail\na | grep -q 950\n", ["grep-quiet-pipefail"]),
        ('set -euo pipefail\necho "$x" | grep -q b\n', []),
        ("set -euo pipefail\npct status 1 | grep -q running\n", []),
        ("set -euo pipefail\ngrep -q a /x\na | grep b >/dev/null\n", []),
        ("for o in $LXC_OPTIONS; do echo $o; done\n", ["splits-option"]),
        ('for o in "${LXC_OPTIONS[@]}"; do echo "$o"; done\n', []),
        ("IFS=$'\\n'\nfor o in $LXC_OPTIONS; do echo $o; done\n", []),
        ("for id in $(pct list); do echo $id; done\n", []),
        (UNREADABLE, ["runs-on-node"]),
    ],
)
def test_commands_are_found_or_left_alone(text: str, expected: list[str]) -> None:
    assert ids(text) == expected


@pytest.mark.parametrize(
    ("call", "found"),
    [
        ("./feature.sh", True),
        ('"$HERE/feature.sh" 950', True),
        ("if ! ./feature.sh; then :; fi", True),
        ("bash ./feature.sh", False),
        (". ./feature.sh", False),
        ("echo ./feature.sh", False),
        ("feature.sh", False),
    ],
)
def test_script_is_not_executable_only_where_it_is_executed(call: str, *, found: bool) -> None:
    caller = Source("/a/create.sh", f"#!/bin/bash\n{call}\n".encode(), Kind.SCRIPT, 0o755)
    called = Source("/a/feature.sh", b"#!/bin/bash\n", Kind.SCRIPT, 0o644)
    assert bool(check([caller, called])) is found
