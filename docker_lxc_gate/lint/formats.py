"""Findings as text, as JSON, and as SARIF 2.1.0 (OASIS). Foreign text is escaped and cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from docker_lxc_gate.lint.finding import PROBLEMS, Finding, Severity, Source
from docker_lxc_gate.masking import mask, shown
from docker_lxc_gate.printable import counted, one_line

#: Others are red.
STYLES = {Severity.WARNING: "yellow", Severity.ADVICE: "dim"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_SARIF_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.ADVICE: "note"}


def named(path: str) -> str:
    """Return a path as the beginning of a line that GitHub's runner does not take for a command."""
    return f"./{path}" if path.lstrip().startswith(":") else path


def heading(finding: Finding) -> str:
    """Return how the first line of a finding begins: its place, if it has one, and how bad it is.

    What was seen to happen is called a problem, too.
    """
    word = finding.severity.replace("seen", "problem")
    if not finding.path:
        return word
    numbers = (str(number) for number in (finding.line, finding.column) if number)
    return f"{shown(':'.join((named(finding.path), *numbers)))}: {word}"


def summary(findings: Sequence[Finding], sources: Sequence[Source]) -> str:
    """Return how many findings there are, and in how many files of which kind was looked."""
    kinds = Counter(source.kind.value for source in sources)
    looked = ", ".join(counted(number, kind) for kind, number in kinds.items())
    of_each = [
        counted(number, severity.value) if severity is not Severity.ADVICE else f"{number} advice"
        for severity in Severity
        if (number := sum(finding.severity is severity for finding in findings))
    ]
    return f"{', '.join(of_each) or 'no finding'} in {counted(len(sources), 'file')}: {looked}"


def as_json(
    findings: Sequence[Finding], sources: Sequence[Source], refused: Sequence[str] = ()
) -> dict[str, Any]:
    """Return findings for programs; ``line`` and ``column`` are null where there is none."""
    return {
        "files": len(sources),
        "refused": list(refused),
        "findings": [
            {
                **finding_as_json(finding),
                "file": one_line(mask(finding.path)),
                "line": finding.line or None,
                "column": finding.column or None,
                "fixable": finding.edit is not None,
            }
            for finding in findings
        ],
    }


def finding_as_json(finding: Finding, longest: int = 500) -> dict[str, Any]:
    """Return a finding without its place, for programs; foreign text up to ``longest``."""
    return {
        "id": finding.id,
        "severity": finding.severity.value,
        "message": shown(finding.cause, longest),
        "why": finding.why,
        "fix": shown(finding.fix, longest),
    }


def as_sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return findings in SARIF 2.1.0, with every rule there is."""
    places = {name: number for number, name in enumerate(PROBLEMS)}
    rules = [
        {
            "id": rule.id,
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.why},
            "help": {"text": rule.fix},
            "defaultConfiguration": {"level": _SARIF_LEVELS[rule.severity]},
        }
        for rule in PROBLEMS.values()
    ]
    results = [
        {
            "ruleId": finding.id,
            "ruleIndex": places[finding.id],
            "level": _SARIF_LEVELS[finding.severity],
            "message": {"text": f"{shown(finding.cause).removesuffix('.')}. {shown(finding.fix)}"},
            "locations": [{"physicalLocation": _location(finding)}],
        }
        for finding in findings
    ]
    driver = {"name": "docker-lxc-gate lint", "rules": rules}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
        ],
    }


def _location(finding: Finding) -> dict[str, Any]:
    path = quote(mask(finding.path).encode("utf-8", "surrogateescape"), safe="/")
    location: dict[str, Any] = {
        "artifactLocation": {"uri": f"file://{path}" if path.startswith("/") else path}
    }
    if finding.line:
        location["region"] = {"startLine": finding.line}
        if finding.column:
            location["region"]["startColumn"] = finding.column
    return location
