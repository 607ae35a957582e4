"""Inputs on which losses are compared with values worked out elsewhere."""

import numpy as np
import torch

Z_S = [[2.0, 0.5, -1.0, 0.0, 1.5], [0.3, 1.2, 0.7, -0.4, -1.8], [-0.5, 0.1, 0.9, 2.2, -0.7]]
Z_T = [[4.0, 1.0, -2.0, 0.5, 2.5], [1.0, 0.2, 3.0, -1.0, -3.2], [0.0, -0.6, 1.4, 5.0, -1.8]]
LABELS = [0, 1, 3]


def golden_tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    z_s = torch.tensor(Z_S, dtype=torch.float64, requires_grad=True)
    return z_s, torch.tensor(Z_T, dtype=torch.float64), torch.tensor(LABELS)


def random_arrays(batch: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z_s = rng.normal(rng.normal(0, 2, (batch, 1)), rng.uniform(0.3, 2, (batch, 1)), (batch, classes))
    z_t = rng.normal(rng.normal(0, 2, (batch, 1)), rng.uniform(0.5, 3, (batch, 1)), (batch, classes))
    return z_s, z_t, rng.integers(0, classes, batch)


def random_tensors(batch: int = 6, classes: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    z_s, z_t, y = map(torch.from_numpy, random_arrays(batch, classes, seed))
    return z_s, z_t, y
