"""The numbers of each sample's logits: every measure is its definition, and what cannot be read is explained."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from normkd_explore.analysis.statistics import MEASURES, as_logits, logit_statistics, softened_entropy
from tests.helpers.drawn_logits import draw, few


def entropy_of(row: np.ndarray) -> float:
    """From the definition, one row, in plain Python."""
    powers = [math.exp(z - max(row)) for z in row]
    return -sum(p / sum(powers) * math.log(p / sum(powers)) for p in powers)


def test_each_measure_is_its_definition():
    logits, labels = draw()
    stats = logit_statistics(logits, labels)
    np.testing.assert_allclose(stats.mean_N, logits.mean(axis=1))
    np.testing.assert_allclose(stats.std_N, logits.std(axis=1, ddof=1))
    np.testing.assert_allclose(stats.max_N, logits.max(axis=1))
    np.testing.assert_allclose(stats.entropy_N, [entropy_of(row) for row in logits])
    powers = np.exp(logits)
    np.testing.assert_allclose(stats.confidence_N, powers.max(axis=1) / powers.sum(axis=1))
    assert list(stats.correct_N) == [row.argmax() == label for row, label in zip(logits, labels, strict=True)]


@few
@given(st.integers(0, 10_000), st.floats(-50, 50), st.floats(0.1, 20))
def test_a_shift_moves_mean_and_max_alone_and_a_factor_scales_std(seed, shift, factor):
    logits, _ = draw(seed, samples=5)
    before, after, scaled = (logit_statistics(z) for z in (logits, logits + shift, factor * logits))
    np.testing.assert_allclose(after.mean_N, before.mean_N + shift, atol=1e-9)
    np.testing.assert_allclose(after.max_N, before.max_N + shift, atol=1e-9)
    for name in ("std", "entropy", "confidence"):
        np.testing.assert_allclose(after.measure(name), before.measure(name), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scaled.std_N, factor * before.std_N, rtol=1e-9)
    np.testing.assert_allclose(softened_entropy(factor * logits, factor), before.entropy_N, rtol=1e-8, atol=1e-12)


def test_extreme_rows_have_their_limits():
    stats = logit_statistics([[1e4, 0.0, 0.0], [2.0, 2.0, 2.0]])
    np.testing.assert_allclose(stats.entropy_N, [0.0, math.log(3)], atol=1e-12)
    assert stats.std_N[1] == 0 and stats.std_N[0] > 5000


def test_half_precision_and_whole_numbers_are_read_too():
    logits = torch.tensor([[1, 2, 4], [0, -3, 1]])
    for dtype in (torch.int64, torch.float16, torch.bfloat16):
        np.testing.assert_allclose(logit_statistics(logits.to(dtype)).mean_N, [7 / 3, -2 / 3])


def test_frame_and_groups_hold_the_same_numbers():
    logits, labels = draw()
    stats = logit_statistics(logits, labels)
    frame = stats.frame(class_names="abcdefg")
    assert list(frame.columns) == [*MEASURES, "predicted", "label", "correct"]
    assert frame.loc[3, "label"] == "abcdefg"[labels[3]] and frame.loc[3, "std"] == stats.std_N[3]
    groups = stats.by_correctness()
    assert len(groups["right"]) + len(groups["wrong"]) == len(stats)
    assert groups["right"].correct_N.all() and not groups["wrong"].correct_N.any()
    perfect = logit_statistics(logits, logits.argmax(axis=1))
    assert list(perfect.by_correctness()) == ["right"]
    assert "label" not in logit_statistics(logits).frame().columns


@pytest.mark.parametrize(
    "logits, labels, text",
    [
        ([1.0, 2.0], None, "unsqueeze"),
        ([[1.0, math.nan, 0.0]], None, "NaN"),
        ([[1.0, 2.0, 0.0]], [3], "labels from 3 to 3"),
        ([[1.0, 2.0, 0.0]], [0, 1], "one class index for each row"),
    ],
)
def test_bad_logits_or_labels_are_explained(logits, labels, text):
    with pytest.raises(ValueError, match=text):
        logit_statistics(logits, labels)


def test_what_needs_labels_says_so():
    stats = logit_statistics([[1.0, 2.0, 0.0]])
    with pytest.raises(ValueError, match="true class"):
        stats.by_correctness()
    with pytest.raises(ValueError, match="wanted one of mean, std"):
        stats.measure("median")
    with pytest.raises(TypeError, match="int64"):
        logit_statistics([[1.0, 2.0, 0.0]], [0.5])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_are_copied_so_that_nothing_reaches_the_callers_tensor(dtype):
    mine = torch.zeros(2, 3, dtype=dtype)
    copied = as_logits(mine)
    copied += 1
    assert copied.dtype == torch.float64 and not mine.any()
