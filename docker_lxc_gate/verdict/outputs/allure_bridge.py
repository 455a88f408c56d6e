"""Gherkin steps, verdicts and evidence for Allure's report.

allure-pytest reports tests and fixtures; pytest-bdd's hooks report steps. The commands of a step
or a fixture are attached to it. Compliant is *passed*, not compliant is *failed*, undetermined is
*broken*. allure-pytest goes by the type of the exception alone, so this overrides its status.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Generator, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import allure
import allure_commons
import attrs
import pytest
from allure_commons.logger import AllureFileLogger
from allure_commons.model2 import Label, Link, Parameter, Status, StatusDetails, TestStepResult
from msgspec import structs

from docker_lxc_gate import home, patterns
from docker_lxc_gate.printable import counted
from docker_lxc_gate.verdict import evidence
from docker_lxc_gate.verdict.claim import closed_to_others
from docker_lxc_gate.verdict.collection import requirements_of, scenario_of, target_of
from docker_lxc_gate.verdict.outputs.markdown import plain
from docker_lxc_gate.verdict.record import MOST, Verdict
from docker_lxc_gate.verdict.requirements import CATALOGUE, severity
from docker_lxc_gate.verdict.verdicts import JUDGEMENT, SAID, in_then, judge

if TYPE_CHECKING:
    from pytest_bdd.parser import Scenario, Step

    from docker_lxc_gate.verdict.record import Outcome
    from docker_lxc_gate.verdict.verdicts import Judgement

STATUS = {
    Verdict.COMPLIANT: Status.PASSED,
    Verdict.NOT_COMPLIANT: Status.FAILED,
    Verdict.UNDETERMINED: Status.BROKEN,
}
CLAUSES = "docs/plan.md#clauses-scenarios-actions"
_RED = "docs/troubleshooting.md#frequent-red-verdicts"
#: allurerc.mjs makes categories of these causes: of what is not compliant the first one whose words
#: its message has, else the first one of its clauses. No link is made of a message.
CAUSES = (
    # name, words, clauses, the page about it
    ("Version of runc", "runc version", "", "https://github.com/opencontainers/runc/issues/4968"),
    ("Confinement and denials", "AppArmor|confined|a record", "STEP-[12]|VAL-4", _RED),
    ("Configuration", "features|mount entry", "VAL-1|STEP-3.1", _RED),
    ("Docker does not run", "Docker (is not|does not|runs, but)", "", "docs/doctor.md"),
    ("Storage", "storage driver|fuse|image store|is mounted at", "VAL-2", _RED),
    ("Other causes", "", "^", _RED),
)
_UNKNOWN = "Could not tell", "docs/troubleshooting.md#frequent-undetermined-verdicts"
#: Of what stands so in a step's title, Allure's page makes a link.
_ADDRESS = patterns.compile(r"(?:https?|ftp|mailto):|www\.")
#: The open step's id in the report.
_OPEN = pytest.StashKey[str]()


class MaskedFiles(AllureFileLogger):
    """Writes Allure's files with secrets masked, even in fixtures' errors and captured output.

    Only their owner may read them, whoever made the folder.
    """

    def _report_item(self, item: Any) -> None:
        """Write a result, a container or the globals."""
        with closed_to_others():
            super()._report_item(_masked(item))  # type: ignore[no-untyped-call]

    @allure_commons.hookimpl
    def report_container(self, container: Any) -> None:
        """Write a fixture, if there is something to show: most are pytest-bdd's own."""
        for parts in (container.befores, container.afters):
            parts[:] = filter(_shows, parts)
        if container.befores or container.afters:
            super().report_container(container)  # type: ignore[no-untyped-call]

    @allure_commons.hookimpl
    def report_attached_data(self, body: str | bytes, file_name: str) -> None:
        """Write an attachment."""
        text = body if isinstance(body, str) else body.decode(errors="replace")
        with closed_to_others():
            super().report_attached_data(evidence.redact(text), file_name)  # type: ignore[no-untyped-call]

    @allure_commons.hookimpl
    def report_attached_file(self, source: str, file_name: str) -> None:
        """Write a file as an attachment, as any other one."""
        self.report_attached_data(Path(source).read_bytes(), file_name)


def _shows(part: Any) -> bool:
    """Whether a fixture has something to show; a clean-up that passed has no status."""
    return part.attachments or part.steps or part.status not in {Status.PASSED, None}


