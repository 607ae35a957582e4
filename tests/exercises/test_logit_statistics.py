"""The exercises of notebook 01 know right answers and likely mistakes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from normkd_explore.analysis import model_logits, pictures
from normkd_explore.analysis.statistics import logit_statistics, softened_entropy
from normkd_explore.analysis.suited_temperature import normkd_temperature, suited_temperature, top_bound
from normkd_explore.data import load_dataset
from normkd_explore.exercises import check
from normkd_explore.training import get_preset, load_example_student, load_teacher
from tests.helpers.drawn_logits import draw


def said(capsys, name: str, answer: object) -> str:
    check(name, answer)
    return capsys.readouterr().out


def test_right_answers_are_what_the_library_computes(capsys):
    logits, _ = draw()
    before, after = logit_statistics(logits), logit_statistics(logits + 5)
    moved = {m for m in ("mean", "std", "max", "entropy") if not np.allclose(before.measure(m), after.measure(m))}
    assert said(capsys, "01-shift", moved).startswith("Right")
    assert said(capsys, "01-bound", top_bound(10, 2.0)).startswith("Right")
    target = softened_entropy(logits[:1], 3.0).item()
    assert said(capsys, "01-scale", suited_temperature(2 * logits[:1], target).item()).startswith("Right")
    agreement = {}
    for t_norm in (0.5, 2.0):
        T = normkd_temperature(logits, t_norm)
        suited = suited_temperature(logits, float(np.median(softened_entropy(logits, T))))
        kept = ~np.isnan(suited)
        agreement[t_norm] = np.corrcoef(T[kept], suited[kept])[0, 1]
    answer = "lower" if agreement[0.5] < agreement[2.0] else "higher"
    assert said(capsys, "01-regime", answer).startswith("Right")


def test_right_answers_about_the_shipped_models_are_what_they_do(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("NORMKD_CACHE", str(tmp_path))
    recipe = get_preset("glyphs/resnet20-resnet8")
    dataset = load_dataset("glyphs", train_size=100, val_size=100, test_size=200)
    images = pictures(dataset.test, torch.arange(200))
    teacher, student = load_teacher(recipe.teacher, dataset, None), load_example_student(recipe, dataset)
    of = {
        name: logit_statistics(model_logits(model, dataset, images), dataset.test.labels_N)
        for name, model in (("teacher", teacher), ("student", student))
    }
    assert said(capsys, "01-models", max(of, key=lambda name: np.median(of[name].std_N))).startswith("Right")
    groups = of["student"].by_correctness()
    difference = "smaller" if np.median(groups["wrong"].std_N) < np.median(groups["right"].std_N) else "larger"
    assert said(capsys, "01-wrong", difference).startswith("Right")


@pytest.mark.parametrize(
    "name, answer, hint",
    [
        ("01-shift", {"mean"}, "another one"),
        ("01-shift", {"mean", "max", "std"}, "moves along"),
        ("01-shift", ["entropy"], "cancels"),
        ("01-shift", 5, "set of names"),
        ("01-models", "student", "longer"),
        ("01-models", 1, '"teacher" or "student"'),
        ("01-wrong", "larger", "stand out"),
        ("01-wrong", True, '"smaller" or "larger"'),
        ("01-scale", 3, "twice as far"),
        ("01-scale", 1.5, "larger divisor"),
        ("01-bound", 0.99, "√10"),
        ("01-bound", top_bound(10, 1.0), "T_norm = 1"),
        ("01-regime", "higher", "Compute it"),
        ("01-regime", 0, '"higher" or "lower"'),
    ],
)
def test_mistakes_get_their_hint(capsys, name, answer, hint):
    assert hint in said(capsys, name, answer)
