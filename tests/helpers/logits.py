"""A student's and a teacher's logits at random, in float64."""

import numpy as np
import torch


def random_pair(batch: int = 4, classes: int = 7, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0, 2, (batch, classes))), torch.from_numpy(rng.normal(1, 3, (batch, classes)))
