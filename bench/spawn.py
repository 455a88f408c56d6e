"""Runs one command, and tells what it took; :func:`bench.cost.of` starts this as a program.

Linux counts the memory of the process that starts a program into the peak of that program
(``exec_mmap`` in ``fs/exec.c``). So whoever measures a peak must be small: this imports nothing
large.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main(told: int, argv: list[str]) -> int:
    """Run a command, and write its duration, processor time and peak to a file descriptor.

    Returns:
        Its exit code.
    """
    started = time.monotonic()
    _, status, used = os.wait4(os.posix_spawnp(argv[0], argv, os.environ), 0)
    cost = {
        "seconds": time.monotonic() - started,
        "processor": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss / 1024,
    }
    os.write(told, json.dumps(cost).encode())
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
