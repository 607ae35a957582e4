"""Differences paired by seed, and how sure one may be of them."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest

from normkd_explore.analysis.paired import expected_maximum, holm, pair, smallest_p


def test_pairs_are_made_by_seed_not_by_place():
    values = {"a": {2: 5.0, 0: 1.0, 1: 9.0}, "b": {0: 0.5, 2: 1.0, 7: 100.0}}
    found = pair(values, "a", "b")
    assert found.seeds == (0, 2) and found.differences == (0.5, 4.0)
    assert (found.n, found.mean, found.wins) == (2, 2.25, 2)
    assert found.std == pytest.approx(statistics.stdev([0.5, 4.0]))
    assert pair(values, "b", "a").differences == (-0.5, -4.0)


def test_pairing_errors_teach():
    with pytest.raises(ValueError, match="baseline: found 'c', wanted one of a, b"):
        pair({"a": {}, "b": {}}, "a", "c")
    with pytest.raises(ValueError, match="a and b share 1 seeds, wanted at least 2"):
        pair({"a": {0: 1.0, 1: 1.0}, "b": {0: 2.0}}, "a", "b")


def test_ties_between_sign_patterns_survive_rounding():
    """0.3 - 0.1 and 0.4 - 0.2 differ by 1e-17: pairs of equal differences give exact multiples of 2 / 2^n."""
    found = pair({"a": {0: 0.3, 1: 0.4, 2: 0.1}, "b": {0: 0.1, 1: 0.2, 2: 0.3}}, "a", "b")
    assert found.differences == (0.2, 0.2, -0.2)
    sums = [abs(sum(signs)) for signs in itertools.product((1, -1), repeat=3)]
    assert found.p == sum(s >= 1 for s in sums) / 8


@pytest.mark.parametrize("n", range(1, 9))
def test_smallest_p_is_reached_by_one_sign(n):
    if n > 1:
        assert pair({"a": dict.fromkeys(range(n), 1.0), "b": dict.fromkeys(range(n), 0.0)}, "a", "b").p == smallest_p(n)
    assert smallest_p(n) == min(1.0, 2 / 2**n)
    with pytest.raises(ValueError, match="n: found 0"):
        smallest_p(0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []
    with pytest.raises(ValueError, match=r"found 1\.5"):
        holm([0.1, 1.5])


def test_holm_rejects_what_the_step_down_rule_rejects():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.random(6) ** 3
        order, rejected = np.argsort(p), set()
        for rank, place in enumerate(order):  # Holm's own wording: stop at the first that is not small enough
            if p[place] > 0.05 / (6 - rank):
                break
            rejected.add(int(place))
        assert {k for k, value in enumerate(holm(list(p))) if value <= 0.05} == rejected


def test_expected_maximum_against_known_values_and_a_simulation():
    assert expected_maximum(1) == pytest.approx(0, abs=1e-9)
    assert expected_maximum(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-9)
    assert expected_maximum(3) == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-9)
    drawn = np.random.default_rng(1).normal(size=(200_000, 10)).max(axis=1).mean()
    assert expected_maximum(10) == pytest.approx(drawn, abs=0.01)
    with pytest.raises(ValueError, match="k: found 0"):
        expected_maximum(0)
