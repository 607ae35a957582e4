"""The evidence on bf16-mixed: pairs of runs that differ in precision alone, and tables that grow run by run."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from normkd_explore.results import load_measured
from normkd_explore.training import RunFolder
from normkd_explore.training.recipes import presets
from scripts import measure_precision


@pytest.fixture
def small(monkeypatch):
    """A lesson of a second, with cross-entropy alone."""
    tiny = {"train_size": 200, "val_size": 100, "test_size": 100}
    monkeypatch.setattr(presets, "LESSON_DATA", {**presets.LESSON_DATA, **tiny})
    monkeypatch.setattr(presets, "LESSON_EPOCHS", 1)
    monkeypatch.setattr(measure_precision, "METHODS", ("ce",))


def test_runs_differ_in_precision_alone_and_are_not_repeated(small, tmp_path, monkeypatch, capsys):
    runs, arguments = (
        tmp_path / "runs",
        ["measure_precision", "--runs", str(tmp_path / "runs"), "--into", str(tmp_path)],
    )
    monkeypatch.setattr(sys, "argv", [*arguments, "--seeds", "2"])
    measure_precision.main()
    tables = {name: load_measured(name, tmp_path) for name in ("float32", "bf16")}
    assert {name: [row.seed for row in rows] for name, rows in tables.items()} == {"float32": [0, 1], "bf16": [0, 1]}
    mean = sum(mixed.last - whole.last for mixed, whole in zip(tables["bf16"], tables["float32"], strict=True)) / 2
    assert f"ce: {mean:+.2f} points" in capsys.readouterr().out
    ours, theirs = (RunFolder(runs / precision / "ce-seed1").recipe() for precision in ("bf16-mixed", "32-true"))
    assert ours != theirs and replace(ours, precision="32-true") == theirs
    written = {path: path.stat().st_mtime_ns for path in runs.rglob("student.safetensors")}
    measure_precision.main()
    assert written == {path: path.stat().st_mtime_ns for path in written} and len(written) == 4
