"""A target that moves from the student's own prediction to the teacher's while training goes on: TAID.

Legend: B batch (or tokens), C classes (or vocabulary); `_s` student, `_t` teacher.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normkd_explore.checks import check_share
from normkd_explore.divergence.base import kl_B


class Interpolated(nn.Module):
    """KL from a target between both predictions, which comes nearer to the teacher's with every step.

        KL( softmax((1 - t) · soft_s + t · soft_t) || softmax(soft_s) ),   no gradient through the target

        after each step, with J its loss and `done` the share of training that is done:
        change <- momentum · change + (1 - momentum) · (J_before - J) / J_before
        t      <- min( end, max( start + (end - start) · done,  t + pace · sigmoid(change) · (1 - t) ) )

    So t never falls behind a straight line from `start` to `end`, and is ahead of it while the loss falls; pace = 0 is
    the line itself. `tell_step` tells it that a step was taken; the first one is only remembered. t = 1 is KL.

    t, change and J_before are buffers, so that a checkpoint holds them. One value a sample: (B, C), (B, C) -> (B,).
    Source: TAID, Shing et al., ICLR 2025, arXiv 2501.16937, and its code SakanaAI/TAID, where J has the target's
    entropy besides.

    Raises:
        TypeError, ValueError: an argument is not a number from 0 to 1, momentum is 1, or `end` lies before `start`.
    """

    needs_target: ClassVar[bool] = False
    t: Tensor
    change: Tensor
    loss_before: Tensor

    def __init__(self, start: float = 0.4, end: float = 1.0, pace: float = 5e-4, momentum: float = 0.99) -> None:
        super().__init__()
        self.start, self.end, self.pace = (
            check_share("start", start),
            check_share("end", end),
            check_share("pace", pace),
        )
        self.momentum = check_share("momentum", momentum, with_one=False)
        if self.end < self.start:
            raise ValueError(f"end is {end!r}, wanted at least start, {start!r}: the target moves towards the teacher.")
        self.register_buffer("t", torch.tensor(self.start))
        self.register_buffer("change", torch.zeros(()))
        self.register_buffer("loss_before", torch.tensor(torch.inf))

    def forward(self, soft_s: Tensor, soft_t: Tensor, target: Tensor | None = None) -> Tensor:
        between_BC = torch.lerp(soft_s.detach(), soft_t, self.t.to(soft_s.dtype))
        return kl_B(F.log_softmax(soft_s, dim=1), F.log_softmax(between_BC, dim=1))

    @torch.no_grad()
    def end_step(self, done: float, loss: Tensor) -> None:
        """Move the target; all on the device, and in place, so that a captured step would read the new value."""
        loss, first = loss.to(self.t), torch.isinf(self.loss_before)
        relative = (self.loss_before - loss) / (self.loss_before + 1e-15)
        change = self.momentum * self.change + (1 - self.momentum) * torch.where(first, 0.0, relative)
        ahead = self.t + self.pace * torch.sigmoid(change) * (1 - self.t)
        moved = ahead.clamp_min(self.start + (self.end - self.start) * done).clamp_max(self.end)
        self.t.copy_(torch.where(first, self.t, moved))
        self.change.copy_(change)
        self.loss_before.copy_(loss)

    def __repr__(self) -> str:
        return f"Interpolated(start={self.start}, end={self.end}, pace={self.pace}, momentum={self.momentum})"
