"""Temperatures from a sample's largest logit: ATLC and DTKD.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from normkd_explore.checks import check_positive
from normkd_explore.temperature.base import Softening
from normkd_explore.temperature.spread import check_three_classes, row_std

PeakSource = Literal["both", "teacher"]
PEAK_FACTOR = (1 + math.sqrt(3)) / 2

_EPS = 1e-7
_SMALLEST_SHARE = 1e-3


@dataclass(frozen=True)
class MaxLogit:
    """A temperature for every sample: proportional to the largest of its z-scores, one for both networks.

        u = (z - mean(z)) / (std(z) + 1e-7)
        T = factor · max_c max(|u_s[c]|, |u_t[c]|)   ("both")   or   factor · max_c |u_t[c]|   ("teacher")
        T_s = T · (std(z_s) + 1e-7),   T_t = T · (std(z_t) + 1e-7),   weight = T²

    T is a constant for the gradient; the student's std is differentiated through, as in LSKD. The default is
    the published code: both networks, factor (1 + √3)/2. The abstract speaks of the teacher's logits alone,
    hence "teacher". Rows of equal logits: their std is taken as 1 (see `Std`) and their z-scores as 0; where
    no z-score is left, T = factor.

    Source: ATLC, Matsuyama et al., arXiv 2503.09030, and its code kei813121/atkd.

    Raises:
        TypeError, ValueError: `factor` is not above 0, or `source` is another word.
        ValueError: when called with fewer than 3 classes.
    """

    source: PeakSource = "both"
    factor: float = PEAK_FACTOR

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", check_positive("factor", self.factor))
        if self.source not in get_args(PeakSource):
            raise ValueError(
                f'source is {self.source!r}, wanted "both" (the larger z-score of student and teacher, as in the '
                'published code) or "teacher" (as in the abstract).'
            )

    def __call__(self, logits_s: Tensor, logits_t: Tensor) -> Softening:
        check_three_classes(logits_s)
        std_s_B1, flat_s_B1 = row_std(logits_s)
        std_t_B1, flat_t_B1 = row_std(logits_t)
        peak_B1 = _peak(logits_t, std_t_B1, flat_t_B1)
        if self.source == "both":
            peak_B1 = torch.maximum(peak_B1, _peak(logits_s, std_s_B1, flat_s_B1))
        T_B1 = self.factor * torch.where(peak_B1 > 0, peak_B1, 1.0)
        return Softening(T_B1 * (std_s_B1 + _EPS), T_B1 * (std_t_B1 + _EPS), T_B1.square())

    def describe(self) -> str:
        """One sentence with the formula."""
        whose = "of student and teacher" if self.source == "both" else "of the teacher"
        return (
            f"Each sample's z-scored logits share the temperature T = {self.factor:.4g} · max |z-score| {whose}, "
            "and its divergence counts T² times."
        )


def _peak(logits_BC: Tensor, std_B1: Tensor, flat_B1: Tensor) -> Tensor:
    z_BC = logits_BC.detach()
    low_B1, high_B1 = z_BC.amin(dim=1, keepdim=True), z_BC.amax(dim=1, keepdim=True)
    mean_B1 = z_BC.mean(dim=1, keepdim=True)
    return (torch.maximum(high_B1 - mean_B1, mean_B1 - low_B1) / (std_B1.detach() + _EPS)).masked_fill(flat_B1, 0.0)


@dataclass(frozen=True)
class MaxRatio:
    """Two temperatures for every sample, shared out in proportion to the largest logits.

        x = max_c z_t,   v = max_c z_s
        T_t = 2x / (x + v) · T,   T_s = 2v / (x + v) · T,   weight = T_t · T_s

    The student's maximum is differentiated through, as in the published code. The formula needs x > 0 and
    v > 0, and unlike softmax it changes with a shift of the logits. Where a maximum is not positive, or below
    a thousandth of the other, the published code divides by 0 or turns the prediction upside down; here that
    sample has T_s = T_t = T, as in classic distillation.

    Source: DTKD, Wei and Bai, arXiv 2404.12711, and its code JinYu1998/DTKD, whose authors call the formula
    empirical: an erratum withdraws the derivation.

    Raises:
        TypeError, ValueError: `temperature` is not a finite number above 0.
    """

    temperature: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", check_positive("temperature", self.temperature))

    def __call__(self, logits_s: Tensor, logits_t: Tensor) -> Softening:
        v_B1, x_B1 = logits_s.amax(dim=1, keepdim=True), logits_t.amax(dim=1, keepdim=True)
        defined_B1 = torch.minimum(x_B1, v_B1) > _SMALLEST_SHARE * torch.maximum(x_B1, v_B1)
        # Equal maxima give exactly T; replaced before the division, no 0/0 reaches the gradient.
        v_B1, x_B1 = torch.where(defined_B1, v_B1, 1.0), torch.where(defined_B1, x_B1, 1.0)
        share_s_B1 = v_B1 / (x_B1 + v_B1)
        T_s_B1, T_t_B1 = 2 * self.temperature * share_s_B1, 2 * self.temperature * (1 - share_s_B1)
        return Softening(T_s_B1, T_t_B1, T_s_B1 * T_t_B1)

    def describe(self) -> str:
        """One sentence with the formula."""
        return (
            f"Each sample shares 2 · {self.temperature:g} between teacher and student in proportion to their largest "
            "logits, and its divergence counts T_s · T_t times."
        )
