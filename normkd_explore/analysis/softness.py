"""How many classes a softened prediction still means, and which samples show best that one T does not fit all.

Legend: N samples, C classes, K temperatures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from normkd_explore.analysis.logits import model_logits, pictures, spread_index
from normkd_explore.analysis.statistics import Floats, logit_statistics, softened_entropy
from normkd_explore.analysis.suited_temperature import normkd_temperature
from normkd_explore.data import Dataset

BAND_SHARES = (0.35, 0.65)
MOST_SCANNED = 2000


def effective_classes(logits: ArrayLike | Tensor, temperature: float | ArrayLike) -> Floats:
    """How many classes softmax(z / T) means, (N,): exp of its entropy, from 1 (all to one) to C (even).

    It is the perplexity of the softened prediction: k classes with 1/k each count as k.

    Args:
        logits: (N, C).
        temperature: T > 0, a number or (N,).
    Raises:
        ValueError: as `softened_entropy`.
    """
    return np.exp(softened_entropy(logits, temperature))


def softness_band(num_classes: int) -> tuple[float, float]:
    """The effective classes that the explorers draw as worth aiming at: 35 to 65 of 100, in proportion for other C.

    A convention for the eye and no result: below it little more than the favourite is left, above it little more than
    an even spread. Where the best softness lies depends on the task.
    """
    low, high = BAND_SHARES
    return low * num_classes, high * num_classes


def median_classes(logits: ArrayLike | Tensor, temperatures: Sequence[float]) -> Floats:
    """Median effective classes of N samples under each of K temperatures, common to all samples, (K,)."""
    return np.array([np.median(effective_classes(logits, T)) for T in temperatures])


def median_classes_normkd(logits: ArrayLike | Tensor, t_norms: Sequence[float]) -> Floats:
    """The same under NormKD's temperatures T_norm · std(z) for each of K T_norm, (K,). Constant rows are left out.

    Raises:
        ValueError: fewer than 3 classes, or every row is constant.
    """
    table_NC = np.asarray(logits.detach().cpu() if isinstance(logits, Tensor) else logits)
    std_N = normkd_temperature(table_NC, 1.0)
    kept_N = ~np.isnan(std_N)
    if not kept_N.any():
        raise ValueError(f"all {len(std_N)} rows are constant: they have no NormKD temperature.")
    return np.array([np.median(effective_classes(table_NC[kept_N], t * std_N[kept_N])) for t in t_norms])


def extreme_pair(logits: ArrayLike | Tensor, labels: ArrayLike | Tensor | None = None) -> tuple[int, int]:
    """Positions of the samples with the largest and the smallest standard deviation of logits: (sure, unsure).

    No two samples need temperatures further apart under NormKD, so they show best that one T does not fit both. With
    labels only samples that the model gets right are looked at, where there are two: then no mistake explains the
    difference.

    Args:
        logits: (N, C) of a whole split.
        labels: N true classes.
    Raises:
        ValueError: shapes do not fit, or values are not finite.
    """
    stats = logit_statistics(logits, labels)
    positions = np.arange(len(stats))
    if labels is not None and stats.correct_N.sum() >= 2:
        positions = np.flatnonzero(stats.correct_N)
    std = stats.std_N[positions]
    return int(positions[std.argmax()]), int(positions[std.argmin()])


def scan_test_split(model: nn.Module, dataset: Dataset, most: int = MOST_SCANNED) -> tuple[Tensor, Tensor]:
    """Logits of the whole test split, or of `most` samples that lie evenly over a larger one.

    In float32, which is enough to choose samples by; `model_logits` gives the numbers to show.

    Returns:
        positions (N,) in the split, and logits (N, C).
    """
    index_N = spread_index(most, len(dataset.test))
    return index_N, model_logits(model, dataset, pictures(dataset.test, index_N), torch.float32)
