"""Canaries: denials provoked on purpose, to prove that a quiet log was really watched."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker_lxc_gate import patterns
from docker_lxc_gate.machines.programs import program

if TYPE_CHECKING:
    from docker_lxc_gate.facts.audit.audit_records import Denial
    from docker_lxc_gate.machines.transport import Transport

#: The prefix of each canary's name.
NAME = "canary"
#: The order of the attempts.
ATTEMPTED = ("profile", "user", "root")
_NAME = patterns.compile(rf"{NAME}[0-9a-f]{{16}}({'|'.join(ATTEMPTED)})")
_PROVOKE = program("docker_lxc_gate.facts", "canary.pl")


@dataclass(frozen=True)
class Subject:
    """The ids and the profile of a container's processes on the node.

    Attributes:
        uid: of its root; 0 if that is the node's root, or unknown.
        gid: of its root.
        profile: its AppArmor profile, if it is a named one.
        ranges: its id ranges: ``u`` or ``g``, the first id on the node, and the count.
    """

    uid: int = 0
    gid: int = 0
    profile: str = ""
    ranges: frozenset[tuple[str, int, int]] = frozenset()

    def may_have_id(self, key: str, value: str) -> bool:
        """Whether one of its processes may have this id."""
        ranges = [(first, count) for kind, first, count in self.ranges if kind == key[0]]
        if not (ranges and value.isascii() and value.isdecimal()):
            return True
        return any(first <= int(value) < first + count for first, count in ranges)


@dataclass(frozen=True)
class Canaries:
    """Canaries provoked together: the word that each of them holds, and which were refused."""

    nonce: str
    refused: tuple[str, ...]
    allowed: bool = False
    said: str = ""

    def found_in(self, lines: Iterable[str]) -> frozenset[str]:
        """Return the canaries that are in some lines."""
        mine = [line for line in lines if self.nonce in line]
        return frozenset(
            name for name in self.refused if any(f"{self.nonce}{name}" in line for line in mine)
        )


def is_canary(denial: Denial) -> bool:
    """Whether a denial is as a canary of any window causes it.

    One under the container's profile can be a guest's imitation.
    """
    fields = denial.fields
    name = _NAME.fullmatch(fields.get("name", ""))
    attempted = fields.get("operation"), fields.get("info")
    return (
        name is not None
        and attempted == ("change_onexec", "label not found")
        and (name[1] == "profile" or denial.is_unconfined)
    )


def provoke(node: Transport, who: Subject) -> Canaries:
    """Provoke a denial under the container's profile, one of its user, and last one of root.

    A profile that is not loaded, or does not enforce, gives no canary. It changes
    nothing but the log.
    """
    nonce = f"{NAME}{secrets.token_hex(8)}"
    argv = ["perl", "-e", _PROVOKE, nonce, str(who.uid), str(who.gid), who.profile]
    result = node.look(argv)
    words = dict(line.split(" ", 1) for line in result.text.splitlines() if " " in line)
    refused = {name for name, what in words.items() if what.startswith("refused")} | {"root"}
    return Canaries(
        nonce,
        tuple(name for name in ATTEMPTED if name in refused),
        words.get("root", "").startswith("allowed"),
        "; ".join((result.stderr + result.stdout).decode(errors="replace").splitlines()),
    )
