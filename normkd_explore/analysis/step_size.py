"""How hard a loss pulls at a student: the size of each sample's gradient, whatever its direction.

Two losses that differ in size train like two learning rates, so a comparison of what they teach has to give both the
same size first.

Legend: B batch, C classes.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class LossOfSamples(Protocol):
    """Any loss of `normkd_explore.losses`."""

    def per_sample(self, logits_student: Tensor, logits_teacher: Tensor, target: Tensor) -> Tensor: ...


def gradient_sizes(loss: LossOfSamples, logits_student: Tensor, logits_teacher: Tensor, target: Tensor) -> Tensor:
    """Size of the gradient of each sample's own loss with respect to that sample's student logits, (B,).

        g_i = sqrt(Σ_c (∂ l_i / ∂ z_s[i, c])²)

    Args:
        loss: any loss of `normkd_explore.losses`.
        logits_student, logits_teacher: (B, C).
        target: labels (B,).
    """
    z_s_BC = logits_student.detach().float().requires_grad_()
    # Rows do not look at each other, so the gradient of the sum holds every sample's own.
    (gradient_BC,) = torch.autograd.grad(loss.per_sample(z_s_BC, logits_teacher, target).sum(), z_s_BC)
    return gradient_BC.norm(dim=1)
