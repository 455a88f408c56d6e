"""Assessment results of NIST's OSCAL from the record of a run: a result a target.

A clause is an objective, and a finding if it was asked. *Undetermined* is not satisfied, for a
reason other than a failure. A guest's text is in blocks of code alone: a reader renders Markdown.
"""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

import msgspec

from docker_lxc_gate.verdict.outputs.summary import block, plain
from docker_lxc_gate.verdict.record import WAIVED, JudgedTarget, Outcome, Requirement, Run, Verdict
from docker_lxc_gate.verdict.requirements import CATALOGUE

if TYPE_CHECKING:
    from uuid import UUID

    from docker_lxc_gate.verdict.waivers import Waiver

_OTHER = {"state": "not-satisfied", "reason": "other"}
_STATUSES = {
    Verdict.COMPLIANT: {"state": "satisfied", "reason": "pass"},
    Verdict.NOT_COMPLIANT: {"state": "not-satisfied", "reason": "fail"},
}


def encoded(run: Run) -> str:
    """Return the file's content: every UUID follows from the record, so one record makes one."""
    whole = uuid5(NAMESPACE_URL, msgspec.json.encode(run).decode())
    gate = f"docker-lxc-gate {run.version}, commit {run.commit or 'unknown'}, exit code {run.code}"
    plan = {"uuid": uuid5(whole, "plan"), "title": "The gate's plan, which is no file of OSCAL"}
    objectives = [
        {"control-id": id_, "parts": [{"id": id_, "name": "assessment-objective", "prose": text}]}
        for id_, text in CATALOGUE.items()
    ]
    results = {
        "uuid": whole,
        "metadata": {
            "title": f"Docker in unprivileged LXC: {run.verdict}",
            "last-modified": run.ended,
            "version": f"{run.ended:%Y-%m-%dT%H:%M:%SZ}",
            "oscal-version": "1.1.3",
            "remarks": _code(gate, *run.remarks),
        },
        "import-ap": {"href": f"#{plan['uuid']}"},
        "local-definitions": {"objectives-and-methods": objectives},
        "results": [_result(run, each, whole) for each in run.targets or [JudgedTarget("")]],
        "back-matter": {"resources": [plan]},
    }
    text = msgspec.json.encode({"assessment-results": _filled(results)}).decode()
    return msgspec.json.format(text, indent=1) + "\n"


def _result(run: Run, target: JudgedTarget, whole: UUID) -> dict[str, Any]:
    name, result = plain(target.name) or "gate", uuid5(whole, target.name)
    item = uuid5(NAMESPACE_URL, f"docker-lxc-gate {target.name}")  # the same in each run
    asked = [each for each in run.asked if each.target == target.name]
    clauses = {each.id: each for each in run.requirements if each.target == target.name}
    no = {Verdict.NOT_ASKED, Verdict.NOT_APPLICABLE}
    why = {id_: f"{id_}: {e.verdict}, {e.cause}" for id_, e in clauses.items() if e.verdict in no}
    excluded = [id_ for id_ in CATALOGUE if id_ in why or id_ not in clauses]
    facts = _code(*(f"{key}: {text}" for key, text in target.facts.items()))
    controls = {
        "include-all": {},
        "exclude-controls": [{"control-id": each} for each in excluded],
        "remarks": _code(*why.values()),
    }
    return {
        "uuid": result,
        "title": name,
        "description": f"What the gate saw of {name}.",
        "start": run.began,
        "end": run.ended,
        "local-definitions": {
            "inventory-items": [{"uuid": item, "description": name, "remarks": facts}]
        },
        "reviewed-controls": {"control-selections": [controls]},
        "observations": [_observation(each, result, item, run.ended) for each in asked],
        "risks": [_risk(e, e.waiver, result) for e in asked if e.waiver and e.is_waived],
        "findings": [_finding(e, asked, result) for id_, e in clauses.items() if id_ not in why],
    }


def _observation(outcome: Outcome, result: UUID, item: UUID, ended: datetime) -> dict[str, Any]:
    return {
        "uuid": _id(result, outcome),
        "title": plain(outcome.title),
        "description": outcome.word,
        "methods": ["TEST"],
        "subjects": [{"subject-uuid": item, "type": "inventory-item"}],
        "relevant-evidence": [
            {"href": f"allure-results/{each}", "description": "Commands, and what came back."}
            for each in outcome.files
        ],
        "collected": outcome.ended or ended,
        "remarks": _code(outcome.cause, *outcome.said),
    }


def _risk(outcome: Outcome, waiver: Waiver, result: UUID) -> dict[str, Any]:
    """Return what a waiver accepts until its day."""
    return {
        "uuid": _id(result, outcome, "risk"),
        "title": f"Waived: {plain(outcome.title)}",
        "description": _code(outcome.cause),
        "statement": _code(waiver.terms),
        "status": "deviation-approved",
        "deadline": datetime.combine(waiver.expires, time.max, UTC),
        "related-observations": [{"observation-uuid": _id(result, outcome)}],
    }


def _finding(clause: Requirement, asked: list[Outcome], result: UUID) -> dict[str, Any]:
    its = [each for each in asked if clause.id in each.requirements]
    status = _STATUSES.get(clause.verdict, _OTHER) | {"remarks": _code(clause.cause)}
    return {
        "uuid": uuid5(result, clause.id),
        "title": f"{clause.id}: {clause.text}",
        "description": clause.verdict + WAIVED * clause.waived,
        "target": {"type": "objective-id", "target-id": clause.id, "status": status},
        "related-observations": [{"observation-uuid": _id(result, each)} for each in its],
        "related-risks": [{"risk-uuid": _id(result, e, "risk")} for e in its if e.is_waived],
    }


def _id(result: UUID, outcome: Outcome, of: str = "observation") -> UUID:
    return uuid5(result, f"{of} {outcome.nodeid}")


def _code(*lines: str) -> str:
    """Return lines as Markdown's code, or nothing if none says anything."""
    return block("\n".join(said)) if (said := [*filter(None, lines)]) else ""


def _filled(value: Any) -> Any:
    """Return a value without its empty lists and texts, which the standard refuses."""
    if isinstance(value, list):
        return [_filled(each) for each in value]
    if isinstance(value, dict):
        return {key: _filled(each) for key, each in value.items() if each not in ([], "")}
    return value
