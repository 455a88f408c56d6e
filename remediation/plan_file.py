"""A plan as data (TOML): what is wanted, and which clauses apply; ``plans/`` has those shipped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import msgspec

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import UsageError
from docker_lxc_gate.machines import target_file
from docker_lxc_gate.machines.target import DEFAULT_PLAN
from docker_lxc_gate.verdict.requirements import CATALOGUE

_SHIPPED = files("remediation") / "plans"
#: LXC makes it for the container.
GENERATED = "generated"
_FEATURES = {"nesting", "keyctl", "fuse", "mknod", "force_rw_sys"}


class PlanFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a plan wants.

    Attributes:
        name: its name, in lower case.
        version: its number, which grows with what it wants.
        title: one line about it.
        drivers: Docker's storage drivers that it allows, none of which copies layers; the first
            one is set if Docker runs on another. ``overlayfs`` is that of containerd's image store.
        clauses: those that apply, or their beginnings: ``VAL`` includes ``VAL-1``.
        profile: of AppArmor: a name, ``generated``, or empty for any that is enforced.
        features: of Proxmox, by name.
        seccomp: the list of system calls, a file of the node; empty: the one of the runtime.
        includes: a shipped plan, whose scenarios are asked as that plan wants them.
    """

    name: str
    version: int
    title: str
    drivers: tuple[Literal["overlay2", "fuse-overlayfs", "overlayfs", "btrfs", "zfs"], ...]
    clauses: tuple[str, ...]
    profile: str = ""
    features: tuple[str, ...] = ()
    seccomp: str = ""
    includes: Literal["", "plain"] = ""

    def __post_init__(self) -> None:
        """Check the values beyond their types; raises ValueError with the key and a proposal."""
        if not patterns.fullmatch(r"[a-z][a-z0-9-]*", self.name):
            raise ValueError(f"name: {self.name!r}; write lower-case words, as my-plan")
        for prefix in self.clauses or ("",):
            if not any(_is_below(clause, prefix) for clause in CATALOGUE):
                raise ValueError(f"clauses: {prefix!r} is none; docs/plan.md has them")
        if unknown := {*self.features} - _FEATURES:
            raise ValueError(f"features: no such feature: {', '.join(sorted(unknown))}")
        if not self.drivers:
            raise ValueError('drivers: is empty; write drivers = ["overlay2"]')
        if not patterns.fullmatch(r"[\w.-]*", self.profile) or self.profile == "unconfined":
            raise ValueError(f'profile: {self.profile!r}; write a name, or "{GENERATED}"')
        if not patterns.fullmatch(r"(/[\w.-]+)*", self.seccomp):
            form = "write an absolute path of the node, as /etc/lxc/own.seccomp"
            raise ValueError(f"seccomp: {self.seccomp!r}; {form}")
        if self.seccomp and not self.applies("STEP-2.2"):
            raise ValueError("seccomp: clauses lacks STEP-2.2, by which it is assigned; add that")

    @property
    def identity(self) -> str:
        """Its name, its version, and a hash of all that it says.

        Keys that came later count only where they say something.
        """
        values = msgspec.to_builtins(self)
        if not self.seccomp:
            del values["seccomp"]
        digest = hashlib.sha256(msgspec.json.encode(values)).hexdigest()
        return f"{self.name} {self.version} {digest[:12]}"

    def applies(self, clause: str) -> bool:
        """Whether a clause is one of the plan's."""
        return any(_is_below(clause, prefix) for prefix in self.clauses)

    def asks(self, clauses: Iterable[str], *, of_default: bool) -> bool:
        """Whether it asks a scenario of these clauses; ``of_default``: tagged @default_plan."""
        return not (of_default and self != find()) and any(map(self.applies, clauses))

    @property
    def asked(self) -> PlanFile:
        """The plan by whose wishes the scenarios of every plan are judged."""
        return find(self.includes) if self.includes else self


def _is_below(clause: str, asked: str) -> bool:
    return clause == asked or clause.startswith((f"{asked}.", f"{asked}-"))


@cache
def find(text: str | None = None) -> PlanFile:
    """Return a shipped plan by its name, or the one of a file; None is the default one.

    Raises UsageError if there is none, or the file is wrong; names the file, line, key, and what to
    write instead.
    """
    text = text or DEFAULT_PLAN
    if "/" not in text and not text.endswith(".toml"):
        names = sorted(path.name.removesuffix(".toml") for path in _SHIPPED.iterdir())
        if text not in names:
            raise UsageError(
                f"no plan is called {text!r}: name a file, or one of {', '.join(names)}"
            )
        return msgspec.toml.decode((_SHIPPED / f"{text}.toml").read_bytes(), type=PlanFile)
    plan = target_file.one(Path(text), PlanFile)
    if plan.name in (path.name.removesuffix(".toml") for path in _SHIPPED.iterdir()):
        raise UsageError(f"{text}: name: {plan.name!r} is a shipped plan's; write another one")
    if plan.includes:
        raise UsageError(f"{text}: includes: only a shipped plan has it; delete the line")
    return plan