def _masked(value: Any) -> Any:
    """Return a value of Allure's model with every text in it masked."""
    if isinstance(value, str):
        return evidence.redact(value)
    if isinstance(value, list):
        return [_masked(item) for item in value]
    if attrs.has(type(value)):
        fields = [field.name for field in attrs.fields(type(value))]
        masked = attrs.evolve(value, **{name: _masked(getattr(value, name)) for name in fields})
        if isinstance(masked, TestStepResult):
            masked.name = _unlinked(masked.name)
        if isinstance(masked, StatusDetails):  # the title of a step that Allure adds
            masked.message = _unlinked(masked.message)
        return masked
    return value


def _unlinked(title: str | None) -> str:
    """Return a step's title without addresses, of which Allure makes links: some are a guest's."""
    return _ADDRESS.sub(lambda match: f"{match[0][:-1]}[{match[0][-1]}]", title or "")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Mask Allure's files."""
    if not _allure(config):
        return
    plugins = allure_commons.plugin_manager.get_plugins()
    for plugin in [plugin for plugin in plugins if type(plugin) is AllureFileLogger]:
        masked: Any = MaskedFiles(config.option.allure_report_dir)  # type: ignore[no-untyped-call]
        _exchange(plugin, masked)
        config.add_cleanup(partial(_exchange, masked, plugin))  # Allure unregisters its own


def _exchange(out: object, into: object) -> None:
    allure_commons.plugin_manager.unregister(out)
    allure_commons.plugin_manager.register(into)


def _allure(config: pytest.Config) -> Any:
    """Return allure-pytest's reporter (AllureReporter, untyped), or None without Allure."""
    listener = config.pluginmanager.get_plugin("allure_listener")
    return listener and listener.allure_logger


def _now() -> int:
    return int(time.time() * 1000)


def pytest_bdd_before_step(request: pytest.FixtureRequest, step: Step) -> None:
    """Open a step."""
    item = request.node
    if reporter := _allure(item.config):
        item.stash[_OPEN] = key = str(uuid.uuid4())
        name = f"{step.keyword} {step.name}"
        reporter.start_step(None, key, TestStepResult(name=name, start=_now()))


def pytest_bdd_after_step(request: pytest.FixtureRequest) -> None:
    """Close the step with its commands and lines."""
    _close(request.node, Status.PASSED)


def pytest_bdd_step_error(request: pytest.FixtureRequest, exception: Exception) -> None:
    """Close the step with the verdict of its exception."""
    judgement = judge(exception, in_then=in_then(request.node))
    _close(request.node, STATUS[judgement.verdict], judgement.cause)


def pytest_bdd_after_scenario(request: pytest.FixtureRequest) -> None:
    """Close a skipped step, for which there is no hook."""
    _close(request.node, Status.SKIPPED)


def _close(item: pytest.Item, status: str, cause: str = "") -> None:
    _attach(item)
    if _OPEN in item.stash:
        details = StatusDetails(message=cause) if cause else None
        how: dict[str, Any] = {"stop": _now(), "status": status, "statusDetails": details}
        _allure(item.config).stop_step(item.stash[_OPEN], **how)
        del item.stash[_OPEN]


