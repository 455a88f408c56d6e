"""Packages of the container: with what came with them they are rolled back."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from typing_extensions import override

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError, RemediationError
from docker_lxc_gate.facts.apt import LOOKING
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.read import Read
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.tables import table
from remediation.engine.action import Action, Drift, SideEffect

#: apt under emulation or on a slow mirror (seconds).
APT_TIMEOUT = 1800.0
#: A run that was cut off may have left an apt that is still at work: it is waited for (seconds).
#: dpkg syncs what it unpacks, but not what the packages' own scripts write: after a power cut a
#: package is installed, and what its removal has to remember is an empty file.
#: Nobody answers dpkg's questions: settings of a package that was removed stay as they are.
_APT = (
    *("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", "-q", "-y"),
    *("-o", "DPkg::Lock::Timeout=600", "-o", "DPkg::Post-Invoke::=sync -f / /etc /usr /var"),
    *("-o", "DPkg::Options::=--force-confold"),
)
#: What the programs call: apt, and what apt would do.
_FUNCTIONS = f"""
apt() {{ {shlex.join(_APT)} "$@"
}}
look() {{ apt {shlex.join(LOOKING)} -s "$@"
}}"""
_CHOSEN, _ALONE = (
    _FUNCTIONS + program("remediation", name) for name in ("apt_chosen.sh", "apt_alone.sh")
)
_OTHERS = 3
#: Told to select nothing, dpkg ends its journal of a run that was cut off, before which apt changes
#: nothing; unlike ``--configure -a`` it starts no service, and touches no package of anybody's.
_END_JOURNAL = ("dpkg", "--set-selections")
#: Whether there is such a journal, or it cannot be told.
_DPKGS_JOURNAL = Read(
    ("find", "/var/lib/dpkg/updates", "-name", "[0-9]*"),
    lambda result: bool(result.stdout or result.exit_code),
)
#: Unpacks anew, and runs no script that would start what is to go.
_UNPACK = ("-o", "DPkg::ConfigurePending=false")
_AGAIN = ("install", "--reinstall", "--no-install-recommends")
#: What the packages that may come delete when they are purged, whoever wrote it.
SETTINGS = table("remediation.actions", "settings", dict[str, str])
_THERE = 'for path; do test ! -e "$path" -a ! -L "$path" || echo "$path"; done'
#: Names those settings of the given packages that are not as the package brought them.
_EDITED = program("remediation", "edited_settings.sh")


@dataclass(frozen=True)
class PackageState:
    """``status`` as dpkg abbreviates it (``ii``), empty if the package is unknown.

    ``adds`` holds what installing it brings, each with its own status before.

    Stored in journals: its fields are a schema (test_stored_states.py).
    """

    status: str
    adds: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Package(Action[PackageState]):
    """A Debian package is installed; rolled back with just the packages that came with it.

    Those ``beside`` are installed with it; a release may not have all. Those in ``after`` the plan
    installs before it, if they are not there; what they need, too, is theirs to roll back.
    ``first`` is a command of the shell, which apt runs before it removes anything.
    """

    package: str
    beside: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    first: str = "true"

    before: ClassVar[Any] = PackageState
    purges: ClassVar[bool] = True

    @property
    def _names(self) -> tuple[str, ...]:
        return (self.package, *self.beside)

    def _adds(self, on: Transport, plan: str) -> list[str]:
        """Return what a plan of apt's installs, without what is another package's to roll back."""
        theirs = _simulated(on, self.after).require().text if self.after else ""
        return sorted(_installs(plan) - _installs(theirs))

    @override
    def capture(self, on: Transport) -> PackageState:
        """Raise FactError if it is half-installed, or installing it would remove something."""
        status = _statuses(on, [self.package])[self.package]
        if _installed(status):
            return PackageState(status)
        _require_whole(on, {self.package: status})
        plan = _simulated(on, self._names)
        if not plan.ok:  # the lists may be old or empty: the plan's own `apt-get update`
            on.run([*_APT, "update"], timeout=APT_TIMEOUT).require("no mirror answers")
            plan = _simulated(on, self._names)
        text = plan.require().text
        if gone := patterns.findall(r"(?m)^Remv (\S+)", text):
            raise FactError(
                f"on {on.machine}: installing {self.package} would remove {', '.join(gone)}, which "
                "no rollback brings back: remove that yourself, or keep it and do without the plan"
            )
        adds = _statuses(on, self._adds(on, text))
        _require_whole(on, adds)
        _require_own_settings(on, adds)
        if patterns.search(r"(?m)^[1-9][0-9]* not fully installed or removed", text):
            raise FactError(
                f"on {on.machine}: a package is half-installed, and apt would go on with it: "
                "fix what dpkg --audit names first"
            )
        return PackageState(status, adds)

    @override
    def check(self, on: Transport) -> Drift | None:
        if _installed(_statuses(on, [self.package])[self.package]):
            return None
        return Drift(f"package {self.package} is not installed", b"", f"{self.package}\n".encode())

    @override
    def apply(self, on: Transport, before: PackageState) -> None:
        install = ["sh", "-c", _CHOSEN, "install", *self._names]
        if on.run(install, timeout=APT_TIMEOUT).ok:
            return
        known = _touches(_simulated(on, self._names).text) | before.adds.keys()
        on.run([*_APT, "update"], timeout=APT_TIMEOUT).require("no mirror answers")
        if more := _touches(_simulated(on, self._names).text) - known:
            raise RemediationError(
                f"on {on.machine}: apt's lists were old, and now {', '.join(sorted(more))} would "
                f"come with {self.package}, which no before-image knows of: apply once more"
            )
        on.run(install, timeout=APT_TIMEOUT).require()

    @override
    def rollback(self, on: Transport, before: PackageState) -> None:
        """Raise RemediationError if something that was installed since needs what is to go."""
        now = self._complete(on, before)
        # Of a package whose removal was cut off the first purge only ends that, and leaves it "rc".
        for _ in range(2):
            if now == before.adds:
                return
            # Purging takes what needs it away with its settings, too: first what is to keep them.
            for verb, was_configured in (("remove", True), ("purge", False)):
                gone = [
                    name
                    for name, status in before.adds.items()
                    if now[name] != status and (status == "rc") == was_configured
                ]
                if gone:
                    self._take_away(on, verb, gone, before.adds)
            now = _statuses(on, before.adds)

    def _complete(self, on: Transport, before: PackageState) -> dict[str, str]:
        """End what an apt that was cut off began; return the status of each package that came.

        Raises RemediationError if apt cannot unpack one anew, or would touch what did not come
        with it.
        """
        if not before.adds:
            return {}
        if on.ask(_DPKGS_JOURNAL):
            on.run(_END_JOURNAL)  # where another dpkg is at work, that one has ended it
        now = _statuses(on, before.adds)
        half = [name for name, status in now.items() if _half_unpacked(status)]
        if not half:
            return now
        # dpkg does not know what it had unpacked of these, and refuses to remove them.
        trouble = f"{', '.join(half)}: unpacked by half, and apt"
        hint = f"{trouble} could not unpack it anew; apt-get update there may help"
        others, done = _alone(on, before.adds, [*_UNPACK, *_AGAIN, *half])
        if others:
            raise RemediationError(
                f"on {on.machine}: {trouble} would change {others}, too, to unpack it anew; "
                "unpack just that version yourself (dpkg --unpack), and roll back again"
            )
        done.require(hint)
        now = _statuses(on, before.adds)
        if any(_half_unpacked(status) for status in now.values()):
            raise RemediationError(f"on {on.machine}: {hint}: {done.text[-300:]}")
        return now

    @override
    def restored(self, on: Transport, before: PackageState) -> bool:
        """Whatever installing it would bring by now."""
        return _statuses(on, before.adds) == before.adds

    def _take_away(self, on: Transport, verb: str, gone: list[str], ours: Iterable[str]) -> None:
        others, done = _alone(on, ours, ["-o", f"DPkg::Pre-Invoke::={self.first}", verb, *gone])
        if others:
            raise RemediationError(
                f"on {on.machine}: to take {self.package} away apt would touch {others}, too; that "
                "came later and needs it, or would come in its place: remove what needs it first"
            )
        done.require()

    @override
    def current(self, on: Transport) -> Any:
        """Settings that were edited, by their paths."""
        owners = sorted(set(SETTINGS.values()))
        edited = on.look(["sh", "-c", _EDITED, "edited", *owners]).require().text.splitlines()
        return {path: on.read(path) for path in edited if path in SETTINGS}

    def changed_since(self, now: Any, before: PackageState, after: Any) -> Drift | None:  # noqa: ARG002
        """See :class:`remediation.engine.action.Action`: what was edited since would be purged."""
        lost = {
            path: content or b""
            for path, content in now.items()
            if before.adds.get(SETTINGS[path]) == ""
        }
        if not lost:
            return None
        kept = b"".join(f"# {path}\n".encode() + content for path, content in lost.items())
        return Drift(f"{', '.join(lost)} of a package that is to go was changed", kept)

    @override
    def side_effects(self, on: Transport, before: PackageState | None) -> list[SideEffect]:
        if before is None:
            plan = _simulated(on, self._names)
            if not plan.ok:
                title = f"{self.package}: what it upgrades in {on.machine} is not known yet"
                return [SideEffect(f"unknown upgrades for {self.package}", title)]
            newer = ", ".join(patterns.findall(r"(?m)^Inst (\S+) \[", plan.text))
            title = f"{newer}: upgraded in {on.machine}, which is not rolled back"
            return [SideEffect(f"upgrade {newer}", title)] if newer else []
        now = _statuses(on, before.adds)
        gone = ", ".join(name for name, status in before.adds.items() if now[name] != status)
        return [SideEffect(f"remove {gone}", f"{gone}: removed from {on.machine}")] if gone else []


def _alone(on: Transport, ours: Iterable[str], words: Sequence[str]) -> tuple[str, CommandResult]:
    """Let apt do something, unless it would touch more than our packages.

    Return what else it would touch, and the result.
    """
    done = on.run(["sh", "-c", _ALONE, "alone", " ".join(ours), *words], timeout=APT_TIMEOUT)
    return ", ".join(sorted({*done.text.split()})) if done.exit_code == _OTHERS else "", done


def _require_own_settings(on: Transport, adds: Iterable[str]) -> None:
    """Raise FactError if purging what comes would delete what was there before it came."""
    there = on.look(["sh", "-c", _THERE, "there", *SETTINGS]).require().text.split()
    overtaken = [path for path in there if SETTINGS.get(path, "") in adds]
    known = _statuses(on, SETTINGS.values()) if overtaken else {}
    if unowned := [path for path in overtaken if not known[SETTINGS[path]]]:
        owners = ", ".join(dict.fromkeys(SETTINGS[path] for path in unowned))
        raise FactError(
            f"in {on.machine} there is {', '.join(unowned)}, and {owners}, which would come, takes "
            "it for its own: a rollback would delete it. Move it away (what a removed Docker left: "
            f"apt-get purge docker-ce containerd.io), or install {owners} yourself first"
        )


def _touches(plan: str) -> set[str]:
    """Return what a plan of apt's installs or upgrades."""
    return set(patterns.findall(r"(?m)^Inst (\S+) ", plan))


