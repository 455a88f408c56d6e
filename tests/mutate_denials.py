"""``python -m tests.mutate_denials [COUNT]``: random mutations of records, each read to its end.

None may raise or lose a record. The unit tests do the same with a few hundred, by hypothesis.
"""

from __future__ import annotations

import random
import sys

from facts.denial.dangerous_rules import danger
from facts.denial.denial_groups import Tally
from facts.denial.denial_words import wanted, who
from facts.denial.denials import owner_by_name
from facts.denial.smallest_rule import smallest_rule
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


def main(count: int) -> None:
    """Mutate and read so many records; an exception or a lost record ends it."""
    random.seed(count)
    lines = [line for log in (CORPUS, KERNEL, *LAB) for line in log.read_bytes().splitlines()]
    done = 0
    while done < count:
        batch = [mutated(random.choice(lines)) for _ in range(_BATCH)]  # noqa: S311
        tally = Tally(lambda denial, _: owner_by_name(denial))
        tally.count(batch)
        groups = tally.groups()
        counted = sum(group.count for group in groups) + tally.provoked
        assert counted >= sum(line.count(_MARK) for line in batch), batch
        for group in groups:
            said = who(group.programs), wanted(group.denial.fields), danger(group.denial.fields)
            assert all(isinstance(each, str) for each in said)
            assert "\n" not in smallest_rule(group.denial)
        done += _BATCH
    print(f"{done} mutations: none raised, no record was lost")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
