"""Effective classes, their medians and the pair of samples that shows best that one T does not fit all."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from normkd_explore.analysis.softness import (
    effective_classes,
    extreme_pair,
    median_classes,
    median_classes_normkd,
    scan_test_split,
    softness_band,
)
from normkd_explore.data import ArraySplit, Dataset

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 4, (9, 12))


def perplexity(logits_C, T):
    p_C = np.exp(logits_C / T) / np.exp(logits_C / T).sum()
    return float(np.prod(p_C**-p_C))


@given(st.floats(0.5, 20))
def test_effective_classes_are_the_perplexity(T):
    np.testing.assert_allclose(effective_classes(LOGITS, T), [perplexity(row, T) for row in LOGITS], rtol=1e-9)


def test_k_equal_classes_count_as_k():
    row = np.full((1, 12), -1e3)
    row[0, :5] = 7.0
    assert effective_classes(row, 3.0) == pytest.approx(5)
    assert effective_classes(np.zeros((1, 12)), 1.0) == pytest.approx(12)


def test_medians_over_temperatures():
    expected = [np.median([perplexity(row, T) for row in LOGITS]) for T in (1.0, 4.0)]
    np.testing.assert_allclose(median_classes(LOGITS, [1.0, 4.0]), expected, rtol=1e-9)
    own = [np.median([perplexity(row, t * row.std(ddof=1)) for row in LOGITS]) for t in (0.5, 1.0)]
    with_a_constant_row = np.vstack([LOGITS, np.full(12, 3.0)])
    np.testing.assert_allclose(median_classes_normkd(with_a_constant_row, [0.5, 1.0]), own, rtol=1e-9)
    with pytest.raises(ValueError, match="all 1 rows are constant"):
        median_classes_normkd(np.ones((1, 12)), [1.0])


def test_band_is_in_proportion():
    assert softness_band(100) == (35.0, 65.0) and softness_band(1000) == (350.0, 650.0)


def test_the_pair_has_the_extreme_stds_among_right_answers():
    std = LOGITS.std(axis=1)
    assert extreme_pair(LOGITS) == (std.argmax(), std.argmin())
    labels = LOGITS.argmax(axis=1)
    labels[std.argmax()] = (labels[std.argmax()] + 1) % 12
    sure, unsure = extreme_pair(torch.tensor(LOGITS), labels)
    assert sure == np.argsort(std)[-2] and unsure == std.argmin()
    assert extreme_pair(LOGITS, (LOGITS.argmax(axis=1) + 1) % 12) == (std.argmax(), std.argmin())


def test_the_whole_split_is_scanned_in_single_precision():
    images = torch.randint(0, 256, (20, 4, 4, 3), dtype=torch.uint8)
    split = ArraySplit(images, torch.arange(20) % 5)
    dataset = Dataset("noise", split, None, split, tuple("abcde"), (0.5,) * 3, (0.25,) * 3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    index, logits = scan_test_split(model, dataset)
    assert index.tolist() == list(range(20)) and logits.dtype == torch.float32
    pixels = ((images.float() / 255 - 0.5) / 0.25).permute(0, 3, 1, 2).flatten(1)
    torch.testing.assert_close(logits, model[1](pixels).detach(), rtol=1e-4, atol=1e-5)
    assert scan_test_split(model, dataset, most=5)[0].tolist() == [0, 4, 9, 14, 19]