def _installs(plan: str) -> set[str]:
    """Return what apt's plan installs: ``Inst NAME [OLD] (NEW`` is an upgrade, never purged."""
    return set(patterns.findall(r"(?m)^Inst (\S+) \(", plan))


def _simulated(on: Transport, packages: Iterable[str]) -> CommandResult:
    """Return what apt would do to install packages."""
    return on.look(["sh", "-c", _CHOSEN, "simulate", *packages])


def is_unpacked(on: Transport, package: str) -> bool:
    """Whether a package is installed, if only in part."""
    return _statuses(on, [package])[package][1:2] not in {"", "c", "n"}


def _statuses(on: Transport, packages: Iterable[str]) -> dict[str, str]:
    """Return each package's status, empty where dpkg does not know it."""
    names = list(packages)
    known = on.ask(_STATUSES) if names else {}
    return {name: known.get(name, "") for name in names}


def _known(answer: CommandResult) -> dict[str, str]:
    lines = (line.partition(" ") for line in answer.require().text.splitlines())
    statuses = {name: status.strip() for name, _, status in lines}
    return {name: "" if status in {"un", "pn"} else status for name, status in statuses.items()}


#: The status of each package that dpkg knows: one answer serves whoever asks for some of them, and
#: they need not be known beforehand. Never `dpkg -l | grep`: it is true of removed packages, too.
_STATUSES = Read(("dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\\n"), _known)


def _installed(status: str) -> bool:
    return status[1:2] == "i" and len(status) == 2  # noqa: PLR2004 - a third letter is an error


def _half_unpacked(status: str) -> bool:
    """Whether dpkg wants it installed anew, as it says by a third letter."""
    return status[2:] == "R"


def _require_whole(on: Transport, statuses: dict[str, str]) -> None:
    for name, status in statuses.items():
        if status not in {"", "rc"}:
            raise FactError(
                f"on {on.machine}: package {name} is {status!r}, half-installed or held, which no "
                "rollback brings back: install it, or purge it, yourself first (dpkg --audit says "
                "how)"
            )
