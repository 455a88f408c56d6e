"""The state of a node or a container, read without any of the code that changes it.

Two such states show whether a rollback was exact, or whether a read-only run changed anything. A
state holds files with kind, mode, owner, size, link, time and flags, the administrator's files also
with content and attributes; packages; units; mounts; the policy in the kernel; its settings,
modules, links, addresses and firewall; and the processes that init looks after. Reading it changes
nothing. No content leaves the machine: it is hashed there.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from docker_lxc_gate import patterns
from docker_lxc_gate.errors import FactError
from docker_lxc_gate.facts import docker
from docker_lxc_gate.machines.programs import program
from docker_lxc_gate.machines.runtime.base import Runtime
from docker_lxc_gate.machines.transport import Transport
from docker_lxc_gate.tables import Row, table

_SCRIPT = program("docker_lxc_gate.facts", "machine_state.sh")
_PROGRAMS = tuple(
    program("docker_lxc_gate.facts", f"{name}.pl") for name in ("files", "kernel_state")
)
#: What could not be read of a machine; the fact says why.
_NOT_SEEN = patterns.compile(r"(?:node: |container: )?[a-z ]{1,20} not seen")
#: Limits for reading all files of a machine under emulation: seconds, and bytes of output.
_TIMEOUT, _LONGEST = 600.0, 128 << 20


class _Exempt(Row, frozen=True):
    """Facts that may differ, by their keys, and why."""

    keys: tuple[str, ...]
    reason: str


class _Table(Row, frozen=True):
    pruned: tuple[str, ...]
    hashed: str
    all: str
    units: str
    never_empty: tuple[str, ...]
    may_be_empty: tuple[str, ...]
    not_compared: tuple[str, ...]
    written_at_start: tuple[str, ...]
    by_itself: dict[str, tuple[_Exempt, ...]]
    may_differ: dict[str, tuple[_Exempt, ...]]


_TABLE = table("docker_lxc_gate.facts", "machine_state", _Table)
MAY_DIFFER = _TABLE.may_differ
_ON = {"both": "(node: |container: )?", "node": "(node: )?", "container": "(container: )?"}


def _keys(table: dict[str, tuple[_Exempt, ...]]) -> patterns.Pattern[str]:
    """Return a pattern of the whole keys in a table."""
    rows = [(_ON[place], row.keys) for place, of_place in table.items() for row in of_place]
    return patterns.compile("|".join(f"{on}(?:{'|'.join(keys)})" for on, keys in rows))


_LEFT_OUT, _BY_ITSELF = _keys(MAY_DIFFER), _keys(_TABLE.by_itself)

#: Proxmox's cluster filesystem, which gives a file another inode when it was long not looked at.
_PVE = "node: file /etc/pve/"
#: Files that no plan writes again.
_OF_PROGRAMS = patterns.compile(r"(node: |container: )?file /(boot|usr/(bin|sbin|lib|libexec))/")
#: Files that are written again, and of which the content is compared, but not the time.
WRITTEN_AT_START = patterns.compile("|".join(_TABLE.written_at_start))


def record(on: Transport) -> dict[str, str]:
    """Return the state of a machine, one fact a key, in words for a reader.

    A file's fact ends in ``| time inode ctime``. :func:`comparable_after_rollback` removes what may
    differ. Raises FactError if a part could not be read: a comparison would prove nothing.
    """
    argv = ["sh", "-c", _SCRIPT, "witness", _TABLE.hashed, _TABLE.all, _TABLE.units, *_PROGRAMS]
    for path in _TABLE.pruned:  # -path is twice as fast as one -regex for all
        argv += ["-path", path, "-prune", "-o"]
    result = on.look(argv, timeout=_TIMEOUT, limit=_LONGEST)
    text = result.stdout.decode(errors="surrogateescape")  # names of different bytes differ
    pieces = [part.partition("\n")[::2] for part in text.split("\n== ")[1:]]
    parts = dict(pieces)
    if len(parts) < len(pieces) or not parts.keys() <= {*_TABLE.never_empty, *_TABLE.may_be_empty}:
        raise FactError(f"the state of {on.machine} could not be read: two parts have one name")
    missing = [part for part in _TABLE.never_empty if not parts.get(part, "").strip()]
    missing += [part for part in _TABLE.may_be_empty if part not in parts]
    if result.exit_code or missing:
        what = f" ({', '.join(missing)})" if missing else ""
        raise FactError(
            f"the state of {on.machine} could not be read{what}: {result.stderr!r:.500}"
        )
    rows = {
        "file": _rows(parts["files"]),
        "content of": [
            list(line.partition("  ")[::-2]) for line in parts["content"].split("\n") if line
        ],
        "attributes of": _attributes(parts["attributes"]),
    }
    for kind in parts.keys() - {"files", "content", "attributes"}:
        rows["flags of" if kind == "flags" else kind] = _rows(parts[kind])
    facts: dict[str, list[str]] = {}
    for kind, of_kind in rows.items():
        for key, value in of_kind:
            facts.setdefault(f"{kind} {key}", []).append(value)
    # Stacked mounts have an order. Other facts of the same name have none.
    return {
        key: "; ".join(values if key.startswith("mount ") else sorted(set(values)))
        for key, values in facts.items()
    }


def _rows(text: str) -> list[list[str]]:
    return [(line + "\t").split("\t")[:2] for line in text.split("\n") if line]


def _attributes(text: str) -> list[list[str]]:
    """Read getfattr's blocks: the file's name, then its attributes."""
    blocks = [block.split("\n", 1) for block in text.strip().split("\n\n") if "\n" in block]
    return [
        [name.removeprefix("# file: "), "\n".join(sorted(value.strip().split("\n")))]
        for name, value in blocks
    ]


def record_target(runtime: Runtime, ctid: int) -> dict[str, str]:
    """Return the state of a running container and its node, with the container's configuration.

    Raises FactError if a part could not be read, TransportError if the container does not run.
    """
    inside = runtime.inside(ctid)
    text = runtime.node.read(runtime.config_path(ctid)) or b""
    with ThreadPoolExecutor() as pool:  # the connection is open by now
        asked = pool.submit(docker.record, inside)
        node, container = pool.map(record, (runtime.node, inside))
        objects = asked.result()
    if not any(key.startswith("policy ") for key in node):  # a container may not see it
        raise FactError(f"the policy in the kernel of {runtime.node.machine} could not be read")
    return {
        **_cgroup(runtime.node, ctid),
        **{f"node: {key}": fact for key, fact in node.items()},
        **{f"container: {key}": fact for key, fact in container.items()},
        "configuration": text.decode(errors="replace"),
        "configuration in effect": runtime.started_with(ctid),
        "process first": str(runtime.init_pid(ctid)),
        **{k if k.startswith("process ") else f"container: {k}": objects[k] for k in objects},
    }


def _cgroup(node: Transport, ctid: int) -> dict[str, str]:
    """Return the settings of a container's cgroup, which the node alone sees."""
    places = (f"/sys/fs/cgroup/lxc/{ctid}", f"/sys/fs/cgroup/lxc.payload.{ctid}")
    files = ("-maxdepth", "1", "-type", "f", "-perm", "-600")
    text = node.look(["find", *places, *files, "-exec", "grep", "-sH", "", "{}", "+"]).text
    facts: dict[str, str] = {}
    for name, value in patterns.findall(r"(?m)^/sys/fs/cgroup/[^:\n]*/([^/:\n]+):(.*)$", text):
        key = f"node: cgroup {name}"
        facts[key] = f"{facts[key]}; {value}" if key in facts else value
    return facts or {"node: cgroup not seen": f"{' and '.join(places)} cannot be read"}


