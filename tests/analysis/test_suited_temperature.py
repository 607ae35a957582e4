"""Temperatures that give a wanted entropy: found at any scale, refused where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from normkd_explore.analysis.statistics import softened_entropy
from normkd_explore.analysis.suited_temperature import (
    common_temperature,
    normkd_temperature,
    share_off,
    suited_temperature,
    top_bound,
)
from normkd_explore.temperature import Std
from tests.helpers.drawn_logits import draw, few


def test_normkd_temperature_is_the_policys():
    logits, _ = draw()
    tensor = torch.from_numpy(logits)
    np.testing.assert_allclose(normkd_temperature(logits, 1.5), Std(1.5)(tensor, tensor).T_t.squeeze(1).numpy())
    assert np.isnan(normkd_temperature([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]])).tolist() == [True, False]
    with pytest.raises(ValueError, match="at least 3"):
        normkd_temperature([[1.0, 2.0]])


@few
@given(st.integers(0, 10_000), st.floats(0.05, 0.98), st.floats(1e-3, 1e3))
def test_suited_temperature_gives_the_wanted_entropy_at_any_scale(seed, share, factor):
    logits, _ = draw(seed, samples=8)
    wanted = share * math.log(7)
    suited = suited_temperature(factor * logits, wanted)
    np.testing.assert_allclose(softened_entropy(factor * logits, suited), wanted, rtol=1e-8)
    np.testing.assert_allclose(suited, factor * suited_temperature(logits, wanted), rtol=1e-8)


def test_suited_temperature_inverts_softened_entropy():
    logits, _ = draw(samples=1)
    entropy = softened_entropy(logits, 2.75).item()
    assert suited_temperature(logits, entropy).item() == pytest.approx(2.75, rel=1e-9)


def test_rows_that_cannot_have_the_entropy_have_no_temperature():
    logits = [[1.0, 1.0, 1.0], [5.0, 5.0, 0.0], [5.0, 1.0, 0.0]]
    suited = suited_temperature(logits, 0.5)  # two equal favourites never fall below log 2 = 0.69
    assert np.isnan(suited).tolist() == [True, True, False]
    assert common_temperature(logits, 0.5) == suited[2]
    with pytest.raises(ValueError, match="no sample"):
        common_temperature(logits[:2], 0.5)
    for outside in (0.0, math.log(3), -1.0, math.nan):
        with pytest.raises(ValueError, match="wanted a value between 0"):
            suited_temperature(logits, outside)


def test_common_temperature_gives_the_median_sample_the_entropy():
    logits, _ = draw(samples=61)
    T = common_temperature(logits, 1.2)
    assert np.median(softened_entropy(logits, T)) == pytest.approx(1.2, rel=1e-9)


def test_temperatures_of_soft_targets_follow_the_standard_deviation():
    """log C - H = var / (2 T²) to second order (population variance), so equal entropy means T in proportion to std."""
    logits, _ = draw(samples=30)
    gap = 1e-6
    expected = logits.std(axis=1) / math.sqrt(2 * gap)
    np.testing.assert_allclose(suited_temperature(logits, math.log(7) - gap), expected, rtol=5e-3)


def test_share_off_counts_both_directions():
    suited = np.array([1.0, 2.0, 4.0, 8.0, math.nan])
    assert share_off(4.0, suited) == 0.75
    assert share_off(4.0, suited, factor=2.5) == 0.25
    assert math.isnan(share_off(4.0, suited[4:]))


@few
@given(st.integers(0, 10_000), st.integers(3, 30), st.floats(0.2, 5))
def test_no_row_is_surer_than_the_bound_and_one_hot_rows_reach_it(seed, classes, t_norm):
    logits = np.random.default_rng(seed).standard_cauchy((20, classes))
    logits[0] = 0.0
    logits[0, 1] = 1.0
    soft = logits / normkd_temperature(logits, t_norm)[:, None]
    top = np.exp(soft.max(axis=1)) / np.exp(soft).sum(axis=1)
    bound = top_bound(classes, t_norm)
    assert (top <= bound * (1 + 1e-9)).all()
    assert top[0] == pytest.approx(bound, rel=1e-9)


@pytest.mark.parametrize(
    "temperature, text", [([1.0, 2.0], "one a sample"), ([-1.0] * 60, "above 0"), (0.0, "above 0")]
)
def test_bad_temperatures_are_explained(temperature, text):
    with pytest.raises(ValueError, match=text):
        softened_entropy(draw()[0], temperature)
