"""The paired test against all sign flips written out, scipy's permutation test, and the normal approximation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from normkd_explore.analysis.paired import Paired
from normkd_explore.analysis.sign_flip import EXACT_UP_TO, sign_flip_p
from normkd_explore.training.runs.report import format_report
from tests.helpers.reports import summary

WHOLE = st.integers(-8, 8)  # whole numbers make ties, and their sums are exact


def brute_force(differences: list[int]) -> float:
    """Every one of the 2^n flips, in whole numbers."""
    signs = np.array(list(itertools.product((1, -1), repeat=len(differences))))
    return float((abs(signs @ np.array(differences)) >= abs(sum(differences))).mean())


@given(st.lists(WHOLE, min_size=1, max_size=11))
def test_equals_brute_force(differences):
    assert sign_flip_p(differences) == brute_force(differences)


@given(st.lists(WHOLE, min_size=2, max_size=9), st.sampled_from([0.1, 0.02, 1e-9, 1e9]), st.randoms())
def test_neither_unit_nor_order_nor_sign_matters(differences, unit, random):
    shuffled = random.sample(differences, len(differences))
    assert sign_flip_p([-unit * value for value in shuffled]) == brute_force(differences)


@pytest.mark.parametrize("n, ahead", [(17, 15), (30, 16), (30, 24), (40, 29)])
def test_every_pair_counts(n, ahead):
    """Differences of +1 and -1 alone make it the two-sided sign test, whose p-value is a sum of binomials."""
    differences = [1] * ahead + [-1] * (n - ahead)
    expected = stats.binomtest(ahead, n).pvalue
    assert sign_flip_p(differences) == pytest.approx(expected, rel=1e-12)
    assert Paired("a", "b", tuple(range(n)), tuple(map(float, differences))).p == pytest.approx(expected, rel=1e-12)


def test_agrees_with_scipy_for_more_pairs_than_it_can_write_out():
    differences = np.random.default_rng(1).normal(0.35, 1.0, 24)
    scipy = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=50_000, rng=np.random.default_rng(2)
    )
    deviation = math.sqrt(scipy.pvalue * (1 - scipy.pvalue) / 50_000)
    assert abs(sign_flip_p(differences) - scipy.pvalue) < 5 * deviation


@pytest.mark.parametrize("n", [EXACT_UP_TO, EXACT_UP_TO + 1, 400])
def test_many_pairs_are_near_the_normal_approximation_exact_or_sampled(n):
    differences = np.random.default_rng(n).normal(0.0, 1.0, n)
    differences += 1.5 / math.sqrt(n) - differences.mean()  # some 1.5 standard errors from zero
    z = abs(differences.sum()) / math.sqrt((differences**2).sum())
    assert sign_flip_p(differences) == pytest.approx(math.erfc(z / math.sqrt(2)), abs=0.01)
    assert sign_flip_p(differences) == sign_flip_p(differences)


def test_sampled_values_are_never_zero():
    assert sign_flip_p([1.0] * 100) == 1e-5
    assert sign_flip_p([1.0, -1.0] * 50) == 1.0


@pytest.mark.parametrize("differences", [[], [1.0, float("nan")], [float("inf")]])
def test_nothing_to_test_is_refused(differences):
    with pytest.raises(ValueError, match=r"differences: found .* wanted one or more finite numbers"):
        sign_flip_p(differences)


@pytest.mark.parametrize("n, head", [(EXACT_UP_TO, "p (sign-flip)"), (EXACT_UP_TO + 1, "p (sign-flip, sampled")])
def test_the_report_says_where_flips_were_sampled(n, head):
    runs = [summary(method, seed, 0.5 + 0.001 * (seed % 7) * i) for i, method in enumerate("ab") for seed in range(n)]
    assert head in format_report(runs)
