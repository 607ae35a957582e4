"""Gradient sizes agree with finite differences of each sample's loss."""

import numpy as np
import pytest
import torch

from normkd_explore.analysis.step_size import gradient_sizes
from normkd_explore.losses import CE, KD, LSKD, NormDKD, NormKD


@pytest.mark.parametrize("loss", [CE(), KD(4.0), LSKD(2.0), NormKD(2.0), NormDKD()], ids=lambda loss: repr(loss))
def test_sizes_are_those_of_finite_differences(loss):
    random = torch.Generator().manual_seed(0)
    z_s, z_t = (torch.randn(3, 6, generator=random, dtype=torch.float64) * scale for scale in (1.5, 3.0))
    target = torch.tensor([1, 5, 0])
    slopes = np.zeros((3, 6))
    for i in range(3):
        for c in range(6):
            step = torch.zeros(6, dtype=torch.float64)
            step[c] = 1e-5
            row, label = slice(i, i + 1), target[i : i + 1]
            up, down = (loss.per_sample(z_s[row] + sign * step, z_t[row], label).item() for sign in (1, -1))
            slopes[i, c] = (up - down) / 2e-5
    sizes = gradient_sizes(loss, z_s, z_t, target)
    np.testing.assert_allclose(sizes.numpy(), np.linalg.norm(slopes, axis=1), rtol=2e-4)
