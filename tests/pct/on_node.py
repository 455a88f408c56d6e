"""The transcripts that need a running container, and the behaviours, for whoever has a node.

``replay(run, ctid)`` expects a container of that id, running under the generated profile with
nesting, keyctl and fuse, and returns what differed; nothing differed when it returns nothing.

``python -m tests.pct.on_node lab/200`` replays them, and the behaviours, on a target's container
that may be stopped.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from docker_lxc_gate.lab.address import lab_address
from docker_lxc_gate.machines import connect
from docker_lxc_gate.machines.target import parse

from . import behaviours
from .cases import ALL, ON_NODE, comparable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .behaviours import Behaviour

    #: argv and standard input on the node: exit code, standard output, standard error.
    Run = Callable[[Sequence[str], str], tuple[int, str, str]]

# A container with the named profile: held by other means.
SKIPPED = ("label from the node: named profile",)


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


def replay_behaviours(run: Run, ctid: int) -> list[str]:
    """Replay every behaviour on a container that may be stopped and started, and say what differs.

    Its file is put back after each; it is left stopped.
    """
    return [text for case in behaviours.ALL for text in behaviour_differences(run, case, ctid)]


def behaviour_differences(run: Run, case: Behaviour, ctid: int) -> list[str]:
    """Bring about one behaviour's state, make its call, and say what differs."""
    path = f"/etc/pve/lxc/{ctid}.conf"
    whole = run(["sh", "-c", f"cat {path}"], "")[1]
    keys = [line for line in whole.splitlines() if line and not line.startswith(("#", "lxc."))]
    _, status, _ = run(["pct", "status", str(ctid)], "")
    if case.running != ("running" in status):
        run(["pct", "start" if case.running else "stop", str(ctid)], "")

    def here(text: str) -> str:
        return re.sub(r"\b200\b", str(ctid), text)

    before = here(behaviours.file(case.before, keys))
    run(["sh", "-c", f"cat > {path}"], before)
    code, out, err = run([here(word) for word in case.argv], "")
    after = run(["sh", "-c", f"cat {path}"], "")[1]
    wanted = before if case.after is None else here(behaviours.normal(case.after, keys))
    run(["sh", "-c", f"cat > {path}"], whole)
    found = [("exit", case.exit, code)] if code != case.exit else []
    said = [("stdout", case.out, out), ("stderr", case.err, err)]
    differing = [
        *found,
        *[each for each in said if (each[2] if each[1] is None else here(each[1]) not in each[2])],
        *([("the file", wanted, after)] if after != wanted else []),
    ]
    return [f"{case.name}: {what} is {got!r}, not {want!r}" for what, want, got in differing]


def main(aimed: str) -> int:
    """Replay all on a target's container, print what differs, and return whether something does."""
    aim = parse(aimed)
    with connect.opened(aim, lab=lab_address) as runtime:

        def run(argv: Sequence[str], stdin: str) -> tuple[int, str, str]:
            done = runtime.node.run(argv, stdin=stdin.encode(), timeout=180)
            return done.exit_code, done.stdout.decode(), done.stderr.decode()

        if runtime.state(aim.ctid) != "running":
            runtime.start(aim.ctid)
        found = [*replay(run, aim.ctid), *replay_behaviours(run, aim.ctid)]
    sys.stdout.write("".join(f"{line}\n" for line in found) or "no difference\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
