"""Do the tests notice a changed operator? A sample of cosmic-ray's mutants, each against the tests of its module.

    pip install cosmic-ray
    python -m benchmarks.mutants --mutants 150
    python -m benchmarks.mutants normkd_explore/losses --mutants 20 --seed 1 --log mutants.jsonl

cosmic-ray makes the mutants. It would start Python and load torch anew for each, which takes longer than most tests;
here torch is loaded once, and each mutant is a fork of this process whose import of one module gives the changed
source. No file is changed, so tests that start another Python see the module as it is. What differs in annotations
alone is no mutant. With --log a stopped command goes on where it was.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("losses", "temperature", "divergence", "data", "training/teacher", "training/runs", "analysis")
TOGETHER = ("losses", "temperature", "divergence")  # tested by each other's tests and by those of the methods
SLOW = ("test_compile.py", "test_processes.py", "test_disk.py")  # compilers and processes: minutes, for few lines
OPERATORS = (
    *("ReplaceComparisonOperator", "ReplaceBinaryOperator", "ReplaceUnaryOperator", "AddNot", "ReplaceTrueWithFalse"),
    *("ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceBreakWithContinue", "NumberReplacer"),
    *("ReplaceContinueWithBreak", "ZeroIterationForLoop"),
)
PATIENCE = 5.0  # times as long as the unchanged module's tests, and SPARE seconds
SPARE = 20.0


@dataclass(frozen=True)
class Mutant:
    """One changed operator, number or truth value."""

    module: str
    operator: str
    occurrence: int
    line: int
    before: str
    after: str


# --- making them ---------------------------------------------------------------------------------------------


Place = tuple[str, int, int]
"""Module, line, column."""


def places_of(path: Path) -> dict[Place, list[tuple[str, int]]]:
    """What can be changed in a module, and by which operators of cosmic-ray, each with its occurrence."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    nodes = list(ast_nodes(get_ast(path.read_text(encoding="utf-8"))))
    found: dict[Place, list[tuple[str, int]]] = {}
    for name in operator_names():
        # "is" in place of "==" is the same program for small numbers.
        if not name.startswith(tuple(f"core/{kind}" for kind in OPERATORS)) or name.endswith(("_Is", "_IsNot")):
            continue
        operator = get_operator(name)()
        positions = (start for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, start in enumerate(positions):
            found.setdefault((str(path.relative_to(ROOT)), *start), []).append((name, occurrence))
    return found


def changed_source(module: str, operator: str, occurrence: int) -> str:
    """The module with one change."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    return mutate_code((ROOT / module).read_text(encoding="utf-8"), get_operator(operator)(), occurrence)


def bare(source: str) -> str | None:
    """The program without its annotations, which nothing evaluates; None where it is no program."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            if getattr(node, name, None) is not None:
                setattr(node, name, ast.Constant(None))
    return ast.dump(tree)


def sample(modules: list[Path], count: int, seed: int) -> list[Mutant]:
    """`count` mutants at different places, every place of every module with the same chance."""
    places = {place: ways for path in modules for place, ways in places_of(path).items()}
    draw, found = random.Random(seed), []
    for module, line, column in draw.sample(sorted(places), len(places)):
        operator, occurrence = draw.choice(places[module, line, column])
        source, changed = (ROOT / module).read_text(encoding="utf-8"), changed_source(module, operator, occurrence)
        if bare(changed) not in (None, bare(source)):
            before, after = (text.splitlines()[line - 1].strip() for text in (source, changed))
            found.append(Mutant(module, operator, occurrence, line, before, after))
        if len(found) == count:
            break
    return found


# --- trying them ---------------------------------------------------------------------------------------------


class Changed(importlib.abc.Loader, importlib.abc.MetaPathFinder):
    """An importer that gives one module another source."""

    def __init__(self, mutant: Mutant) -> None:
        self.path = ROOT / mutant.module
        self.name = mutant.module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self.code = compile(changed_source(mutant.module, mutant.operator, mutant.occurrence), str(self.path), "exec")

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(self.code, module.__dict__)


def mirrored_tests(module: str) -> list[str]:
    """The test file of the same name first, and the other tests of its folder, without the slow ones."""
    path = Path("tests", *Path(module).parts[1:])
    own = path.with_name(f"test_{path.name}")
    folders = [path.parent, *(Path("tests", name) for name in (*TOGETHER, "methods") if path.parts[1] in TOGETHER)]
    others = [file.relative_to(ROOT) for folder in folders for file in sorted((ROOT / folder).glob("test_*.py"))]
    return [str(file) for file in dict.fromkeys([*([own] if own in others else []), *others]) if file.name not in SLOW]


def run_tests(tests: list[str], mutant: Mutant | None, seconds: float) -> tuple[bool, float]:
    """Whether all passed in a fork of this process, and how long it took; out of time is not passed."""
    began, child = time.monotonic(), os.fork()
    if child == 0:
        os._exit(in_child(tests, mutant))
    while time.monotonic() - began < seconds:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0, time.monotonic() - began
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False, time.monotonic() - began


def in_child(tests: list[str], mutant: Mutant | None) -> int:
    """pytest's exit status; 1 where the module cannot be imported."""
    os.setpgid(0, 0)
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(quiet, stream)
    try:
        if mutant is not None:
            sys.meta_path.insert(0, Changed(mutant))
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *tests]))
    except BaseException:
        return 1


def try_all(mutants: list[Mutant], log: Path | None) -> list[tuple[Mutant, bool]]:
    """Try what the log does not know, and print each survivor."""
    lines = log.read_text(encoding="utf-8").splitlines() if log and log.exists() else []
    known = {Mutant(**record["mutant"]): record["noticed"] for record in map(json.loads, lines)}
    usual: dict[str, float] = {}
    for place, mutant in enumerate(mutants, start=1):
        if mutant in known:
            continue
        tests = mirrored_tests(mutant.module)
        if mutant.module not in usual:
            passed, usual[mutant.module] = run_tests(tests, None, 900)
            if not passed:
                sys.exit(f"{mutant.module}: its tests fail without any change: pytest {' '.join(tests)}")
        passed, _ = run_tests(tests, mutant, PATIENCE * usual[mutant.module] + SPARE)
        known[mutant] = not passed
        print(f"{place}/{len(mutants)} {'SURVIVED' if passed else 'noticed'} {mutant.module}:{mutant.line}", flush=True)
        if passed:
            print(f"    {mutant.before}\n    {mutant.after}", flush=True)
        if log:
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"mutant": asdict(mutant), "noticed": not passed}) + "\n")
    return [(mutant, known[mutant]) for mutant in mutants]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="*", type=Path, help="files or folders; without any, the seven folders above")
    parser.add_argument("--mutants", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="a line of JSON a mutant")
    options = parser.parse_args()
    os.chdir(ROOT)
    given = options.modules or [ROOT / "normkd_explore" / folder for folder in FOLDERS]
    found = [path.resolve() for place in given for path in (sorted(place.glob("*.py")) if place.is_dir() else [place])]
    torch.set_num_threads(1)
    results = try_all(sample(found, options.mutants, options.seed), options.log)
    folders = Counter(str(Path(mutant.module).parent) for mutant, _ in results)
    noticed = Counter(str(Path(mutant.module).parent) for mutant, seen in results if seen)
    for folder, count in sorted(folders.items()):
        print(f"{folder:<36} {noticed[folder]}/{count}")
    print(f"noticed {sum(noticed.values())} of {len(results)}, seed {options.seed}")


if __name__ == "__main__":
    main()
