"""One temperature for all samples, and the wrapper that takes a policy's weight away.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from normkd_explore.checks import check_positive
from normkd_explore.temperature.base import Softening, TemperaturePolicy, tell_epoch


@dataclass(frozen=True)
class Constant:
    """One temperature for every sample of both networks, as in classic distillation.

        T_s = T_t = T,   weight = T²

    The factor T² keeps the gradient's size when T changes. Source: Hinton, Vinyals, Dean, arXiv 1503.02531.

    Raises:
        TypeError, ValueError: `temperature` is not a finite number above 0.
    """

    temperature: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", check_positive("temperature", self.temperature))

    def __call__(self, logits_s: Tensor, logits_t: Tensor) -> Softening:
        T_B1 = torch.full_like(logits_s[:, :1], self.temperature)
        return Softening(T_B1, T_B1, T_B1.square())

    def describe(self) -> str:
        """One sentence with the formula."""
        T = self.temperature
        return f"Every sample has the temperature T = {T:g}, and its divergence counts T² = {T * T:g} times."


class Unweighted(nn.Module):
    """The temperatures of another policy, with every sample counting once.

        T_s, T_t as `policy` says,   weight = 1

    For methods whose publication has no factor T²: BiLD, and the correlations of MLKD. A module, so that the
    parameters of a policy that learns are found.
    """

    def __init__(self, policy: TemperaturePolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, logits_s: Tensor, logits_t: Tensor) -> Softening:
        T_s_B1, T_t_B1, _ = self.policy(logits_s, logits_t)
        return Softening(T_s_B1, T_t_B1, torch.ones_like(T_t_B1))

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Pass the epoch on to `policy`."""
        tell_epoch(self.policy, epoch, epochs)

    def describe(self) -> str:
        """What `policy` says, and that its weight is left out."""
        return f"{self.policy.describe()} That factor is then left out: every divergence counts once."

    def __repr__(self) -> str:
        return f"Unweighted({self.policy!r})"
