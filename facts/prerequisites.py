"""What the plan asks for before anything is changed, as facts: nothing here changes anything.

Backups have a module of their own, :mod:`facts.backups`, and so has the audit log's
watching, :mod:`facts.audit_window`. Sources: git-status(1), git-ls-remote(1), sudo(8),
pct.conf(5), auditd.conf(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facts import denials
from remediation import desired
from targets.errors import FactError
from targets.runtime import container_config
from targets.transport import at_most

if TYPE_CHECKING:
    from targets.transport import CommandResult, Transport

#: What the plan changes in the repository, and nothing else may be changed in.
PLANS_FILES = frozenset(
    {
        desired.SETUP_SCRIPT,
        desired.INSTALL_SCRIPT,
        desired.CONTAINERS,
        f"etc/apparmor/{desired.PROFILE}",
    }
)
#: How long an upstream may take to answer (seconds).
_UPSTREAM_PATIENCE = 30
_MIB = 1 << 20
#: Room that a log needs for the records of a container's start, at the very least (bytes).
LEAST_ROOM = 64 * _MIB

#: git, without writing the index or asking for anything, and as the checkout's owner: the
#: configuration there names programs (filters, ssh, transports), which must not run as root.
_GIT = """
export LC_ALL=C GIT_OPTIONAL_LOCKS=0 GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=false
export SSH_ASKPASS_REQUIRE=never
repository=$1
as() { "$@"; }
if [ "$(id -u)" = 0 ]; then
    for path in "$repository" "$repository/.git" "$repository/.git/config"; do
        [ -e "$path" ] || continue
        owner=$(stat -L -c %u -- "$path"); group=$(stat -L -c %g -- "$path")
        [ "$owner" = 0 ] || break
        if [ -n "$(find -L "$path" -maxdepth 0 -perm /022)" ]; then
            echo "$path is root's and others may write to it, so git is not started as root: \
chmod go-w $path" >&2
            exit 77
        fi
    done
    if [ "${owner:-0}" != 0 ]; then
        home=$(getent passwd "$owner" | cut -d: -f6)
        as() {
            setpriv --reuid "$owner" --regid "$group" --clear-groups --no-new-privs \
                env -u SSH_AUTH_SOCK -u XDG_CONFIG_HOME "HOME=${home:-/nonexistent}" "$@"
        }
    fi
fi
ask() {
    as git -C "$repository" --work-tree=. -c safe.directory='*' -c core.fsmonitor=false \
        -c core.hooksPath=/dev/null "$@"
}
"""
_STATUS = (
    _GIT
    + """
[ -d "$1" ] || { printf 'nothing\\0'; exit 0; }
[ -e "$1/.git" ] || { printf 'no checkout\\0'; exit 0; }
ask status --porcelain=v2 --branch --untracked-files=all -z || exit
ask ls-files -v -z | grep -z '^[a-zS] ' || [ $? = 1 ]
"""
)
#: Of files that git was told to take for unchanged, prints those that are not, a line each.
_HIDDEN = (
    _GIT
    + """
while IFS= read -r file; do
    [ -e "$1/$file" ] || continue
    [ "$(ask hash-object -- "$file")" = "$(ask rev-parse "HEAD:$file")" ] || printf '%s\\n' "$file"
done
"""
)
#: What the shell ends with where git must not be started.
_UNSAFE = 77
#: How many fields stand before the path in each kind of line (git-status(1), porcelain v2).
_FIELDS = {"1": 7, "2": 8, "u": 9, "?": 0}
#: How git marks a file that its status leaves out: assume-unchanged, skip-worktree, both.
_FLAGS = frozenset({"h", "S", "s"})
#: In a session of its own, so that nothing can ask a terminal; ssh would.
_UPSTREAM = (
    _GIT
    + """
