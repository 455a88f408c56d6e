"""The transcripts that need a running container, for whoever has a node.

``replay(run, ctid)`` expects a container of that id, running under the generated profile with
nesting, keyctl and fuse, and returns what differed; nothing differed when it returns nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .cases import ALL, ON_NODE, comparable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    #: argv and standard input on the node: exit code, standard output, standard error.
    Run = Callable[[Sequence[str], str], tuple[int, str, str]]

# A container with the named profile, numbers of a moment: held by other means.
SKIPPED = ("label from the node: named profile", "status --verbose: running")


def replay(run: Run, ctid: int) -> list[str]:
    """Run every transcript of `ON_NODE` and say, for each that differs, how."""
    run(["sh", "-c", "printf '12345678' > /tmp/src"], "")  # eight bytes, as "push: seen" counts
    run(["pct", "exec", str(ctid), "--", "rm", "-rf", "/root/h", "/root/dir"], "")
    return [
        difference
        for name in ON_NODE
        if name not in SKIPPED
        for difference in _differences(run, ctid, name)
    ]


def _differences(run: Run, ctid: int, name: str) -> list[str]:
    case = ALL[name]

    def here(text: str) -> str:
        return re.sub(r"\b200\b", str(ctid), text)

    code, out, err = run([here(word) for word in case.argv], case.stdin)
    pairs = {
        "exit": (str(case.exit), str(code)),
        "stdout": (comparable(here(case.stdout)), comparable(out)),
        "stderr": (comparable(here(case.stderr)), comparable(err)),
    }
    return [
        f"{name}: {what} is {got!r}, recorded {wanted!r}"
        for what, (wanted, got) in pairs.items()
        if wanted != got
    ]