def _attach(item: pytest.Item, since: tuple[int, int] = (0, 0), of: str = "") -> None:
    """Attach new commands and lines to the open element of the report."""
    new = evidence.of(item.config).drain(since)
    item.stash[SAID] = item.stash.get(SAID, ()) + new.lines
    if not _allure(item.config):
        return
    for line in new.lines:
        with allure.step(line):
            pass
    if new.commands:
        body = "\n".join(map(evidence.transcript, new.commands))
        title = f"{counted(len(new.commands), 'command')}{of}"
        allure.attach(body, title, allure.attachment_type.TEXT)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_fixture_setup(request: pytest.FixtureRequest) -> Generator[None, Any, Any]:
    """Attach a fixture's commands to it; it is open only inside Allure's wrapper."""
    before = evidence.of(request.config).mark()
    try:
        return (yield)
    finally:
        _attach(request._pyfuncitem, before)  # noqa: SLF001 - also for session fixtures


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Name the scenario even if its set-up fails, outside Allure's wrapper, which names it, too."""
    scenario = scenario_of(item)
    if scenario and (reporter := _allure(item.config)) and (target := target_of(item)):
        # By default it is the repr of the target, with all of its keys.
        reporter.get_test(None).parameters.append(Parameter("target", value=target))
    try:
        yield
    finally:
        if scenario and _allure(item.config):
            _describe(item, scenario)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Attach the clean-up's commands to the scenario."""
    try:
        yield
    finally:
        _attach(item, of=" of the clean-up")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give Allure our verdict, with secrets masked, and the record the names of Allure's files."""
    report = yield
    reporter = _allure(item.config)
    if reporter and JUDGEMENT in item.stash:
        test, judgement = reporter.get_test(None), item.stash[JUDGEMENT]
        test.status = STATUS[judgement.verdict]
        if judgement.cause and test.statusDetails:
            test.statusDetails.message = judgement.cause
            test.statusDetails.trace = evidence.redact(test.statusDetails.trace or "")
        files = tuple(_attached(test))[:MOST]
        report.gate = structs.replace(report.gate, files=files)  # type: ignore[attr-defined]
        if report.when != "teardown":
            return report
        if judgement.code:
            name, page = cause(judgement, requirements_of(item))
            test.labels.append(Label("cause", name))
            test.links += _links(item.config, page)
            test.description = f"{test.description}\n\n{name}: see `{page}`".strip()
        waiver, today = report.gate.waiver, datetime.now(UTC).date()
        if waiver and waiver.holds_on(today):
            test.name += " (waived)"
            test.labels += [Label("tag", "waived"), Label("owner", waiver.owner)]
            if test.statusDetails:
                test.statusDetails.known = True
            test.description = f"Waived {plain(waiver.terms)}\n\n{test.description}"
    return report


def cause(judgement: Judgement, requirements: Sequence[str]) -> tuple[str, str]:
    """Return where a verdict comes from, as a category, and the page about it."""
    if judgement.verdict is Verdict.UNDETERMINED:
        return _UNKNOWN
    message, clauses = judgement.cause[:500], " ".join(requirements)
    by_message = (row for row in CAUSES if row[1] and patterns.search(row[1], message))
    by_clause = (row for row in CAUSES if row[2] and patterns.search(row[2], clauses))
    name, *_, page = [*by_message, *by_clause][0]
    return name, page


def _links(config: pytest.Config, page: str) -> list[Link]:
    """Return a link to a page, if it has an address: Allure 3 makes a link of no other one."""
    address = (config.getoption("--docs-url") or home.documentation()).rstrip("/")
    url = urljoin(f"{address}/", page.removeprefix("docs/"))
    return [Link("link", url, page)] if url.startswith("http") else []


def _attached(part: Any) -> Iterator[str]:
    """Yield the names of the files that are attached to a test or step, and to its steps."""
    yield from (attachment.source for attachment in part.attachments)
    for step in part.steps:
        yield from _attached(step)


def _labels(feature: str, requirements: Sequence[str]) -> list[Label]:
    """Return by what the report groups (epic), sorts and filters."""
    labels = [Label("epic", f"{clause} {CATALOGUE[clause]}") for clause in requirements]
    labels += [Label("feature", feature), Label("suite", feature)]
    labels += [Label("tag", clause) for clause in requirements]
    return [*labels, Label("severity", severity(requirements))]


def not_asked(outcome: Outcome, ended: datetime, *, several: bool) -> dict[str, Any]:
    """Return Allure's result of a scenario that was not asked: *skipped*, with the reason."""
    at, key = ended.timestamp() * 1000, f"{outcome.target} {outcome.nodeid}"
    return {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, key)),
        "name": f"{outcome.title} [{outcome.target}]" if several else outcome.title,
        "status": Status.SKIPPED,
        "statusDetails": {"message": f"{outcome.verdict}: {outcome.cause}"},
        "start": at,
        "stop": at,
        "labels": [*map(attrs.asdict, _labels(outcome.feature, outcome.requirements))],
    }


def _describe(item: pytest.Item, scenario: Scenario) -> None:
    requirements = requirements_of(item)
    clauses = [f"**{clause}** {CATALOGUE[clause]}" for clause in requirements]
    test = _allure(item.config).get_test(None)
    gate = item.config.pluginmanager.get_plugin("gate-session")
    target = target_of(item) if gate and gate.screen.several else ""
    test.name = f"{scenario.name} [{target}]" if target else scenario.name
    test.description = "\n\n".join([*clauses, scenario.description]).strip()
    test.labels += _labels(scenario.feature.name, requirements)
    test.links += _links(item.config, CLAUSES)