remote=$(ask config "branch.$2.remote") && branch=$(ask config "branch.$2.merge") || exit
as setsid --wait timeout -k 5 "$3" git -C "$1" -c safe.directory='*' ls-remote "$remote" "$branch"
"""
)
_LOG_ROOM = """
df -B1 --output=avail,size,target -- "$1" | tail -n 1
sed -nE 's/^space_left *= *([0-9]+%?).*/\\1/p' /etc/audit/auditd.conf 2>/dev/null || true
"""
#: What keeps the records of each source, and where.
_LOGS = {
    "auditd": ("auditd's log", "/var/log/audit"),
    "kernel": ("what the kernel records while it is watched", "/run"),
}


@dataclass(frozen=True)
class Access:
    """As whom commands run on a node: ``sudo_user`` is who became that by sudo, if anybody."""

    uid: int
    user: str
    sudo_user: str = ""


def access(node: Transport) -> Access:
    """Return as whom commands run; raises FactError if the node does not say."""
    script = 'id -u; id -un; echo "${SUDO_USER:-}"'
    answer = node.run(["sh", "-c", script]).require().text
    uid, user, sudo_user, *_ = [*answer.split("\n"), "", ""]
    if not re.fullmatch("[0-9]+", uid):
        raise FactError(f"on {node.machine}: id -u said {answer!r}")
    return Access(int(uid), user, sudo_user)


@dataclass(frozen=True)
class Checkout:
    """A repository on the node; ``commit`` is empty if it is a directory without a checkout.

    ``upstream`` is empty if the branch has none. ``changed`` are the paths that differ from the
    commit, those that git does not know included.
    """

    path: str
    commit: str = ""
    branch: str = ""
    upstream: str = ""
    changed: tuple[str, ...] = ()

    @property
    def foreign(self) -> tuple[str, ...]:
        """The changed paths that are not the plan's."""
        return tuple(path for path in self.changed if path not in PLANS_FILES)


def checkout(node: Transport, path: str) -> Checkout | None:
    """Return what is at a path, or None if nothing is there.

    Raises:
        FactError: there is something, and git cannot be asked about it.
    """
    answer = _git(node, node.run(["sh", "-c", _STATUS, "status", path], timeout=120)).text
    if answer == "nothing\0":
        return None
    if not answer:
        raise FactError(f"on {node.machine}: nobody says what is at {path}")
    entries = iter(answer.rstrip("\0").split("\0"))
    heads, changed, hidden = {}, [], []
    for entry in entries:
        kind, _, rest = entry.partition(" ")
        if kind == "#":
            key, _, value = rest.partition(" ")
            heads[key] = value
        elif kind in _FLAGS:
            hidden.append(rest)
        elif kind in _FIELDS:
            changed.append(rest.split(" ", _FIELDS[kind])[-1])
        if kind == "2":  # a renamed file: its former name comes after it
            changed.append(next(entries, ""))
    if hidden:
        argv = ["sh", "-c", _HIDDEN, "hidden", path]
        told = node.run(argv, stdin="".join(f"{each}\n" for each in hidden).encode(), timeout=120)
        changed += told.require().text.splitlines()
    return Checkout(
        path,
        heads.get("branch.oid", ""),
        heads.get("branch.head", ""),
        heads.get("branch.upstream", ""),
        tuple(sorted(set(changed))),
    )


def upstream_commit(node: Transport, found: Checkout) -> str:
    """Return the commit of the branch's upstream, asked from where it comes; nothing is fetched.

    Raises:
        FactError: it did not answer, or has no such branch: nobody can say what is current.
    """
    argv = ["sh", "-c", _UPSTREAM, "upstream", found.path, found.branch, str(_UPSTREAM_PATIENCE)]
    answer = node.run(argv, timeout=2 * _UPSTREAM_PATIENCE)
    said = answer.stderr.decode(errors="replace").strip().replace("\n", " ")
    if not answer.ok:
        within = f"did not answer within {_UPSTREAM_PATIENCE} s"
        raise FactError(
            f"on {node.machine}: {found.upstream}, the upstream of {found.path}, cannot be asked: "
            f"{within if answer.exit_code == 124 else said}"  # noqa: PLR2004 - timeout(1)
        )
    if not (commit := answer.text.partition("\t")[0]):
        raise FactError(f"on {node.machine}: the upstream of {found.path} has no {found.upstream}")
    return commit


def _git(node: Transport, answer: CommandResult) -> CommandResult:
    if answer.exit_code == _UNSAFE:
        raise FactError(f"on {node.machine}: {answer.stderr.decode(errors='replace').strip()}")
    if answer.exit_code == 127:  # noqa: PLR2004 - the shell found no such program
        raise FactError(f"git is not installed on {node.machine}: apt-get install git")
    return answer.require()


@dataclass(frozen=True)
class Affected:
    """A container that is made for Docker: its state, and whether it has the plan's profile.

    What runs under the profile is reached when that is replaced in the kernel.
    """

    ctid: int | str
    state: str
    under_profile: bool

    def __str__(self) -> str:
        """For a reader."""
        why = "under the profile" if self.under_profile else "made for Docker"
        return f"{self.ctid} ({self.state}, {why})"


