"""Calibration measured against an evaluation sample by sample, and against cases known by construction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkd_explore.analysis.calibration import fit_temperature, reliability, softmax
from normkd_explore.figures.calibration import reliability_figure


def certain(confidences: list[float], classes: int = 4) -> np.ndarray:
    """Probabilities (N, C) whose first class has the confidence; the rest is even."""
    rest = [(1 - c) / (classes - 1) for c in confidences]
    return np.array([[c, *[r] * (classes - 1)] for c, r in zip(confidences, rest, strict=True)])


def drawn_logits(seed: int, samples: int = 400, classes: int = 5, scale: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their own softmax: calibrated at T = 1."""
    rng = np.random.default_rng(seed)
    z = scale * rng.normal(size=(samples, classes))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return z, np.array([rng.choice(classes, p=row) for row in p])


def slow_ece(probs: np.ndarray, labels: np.ndarray, bins: int) -> float:
    """Sample by sample, bin by bin, with fractions of whole numbers for the borders."""
    total = 0.0
    for k in range(bins):
        inside = [
            (max(p), float(list(p).index(max(p)) == y))
            for p, y in zip(probs.tolist(), labels.tolist(), strict=True)
            if k / bins < max(p) <= (k + 1) / bins
        ]
        if inside:
            total += abs(sum(c for c, _ in inside) - sum(r for _, r in inside))
    return total / len(labels)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), bins=st.integers(1, 20))
def test_ece_is_that_of_a_loop(seed, bins):
    z, labels = drawn_logits(seed, samples=60)
    probs = softmax(z)
    found = reliability(probs, labels, bins)
    assert found.ece == pytest.approx(slow_ece(probs, labels, bins), abs=1e-12)
    assert found.count_K.sum() == 60
    assert found.accuracy == (z.argmax(1) == labels).mean()


def test_one_bin_by_hand():
    found = reliability(certain([0.9] * 10), [0] * 7 + [1] * 3)
    assert found.ece == pytest.approx(0.2)
    full = found.count_K > 0
    assert found.count_K[full].tolist() == [10] and np.isnan(found.accuracy_K[~full]).all()
    assert found.confidence_K[full] == pytest.approx(0.9) and found.accuracy_K[full] == pytest.approx(0.7)


def test_borders_belong_to_the_bin_below_and_certainty_to_the_last():
    found = reliability(certain([0.5, 0.75, 1.0]), [0, 0, 0], bins=4)
    assert found.count_K.tolist() == [0, 1, 1, 1]
    assert found.ece == pytest.approx((0.5 + 0.25) / 3)


def test_errors_of_opposite_sign_cancel_in_one_bin_and_not_in_two():
    probs, labels = certain([0.4, 0.4, 0.8, 0.8]), [0, 0, 1, 0]
    assert reliability(probs, labels, bins=1).ece == pytest.approx(0.15)
    assert reliability(probs, labels, bins=2).ece == pytest.approx((2 * 0.6 + 2 * 0.3) / 4)


def test_logits_are_refused_with_the_cure():
    with pytest.raises(ValueError, match=r"row 0 sums to 3.* softmax\(logits\)"):
        reliability([[1.0, 2.0]], [0])
    with pytest.raises(ValueError, match=r"smallest value is -0\.5"):
        reliability([[1.5, -0.5]], [0])
    with pytest.raises(ValueError, match="row 0 sums to nan"):
        reliability([[float("nan"), 0.5]], [0])


@pytest.mark.parametrize("labels", [[0, 1], [2], [-1], []])
def test_labels_that_do_not_fit_are_refused(labels):
    with pytest.raises(ValueError, match="labels"):
        reliability([[0.5, 0.5]], labels)


def test_other_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"shape \(2,\), wanted \(N, C\)"):
        reliability([0.5, 0.5], [0, 1])
    with pytest.raises(ValueError, match="bins: found 0"):
        reliability([[0.5, 0.5]], [0], bins=0)
    with pytest.raises(ValueError, match="temperature: found 0"):
        softmax([[1.0, 2.0]], 0)


@pytest.mark.parametrize("T", [0.2, 1.0, 5.0])
def test_fitted_temperature_is_the_smallest_cross_entropy(T):
    """Against a fine grid and torch's cross-entropy, and it follows a factor on the logits exactly."""
    z, labels = drawn_logits(1)
    fitted = fit_temperature(T * z, labels)
    grid = fitted * np.linspace(0.9, 1.1, 201)
    losses = [
        torch.nn.functional.cross_entropy(torch.from_numpy(T * z / g), torch.from_numpy(labels)).item() for g in grid
    ]
    assert grid[int(np.argmin(losses))] == pytest.approx(fitted, rel=1e-3)
    assert fitted == pytest.approx(T * fit_temperature(z, labels), rel=1e-7)


def test_fitting_finds_calibrated_logits_calibrated_and_mends_the_others():
    z, labels = drawn_logits(2, samples=4000)
    assert fit_temperature(z, labels) == pytest.approx(1.0, abs=0.06)
    broken = reliability(softmax(0.2 * z), labels).ece
    mended = reliability(softmax(0.2 * z, fit_temperature(0.2 * z, labels)), labels)
    assert broken > 0.2 and mended.ece < 0.03
    assert mended.accuracy == (z.argmax(1) == labels).mean()


@pytest.mark.parametrize("labels", [[0, 1, 2], [1, 2, 0]])
def test_no_best_temperature_is_said(labels):
    """All right: the colder the better. No better than chance: the hotter the better."""
    with pytest.raises(ValueError, match="no temperature"):
        fit_temperature(np.eye(3), labels)


def test_figure_shows_the_numbers():
    found = reliability(certain([0.9] * 4), [0, 0, 0, 1], bins=10)
    figure = reliability_figure({"a": found, "b": found})
    assert [note.text for note in figure.layout.annotations] == ["a: ECE 15.0 % (10 bins)", "b: ECE 15.0 % (10 bins)"]
    bars = figure.data[0]
    assert [(x, y) for x, y in zip(bars.x, bars.y, strict=True) if y is not None] == [(0.85, 0.75)]
    assert figure.data[2].y == (0, 0, 0, 0, 0, 0, 0, 0, 4, 0)
