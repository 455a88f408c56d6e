"""``python -m tests.mutate_denials [COUNT [SEED]]``: random mutations of records, read as a log.

None may raise or lose a record. A thousand mutations at a time are one log, which is read in pieces
as a file is. The seed is printed; the same seed makes the same mutations. The unit tests run 2000
of them, and a few hundred more by hypothesis.
"""

import io
import random
import sys

from docker_lxc_gate.facts.audit import audit_files
from docker_lxc_gate.facts.denial.denial_answers import danger, smallest_rule, wanted, who
from docker_lxc_gate.facts.denial.denial_groups import Tally
from docker_lxc_gate.facts.denial.denial_log import owner_by_name
from tests.doubles.apparmor.denials import CORPUS, KERNEL, LAB

_MARK = b'apparmor="DENIED"'
_ODD = (b'"', b"=", b" ", b"\x1d", b"\xff", b"(", b")", b":", b"/", b"\\", b"C3", b"audit(", _MARK)
_BATCH = 1000


def mutated(line: bytes) -> bytes:
    """Return a line with pieces left out, doubled, exchanged or replaced."""
    for _ in range(random.randint(1, 5)):  # noqa: S311 - no secret
        start, end = sorted(random.randint(0, len(line)) for _ in range(2))  # noqa: S311
        end = min(end, start + 40)
        piece = random.choice(  # noqa: S311
            [b"", random.choice(_ODD), random.randbytes(3), line[start:end] * 2]  # noqa: S311
        )
        line = line[:start] + piece.replace(b"\n", b"") + line[end:]
    return line


def main(count: int, seed: int | None = None) -> int:
    """Mutate and read so many records; an exception or a lost record ends it.

    Args:
        count: how many, rounded up to whole logs of a thousand.
        seed: of the mutations; None: another one each time.

    Returns:
        How many were read.

    Raises:
        AssertionError: a record was lost. What was read is in the message.
    """
    seed = random.randrange(1 << 32) if seed is None else seed  # noqa: S311 - no secret
    print(f"seed {seed}", flush=True)  # before anything raises
    random.seed(seed)
    lines = [line for log in (CORPUS, KERNEL, *LAB) for line in log.read_bytes().splitlines()]
    done = 0
    while done < count:
        read_to_its_end(b"\n".join(mutated(random.choice(lines)) for _ in range(_BATCH)))  # noqa: S311
        done += _BATCH
    print(f"{done} mutations: none raised, no record was lost")
    return done


def read_to_its_end(log: bytes) -> None:
    """Read a log as a file is read, and say everything of each denial.

    Raises:
        AssertionError: fewer denials were counted than the log has marks.
    """
    tally = Tally(lambda denial, _: owner_by_name(denial))
    tally.count(audit_files.lines(io.BytesIO(log)))
    groups = tally.groups()
    counted = sum(group.count for group in groups) + tally.provoked
    assert counted >= log.count(_MARK), (counted, log.count(_MARK), log)
    for group in groups:
        said = who(group.programs), wanted(group.denial.fields), danger(group.denial.fields)
        assert all(isinstance(each, str) for each in said)
        assert "\n" not in smallest_rule(group.denial)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3] or ["1000000"]))
