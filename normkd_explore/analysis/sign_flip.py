"""The paired sign-flip test: were two methods equal, each difference could as well have had the other sign.

Letters: n differences, of which the first h form one half; S sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

EXACT_UP_TO = 40
"""Pairs whose 2^n sign flips are all counted; more are sampled."""
DRAWS = 99_999
"""Random flips where not all can be counted."""
_ROUNDING = 1e-9  # of the sum of all |differences|: sums that are equal on paper count as equal


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p-value of "the mean difference is zero" from the sign flips of n paired differences.

        p = share of the 2^n flips s with |sum_i s_i d_i| >= |sum_i d_i|

    Free of assumptions other than symmetry. The smallest value is 2 / 2^n, so three pairs never give less than 0.25.
    Up to 40 pairs p is exact. Beyond that 99,999 flips are drawn, the same ones in every call, and
    p = (those that reach the sum + 1) / 100,000, a valid p-value too (Phipson and Smyth 2010); it is 0.00001 or more.

    Raises:
        ValueError: there is no difference, or one is not finite.
    """
    values_n = np.asarray(list(differences), dtype=np.float64)
    if not len(values_n) or not np.isfinite(values_n).all():
        raise ValueError(f"differences: found {list(differences)}, wanted one or more finite numbers.")
    threshold = abs(values_n.sum()) - _ROUNDING * np.abs(values_n).sum()
    if threshold <= 0:
        return 1.0
    return _count_all(values_n, threshold) if len(values_n) <= EXACT_UP_TO else _sample(values_n, threshold)


def _count_all(values_n: np.ndarray, threshold: float) -> float:
    """All 2^n flips by way of the sums of two halves: for each of one, how many of the other reach the threshold."""
    half = len(values_n) // 2
    left_S, right_S = _sums(values_n[:half]), np.sort(_sums(values_n[half:]))
    reaching = len(left_S) * len(right_S) - int(np.searchsorted(right_S, threshold - left_S).sum())
    return 2 * reaching / 2 ** len(values_n)  # as many reach minus the threshold: flip every sign


def _sums(values_n: np.ndarray) -> np.ndarray:
    sums_S = np.zeros(1)
    for value in values_n:
        sums_S = np.concatenate([sums_S + value, sums_S - value])
    return sums_S


def _sample(values_n: np.ndarray, threshold: float) -> float:
    generator, reaching, left = np.random.default_rng(0), 0, DRAWS
    while left:
        rows = min(left, 10_000)
        signs_Bn = generator.integers(0, 2, (rows, len(values_n)), dtype=np.int8) * 2 - 1
        reaching += int((np.abs(signs_Bn @ values_n) >= threshold).sum())
        left -= rows
    return (reaching + 1) / (DRAWS + 1)
