"""A temperature that is trained against the student: CTKD.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

import math

import torch
from torch import Tensor, nn

from normkd_explore.checks import check_non_negative, check_positive
from normkd_explore.temperature.base import Softening


class Learned(nn.Module):
    """One temperature for all samples that learns to make the student's task harder, epoch by epoch.

        T_s = T_t = T = start + end · sigmoid(theta),   weight = T²
        d loss / d theta is multiplied by lambda(epoch) = -(1 - cos(π · min(epoch / ramp, 1))) / 2

    `theta` is a parameter: give it to the same optimiser as the student. lambda is negative, so a step down
    the loss for the student is a step up in T's direction; it grows from 0 to full size over `ramp` epochs.
    `set_epoch` sets it; before the first call it is the first epoch's. theta starts at 1, which with the
    published start = 1 and end = 20 is T = 15.62. T lies between start and start + end.

    Source: CTKD, Li et al., AAAI 2023, arXiv 2211.16231: the variant with one temperature for all samples.

    Raises:
        TypeError, ValueError: `start` or `ramp` is not above 0, `end` is negative, or one is not finite.
    """

    reversal: Tensor

    def __init__(self, start: float = 1.0, end: float = 20.0, ramp: float = 10.0) -> None:
        super().__init__()
        self.start, self.end = check_positive("start", start), check_non_negative("end", end)
        self.ramp = check_positive("ramp", ramp)
        self.theta = nn.Parameter(torch.ones(()))
        # A tensor, filled in place: a captured or compiled step reads the new value without being made anew.
        self.register_buffer("reversal", torch.empty(()), persistent=False)
        self.set_epoch(1, 1)

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Set the factor of theta's gradient for `epoch` (the first is 1); `epochs` plays no part."""
        self.reversal.fill_(-(1 - math.cos(math.pi * min(epoch / self.ramp, 1.0))) / 2)

    def temperature(self, dtype: torch.dtype | None = None) -> Tensor:
        """The temperature of this moment, a scalar whose gradient for theta is multiplied by lambda."""
        fixed = self.theta.detach()
        theta = fixed + self.reversal * (self.theta - fixed)
        return self.start + self.end * torch.sigmoid(theta.to(dtype))

    def forward(self, logits_s: Tensor, logits_t: Tensor) -> Softening:
        T_B1 = self.temperature(logits_s.dtype).expand(logits_s.shape[0], 1)
        return Softening(T_B1, T_B1, T_B1.square())

    def describe(self) -> str:
        """One sentence with the formula."""
        return (
            f"Every sample has the learned temperature T = {self.start:g} + {self.end:g} · sigmoid(theta), now "
            f"{self.temperature().item():.4g}, trained to raise the loss, and its divergence counts T² times."
        )

    def __repr__(self) -> str:
        return f"Learned(start={self.start}, end={self.end}, ramp={self.ramp})"
