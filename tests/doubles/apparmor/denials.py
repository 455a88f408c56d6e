"""A corpus of AppArmor's records, as kernels, auditd and dbus-daemon write them."""

from pathlib import Path

from docker_lxc_gate.facts.audit.audit_records import Denial, parse

_DATA = Path(__file__).parents[2] / "data/denials"
#: One record of each operation, by hand after real ones; at its end an enriched one, two in one
#: line, and two that were cut.
CORPUS = _DATA / "audit.log"
#: The forms that the kernel's log and the journal have.
KERNEL = _DATA / "kern.log"
#: What the lab's kernel (6.12) recorded of each operation that it mediates: of a process of the
#: node, of one in the container, and in the journal of a node without auditd. The programs call
#: themselves as the rows of ``proved.toml``.
LAB_NODE, LAB_CONTAINER = _DATA / "lab-node.log", _DATA / "lab-container.log"
LAB_JOURNAL = _DATA / "lab-journal.log"
#: All that the kernel printed of one of them there: the denial, its system call, the command line.
LAB_PRINTED = _DATA / "lab-printed.log"
#: What the gate itself provokes: three canaries and four attempts, by hand after real ones.
GATE = _DATA / "gate.log"
LAB = (LAB_NODE, LAB_CONTAINER, LAB_JOURNAL)
#: What docs/denials.md explains.
EXAMPLE = _DATA / "example.log"


def canary(name: str) -> str:
    """Return the record of a canary."""
    record = next(one for one in GATE.read_text("utf-8").splitlines() if 'root"' in one)
    return record.replace("canary0123456789abcdefroot", name)


def denial(record: str, profile: str = "lxc-phoenix-v2") -> Denial:
    """Return a denial of a profile: what a record says else."""
    (parsed,) = parse(f'apparmor="DENIED" profile="{profile}" pid=7 {record}')
    return parsed
