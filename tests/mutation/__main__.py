"""Sabotages the product, one mutant at a time, and prints those that no test notices.

Every mutant is made by cosmic-ray, in a copy of this checkout, and given to the tests of its
module: ``steps/docker.py`` to ``tests/unit/steps/test_*docker.py``, then to the other tests of that
folder. A survivor is a question, not an error: a test is missing, or the mutant is the same
program.
"""

import argparse
import compileall
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import NamedTuple

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from operators import OPERATORS as OURS
from operators import told

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
#: Of cosmic-ray's own operators; the others make mutants that these have made already.
OPERATORS = (
    *(f"core/ReplaceComparisonOperator_{name}" for name in ("Eq_NotEq", "NotEq_Eq")),
    *(f"core/ReplaceComparisonOperator_{name}" for name in ("Is_IsNot", "IsNot_Is")),
    *(f"core/ReplaceComparisonOperator_{name}" for name in ("Lt_LtE", "LtE_Lt", "Lt_Gt", "LtE_Gt")),
    *(f"core/ReplaceComparisonOperator_{name}" for name in ("Gt_GtE", "GtE_Gt", "Gt_Lt", "GtE_Lt")),
    *(f"core/ReplaceBinaryOperator_{name}" for name in ("Sub_Add", "BitOr_BitAnd", "BitAnd_BitOr")),
    *("core/ReplaceUnaryOperator_Delete_Not", "core/ReplaceUnaryOperator_Delete_USub"),
    *("core/ReplaceTrueWithFalse", "core/ReplaceFalseWithTrue"),
    *("core/ReplaceAndWithOr", "core/ReplaceOrWithAnd"),
    *("core/ReplaceBreakWithContinue", "core/ReplaceContinueWithBreak"),
    *("core/ExceptionReplacer", "core/NumberReplacer", "core/ZeroIterationForLoop"),
    *(f"verdicts/{name}" for name in OURS),
)
#: The folders that decide verdicts; a module of another one is mutated if it is named.
FOLDERS = ("steps", *(f"docker_lxc_gate/{name}" for name in ("verdict", "facts", "formats")))
#: Imported once, before any mutant: what is not ours takes most of a test run's start.
PRELOADED = (
    "pytest_bdd",
    "testinfra.host",
    "allure_pytest.plugin",
    "paramiko",
    "rich.table",
    "hypothesis",
    "stamina",
    "msgspec",
    "gherkin.parser",
    "pytest_bdd.parser",
)


class Place(NamedTuple):
    """Where an operator can change a module."""

    module: str
    operator: str
    occurrence: int
    line: int


@dataclass(frozen=True)
class Mutant:
    """One change of one module: the line as it is, and as the mutant has it."""

    module: str
    line: int
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}:\n  - {self.was}\n  + {self.now}"


def tests_of(module: str) -> tuple[str, ...]:
    """Return the tests of the nearest folder that has some, those named as the module first."""
    path = Path(module)
    folder = ROOT / "tests/unit" / str(path.parent).removeprefix("docker_lxc_gate/")
    while not (files := [*folder.glob("test_*.py")]):
        folder = folder.parent
    named = re.compile(rf"test_(.*_)?{path.stem}\.py")
    ordered = sorted(files, key=lambda file: (not named.fullmatch(file.name), file.name))
    return tuple(str(file.relative_to(ROOT)) for file in ordered)


def places(module: str) -> Iterator[Place]:
    """Yield every place of a module that an operator can change."""
    tree = get_ast((ROOT / module).read_text())
    for name in OPERATORS:
        operator = cosmic_ray.plugins.get_operator(name)()
        nodes = (node for node in ast_nodes(tree) for _ in operator.mutation_positions(node))
        for occurrence, node in enumerate(nodes):
            if not told(node):
                yield Place(module, name, occurrence, node.start_pos[0])


