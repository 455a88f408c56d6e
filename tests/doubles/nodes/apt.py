"""A machine with dpkg and apt, small, which can be cut off at any step of dpkg's."""

from collections.abc import Iterable

from docker_lxc_gate.facts import docker
from remediation.actions import package
from tests.doubles.death import Died
from tests.doubles.nodes.machines import Stateful

_QUERY = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\\n"]
_READY = {"ii", "hi"}
_CUT_OFF = (
    b"E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."
)
Answer = tuple[int, bytes, bytes]


class Apt(Stateful):
    """``status`` is what dpkg says of each package it knows; ``needs`` are their dependencies."""

    def __init__(self, needs: dict[str, list[str]], status: dict[str, str]) -> None:
        self.needs, self.status = needs, dict(status)
        self.lists = True  # whether apt knows what there is
        self.mirror = True
        self.dpkg = True  # whether it answers
        self.steps = -1  # dies before this step of dpkg's; -1: never
        self.interrupted = False  # whether dpkg has a journal that nobody has ended
        self.settings: dict[str, bytes] = {}  # of those that a purge deletes, what is there
        self.edited: list[str] = []  # of these, what is not as its package brought it

    def answer(self, words: list[str], stdin: bytes) -> Answer | None:  # noqa: C901, PLR0911 - a table
        if words == _QUERY:
            if not self.dpkg:
                return 2, b"", b"dpkg-query: error: failed to open package info file"
            known = {name: status for name, status in self.status.items() if status}
            return 0, "".join(f"{name} {known[name]} \n" for name in known).encode(), b""
        if words == ["dpkg", "--set-selections"]:
            assert stdin == b"", "it would select something"
            self.interrupted = False
            return 0, b"", b""
        match words:
            case ["sh", "-c", script] if script == docker.NEEDING.argv[2]:
                return 0, b"", b""
            case ["find", "/var/lib/dpkg/updates", *_]:
                return 0, b"/var/lib/dpkg/updates/0001\n" * self.interrupted, b""
            case ["sh", "-c", package._CHOSEN, verb, *names]:
                look = ["-s", "install", "--no-install-recommends", "--no-upgrade"]
                has = [name for name in names if self._known([*look, names[0], name])]
                return self._apt([*look[verb == "install" :], *(has or names[:1])])
            case ["sh", "-c", package._ALONE, "alone", ours, *words]:
                return self._alone(ours.split(), words)
            case ["sh", "-c", package._THERE, "there", *paths]:
                return 0, "".join(f"{x}\n" for x in paths if x in self.settings).encode(), b""
            case ["sh", "-c", package._EDITED, "edited", *owners]:
                known = [x for x in self.edited if self.status.get(package.SETTINGS[x])]
                assert {package.SETTINGS[each] for each in known} <= set(owners)
                return 0, "".join(f"{each}\n" for each in known).encode(), b""
            case ["cat", "--", path] if path in package.SETTINGS:
                return 0, self.settings[path], b""
        if tuple(words[: len(package._APT)]) != package._APT:
            return None
        asked = words[len(package._APT) :]
        return self._apt(asked)

    def _apt(self, words: list[str]) -> Answer | None:  # noqa: PLR0911 - a table
        match words:
            case ["update"]:
                self.lists = self.lists or self.mirror
                return (0, b"", b"") if self.mirror else (100, b"", b"E: Failed to fetch")
            case ["-s", "install", "--no-install-recommends", "--no-upgrade", *names]:
                new = dict.fromkeys(each for name in names for each in self._new(name))
                out = "".join(f"Inst {each} (1.0 Debian:13 [amd64])\n" for each in new)
                return (0, out.encode(), b"") if self.lists else (100, b"", b"E: Unable to locate")
            case ["install", "--no-install-recommends", "--no-upgrade", *names]:
                return self._install(*names)
            case ["-s", "install", "--reinstall", "--no-install-recommends", *names]:
                new = [each for name in names for each in (*self._new(name), name)]
                out = "".join(f"Inst {each} [1.0] (1.0)\n" for each in new)
                return (0, out.encode(), b"") if self.lists else (100, b"", b"E: cannot find it")
            case [*option, _, "--reinstall", _, _] if words[-4:-1] == list(package._AGAIN):
                assert tuple(option) == package._UNPACK, "it would be started"
                return self._install(words[-1], configure=False)
            case ["-s", "purge" | "remove", *names]:
                gone = self._with_users(names)
                return 0, "".join(f"Purg {name} [1.0]\n" for name in gone).encode(), b""
            case ["-o", first, *rest] if first.startswith("DPkg::Pre-Invoke::="):
                self.before_removal(first)
                return self._apt(rest)
            case ["purge" | "remove" as verb, *names]:
                return self._remove(verb, names)
        return None

    def _alone(self, ours: list[str], words: list[str]) -> Answer | None:
        code, out, err = self._apt(["-s", *words[2:]]) or (1, b"", b"")
        others = {line.split()[1] for line in out.decode().splitlines()} - {*ours}
        if code or others:
            return code or 3, "\n".join(sorted(others)).encode(), err
        return self._apt(words)

    def _known(self, words: list[str]) -> bool:
        return (self._apt(words) or (1,))[0] == 0

    def before_removal(self, option: str) -> None:
        """Do what apt is told to do first."""

    def _all(self, name: str) -> list[str]:
        return [*(each for need in self.needs.get(name, []) for each in self._all(need)), name]

    def _new(self, name: str) -> list[str]:
        return [x for x in dict.fromkeys(self._all(name)) if self.status.get(x, "") in {"", "rc"}]

    def _with_users(self, names: list[str]) -> list[str]:
        users = {
            name
            for name, status in self.status.items()
            if status in _READY and set(self._all(name)) & set(names)
        }
        return sorted({*names, *users})

    def _half_unpacked(self, name: str) -> bool:
        return self.status.get(name, "")[2:] == "R"

    def _step(self) -> None:
        self.steps -= 1
        if self.steps == -1:
            self.interrupted = True
            raise Died

    def _install(self, *names: str, configure: bool = True) -> Answer:
        if self.interrupted:
            return 100, b"", _CUT_OFF
        if not self.lists or not self.mirror:
            return 100, b"", b"E: Unable to fetch some archives"
        again = [name for name in names if self._half_unpacked(name)]
        new = [*dict.fromkeys(each for name in names for each in self._new(name)), *again]
        for each in new:
            self._step()
            self.status[each] = "iHR"
            self._step()
            self.status[each] = "iU"
        self._configure(new if configure else [])
        return 0, b"", b""

    def _configure(self, names: Iterable[str]) -> None:
        for each in list(names):
            self._step()
            self.status[each] = "ii"

    def _remove(self, verb: str, names: list[str]) -> Answer:
        if self.interrupted:
            return 100, b"", _CUT_OFF
        for name in self._with_users(names):
            if verb == "remove" and self.status.get(name, "") in {"", "rc"}:
                continue
            if self._half_unpacked(name):
                return 100, b"", b"E: Sub-process /usr/bin/dpkg returned an error code (1)"
            cut_off = self.status.get(name) == "pH"  # what was begun is ended, and no more
            self._step()
            self.status[name] = "rc"
            if verb == "purge" and not cut_off:
                self._step()
                self.status[name] = ""
        self._step()  # the triggers
        return 0, b"", b""
