"""A page in Markdown from the record of a run, as for GitHub's job summary or a merge request.

A guest's text stands in indented blocks alone, each line of it, so it is no link and no heading.
A name or title is no markup: :func:`plain` escapes it.
"""

from __future__ import annotations

from collections.abc import Iterator

from docker_lxc_gate.printable import one_line
from docker_lxc_gate.verdict.evidence import shortened
from docker_lxc_gate.verdict.record import HOLDS, PRECEDENCE, Run

#: GitHub drops a summary of more than 1 MiB (bytes).
_ROOM = 900_000
_CAUSE = 1000
_MARKUP = {ord(char): f"\\{char}" for char in "\\`*_[]<>!|#~&"}


def encoded(run: Run) -> str:
    """Return the page; the worst causes first, and those that have no room are counted."""
    page = "\n\n".join([f"# Docker in unprivileged LXC: {run.verdict}", *_front(run)])
    causes = [outcome for outcome in run.asked if outcome.code != HOLDS]
    causes.sort(key=lambda outcome: PRECEDENCE.index(outcome.code))
    for number, outcome in enumerate(causes):
        if len(page.encode()) > _ROOM:
            return f"{page}\n\n{len(causes) - number} more causes: see verdict.json\n"
        cause = block(shortened(outcome.cause, _CAUSE))
        title = f"{outcome.target}: {outcome.title}" if len(run.targets) > 1 else outcome.title
        page += f"\n\n**{plain(title)}**: {outcome.word} ({plain(outcome.where)})\n\n{cause}"
    return f"{page}\n"


def _front(run: Run) -> Iterator[str]:
    """Yield what was run, what was not asked, and a table a target."""
    yield f"Asked: {run.scope} ({run.counts or 'none'})."
    state = {True: "unchanged", False: "with changes", None: "unknown"}[run.clean]
    times = f"{run.began:%Y-%m-%d %H:%M:%S} to {run.ended:%H:%M:%S} UTC"
    gate = f"docker-lxc-gate {run.version}, commit {run.commit or 'unknown'}, {state}"
    who = f"{run.user} on {run.machine}, {times}"
    yield block("\n".join([gate, who, run.command, *run.remarks]))
    for why, which in run.left_out:
        yield f"Not asked: {plain(which)}\n\n{block(why)}"
    if len(run.targets) > 1:
        rows = (f"| {' | '.join(map(plain, row))} |" for row in run.by_target)
        head = "| target | verdict | clauses that are not compliant |"
        yield "\n".join([head, "| --- | --- | --- |", *rows])
    for target in run.targets:
        yield f"## {plain(target.name) or 'Scenarios'}"
        yield block("\n".join(f"{key}: {one_line(text)}" for key, text in target.facts.items()))
        rows = (
            f"| {plain(', '.join(o.requirements))} | {plain(o.title)} | {o.word} |"
            for o in run.scenarios
            if o.target == target.name
        )
        yield "\n".join(["| clause | scenario | verdict |", "| --- | --- | --- |", *rows])


def plain(text: str) -> str:
    """Return a name as one line of Markdown without markup, whatever it is; also in a table."""
    return one_line(text).translate(_MARKUP)


def block(text: str) -> str:
    """Return text as Markdown's code, whatever it is."""
    return "\n".join(f"    {line}" for line in text.split("\n"))
