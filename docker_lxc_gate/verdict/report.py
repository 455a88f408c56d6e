"""The report: the record of the run, JUnit XML, and Allure's results and HTML file.

Everything is written to ``reports/`` where pytest was started. Rendering needs Node and the
npm package that ``package-lock.json`` pins (``npm ci``). Without them the results stay.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from docker_lxc_gate import home, patterns
from docker_lxc_gate.printable import one_line
from docker_lxc_gate.verdict import evidence, record
from docker_lxc_gate.verdict.claim import CLOSED, OURS, place
from docker_lxc_gate.verdict.collection import judges
from docker_lxc_gate.verdict.outputs import allure_bridge, junit, metrics

#: What each file is made by: those of the run, and those for other programs.
_FILES = pytest.StashKey[tuple[dict[Path, Any], dict[Path, Any]]]()
_SECONDS = 120.0
#: Where a run of GitHub, GitLab or Jenkins is, by what they set.
_BUILDS = (
    "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID",
    "$CI_JOB_URL",
    "$BUILD_URL",
)
#: Allure 3.18 puts Google Analytics into every page, without an option against it. Opening evidence
#: about a hypervisor must not tell anyone.
_TRACKER = patterns.compile(
    r"(?s)<script async src=\"https://www\.googletagmanager\.com/.*?</script>\s*"
    r"<script>\s*window\.dataLayer.*?</script>",
)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the folder for results, and clear it, before Allure and JUnit use it."""
    if not judges(config):
        return
    option, reports = config.option, config.invocation_params.dir / "reports"
    if option.docs_url and not option.docs_url.startswith(("http://", "https://")):
        raise pytest.UsageError(f"--docs-url {option.docs_url}: it does not begin with https://")
    folder, _ = place(config)  # before Allure's own is chosen
    if not option.allure_report_dir:
        option.allure_report_dir, option.clean_alluredir = str(reports / "allure-results"), True
    if option.clean_alluredir:
        shutil.rmtree(option.allure_report_dir, ignore_errors=True)
    option.clean_alluredir = False
    with suppress(OSError):  # Allure says why it cannot write there
        Path(option.allure_report_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
    own = {folder / "verdict.json": record.encoded}
    xml = reports / "junit.xml"
    page = reports / "report" / "index.html"
    for path in (*own, *([xml, page] if folder == reports else [])):
        _remove(path)  # a run that breaks off leaves no verdict of another run
    taken = {(folder / name).resolve() for name in OURS}
    junits = {(at / xml.name).resolve() for at in (folder, reports)}
    others = {} if option.xmlpath else {xml: junit.encoded}
    for name, given, encoded in (
        ("--junit-xml", option.xmlpath, junit.encoded),
        ("--metrics", option.metrics, metrics.encoded),
    ):
        if given:
            path = Path(os.path.expandvars(given)).expanduser().absolute()
            _require_writable(name, path, taken - (junits if encoded is junit.encoded else set()))
            if encoded is not metrics.encoded:
                _remove(path)
            taken.add(path.resolve())
            others[path] = encoded
    option.xmlpath = None  # pytest's own has our traceback, and not what was not asked
    config.stash[_FILES] = own, others


def _require_writable(option: str, path: Path, taken: Collection[Path]) -> None:
    """Raise UsageError if a file cannot be written, before a run that takes minutes."""
    metric, why = option == "--metrics", ""
    if not metric:
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.resolve() in taken:
        why = "it is another file of the run"
    elif (path.is_symlink() and not metric) or (path.exists() and not path.is_file()):
        why = "it is no regular file"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        why = "it cannot be written"
    elif metric and not (path.suffix == ".prom" and os.access(path.parent, os.W_OK)):
        why = "it does not end in .prom, or its folder cannot be written"
    if why:
        raise pytest.UsageError(f"{option} {path}: {why}: name another file")


def _remove(path: Path) -> None:
    """Remove a file, or a link to whatever."""
    if path.is_file() or path.is_symlink():
        path.unlink()


def write(config: pytest.Config, run: record.Run) -> None:
    """Write the record of a run, and the files that are made from it alone.

    One of the user's files that cannot be written is a problem of the run, and no end of it.
    """
    own, others = config.stash[_FILES]
    for path, encoded in others.items():
        try:
            # node_exporter has a user of its own
            _write(path, encoded(run), for_all=encoded is metrics.encoded)
        except OSError as error:
            run.problems.append(f"not written: {one_line(str(error))}")
    for path, encoded in own.items():
        _write(path, encoded(run))


def _write(path: Path, text: str, *, for_all: bool = False) -> None:
    """Write a file in one step, which only its owner may read, and its directory; or for all users.

    Whoever may write in the directory could put a link in its place, or in that of the new file.
    """
    if not for_all:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
        if for_all:
            os.fchmod(file.fileno(), 0o644)
        file.write(text)
    new.replace(path)


def publish(config: pytest.Config, run: record.Run) -> str:
    """Complete and render Allure's results; return one line with their place.

    An error is reported in that line only, because it says nothing about the target.
    """
    results = Path(config.option.allure_report_dir).absolute()
    try:
        results.mkdir(mode=0o700, parents=True, exist_ok=True)
        _describe(results, run)
        if config.getoption("--no-report"):
            return f"results: {_short(results)}"
        page = config.invocation_params.dir / "reports" / "report" / "index.html"
        if failure := _generate(results, page):
            return f"report: not rendered, {failure}; results: {_short(results)}"
        _write(page, _TRACKER.sub("", page.read_text("utf-8")))
        return f"report: {_short(page)}"
    except OSError as error:
        return f"report: not written, {error}"


def _generate(results: Path, page: Path) -> str:
    """Let Allure write the page; return in one line why it did not, or nothing."""
    local = home.HOME / "node_modules" / ".bin" / "allure"
    if (binary := str(local) if local.exists() else shutil.which("allure")) is None:
        return "npm's allure is not installed (npm ci)"
    argv = [binary, "generate", str(results), "--output", str(page.parent)]
    argv += ["--config", str(home.HOME / "allurerc.mjs")]
    quiet = os.environ | {"NO_COLOR": "1"}
    try:
        done = subprocess.run(
            argv,
            cwd=page.parent.parent,
            env=quiet,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            umask=CLOSED,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return " ".join(str(error).split())
    if done.returncode == 0:
        return "" if page.exists() else "Allure wrote no page"
    lines = (done.stderr or done.stdout).decode(errors="replace").split("\n")
    return next((line.strip() for line in lines if line.strip()), f"exit {done.returncode}")


def _describe(results: Path, run: record.Run) -> None:
    """Write Allure's information about the targets and the run."""
    facts = {"Verdict": run.verdict, "Coverage": f"{run.coverage} asked", "Asked": run.scope}
    changed = ", changed" if run.clean is False else ""
    facts["Gate"] = f"{run.version}, commit {run.commit[:12] or 'unknown'}{changed}"
    facts["Judged by"] = f"{run.user} on {run.machine}"
    facts["Judged"] = f"{run.began:%Y-%m-%d %H:%M:%S} to {run.ended:%Y-%m-%d %H:%M:%S} UTC"
    several = len(run.targets) > 1
    facts |= {name: word for name, word, _ in run.by_target if several}
    for target in run.targets:
        on = f" ({target.name})" if several else ""
        facts |= {f"{key}{on}": value for key, value in target.facts.items()}
    lines = (f"{_escaped(key, ' :=')}={_escaped(value)}" for key, value in facts.items())
    _write(results / "environment.properties", "\n".join(lines) + "\n")
    builds = map(os.path.expandvars, _BUILDS)
    build = next((url for url in builds if url.startswith("http") and "$" not in url), "")
    _write(results / "executor.json", json.dumps({"buildUrl": evidence.redact(build)}))
    for outcome in run.scenarios:
        if not outcome.asked:
            result = allure_bridge.not_asked(outcome, run.ended, several=several)
            _write(results / f"{result['uuid']}-result.json", json.dumps(result))


def _escaped(text: str, separators: str = "") -> str:
    """Return a key or value in one line, escaped for Java's properties."""
    return "".join(f"\\{char}" if char in f"\\{separators}" else char for char in one_line(text))


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
