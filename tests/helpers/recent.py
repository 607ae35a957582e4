"""The divergences since 2024 with several settings of each."""

import numpy as np
import torch

from normkd_explore.divergence import AlphaBeta, Interpolated, JensenShannon, SkewKL, SkewReverseKL, Transport


def distances(classes: int) -> np.ndarray:
    """Some costs that are not symmetric, so that an exchange of student and teacher is seen."""
    cost = np.random.default_rng(5).uniform(0.1, 0.9, (classes, classes))
    return cost * (1 - np.eye(classes))


CASES = [
    JensenShannon(0.5),
    JensenShannon(0.1),
    SkewKL(0.1),
    SkewReverseKL(0.3),
    AlphaBeta(0.8, 0.3),
    AlphaBeta(0.2, 1.1),
    AlphaBeta(1.0, 1.0),
    Interpolated(),
    Interpolated(0.0, 0.7),
]


def cases(classes: int) -> list:
    cost = torch.from_numpy(distances(classes))
    return [*CASES, Transport(0.2), Transport(0.2, 3, cost=cost), Transport(0.05, 10, cost=cost)]
