"""Sabotages what decides verdicts, one mutant at a time, and says which of them no test notices.

Every mutant is made by cosmic-ray, in a copy of this checkout, and given to the tests that
``modules.toml`` names for its module. One that they let pass must be listed in
``survivors.toml`` with a reason; one that is listed and caught is listed for nothing.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import TYPE_CHECKING, Any

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from operators import Provider, told

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    *(f"verdicts/{name}" for name in Provider()),
)
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


@dataclass(frozen=True)
class Mutant:
    """One change of one module: the line as it is, and as the mutant has it."""

    module: str
    within: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.module}, {self.within}:\n  - {self.was}\n  + {self.now}"


@dataclass(frozen=True)
class Module:
    """What is mutated, with the arguments for pytest that select the tests which judge it."""

    path: str
    tests: tuple[str, ...]
    leave_out: tuple[str, ...] = ()


def modules() -> list[Module]:
    """Return the modules that decide verdicts."""
    table = tomllib.loads((HERE / "modules.toml").read_text())
    return [
        Module(path, tuple(given["tests"]), tuple(given.get("leave_out", ())))
        for path, given in table.items()
    ]


def justified() -> Counter[Mutant]:
    """Return the survivors that are listed, each as often as it is."""
    table = tomllib.loads((HERE / "survivors.toml").read_text())
    return Counter(
        Mutant(each["module"], each["within"], each["was"], each["now"])
        for each in table.get("survivor", ())
    )


def mutants(module: Module, source: str) -> Iterator[tuple[Mutant, str]]:
    """Yield every mutant of a module, with its whole text."""
    tree = get_ast(source)
    made: set[str] = set()
    for name in OPERATORS:
        operator = cosmic_ray.plugins.get_operator(name)()
        places = [node for node in ast_nodes(tree) for _ in operator.mutation_positions(node)]
        for occurrence, node in enumerate(places):
            if told(node):
                continue
            within = ASTQuery(node).get_definition_name() or _constant(node)
            text = mutate_code(source, operator, occurrence)
            if within in module.leave_out or text is None or text in made or not _compiles(text):
                continue
            made.add(text)
            yield Mutant(module.path, within, *_difference(source, text)), text


def _constant(node: Any) -> str:
    """Return the name that a statement outside of functions gives its value."""
    while node.parent is not None and node.parent.type != "file_input":
        node = node.parent
    return str(node.get_first_leaf().value)


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


def judge(module: Module) -> tuple[list[Mutant], int]:
    """Return the mutants of a module that its tests let pass, and how many there were."""
    path = Path(module.path)
    source, times = path.read_text(), path.stat()
    sys.dont_write_bytecode = False
    started = time.monotonic()
    if code := run(module.tests, 600.0, quiet=False):
        raise SystemExit(f"{module.path}: its tests fail without any mutant ({code})")
    deadline = 10.0 + 3 * (time.monotonic() - started)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    survived, count = [], 0
    for mutant, text in mutants(module, source):
        count += 1
        path.write_text(text)
        try:
            if run(module.tests, deadline) == 0:
                survived.append(mutant)
        finally:
            path.write_text(source)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    del os.environ["PYTHONDONTWRITEBYTECODE"]
    took = time.monotonic() - started
    print(f"{module.path}: {count} mutants, {len(survived)} survived, {took:.0f} s", flush=True)
    return survived, count


def main() -> int:
    """Return 0 if exactly the listed mutants survive, 1 if not."""
    parser = argparse.ArgumentParser(prog="scripts/mutation", description=main.__doc__)
    parser.add_argument("module", nargs="*", help="only these; all that decide verdicts if none")
    parser.add_argument("--list", action="store_true", help="show the mutants, and run nothing")
    parser.add_argument("--toml", action="store_true", help="show survivors as survivors.toml has")
    asked = parser.parse_args()
    known = {each.path: each for each in modules()}
    if unknown := set(asked.module) - set(known):
        parser.error(f"not in modules.toml: {', '.join(sorted(unknown))}")
    cosmic_ray.plugins.OPERATOR_PROVIDERS["verdicts"] = Provider()
    _try_operators()
    chosen = [known[path] for path in asked.module or known]
    if asked.list:
        for module in chosen:
            for mutant, _ in mutants(module, (ROOT / module.path).read_text()):
                print(mutant)
        return 0
    for name in PRELOADED:
        import_module(name)
    with copied() as place:
        compileall.compile_dir(place, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
        try:
            return _report(chosen, as_toml=asked.toml)
        finally:
            os.chdir(ROOT)


def _try_operators() -> None:
    """Hold each operator of ours to its own examples."""
    for operator in Provider.operators.values():
        for example in operator.examples():
            made = mutate_code(example.pre_mutation_code, operator(), example.occurrence)
            if (made or example.pre_mutation_code) != example.post_mutation_code:
                raise SystemExit(f"{operator.__name__}: {example}, and not {made!r}")


def _report(chosen: list[Module], *, as_toml: bool) -> int:
    """Judge module by module; print what survived unlisted, what is listed idly, and totals."""
    listed = justified()
    total = alive = wrong = 0
    for module in chosen:
        survived, count = judge(module)
        total, alive = total + count, alive + len(survived)
        here = Counter({each: n for each, n in listed.items() if each.module == module.path})
        new, idle = Counter(survived) - here, here - Counter(survived)
        wrong += new.total() + idle.total()
        for mutant in new.elements():
            print(_toml(mutant) if as_toml else f"no test notices: {mutant}", flush=True)
        for mutant in idle.elements():
            print(f"listed, and does not survive: {mutant}", flush=True)
    print(f"{total} mutants: {total - alive} killed, {alive} survived; {wrong} not as listed")
    return int(bool(wrong))


def _toml(mutant: Mutant) -> str:
    def quoted(text: str) -> str:
        return f"'{text}'" if "'" not in text else f"'''{text}'''"

    return (
        f'[[survivor]]\nmodule = "{mutant.module}"\nwithin = "{mutant.within}"\n'
        f'was = {quoted(mutant.was)}\nnow = {quoted(mutant.now)}\nwhy = ""\n'
    )


if __name__ == "__main__":
    sys.exit(main())
