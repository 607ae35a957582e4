"""Logits and labels at random, for what looks at them as a table."""

from __future__ import annotations

import numpy as np
from hypothesis import settings

few = settings(deadline=None, max_examples=25)


def draw(seed: int = 0, samples: int = 60, classes: int = 7, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.5, 1.0, (samples, classes)) * rng.uniform(0.3, 1, (samples, 1)) * scale
    return logits, rng.integers(0, classes, samples)
