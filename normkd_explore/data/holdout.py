"""Holding images out of a training set: the same ones every time, the same share of every class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

HOLDOUT_FRACTION = 0.1
HOLDOUT_CAP = 5_000
TEST_FRACTION = 0.2  # of data that come without a test split
SPLIT_SEED = 2308


def balanced_holdout(labels_N: Tensor, fraction: float, cap: int | None = None) -> tuple[Tensor, Tensor]:
    """Choose images to hold out: of each class ``fraction``, and at most ``cap / classes``, but at least one.

    Classes with a single image keep it for training. The choice depends on the labels alone, never on a run's seed, so
    that every run of a comparison trains on the same images. CIFAR with fraction 0.1 and cap 5,000 gives up exactly
    5,000 of its 50,000 images.

    Returns:
        Positions to keep and positions held out, both sorted.
    """
    labels = labels_N.numpy()
    classes, sizes = np.unique(labels, return_counts=True)
    limit = len(labels) if cap is None else cap // len(classes)
    # RandomState, not Generator: its stream is promised to stay the same in every numpy release.
    random = np.random.RandomState(SPLIT_SEED)
    held = []
    for label, size in zip(classes, sizes, strict=True):
        positions = random.permutation(np.flatnonzero(labels == label))
        wanted = max(1, min(int(fraction * size), limit))
        held.append(positions[: wanted if size > 1 else 0])
    held_out = np.sort(np.concatenate(held))
    kept = np.setdiff1d(np.arange(len(labels)), held_out, assume_unique=True)
    return torch.from_numpy(kept), torch.from_numpy(held_out)


def check_protocol(protocol: str) -> None:
    """Raise ValueError unless the protocol is one we know."""
    if protocol not in ("holdout", "paper"):
        raise ValueError(
            f'protocol must be "holdout" (choose on held-out training images, test once) or "paper" (no validation '
            f"images, test after each epoch, as published tables do), found {protocol!r}"
        )