def comparable_after_no_change(state: dict[str, str]) -> dict[str, str]:
    """Return the facts that a read-only run must not change, inodes included.

    A file's ctime tells of each change, also of one that keeps size and time; where its content is
    known, nothing more is asked. Left out is what the machine writes all the time: of files below
    /var only dpkg's status counts.
    """
    kept = {f"{machine}: file /var/lib/dpkg/status" for machine in ("node", "container")}
    parts = (key.partition(": content of ") for key in state)
    read = {f"{machine}: file {path}" for machine, _, path in parts if path}
    return {
        key: _compared(key, fact) if key in read or key.startswith(_PVE) else _lasting(key, fact)
        for key, fact in state.items()
        if key in kept or not _BY_ITSELF.fullmatch(key)
    }


def _lasting(key: str, fact: str) -> str:
    """Return a fact without the state of a unit that fires by itself, such as a timer."""
    fires = patterns.fullmatch(r"(node|container): active .*\.(timer|socket|path|automount)", key)
    return " ".join(fact.split()[:2]) if fires else fact


def _compared(key: str, fact: str) -> str:
    """Return a file's fact without its ctime, and on Proxmox's filesystem without its inode."""
    facts, bar, times = fact.rpartition("|")
    return facts + bar + " ".join(times.split()[: 1 if key.startswith(_PVE) else 2])


