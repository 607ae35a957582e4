"""One temperature for all samples, and the wrapper that takes a policy's weight away.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from normkd_explore.checks import check_positive
from normkd_explore.temperature.base import Softening, TemperaturePolicy, tell_epoch
from normkd_explore.temperature.spread import row_std

ConstantWeight = Literal["alike", "variance"]
P = TypeVar("P", bound=TemperaturePolicy)


@dataclass(frozen=True)
class Constant:
    """One temperature for every sample of both networks, as in classic distillation.

        T_s = T_t = T,   weight = T² ("alike")   or   T² · std(z_t)² ("variance")

    The factor T² keeps the gradient's size when T changes. "variance" weighs the samples as NormKD does, at one
    temperature: the two things that NormKD changes can be had one at a time. std as in `Std`; a row of equal teacher
    logits counts 0 times. Source of "alike": Hinton, Vinyals, Dean, arXiv 1503.02531; of "variance": this package.

    Raises:
        TypeError, ValueError: `temperature` is not a finite number above 0, or `weight` is another word.
    """

    temperature: float
    weight: ConstantWeight = "alike"

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", check_positive("temperature", self.temperature))
        if self.weight not in get_args(ConstantWeight):
            raise ValueError(
                f'weight is {self.weight!r}, wanted "alike" (T², KD) or "variance" (T² · std(z_t)², as NormKD weighs).'
            )

    def __call__(self, logits_s: Tensor, logits_t: Tensor) -> Softening:
        T_B1 = torch.full_like(logits_s[:, :1], self.temperature)
        if self.weight == "alike":
            return Softening(T_B1, T_B1, T_B1.square())
        std_t_B1, flat_t_B1 = row_std(logits_t)
        return Softening(T_B1, T_B1, (T_B1 * std_t_B1).square().masked_fill(flat_t_B1, 0.0))

    def describe(self) -> str:
        """One sentence with the formula."""
        T = self.temperature
        times = f"T² = {T * T:g}" if self.weight == "alike" else f"T² · std² = {T * T:g} · std(z_t)²"
        return f"Every sample has the temperature T = {T:g}, and its divergence counts {times} times."


class Unweighted(nn.Module, Generic[P]):
    """The temperatures of another policy, with every sample counting once.

        T_s, T_t as `policy` says,   weight = 1

    For methods whose publication has no factor T²: BiLD, and the correlations of MLKD. A module, so that the
    parameters of a policy that learns are found.
    """

    def __init__(self, policy: P) -> None:
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
