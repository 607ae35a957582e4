"""Averages over cells: PyTorch's adaptive pooling, by operators that have a deterministic gradient on a GPU."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from normkd_explore.feature_losses import base, review, scales
from normkd_explore.feature_losses.base import average_pool, same_size


@pytest.mark.parametrize("size", [(8, 8), (4, 4), (2, 4), (1, 1), (3, 3), (5, 7), (3, 4), (7, 8)])
@pytest.mark.parametrize("shape", [(8, 8), (7, 10), (14, 9)])
def test_the_averages_and_their_gradient_are_those_of_adaptive_pooling(shape, size):
    generator = torch.Generator().manual_seed(0)
    map_BKHW = torch.randn(2, 3, *shape, dtype=torch.float64, generator=generator).requires_grad_()
    weights = torch.randn(2, 3, *size, dtype=torch.float64, generator=generator)
    ours, theirs = average_pool(map_BKHW, *size), F.adaptive_avg_pool2d(map_BKHW, size)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad((pooled * weights).sum(), map_BKHW)[0] for pooled in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_no_loss_pools_by_an_operator_without_a_deterministic_gradient(monkeypatch):
    """On a GPU, `--deterministic` would end the run at its first step. Run on a CPU: the operator is forbidden here."""
    monkeypatch.setattr(F, "adaptive_avg_pool2d", lambda *_: pytest.fail("adaptive pooling"))
    large, small = torch.randn(2, 3, 9, 9), torch.randn(2, 3, 4, 4)
    assert same_size(large, small)[0].shape == same_size(small, large)[1].shape == small.shape
    assert review.context_loss(large, large) == 0
    assert scales.cell_logits(large, torch.nn.Linear(3, 5), (1, 2, 4)).shape == (2, 21, 5)
    assert base.average_pool(large, 1, 1).shape == (2, 3, 1, 1)
