"""Each fault, from a restored snapshot, turns red what it names and nothing else."""

from collections.abc import Callable

from proof.faults.fault import Fault


def test_fault(fault: Fault, broken: Callable[[Fault], list[str]]) -> None:
    """And what the gate says names the cause."""
    problems = broken(fault)
    assert not problems, "\n".join([fault.title, *problems])
