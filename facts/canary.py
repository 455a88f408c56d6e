"""Denials that are provoked on purpose, to prove that a quiet log was really watched."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from targets.transport import Transport

#: Begins the name of each.
NAME = "canary"
#: In which order they are made.
_ATTEMPTED = ("profile", "user", "root")
#: Asks to run under a profile that does not exist: under a profile that does, as another user, as
#: root. The kernel refuses and logs it as a denial; nothing on the node changes (kernel
#: security/apparmor/domain.c, aa_change_profile: "label not found"). No program is run under the
#: profile: that could be denied something, too.
_ATTEMPTS = r"""
use strict;
my ($nonce, $uid, $gid, $profile) = @ARGV;
sub attempt {
    my ($name, $uid, $gid, $profile) = @_;
    defined(my $child = fork) or die "fork: $!\n";
    waitpid($child, 0), return if $child;
    my $attributes = "/proc/self/attr/apparmor";
    $attributes = "/proc/self/attr" unless -e "$attributes/exec";
    open my $exec, ">", "$attributes/exec" or die "$attributes/exec: $!\n";
    open my $current, ">", "$attributes/current" or die "$attributes/current: $!\n";
    if ($uid) {
        $) = "$gid $gid";
        $( = $gid;
        ($<, $>) = ($uid, $uid);
        die "user $uid: $!\n" unless $< == $uid and $> == $uid;
    }
    my $entered = !$profile || defined syswrite $current, "changeprofile $profile";
    my $done = $entered && defined syswrite $exec, "exec $nonce$name";
    print $name, " ", !$entered ? "not entered" : $done ? "allowed" : "refused", ": $!\n";
    exit;
}
$| = 1;
if ($profile and open my $loaded, "<", "/sys/kernel/security/apparmor/profiles") {
    attempt("profile", $uid, $gid, $profile) if grep $_ eq "$profile (enforce)\n", <$loaded>;
}
attempt("user", $uid, $gid, "") if $uid;
attempt("root", 0, 0, "");
"""
_PROVOKE = """
if command -v perl >/dev/null; then exec perl -e "$5" "$1" "$2" "$3" "$4"; fi
if aa-exec -p "${1}root" -- true 2>&1; then echo 'root allowed: '; else echo 'root refused: '; fi
"""


@dataclass(frozen=True)
class Subject:
    """As whom the processes of a container run on the node.

    Attributes:
        uid: of its root; 0 if that is the node's, or is not known.
        gid: of its root.
        profile: its AppArmor profile, if that has a name of its own.
        ranges: the ids that it has: ``u`` or ``g``, the first on the node, and how many.
    """

    uid: int = 0
    gid: int = 0
    profile: str = ""
    ranges: frozenset[tuple[str, int, int]] = frozenset()

    def maybe(self, key: str, value: str) -> bool:
        """Whether one of its processes may have such an id."""
        ranges = [(first, count) for kind, first, count in self.ranges if kind == key[0]]
        if not (ranges and value.isascii() and value.isdecimal()):
            return True
        return any(first <= int(value) < first + count for first, count in ranges)


@dataclass(frozen=True)
class Canaries:
    """Denials provoked in one go: a word that each of them holds, and which were refused."""

    nonce: str
    refused: tuple[str, ...]
    allowed: bool = False
    said: str = ""

    def among(self, lines: Iterable[str]) -> frozenset[str]:
        """Return which of them there are."""
        mine = [line for line in lines if self.nonce in line]
        return frozenset(
            each for each in self.refused if any(f"{self.nonce}{each}" in line for line in mine)
        )


def is_one(name: str) -> bool:
    """Whether a denied object's name is that of a canary, of whichever window."""
    return bool(re.fullmatch(rf"{NAME}[0-9a-f]{{16}}[a-z]{{1,8}}", name))


def provoke(node: Transport, who: Subject) -> Canaries:
    """Provoke a denial of root's, one of the container's user, and one under its profile.

    The last of them is root's. A profile that is not loaded, or does not enforce, shows none.
    """
    nonce = f"{NAME}{secrets.token_hex(8)}"
    argv = ["sh", "-c", _PROVOKE, "provoke", nonce, str(who.uid), str(who.gid), who.profile]
    result = node.run([*argv, _ATTEMPTS])
    words = dict(line.split(" ", 1) for line in result.text.splitlines() if " " in line)
    refused = {each for each, what in words.items() if what.startswith("refused")} | {"root"}
    return Canaries(
        nonce,
        tuple(each for each in _ATTEMPTED if each in refused),
        words.get("root", "").startswith("allowed"),
        "; ".join((result.stderr + result.stdout).decode(errors="replace").splitlines()),
    )
