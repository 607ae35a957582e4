"""The divergences since 2024 on extreme logits, on tokens, and in half precision."""

import pytest
import torch

from normkd_explore.divergence import AlphaBeta, JensenShannon, SkewKL, Transport
from normkd_explore.language import TokenLoss
from normkd_explore.losses import DistillationLoss
from normkd_explore.temperature import Constant, Std, Unweighted
from tests.helpers.recent import CASES, cases
from tests.helpers.reference import random_tensors as tensors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_extreme_logits_stay_finite(dtype):
    corners = torch.tensor([[1e4, -1e4, 0, 3], [-1e4, 1e4, 5, 5], [1e4, 1e4, -1e4, 1e4], [0, 0, 0, 1e4]])
    beside = [
        JensenShannon(1e-9),
        SkewKL(1e-9),
        AlphaBeta(1, 0),
        AlphaBeta(0, 1),
        AlphaBeta(1e-7, 3),
        Transport(0.0125),
    ]
    for divergence in [*cases(4), *beside]:
        for i in range(4):
            for label in range(4):
                s = corners.to(dtype, copy=True).requires_grad_()
                loss = divergence(s, corners.roll(i, 0).to(dtype), torch.full((4,), label))
                (slope,) = torch.autograd.grad(loss.sum(), s)
                assert torch.isfinite(loss).all() and torch.isfinite(slope).all(), (divergence, i, label)


@pytest.mark.parametrize("policy", [Unweighted(Constant(1.0)), Std(3.0)], ids=repr)
@pytest.mark.parametrize("divergence", CASES[:-1], ids=repr)
def test_on_tokens_it_is_the_same_loss_of_the_positions_that_count(policy, divergence):
    s, t, _ = tensors(60, 40)
    s, t, mask = s.view(3, 20, 40).requires_grad_(), t.view(3, 20, 40), torch.arange(60).view(3, 20) % 3 > 0
    want = DistillationLoss(policy, divergence)(s[mask], t[mask])
    found = TokenLoss(policy, divergence)(s, t, mask)
    torch.testing.assert_close(found, want)
    torch.testing.assert_close(torch.autograd.grad(found, s), torch.autograd.grad(want, s))
    half = s.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = TokenLoss(policy, divergence)(half, t.bfloat16(), mask)
    loss.backward()
    exact = DistillationLoss(policy, divergence)(half.double()[mask], t.bfloat16().double()[mask])
    assert loss.item() == pytest.approx(exact.item(), rel=2e-5) and half.grad.abs().max() > 0


def test_transport_needs_labels_so_tokens_refuse_it():
    with pytest.raises(ValueError, match="needs labels"):
        TokenLoss(Unweighted(Constant(1.0)), Transport())
