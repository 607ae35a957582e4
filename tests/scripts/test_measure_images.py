"""The studies of whole trainings, on a toy: what is trained, what is chosen, and that nothing is trained twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from normkd_explore.results import load_measured
from normkd_explore.training import RunFolder
from normkd_explore.training import compare as real_compare
from scripts import measure_images
from tests.helpers.toy import BATCH, toy_dataset, toy_where
from tests.helpers.watchers import quiet, stop_at

PRESET = "glyphs/resnet8-resnet8"


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """Runs the script with toy images and a toy teacher; `watches` may stop a training."""
    trained, watches = [], []

    def compare(recipes, outs, where, resume):
        before = [RunFolder(out).finished for out in outs]
        trained.extend(out.name for out, done in zip(outs, before, strict=True) if not done)
        recipes = [replace(recipe, batch_size=BATCH) for recipe in recipes]
        watch = watches.pop() if watches else quiet
        return real_compare(recipes, outs, toy_where(tmp_path), resume, watch, dataset=toy_dataset())

    monkeypatch.setattr(measure_images, "compare", compare)
    monkeypatch.setattr(measure_images, "FACTORS", (1, 3))
    some = {"kd": ("temperature", (2, 4)), "normkd": ("t_norm", (1, 2))}
    monkeypatch.setattr(measure_images, "TEMPERATURES", some)

    def run(*words: str):
        trained.clear()
        folders = ["--out", str(tmp_path / "runs"), "--into", str(tmp_path)]
        measure_images.main([PRESET, "--epochs", "2", *folders, *words])
        return list(trained)

    run.watches = watches
    return run


def test_a_table_is_written_and_nothing_is_trained_twice(measure, tmp_path):
    assert len(measure("--only", "table", "--seeds", "1", "--name", "toy")) == 7
    rows = load_measured("toy", tmp_path)
    assert {row.method for row in rows} == {"ce", "kd", "lskd", "normkd", "dkd", "normdkd"}
    assert sorted(row.settings for row in rows if row.method == "normkd") == [
        "t_norm=1 CE x 0.1 KD x 0.9",
        "t_norm=2 CE x 0.1 KD x 0.9",
    ]
    assert "--out" not in rows[0].command and "--only table" in rows[0].command
    again = measure("--only", "table", "--seeds", "2", "--name", "toy")
    assert len(again) == 7 and all(name.endswith("seed1") for name in again)


def test_a_stopped_study_keeps_the_rows_of_finished_seeds(measure, tmp_path):
    measure.watches.extend([stop_at(1, 1), quiet])  # taken from the end
    with pytest.raises(SystemExit, match="The same command goes on"):
        measure("--only", "table", "--seeds", "2", "--name", "toy")
    assert {row.seed for row in load_measured("toy", tmp_path)} == {0}
    measure("--only", "table", "--seeds", "2", "--name", "toy")
    assert {row.seed for row in load_measured("toy", tmp_path)} == {0, 1}


def test_best_takes_what_validation_images_chose(measure, tmp_path):
    measure("--only", "surface,best", "--seeds", "1")
    surface, best = load_measured("surface", tmp_path), load_measured("best", tmp_path)
    assert len(surface) == 8 and {row.epochs for row in surface} == {1} and {row.epochs for row in best} == {2}
    assert {row.seed for row in best} == {measure_images.FRESH}
    for method in ("kd", "normkd"):
        folders = [RunFolder(path) for path in (tmp_path / "runs" / "glyphs" / "surface").glob(f"{method}-*")]
        top = max(folder.summary()["last"]["top1"] for folder in folders)
        winners = {f.summary()["settings"] for f in folders if f.summary()["last"]["top1"] == top}
        assert winners & {row.settings for row in best if row.method == method}


def test_unknown_studies_are_named(capsys):
    with pytest.raises(SystemExit):
        measure_images.arguments([PRESET, "--only", "table,leek"])
    assert "there is no leek; choose among teacher, table" in capsys.readouterr().err