def mutants(chosen: list[Place]) -> Iterator[tuple[Mutant, str]]:
    """Yield the mutant of each place, with its module's whole text; the same text only once."""
    made: set[str] = set()
    for place in chosen:
        source = (ROOT / place.module).read_text()
        operator = cosmic_ray.plugins.get_operator(place.operator)()
        with suppress(AttributeError):  # cosmic-ray cannot replace ``except module.Error``
            text = mutate_code(source, operator, place.occurrence)
            if text is not None and text not in made and _compiles(text):
                made.add(text)
                yield Mutant(place.module, place.line, *_difference(source, text)), text


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _difference(source: str, mutant: str) -> tuple[str, str]:
    """Return what differs, line by line, without what both begin and end with."""
    was, now = source.splitlines(), mutant.splitlines()
    while was and now and was[0] == now[0]:
        del was[0], now[0]
    while was and now and was[-1] == now[-1]:
        del was[-1], now[-1]
    return " ".join(map(str.strip, was)), " ".join(map(str.strip, now))


@contextmanager
def copied() -> Iterator[Path]:
    """Make a copy of the checkout, with what is not committed yet, and be in it."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    with tempfile.TemporaryDirectory(prefix="mutation-") as place:
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
                (Path(place) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, Path(place) / name)
        os.chdir(place)
        sys.path[0] = place
        yield Path(place)


def run(tests: tuple[str, ...], deadline: float, *, quiet: bool = True) -> int | None:
    """Return pytest's exit code in a process of its own, None if it had to be ended."""
    child = os.fork()
    if not child:
        _be_pytest(tests, quiet)
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _be_pytest(tests: tuple[str, ...], quiet: bool) -> None:
    code = 99  # unless pytest says another
    try:
        os.setsid()
        if quiet:
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
        code = int(
            import_module("pytest").main(
                ["-x", "-q", "--tb=short", "--assert=plain", "-n0", *tests]
            )
        )
    except BaseException:  # noqa: BLE001 - this process ends here, whatever it is
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


@cache
def deadline(tests: frozenset[str]) -> float:
    """Return how long tests may take with a mutant; without one they must pass (seconds)."""
    started = time.monotonic()
    if code := run(tuple(sorted(tests)), 1800.0, quiet=False):
        raise SystemExit(f"the tests fail without any mutant ({code}): {' '.join(sorted(tests))}")
    return 10.0 + 3 * (time.monotonic() - started)


def survives(mutant: Mutant, text: str) -> bool:
    """Whether no test notices a mutant."""
    path, tests = Path(mutant.module), tests_of(mutant.module)
    limit = deadline(frozenset(tests))
    source, times = path.read_text(), path.stat()
    path.write_text(text)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    try:
        return run(tests, limit) == 0
    finally:
        del os.environ["PYTHONDONTWRITEBYTECODE"]
        path.write_text(source)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def main() -> None:
    """Print the mutants that no test notices, and their share."""
    parser = argparse.ArgumentParser(prog="scripts/mutation", description=main.__doc__)
    parser.add_argument("module", nargs="*", help=f"default: all of {FOLDERS}")
    parser.add_argument("--list", action="store_true", help="show the mutants, and run nothing")
    parser.add_argument("--sample", type=int, metavar="N", help="only N mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the sample; default: 0")
    asked = parser.parse_args()
    every = sorted(str(p.relative_to(ROOT)) for f in FOLDERS for p in (ROOT / f).rglob("*.py"))
    modules = asked.module or [module for module in every if tests_of(module)]
    for module in modules:
        if not (ROOT / module).is_file() or not tests_of(module):
            parser.error(f"{module}: no such module, or it has no test in tests/unit")
    cosmic_ray.plugins.OPERATOR_PROVIDERS["verdicts"] = OURS
    chosen = [place for module in modules for place in places(module)]
    if asked.sample is not None:
        drawn = random.Random(asked.seed)  # noqa: S311 - no secret
        chosen = sorted(drawn.sample(chosen, min(asked.sample, len(chosen))))
    if asked.list:
        for mutant, _ in mutants(chosen):
            print(mutant)
        return
    for name in PRELOADED:
        import_module(name)
    count = survivors = 0
    with copied() as place:
        compileall.compile_dir(place, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
        for mutant, text in mutants(chosen):
            count += 1
            if survives(mutant, text):
                survivors += 1
                print(f"no test notices: {mutant}", flush=True)
        os.chdir(ROOT)
    share = survivors / max(1, count)
    print(f"{count} mutants, {survivors} survived ({share:.1%})")


if __name__ == "__main__":
    main()
