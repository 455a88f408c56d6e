"""Prometheus's text from the record of a run, as node_exporter's textfile collector reads it."""

from __future__ import annotations

from docker_lxc_gate.verdict.record import Requirement, Run, Verdict

_PREFIX = "docker_lxc_gate"


def encoded(run: Run) -> str:
    """Return the file's content: each clause has a series a verdict, which is 1 for its own."""
    gate = {"version": run.version, "commit": run.commit}
    gauges: dict[str, tuple[str, list[tuple[dict[str, str], float]]]] = {
        "requirement": (
            "Whether a clause of the plan has this verdict.",
            [
                (_of(clause) | {"verdict": verdict.value}, int(verdict is clause.verdict))
                for clause in run.requirements
                for verdict in Verdict
            ],
        ),
        "requirement_waived": (
            "Whether the verdict of a clause is waived.",
            [(_of(clause), int(clause.waived)) for clause in run.requirements],
        ),
        "requirement_scenarios": (
            "How many scenarios a clause has.",
            [(_of(clause), len(clause.scenarios)) for clause in run.requirements],
        ),
        "requirement_scenarios_asked": (
            "How many scenarios of a clause were asked.",
            [(_of(clause), clause.asked) for clause in run.requirements],
        ),
        "info": (
            "The gate and the plan that judged.",
            [({"target": target.name, "plan": target.plan} | gate, 1) for target in run.targets],
        ),
        "exit_code": ("Exit code of the last run, 0 if compliant.", [({}, run.code)]),
        "end_time_seconds": ("When the last run ended.", [({}, run.ended.timestamp())]),
        "duration_seconds": (
            "How long the last run took.",
            [({}, (run.ended - run.began).total_seconds())],
        ),
    }
    text = ""
    for name, (what, samples) in gauges.items():
        text += f"# HELP {_PREFIX}_{name} {what}\n# TYPE {_PREFIX}_{name} gauge\n"
        for labels, value in samples:
            given = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
            text += f"{_PREFIX}_{name}{{{given}}} {value}\n"
    return text


def _of(requirement: Requirement) -> dict[str, str]:
    return {"target": requirement.target, "requirement": requirement.id}


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
