"""Mutants: drawn by seed, never of annotations alone, and imported in the place of their module."""

import importlib
import sys

import pytest

from benchmarks.mutants import ROOT, Changed, Mutant, bare, mirrored_tests, sample

MODULE = "normkd_explore/analysis/paired.py"


def test_annotations_are_no_program():
    assert bare("def f(x: int | None) -> int: return x") == bare("def f(x: int & None) -> str: return x")
    assert bare("x: int = 1") == bare("x: str = 1") != bare("x: int = 2")
    assert bare("def f(:") is None


def test_a_seed_draws_the_same_mutants_of_different_places():
    pytest.importorskip("cosmic_ray")
    drawn = sample([ROOT / MODULE], 8, seed=3)
    assert drawn == sample([ROOT / MODULE], 8, seed=3) != sample([ROOT / MODULE], 8, seed=4)
    assert len(drawn) == 8 and all(mutant.before != mutant.after for mutant in drawn)


def test_the_import_gives_the_changed_source(monkeypatch):
    pytest.importorskip("cosmic_ray")
    (mutant,) = sample([ROOT / MODULE], 1, seed=0)
    name = "normkd_explore.analysis.paired"
    before = importlib.import_module(name)
    monkeypatch.setattr(sys, "meta_path", [Changed(mutant), *sys.meta_path])
    monkeypatch.delitem(sys.modules, name)
    try:
        changed = importlib.import_module(name)
    finally:
        sys.modules["normkd_explore.analysis"].paired = before
    codes = [{f.__name__: f.__code__ for f in vars(m).values() if hasattr(f, "__code__")} for m in (before, changed)]
    assert codes[0].keys() == codes[1].keys() and codes[0] != codes[1]
    assert changed.__file__ == before.__file__ and (ROOT / MODULE).read_text().splitlines()[mutant.line - 1]


def test_the_mirrored_file_comes_first():
    found = mirrored_tests(MODULE)
    assert found[0] == "tests/analysis/test_paired.py" and "tests/analysis/test_grid.py" in found
    assert "tests/losses/test_compile.py" not in mirrored_tests("normkd_explore/losses/classic.py")
    assert Mutant(MODULE, "x", 0, 1, "a", "b") == Mutant(MODULE, "x", 0, 1, "a", "b")
