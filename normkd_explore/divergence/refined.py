"""A decoupled divergence that does not teach the teacher's mistakes: RLD.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from normkd_explore.checks import check_non_negative
from normkd_explore.divergence.base import kl_B
from normkd_explore.divergence.decoupled import log_binary


@dataclass(frozen=True)
class Refined:
    """Teach the teacher's confidence on the true class, and its order of the classes it ranks below it.

        alpha · SCD + beta · MCD,   m = argmax_c p_t[c],   M = {c : soft_t[c] >= soft_t[y]}, which holds y and m
        SCD = KL( [p_t[m], 1 - p_t[m]] || [p_s[y], 1 - p_s[y]] )
        MCD = KL( p_t without M, renormalised || p_s without M, renormalised )

    Where the teacher is right and alone at the top, M = {y} and this is `Decoupled`. Where y is the teacher's
    lowest class nothing is left and MCD is 0, its limit. Log-odds instead of probabilities keep both parts
    finite where the published code takes the log of 0.

    Summed over the classes, one value a sample: (B, C), (B, C), (B,) -> (B,).
    Source: RLD, Sun et al., ICCV 2025, arXiv 2408.07703, and its code zju-SWJ/RLD.

    Raises:
        TypeError, ValueError: alpha or beta is not a finite number of at least 0.
    """

    alpha: float
    beta: float
    needs_target: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", check_non_negative("alpha", self.alpha))
        object.__setattr__(self, "beta", check_non_negative("beta", self.beta))

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor) -> Tensor:
        result_B = 0.0 * soft_s[:, 0]
        # Each part alone is asked for where the two have temperatures of their own.
        if self.alpha:
            result_B = result_B + self.alpha * _confidence_B(soft_s, soft_t, target)
        if self.beta:
            result_B = result_B + self.beta * _ranked_below_B(soft_s, soft_t, target)
        return result_B


def _confidence_B(soft_s: Tensor, soft_t: Tensor, target_B: Tensor) -> Tensor:
    top_B1 = soft_t.argmax(dim=1, keepdim=True)
    return kl_B(log_binary(log_odds(soft_s, target_B[:, None])), log_binary(log_odds(soft_t, top_B1)))


def log_odds(soft_BC: Tensor, index_B1: Tensor) -> Tensor:
    """log(p / (1 - p)) of one class a row: soft[i] - logsumexp_{c != i} soft[c], (B, C), (B, 1) -> (B, 1)."""
    others_BC = soft_BC.scatter(1, index_B1, -torch.inf)
    return soft_BC.gather(1, index_B1) - others_BC.logsumexp(dim=1, keepdim=True)


def _ranked_below_B(soft_s: Tensor, soft_t: Tensor, target_B: Tensor) -> Tensor:
    # 1 or 0 to calculate with: choosing by a mask takes thirty times as long on a CPU. Where nothing is left, all is 0.
    below_BC = (soft_t < soft_t.gather(1, target_B[:, None])).to(soft_t.dtype)
    return kl_B(_log_softmax_of(soft_s, below_BC), _log_softmax_of(soft_t, below_BC))


def _log_softmax_of(soft_BC: Tensor, kept_BC: Tensor) -> Tensor:
    # A huge number in the place of infinity, which times 0 would not be 0. The masked classes end with the value 0,
    # equal on both sides, so that they add 1 · (0 - 0).
    out_of_reach_BC = (kept_BC - 1) * (torch.finfo(soft_BC.dtype).max / 4)
    return F.log_softmax(soft_BC + out_of_reach_BC, dim=1) * kept_BC
