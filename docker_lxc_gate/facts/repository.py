"""A repository on a node: its commit, its uncommitted changes, its upstream's commit.

git writes and fetches nothing, and runs as the checkout's owner. Sources: git-status(1),
git-ls-remote(1).
"""

from __future__ import annotations

from dataclasses import dataclass

from docker_lxc_gate.errors import FactError
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.read import ABSENT, Read
from docker_lxc_gate.machines.result import CommandResult
from docker_lxc_gate.machines.transport import Transport

#: How long an upstream may take to answer (seconds).
_UPSTREAM_PATIENCE = 30

_CHECKOUT = program("docker_lxc_gate.facts", "checkout.sh")
_GIT = _CHECKOUT + program("docker_lxc_gate.facts", "git.sh")
#: Runs a program as the owner on a file of the checkout. A link or a pipe may be in its place.
_ON_FILE = f'{_CHECKOUT}file=$repository/$2; shift 2; as timeout 30 "$@" "$file"'
#: The script's exit code if git must not run.
_UNSAFE = 77
#: How many fields stand before the path in each kind of line (git-status(1), porcelain v2); "=" is
#: our own, of a file whose content is another one than the commit's.
_FIELDS = {"1": 7, "2": 8, "u": 9, "?": 0, "=": 0}


@dataclass(frozen=True)
class Checkout:
    """A repository on the node; ``commit`` is empty if the directory is no checkout.

    ``upstream`` is empty if the branch has none. ``changed`` are the paths that differ from the
    commit, and untracked files.
    """

    path: str
    commit: str = ""
    branch: str = ""
    upstream: str = ""
    changed: tuple[str, ...] = ()


def checkout(node: Transport, path: str) -> Checkout | None:
    """Return the repository at a path; None if it is absent. Raises FactError if git cannot run."""
    result = _require_safe(node.look(["sh", "-c", _GIT, "status", path], timeout=120))
    if result.exit_code == 127:  # noqa: PLR2004 - the shell found no such program
        raise FactError(f"git is not installed on {node.machine}: apt-get install git")
    answer = result.require().stdout.decode(errors="surrogateescape")  # names are bytes of any kind
    if answer == "nothing\0":
        return None
    if not answer:
        raise FactError(f"on {node.machine}: git status printed nothing about {path}")
    entries = iter(answer.rstrip("\0").split("\0"))
    heads, changed = {}, []
    for entry in entries:
        kind, _, rest = entry.partition(" ")
        if kind == "#":
            key, _, value = rest.partition(" ")
            heads[key] = value
        elif kind in _FIELDS:
            changed.append(rest.split(" ", _FIELDS[kind])[-1])
        if kind == "2":  # a renamed file, followed by its former name
            changed.append(next(entries, ""))
    return Checkout(
        path,
        heads.get("branch.oid", ""),
        heads.get("branch.head", ""),
        heads.get("branch.upstream", ""),
        tuple(sorted(set(changed))),
    )


def file_of(path: str, name: str) -> Read[bytes | None]:
    """Read a file of the repository at ``path``, as its owner; None if it is absent.

    Raises FactError if others could exchange the repository. What git's configuration includes is
    not judged, for git does not run.
    """

    def parse(answer: CommandResult) -> bytes | None:
        if _require_safe(answer).exit_code == 1 and ABSENT in answer.stderr:
            return None
        return answer.require().stdout

    return Read(("sh", "-c", _ON_FILE, "owner", path, name, "cat", "--"), parse)


def upstream_commit(node: Transport, checkout: Checkout) -> str:
    """Return the commit of the branch at its upstream, by ls-remote; nothing is fetched.

    Raises FactError if the upstream did not answer, or has no such branch.
    """
    argv = ["sh", "-c", _GIT, "upstream", checkout.path, checkout.branch, str(_UPSTREAM_PATIENCE)]
    answer = node.look(argv, timeout=2 * _UPSTREAM_PATIENCE)
    stderr = answer.stderr.decode(errors="replace").strip().replace("\n", " ")
    if not answer.ok:
        within = f"did not answer within {_UPSTREAM_PATIENCE} s"
        raise FactError(
            f"on {node.machine}: {checkout.upstream}, the upstream of {checkout.path}, does not "
            f"answer: {within if answer.exit_code == 124 else stderr}"  # noqa: PLR2004 - timeout(1)
        )
    if not (commit := answer.text.partition("\t")[0]):
        raise FactError(
            f"on {node.machine}: the upstream of {checkout.path} has no {checkout.upstream}"
        )
    return commit


def _require_safe(answer: CommandResult) -> CommandResult:
    if answer.exit_code == _UNSAFE:
        raise FactError(f"on {answer.machine}: {answer.stderr.decode(errors='replace').strip()}")
    return answer