def affected(node: Transport, profile: str, ctid: int) -> tuple[Affected, ...]:
    """Return the containers of a Proxmox node that have the profile, or are made for Docker.

    Whether one that runs is under it the kernel knows: a file may name it in an include, or may
    have been changed since the start. Docker itself cannot be seen from outside; that nesting is
    given along with keyrings or ``/dev/fuse`` can.

    Args:
        node: whose.
        profile: its name.
        ctid: one that is there: where it is not seen, the others are not seen either.

    Raises:
        FactError: it is not among those that the node names.
    """
    read = ["-exec", "grep", "-aH", "", "{}", "+"]
    with at_most(_LONGEST):
        lines = node.run(["find", "-L", "/etc/pve/lxc", "-name", "*.conf", *read]).require().text
    texts: dict[int, str] = {}
    for name, line in re.findall(r"^/etc/pve/lxc/([0-9]+)\.conf:(.*)$", lines, re.MULTILINE):
        texts[int(name)] = f"{texts.get(int(name), '')}{line}\n"
    rows = [line.split() for line in node.run(["pct", "list"]).require().text.splitlines()]
    states = {row[0]: row[1] for row in rows if len(row) > 1}
    if ctid not in texts or str(ctid) not in states:
        raise FactError(f"{node.machine} does not name container {ctid}: who else is there?")
    found = []
    running = denials.running_under(node, profile)
    for each, text in sorted(texts.items()):
        options = container_config.parse("", text).current()
        given = container_config.given(options.get("features", ""))
        under = options.get("lxc.apparmor.profile") == profile or str(each) in running
        if under or ("nesting" in given and given & {"keyctl", "fuse"}):
            found.append(Affected(each, states.get(str(each), "in no known state"), under))
    others = sorted(running - {str(each) for each in texts})
    return (*found, *(Affected(each, "running", under_profile=True) for each in others))


_PLAIN = "/var/lib/lxc"
#: The configurations of all containers of a node, snapshots included (bytes).
_LONGEST = 16 << 20


def affected_plain(node: Transport, profile: str, ctid: int) -> tuple[Affected, ...]:
    """Return the same of a node with plain LXC, whose containers may have names.

    An include is not followed: what a container is given there is not seen, but for the profile
    of one that runs.
    """
    look = ("find", "-L", _PLAIN, "-mindepth", "2", "-maxdepth", "2", "-name", "config")
    with at_most(_LONGEST):
        lines = node.run([*look, "-exec", "grep", "-aH", "", "{}", "+"]).require().text
    texts: dict[str, str] = {}
    for name, line in re.findall(rf"^{_PLAIN}/([^/]+)/config:(.*)$", lines, re.MULTILINE):
        texts[name] = f"{texts.get(name, '')}{line}\n"
    columns = ("--fancy", "--fancy-format", "NAME,STATE")
    listing = node.run(["lxc-ls", "-P", _PLAIN, *columns]).require().text
    states = {row[0]: row[1].lower() for row in map(str.split, listing.splitlines()[1:]) if row[1:]}
    if not {str(ctid)} <= texts.keys() & states.keys():
        raise FactError(f"{node.machine} does not name container {ctid}: who else is there?")
    found = []
    running = denials.running_under(node, profile)
    for name, text in sorted(texts.items()):
        written = container_config.parse_lxc("", text)
        assigned = written.current().get("lxc.apparmor.profile")
        under = assigned == profile or name in running
        if under or {"nesting", "fuse"} <= container_config.granted(written, "").keys():
            each = int(name) if re.fullmatch("[0-9]+", name) else name
            found.append(Affected(each, states.get(name, "in no known state"), under))
    return tuple(found)


@dataclass(frozen=True)
class Room:
    """The file system under a log: bytes ``free`` of it, and how many must be.

    ``log`` is what a reader calls what is kept there.
    """

    log: str
    place: str
    free: int
    needed: int


def log_room(node: Transport, source: str) -> Room:
    """Return the room for more records; at auditd's own ``space_left`` it does what it is told.

    Args:
        node: whose log.
        source: ``auditd`` or ``kernel``, as :class:`facts.audit_window.Window` finds it.

    Raises:
        FactError: the answer cannot be read.
    """
    log, where = _LOGS[source]
    answer = node.run(["sh", "-c", _LOG_ROOM, "room", where]).require().text
    table = re.match(r"\s*([0-9]+)\s+([0-9]+)\s+(/.*)\n(?:([0-9]+)(%?)\n)?", answer)
    if table is None:
        raise FactError(f"on {node.machine}: the room for {log} is not known: {answer!r}")
    free, size, place, left, percent = table.groups()
    needed = LEAST_ROOM
    if left and source == "auditd":
        own = int(size) * int(left) // 100 if percent else int(left) * _MIB
        needed = max(needed, own)
    return Room(log, place, int(free), needed)
