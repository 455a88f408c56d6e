"""AppArmor profiles: what their text says, what makes it worth nothing, and who is given them.

Sources: apparmor.d(5), LXC's abstractions/start-container, apparmor_parser(8).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from docker_lxc_gate import patterns
from docker_lxc_gate.formats import pct_options
from docker_lxc_gate.formats.apparmor_profile import Profile, Statement, profiles, statements
from docker_lxc_gate.lint.finding import Finding, Kind, Source

if TYPE_CHECKING:
    from docker_lxc_gate.lint.includes import Includes, Placed, Rules

#: What the parser refuses, too, in other words.
REFUSED = ("profile-tunables-inside", "profile-capability-unknown")
#: A rule of a file, with its permissions before or after the path.
_PERMISSIONS = "[rwamklixpucRWXPUC]+"
_FILE = patterns.compile(
    rf"(?P<owner>owner\s+)?(?:file\s+)?(?:(?P<before>{_PERMISSIONS})\s+)?"
    rf"(?P<path>[\"/@{{]\S*)(?:\s+(?P<after>{_PERMISSIONS}))?(?:\s+->.*)?"
)
#: All files, however it is written.
_ANY_FILE = patterns.compile(r'"?/(?:\*\*|\{,\*\*\}|\{\*\*,\}|\{\*,\*\*\})"?')
#: Files by which one rules a node: by reading or writing, or by writing alone.
_PROC = r"(?:^|[/}])(?:proc/|@\{PROC\}/?)"
_USED = patterns.compile(
    rf"{_PROC}(?:kcore|kmem)\b|(?:^|[/}}])dev/(?:k?mem\b|port\b|(?:mapper|zvol)/[^\s\"]|"
    r"(?:sd|nvme|vd|xvd|dm-|md|zd|rbd)[a-z0-9*?\[{])"
)
_WRITTEN = patterns.compile(
    rf"{_PROC}(?:sysrq-trigger|sys/kernel/(?:core_pattern|modprobe|hotplug))\b|"
    r"(?:^|[/}])sys/(?:kernel/security|firmware)\b|(?:uevent_helper|release_agent)\b"
)
_RULING = frozenset({"mac_admin", "mac_override", "sys_module", "sys_rawio"})
_CAPABILITY = patterns.compile(r"capability\s+(?P<names>[^=(]+)")
_CHANGE = patterns.compile(r"change_profile\b(?P<rest>.*)")
_ANY_TARGET = patterns.compile(r"|\*{1,2}|unconfined|\{\*{1,2}\}|/\*\*|:\*\*")
#: What a profile must all allow, without a condition, to hold nothing back.
_ALL = frozenset({"file", "capability", "network", "mount", "ptrace", "signal"})
_OFF = frozenset({"unconfined", "default_allow"})
#: Includes that deny nothing, wherever they are.
_WITHOUT_DENY = patterns.compile(r"abstractions/base|tunables/.*|abi/.*|local/.*")
#: What is allowed whole by its bare word. Not "file": a further rule may say how to execute.
_WHOLE = (
    *("mount", "umount", "remount", "pivot_root", "capability", "network", "signal", "ptrace"),
    *("unix", "dbus", "mqueue", "io_uring"),
)
#: LXC's own profiles, on every node. That for nesting may leave itself, since a container in it has
#: to be started under another profile: nobody is told to delete that. Source: LXC 6's
#: config/apparmor/profiles and abstractions/start-container.
_LXCS_OWN = frozenset(
    f"lxc-container-default{more}" for more in ("", "-cgns", "-with-mounting", "-with-nesting")
)
_PLAIN = patterns.compile(rf"(?:allow\s+)?({'|'.join(_WHOLE)})\b.*")


def check(source: Source, assigned: Collection[str], includes: Includes) -> Iterator[Finding]:
    """Yield what is wrong with the text of a file of profiles.

    The files that are linted with it give a container the ``assigned`` profiles. What is wrong in
    an included file is a finding there.
    """
    for line in statements(source.text):
        if line.kind == "include" and line.depth and line.included.startswith("tunables/"):
            yield source.at("profile-tunables-inside", line.line, f"'{line.text}' inside a profile")
    relevant = [profile for profile in profiles(source.text) if is_of_container(profile, assigned)]
    if len(relevant) == 1 and source.kind is Kind.PROFILE:
        name, own = source.name, relevant[0].name
        if name != own and alike(name) == alike(own):
            said_of = f"the file is called {name}, and the profile in it {own}"
            yield source.at("profile-name-differs", relevant[0].line, said_of)
    for profile in relevant:
        yield from _judged(source, profile)
        yield from _ruled(source, profile, includes.rules(source, profile))
        yield from _without_effect(source, profile)


def is_of_container(profile: Profile, assigned: Collection[str]) -> bool:
    """Whether a profile is one for containers: by its name, or because a container is given it.

    One that is attached to a program is that program's.
    """
    by_name = profile.name.startswith(("lxc-", "lxc_"))
    return not profile.attached and (by_name or profile.name in assigned)


def alike(name: str) -> str:
    """Return what is left of a name without what people mistake: hyphens, dots, case."""
    return patterns.sub(r"[-_. ]", "", name).lower()


def _judged(source: Source, profile: Profile) -> Iterator[Finding]:
    name = profile.name
    if not name.startswith("lxc-"):
        yield source.at(
            "profile-not-enterable", profile.line, f"lxc-start cannot enter the profile {name}"
        )
    if "complain" in profile.flags:
        yield source.at("profile-complain", profile.line, f"{name} has flags=(complain)")
    if off := sorted(profile.flags & _OFF):
        yield source.at(
            "profile-unconfined-flag", profile.line, f"{name} has flags=({', '.join(off)})"
        )


def _ruled(source: Source, profile: Profile, rules: Rules) -> Iterator[Finding]:
    """Yield the rules that leave nothing of a profile, its own and those that it includes."""
    name = profile.name

    def at(problem: str, place: Placed, cause: str, fix: str = "") -> Finding:
        own = place.source is source
        more = "" if own else f", which {name} includes"
        return place.source.at(problem, place.rule.line, f"{cause}{more}", fix=fix)

    bare: dict[str, Placed] = {}
    for place in rules.placed:
        given = name in _LXCS_OWN and place.source is not source
        for problem, cause, fix in () if given else _alone(place.rule):
            yield at(problem, place, cause, fix)
        if place.rule.denies:
            continue
        if patterns.fullmatch(r"\w+", place.rule.bare):
            bare[place.rule.bare] = place
        elif (file := _FILE.fullmatch(place.rule.bare)) and not file["owner"]:
            everything = _ANY_FILE.fullmatch(file["path"]) and {"r", "w"} <= _access(file)
            bare |= {"file": place} if everything else {}
    denies = any(place.rule.denies for place in rules.placed)
    # What is included and not known here may deny something; LXC's own abstractions do.
    known = all(_WITHOUT_DENY.fullmatch(included) for included in rules.unknown)
    if "all" in bare:
        yield at("profile-allows-everything", bare["all"], f"{name} has the rule 'all,'")
    elif bare.keys() >= _ALL and known and not denies:
        cause = f"{name} allows {', '.join(sorted(_ALL))} without a condition, and denies nothing"
        yield source.at("profile-allows-everything", profile.line, cause)
    elif "mount" in bare:
        yield at("profile-mount-any", bare["mount"], f"{name} has the rule 'mount,'")


def _without_effect(source: Source, profile: Profile) -> Iterator[Finding]:
    """Yield the rules that another one covers; tests compare what both compile to."""
    rules = [rule for rule in profile.rules if rule.kind == "rule"]
    first: dict[str, int] = {}
    for rule in rules:
        first.setdefault(rule.text.removeprefix("allow "), rule.line)
    for rule in rules:
        text = rule.text.removeprefix("allow ")
        kind = match[1] if (match := _PLAIN.fullmatch(rule.text)) else ""
        wider = first.get(kind) if text != kind else None
        if wider is not None:
            cause = f"'{rule.text},' is covered by '{kind},' in line {wider}"
            yield source.at("profile-rule-without-effect", rule.line, cause)
        elif first[text] < rule.line:
            cause = f"'{rule.text},' is in line {first[text]} already"
            yield source.at("profile-rule-without-effect", rule.line, cause)


def _alone(rule: Statement) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with a rule by itself, and how to correct it."""
    text, bare, allows = rule.text, rule.bare, not rule.denies
    if allows and (match := _CHANGE.fullmatch(bare)) and _any_target(match["rest"]):
        yield "profile-change-any", f"'{text},'", ""
    if allows and (file := _FILE.fullmatch(bare)):
        access, path = _access(file), file["path"]
        written = _WRITTEN.search(path) if access & {"w", "a"} else None
        if written or (access & {"r", "w", "a"} and _USED.search(path)):
            yield "profile-rules-node", f"'{text},'", ""
    if match := _CAPABILITY.fullmatch(bare):
        names = match["names"].split()
        for name in sorted(set(names) - pct_options.CAPABILITIES):
            cause, fix = f"'{name}' is no capability", pct_options.like_capability(name)
            yield "profile-capability-unknown", cause, fix
        if allows and _RULING.intersection(names):
            yield "profile-rules-node", f"'{text},'", ""


