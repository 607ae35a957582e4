"""Calibration: of the predictions made with 80 % confidence, are 80 % right?

Legend: N samples, C classes, K bins. Everything in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Reliability:
    """Predictions in K bins of equal width by confidence, the probability of the predicted class."""

    edges: NDArray[np.float64]
    """K + 1 borders from 0 to 1; a bin holds its upper border and not its lower one."""
    count_K: NDArray[np.int64]
    """Predictions in each bin."""
    confidence_K: NDArray[np.float64]
    """Mean confidence in each bin; NaN where the bin is empty."""
    accuracy_K: NDArray[np.float64]
    """Share of right predictions in each bin; NaN where the bin is empty."""
    confidence: float
    """Mean confidence of all N predictions."""
    accuracy: float
    """Top-1 as a fraction."""

    @property
    def ece(self) -> float:
        """Expected calibration error Σ_k n_k/N |accuracy_k - confidence_k| (Naeini et al. 2015, Guo et al. 2017)."""
        full = self.count_K > 0
        gaps = np.abs(self.accuracy_K[full] - self.confidence_K[full])
        return float(np.sum(self.count_K[full] * gaps) / self.count_K.sum())


def reliability(probs: ArrayLike | Tensor, labels: ArrayLike | Tensor, bins: int = 15) -> Reliability:
    """Sort predictions into bins by their confidence and compare it with how often they are right.

    Args:
        probs: probabilities (N, C), rows that sum to 1: a softmax's output, not logits.
        labels: right classes (N,), whole numbers below C.
        bins: K; the ECE depends on it, so state it.
    Raises:
        ValueError: rows are no probabilities, labels do not fit them, or `bins` is below 1.
    """
    probs_NC, labels_N = _numpy(probs), _labels(labels, probs)
    _check_probabilities(probs_NC)
    return binned(probs_NC.max(axis=1), probs_NC.argmax(axis=1) == labels_N, bins)


def binned(confidence_N: NDArray[np.float64], right_N: NDArray[np.bool_], bins: int = 15) -> Reliability:
    """`reliability` where each prediction's confidence, and whether it is right, are known already.

    Raises:
        ValueError: `bins` is below 1.
    """
    if bins < 1:
        raise ValueError(f"bins: found {bins}, wanted at least 1.")
    edges = np.linspace(0.0, 1.0, bins + 1)
    bin_N = np.clip(np.searchsorted(edges, confidence_N, side="left") - 1, 0, bins - 1)
    count_K = np.bincount(bin_N, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin is the NaN that we want
        confidence_K = np.bincount(bin_N, confidence_N, bins) / count_K
        accuracy_K = np.bincount(bin_N, right_N, bins) / count_K
    return Reliability(edges, count_K, confidence_K, accuracy_K, float(confidence_N.mean()), float(right_N.mean()))


def softmax(logits: ArrayLike | Tensor, temperature: float = 1.0) -> NDArray[np.float64]:
    """softmax(z / T) in float64, (N, C).

    Raises:
        ValueError: T is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: found {temperature}, wanted a number above 0.")
    return torch.from_numpy(_numpy(logits) / temperature).softmax(dim=1).numpy()


def fit_temperature(logits: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> float:
    """Temperature scaling: the one T that minimises the cross-entropy of softmax(z / T) (Guo et al. 2017).

    The cross-entropy is convex in β = 1/T with slope mean_N(Σ_c p_c z_c - z_y), so its root is found by bisection, to
    1e-9 of T. Fit it on held-out samples and never on the test split. Top-1 does not change: T keeps the order.

    Raises:
        ValueError: labels do not fit the logits, or there is no best T between 0.001 and 1000 (all predictions are
            right, or they are no better than chance).
    """
    z_NC, labels_N = _numpy(logits), _labels(labels, logits)
    target_N = z_NC[np.arange(len(z_NC)), labels_N]

    def slope(temperature: float) -> float:
        return float(((softmax(z_NC, temperature) * z_NC).sum(axis=1) - target_N).mean())

    low, high = 1e-3, 1e3
    if not slope(low) > 0 > slope(high):
        raise ValueError(
            "logits: found no temperature between 0.001 and 1000 with the smallest cross-entropy; wanted some wrong "
            "predictions, and predictions better than chance."
        )
    while high / low > 1 + 1e-9:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return (low * high) ** 0.5


def _numpy(values: ArrayLike | Tensor) -> NDArray[np.float64]:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim != 2:
        raise ValueError(f"found an array of shape {array.shape}, wanted (N, C): a row for each sample.")
    return array.astype(np.float64)


def _labels(labels: ArrayLike | Tensor, values: ArrayLike | Tensor) -> NDArray[np.int64]:
    labels_N = np.asarray(labels)
    samples, classes = np.shape(values)
    if labels_N.shape != (samples,):
        raise ValueError(f"labels: found the shape {labels_N.shape} for {samples} samples, wanted ({samples},).")
    if samples == 0 or labels_N.min() < 0 or labels_N.max() >= classes:
        raise ValueError(f"labels: wanted at least one, each from 0 to {classes - 1}.")
    return labels_N.astype(np.int64)


def _check_probabilities(probs_NC: NDArray[np.float64]) -> None:
    sums_N = probs_NC.sum(axis=1)
    bad_N = ~(np.abs(sums_N - 1) < 1e-4) | (probs_NC < 0).any(axis=1)
    if bad_N.any():
        n = int(bad_N.argmax())
        raise ValueError(
            f"probs: row {n} sums to {sums_N[n]:.4g} and its smallest value is {probs_NC[n].min():.4g}; wanted "
            "probabilities that sum to 1. Logits? Give softmax(logits) instead."
        )
