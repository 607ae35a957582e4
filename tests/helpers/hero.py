"""A hero on made-up logits of two very different spreads."""

import numpy as np

from normkd_explore.widgets import Hero

NAMES = [f"c{c}" for c in range(100)]


def make_logits():
    """Two rows of one shape and stds 10 and 3.2, so that only the temperature differs."""
    row = np.random.default_rng(1).normal(size=100)
    row /= row.std(ddof=1)
    return np.stack([10 * row, 3.2 * row])


def make_hero(**options):
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    return Hero(make_logits(), images, [4, 7], NAMES, **options)
