"""JUnit's XML from the record of a run: a suite a target, and *undetermined* is an error."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from docker_lxc_gate.verdict.record import Outcome, Run, Verdict


def encoded(run: Run) -> str:
    """Return the file's content; problems of the run itself are a suite of their own."""
    suites = ET.Element("testsuites", name="docker-lxc-gate")
    for target in run.targets:
        suite = ET.SubElement(suites, "testsuite", name=target.name or "gate")
        _properties(suite, *target.facts.items())
        for outcome in run.scenarios:
            if outcome.target == target.name:
                _add(suite, outcome)
    if problems := run.own_problems:
        suite = ET.SubElement(suites, "testsuite", name="the run itself")
        for problem in problems:
            case = ET.SubElement(suite, "testcase", classname="the run itself", name=problem)
            ET.SubElement(case, "error", type=run.verdict, message=problem)
    for suite in suites:
        suite.attrib |= {"timestamp": f"{run.began:%Y-%m-%dT%H:%M:%S}", "hostname": run.machine}
        for name, what in _COUNTED.items():
            suite.set(name, str(len(suite.findall(what))))
    ET.indent(suites, " ")
    return ET.tostring(suites, "unicode", xml_declaration=True) + "\n"


_COUNTED = {
    "tests": "testcase",
    "failures": "testcase/failure",
    "errors": "testcase/error",
    "skipped": "testcase/skipped",
}


def _add(suite: ET.Element, outcome: Outcome) -> None:
    name, seconds = " ".join([*outcome.requirements, outcome.title]), f"{outcome.seconds:.3f}"
    case = ET.SubElement(suite, "testcase", classname=outcome.feature, name=name, time=seconds)
    clauses = (("requirement", clause) for clause in outcome.requirements)
    _properties(case, ("verdict", outcome.word), *clauses)
    line = " ".join(outcome.cause.split())
    if outcome.waiver and outcome.is_waived:
        line = f"{outcome.verdict}, waived {outcome.waiver.terms}: {line}"
        ET.SubElement(case, "skipped", message=line)
    elif not outcome.asked:
        ET.SubElement(case, "skipped", message=line)
    elif outcome.verdict is Verdict.NOT_COMPLIANT:
        first = outcome.cause.partition("\n")[0]
        ET.SubElement(case, "failure", type=outcome.verdict, message=first).text = outcome.cause
    elif outcome.verdict is not Verdict.COMPLIANT:
        ET.SubElement(case, "error", type=outcome.verdict, message=line)
    if outcome.said:
        ET.SubElement(case, "system-out").text = "\n".join(outcome.said)


def _properties(owner: ET.Element, *those: tuple[str, str]) -> None:
    properties = ET.SubElement(owner, "properties")
    for name, value in those:
        ET.SubElement(properties, "property", name=name, value=value)
