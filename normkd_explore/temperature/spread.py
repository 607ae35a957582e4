"""Temperatures from the spread of a sample's logits: NormKD and LSKD.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from normkd_explore.checks import check_non_negative, check_positive
from normkd_explore.temperature.base import Softening

StdWeight = Literal["teacher", "constant"]


@dataclass(frozen=True)
class Std:
    """A temperature for every sample: proportional to the standard deviation of its logits.

        T_s = T_norm · (std(z_s) + eps),   T_t = T_norm · (std(z_t) + eps)
        weight = T_t² ("teacher", NormKD)   or   T_norm² ("constant", LSKD)

    std is taken over the classes of one sample with divisor C - 1, and the student's is differentiated
    through. Softmax ignores a shift, so dividing by std softens exactly like the z-score. A row whose logits
    are all equal (up to rounding) has no spread to divide by: its std is taken as 1, a constant, in the
    divisor, and as 0, the limit, in the weight. So a zero-initialised student gets a finite gradient, and
    NormKD skips a teacher without an opinion.

    Source: NormKD, Chi et al., arXiv 2308.00520; with eps = 1e-7 and the constant weight LSKD, Sun et al.,
    CVPR 2024.

    Raises:
        TypeError, ValueError: `t_norm` is not above 0, `eps` is negative, or `weight` is another word.
        ValueError: when called with fewer than 3 classes.
    """

    t_norm: float
    weight: StdWeight = "teacher"
    eps: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "t_norm", check_positive("t_norm", self.t_norm))
        object.__setattr__(self, "eps", check_non_negative("eps", self.eps))
        if self.weight not in get_args(StdWeight):
            raise ValueError(
                f'weight is {self.weight!r}, wanted "teacher" (T_t², NormKD) or "constant" (T_norm², LSKD).'
            )

    def __call__(self, logits_s: Tensor, logits_t: Tensor) -> Softening:
        check_three_classes(logits_s)
        std_s_B1, _ = row_std(logits_s)
        std_t_B1, flat_t_B1 = row_std(logits_t)
        T_t_B1 = self.t_norm * (std_t_B1 + self.eps)
        if self.weight == "teacher":
            weight_B1 = T_t_B1.square().masked_fill(flat_t_B1, 0.0)
        else:
            weight_B1 = torch.full_like(T_t_B1, self.t_norm**2)
        return Softening(self.t_norm * (std_s_B1 + self.eps), T_t_B1, weight_B1)

    def describe(self) -> str:
        """One sentence with the formula."""
        spread = "std(z)" if self.eps == 0 else f"(std(z) + {self.eps:g})"
        times = "the square of the teacher's T" if self.weight == "teacher" else f"{self.t_norm**2:g}"
        return (
            f"Each sample has its own temperature T = {self.t_norm:g} · {spread}, the student's from its own "
            f"logits and the teacher's from its own, and its divergence counts {times} times."
        )


def row_std(logits_BC: Tensor) -> tuple[Tensor, Tensor]:
    """Sample standard deviation of each row, and where a row is flat: its std is 1 there, without gradient.

        std(z)² = Σ_c (z_c - mean(z))² / (C - 1)
        flat:  max(z) - min(z) <= 8 · machine epsilon · max|z|,  or so small that the squares underflow

    Args:
        logits_BC: float32 or float64, shape (B, C).
    Returns:
        std (B, 1), and flat (B, 1) of dtype bool.
    """
    return _RowStd.apply(logits_BC)


class _RowStd(torch.autograd.Function):
    """Passes that a CPU makes fast: with torch's own std and aminmax NormKD takes three times as long as KD."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits_BC: Tensor) -> tuple[Tensor, Tensor]:
        limits = torch.finfo(logits_BC.dtype)
        low_B1, high_B1 = logits_BC.amin(dim=1, keepdim=True), logits_BC.amax(dim=1, keepdim=True)
        rounding_B1 = 8 * limits.eps * torch.maximum(high_B1, -low_B1)
        flat_B1 = high_B1 - low_B1 <= rounding_B1.clamp_min(limits.tiny**0.5 / limits.eps)
        # Not vector_norm, which adds one by one and loses a digit of a vocabulary's worth of squares.
        variance_B1 = _centred(logits_BC).square().sum(dim=1, keepdim=True) / (logits_BC.shape[1] - 1)
        return variance_B1.sqrt().masked_fill(flat_B1, 1.0), flat_B1

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs, *output)

    @staticmethod
    def backward(ctx: Any, from_std_B1: Tensor, _: Tensor | None) -> Tensor:
        logits_BC, std_B1, flat_B1 = ctx.saved_tensors
        factor_B1 = (from_std_B1 / ((logits_BC.shape[1] - 1) * std_B1)).masked_fill(flat_B1, 0.0)
        return factor_B1 * _centred(logits_BC)


def _centred(logits_BC: Tensor) -> Tensor:
    # From one of them first: a sum of large logits of one sign would lose digits of small differences, or overflow.
    apart_BC = logits_BC - logits_BC[:, :1].detach()
    return apart_BC.sub_(apart_BC.mean(dim=1, keepdim=True))


def check_three_classes(logits_s: Tensor) -> None:
    """ValueError with fewer than 3 classes: two z-scores are always the same."""
    classes = logits_s.shape[1]
    if classes < 3:
        raise ValueError(
            f"logits_student has {classes} classes, wanted at least 3 for a temperature from the standard "
            "deviation. The z-scores of two logits are always +0.707 and -0.707, so this loss is piecewise "
            "constant and its gradient exactly zero even where student and teacher disagree. Use "
            "KD(temperature=4.0) or another loss with a constant temperature."
        )