def comparable_after_rollback(state: dict[str, str]) -> dict[str, str]:
    """Return the facts that must be equal after a change and its rollback.

    Inodes are left out, because rollback writes a new file. So are times of directories, whose
    entries are compared themselves, and everything in ``machine_state.toml``. Of programs, whose
    content is not read, the ctime counts.
    """
    return {key: _stable(key, fact) for key, fact in state.items() if not _LEFT_OUT.fullmatch(key)}


def _stable(key: str, fact: str) -> str:
    if "file /" not in key:
        return _lasting(key, fact)
    facts, _, time_and_inode = fact.rpartition("|")
    if not facts:  # a name with a line feed: find prints it on two lines
        return fact
    if WRITTEN_AT_START.fullmatch(key):
        return facts
    if facts.startswith("d"):  # its size, too
        return " ".join(facts.split()[:3])
    time, _, ctime = (*time_and_inode.split(), "", "")[:3]
    return f"{facts} {time} {ctime if _OF_PROGRAMS.match(key) else ''}".rstrip()


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return the differences, one line each.

    Raises FactError if a state is empty, or a part could be read in one of them only and no other
    part differs.
    """
    if not before or not after:
        raise FactError("a recorded state is empty, so nothing can be compared")
    keys = sorted(before.keys() | after.keys())
    keys = [key for key in keys if before.get(key) != after.get(key)]
    unseen = tuple(key.removesuffix("not seen") for key in filter(_NOT_SEEN.fullmatch, keys))
    if unseen and all(key.startswith(unseen) for key in keys):
        raise FactError(
            "one of two states lacks a part, so the two cannot be compared: "
            f"{not_seen(before) or not_seen(after)}"
        )
    return [f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}" for key in keys]


def compared(state: dict[str, str]) -> list[str]:
    """Return what was compared with an equal state, and what was not, in lines for a reader."""
    counts = Counter(patterns.sub("^(node|container): ", "", key).split()[0] for key in state)
    kinds = ", ".join(f"{number} {kind}" for kind, number in counts.most_common())
    unseen = not_seen(state)
    return [
        f"{len(state)} facts compared, none differs: {kinds}",
        f"not compared: {'; '.join(_TABLE.not_compared)}",
        *[f"not seen: {unseen}"] * bool(unseen),
    ]


def not_seen(state: dict[str, str]) -> str:
    """Return what could not be read of a state, and why, for a reader; empty if all could."""
    kinds = {key: key.removesuffix(" not seen").removesuffix(" of") for key in state}
    return ", ".join(f"{kinds[key]}: {state[key]}" for key in state if _NOT_SEEN.fullmatch(key))
