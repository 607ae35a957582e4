"""Comparing methods on the same seeds: what the differences are, and what so few of them can show.

Runs of one seed start from the same weights and see the same batches, so their difference is freed of much that makes
single runs vary. The test assumes only that, were the methods equal, a difference could as well have had the other
sign.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from normkd_explore.analysis.sign_flip import DRAWS, EXACT_UP_TO, sign_flip_p


@dataclass(frozen=True)
class Paired:
    """Differences method - baseline, one for each seed that both have. In the unit of the values, here points."""

    method: str
    baseline: str
    seeds: tuple[int, ...]
    differences: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.differences)

    @property
    def mean(self) -> float:
        return statistics.mean(self.differences)

    @property
    def std(self) -> float:
        """Sample standard deviation (divisor n - 1)."""
        return statistics.stdev(self.differences)

    @property
    def wins(self) -> int:
        """Seeds for which the method is ahead."""
        return sum(difference > 0 for difference in self.differences)

    @property
    def p(self) -> float:
        """Two-sided p-value of the sign-flip test, exact up to 40 pairs; see `training.sign_flip.sign_flip_p`."""
        return sign_flip_p(self.differences)


def pair(values: Mapping[str, Mapping[int, float]], method: str, baseline: str) -> Paired:
    """Pair two methods by seed; seeds that only one of them has are left out.

    Args:
        values: accuracy by method and seed, as `results.by_method` gives it.
        method, baseline: the sign is method minus baseline.
    Raises:
        ValueError: a method is unknown, or fewer than two seeds are shared.
    """
    for argument, name in (("method", method), ("baseline", baseline)):
        if name not in values:
            raise ValueError(f"{argument}: found {name!r}, wanted one of {', '.join(values)}.")
    seeds = tuple(sorted(values[method].keys() & values[baseline].keys()))
    if len(seeds) < 2:
        raise ValueError(
            f"{method} and {baseline} share {len(seeds)} seeds, wanted at least 2: run both with the same --seeds."
        )
    # Rounded because 50.4 - 38.1 leaves a rest of 1e-15 that would break ties between sums.
    differences = tuple(round(values[method][seed] - values[baseline][seed], 6) for seed in seeds)
    return Paired(method, baseline, seeds, differences)


def smallest_p(n: int) -> float:
    """The smallest p-value that n pairs can give: 2 / 2^n, when all differences have one sign (sampled: 0.00001).

    Raises:
        ValueError: n is below 1.
    """
    if n < 1:
        raise ValueError(f"n: found {n}, wanted at least 1 pair.")
    return min(1.0, 2.0 ** (1 - n)) if n <= EXACT_UP_TO else 1 / (DRAWS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: with m tests, the smallest times m, the next times m - 1 ...

    Below 0.05 means: the chance that any of the m tests is below by luck alone is at most 5 % (Holm 1979).

    Raises:
        ValueError: a value is outside [0, 1].
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise ValueError(f"p_values: found {p}, wanted numbers from 0 to 1.")
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def expected_maximum(k: int) -> float:
    """Mean of the largest of k independent standard normal numbers: what choosing the best of k noisy looks gains.

        E max = ∫ x · k φ(x) Φ(x)^(k-1) dx

    By the trapezoidal rule on [-9, 9]; 0 for k = 1, 1.54 for 10, 2.25 for 50.

    Raises:
        ValueError: k is below 1.
    """
    if k < 1:
        raise ValueError(f"k: found {k}, wanted at least 1 look.")
    x = np.linspace(-9.0, 9.0, 7201)
    below = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in x])
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return float(np.trapezoid(x * k * density * below ** (k - 1), x))