def _access(file: patterns.Match[str]) -> set[str]:
    """Return the permissions of a file's rule; those of a rule without any are all."""
    return set((file["before"] or file["after"] or "rwmkl").lower())


def _any_target(rest: str) -> bool:
    target = rest.rpartition("->")[2].strip().strip('"') if "->" in rest else ""
    return bool(_ANY_TARGET.fullmatch(target))


#: The one tunable that is known to be read by nothing, whatever guides say.
_READ_BY_NOTHING = "apparmor_nesting_profiles"


class Assignment(NamedTuple):
    """That a file gives a container a profile, and where it says so."""

    name: str
    source: Source
    line: int


def defined(sources: Sequence[Source]) -> dict[str, list[tuple[Source, Profile]]]:
    """Return each profile's name with the files that it is in."""
    places: dict[str, list[tuple[Source, Profile]]] = defaultdict(list)
    for source in sources:
        if source.kind in {Kind.PROFILE, Kind.INCLUDED}:
            for profile in profiles(source.text):
                places[profile.name].append((source, profile))
    return dict(places)


def agreement(sources: Sequence[Source], uses: Sequence[Assignment]) -> Iterator[Finding]:
    """Yield where the files do not agree."""
    known = defined(sources)
    # Of a whole /etc/apparmor.d, what no file defines is not loaded.
    whole = any(source.base and not source.alone for source in sources)
    by_look = {alike(name): name for name in known}
    for use in uses:
        like = by_look.get(alike(use.name), "")
        if use.name not in known and (like or whole):
            fix = f"The profile is called {like}: use one name everywhere." if like else ""
            cause = f"no file defines the profile {use.name}"
            yield use.source.at("profile-unknown", use.line, cause, fix=fix)
    for name, places in known.items():
        together: dict[str, list[tuple[Source, int]]] = defaultdict(list)
        for source, profile in places:
            together[source.base].append((source, profile.line))
        for base, same in together.items():
            files = {source.path for source, _ in same}
            if base and len(files) > 1:
                source, line = max(same, key=lambda place: place[0].path)
                others = ", ".join(sorted(files - {source.path}))
                yield source.at(
                    "profile-defined-twice", line, f"the profile {name} is also in {others}"
                )
    yield from _tunables(sources)


def _tunables(sources: Sequence[Source]) -> Iterator[Finding]:
    variable = f"@{{{_READ_BY_NOTHING}}}"
    texts = [s for s in sources if s.kind in {Kind.PROFILE, Kind.INCLUDED, Kind.TUNABLES}]
    named = [source for source in texts if variable in source.text]
    sets = [
        (source, statement)
        for source in named
        for statement in statements(source.text)
        if statement.assigned == _READ_BY_NOTHING
    ]
    if sum(source.text.count(variable) for source in named) == len(sets):
        for source, statement in sets:
            yield source.at("tunable-without-effect", statement.line, f"nothing reads {variable}")
