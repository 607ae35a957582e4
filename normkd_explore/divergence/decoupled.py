"""The target against the rest, and the rest among themselves: DKD and NKD.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from normkd_explore.checks import check_non_negative
from normkd_explore.divergence.base import kl_B


@dataclass(frozen=True)
class Decoupled:
    """KL split into "is it the target?" and "which of the others?", each with its own factor.

        alpha · TCKD + beta · NCKD
        TCKD = KL( [p_t[y], 1 - p_t[y]] || [p_s[y], 1 - p_s[y]] )
        NCKD = KL( p_t without y, renormalised || p_s without y, renormalised )

    KL itself is TCKD + (1 - p_t[y]) · NCKD. log(1 - p[y]) is the logsumexp over the other classes, so the
    value stays finite where the published code, which takes the log of an underflowed probability, gives
    infinity. With C = 2 only one other class exists and NCKD is exactly 0.

    Summed over the classes, one value a sample: (B, C), (B, C), (B,) -> (B,).
    Source: DKD, Zhao et al., CVPR 2022, arXiv 2203.08679.

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
        binary_s_B2, others_s_BC = split_at_target(soft_s, target)
        binary_t_B2, others_t_BC = split_at_target(soft_t, target)
        return self.alpha * kl_B(binary_s_B2, binary_t_B2) + self.beta * kl_B(others_s_BC, others_t_BC)


@dataclass(frozen=True)
class Normalized:
    """Cross-entropy with the teacher on the target, and among the other classes, each with its own factor.

        -alpha · p_t[y] · log p_s[y]  -  gamma · Σ_{c != y} q_t[c] · log q_s[c]
        q = softmax over the classes other than y

    Not a distance: with equal predictions the entropies remain. Its gradient is that of NCKD in the second
    part, and draws p_s[y] towards 1, not towards p_t[y], in the first.

    One value a sample: (B, C), (B, C), (B,) -> (B,).
    Source: NKD, Yang et al., ICCV 2023, arXiv 2303.13005.

    Raises:
        TypeError, ValueError: alpha or gamma is not a finite number of at least 0.
    """

    alpha: float
    gamma: float
    needs_target: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", check_non_negative("alpha", self.alpha))
        object.__setattr__(self, "gamma", check_non_negative("gamma", self.gamma))

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor) -> Tensor:
        binary_s_B2, others_s_BC = split_at_target(soft_s, target)
        binary_t_B2, others_t_BC = split_at_target(soft_t, target)
        on_target_B = binary_t_B2[:, 0].exp() * binary_s_B2[:, 0]
        return -self.alpha * on_target_B - self.gamma * (others_t_BC.exp() * others_s_BC).sum(dim=1)


def split_at_target(soft_BC: Tensor, target_B: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of "target or not" and of the other classes among themselves.

        [log p[y], log(1 - p[y])]  with the log-odds  soft[y] - logsumexp_{c != y} soft[c]
        log softmax over c != y, with 0 in the place of y

    (B, C), (B,) -> (B, 2), (B, C).
    """
    target_B1 = target_B[:, None]
    others_BC = soft_BC.scatter(1, target_B1, -torch.inf)
    log_q_BC = F.log_softmax(others_BC, dim=1)
    # logsumexp without another pass of exponentials: soft - log q is the same for every class, and the largest
    # class has the smallest rounding error. An index passes back to one value, where amax looks for ties in all.
    top_B1 = others_BC.detach().argmax(dim=1, keepdim=True)
    logsumexp_B1 = others_BC.gather(1, top_B1) - log_q_BC.gather(1, top_B1)
    # 0 instead of -infinity in the place of y: equal for both networks, so that it adds 1 · (0 - 0).
    return log_binary(soft_BC.gather(1, target_B1) - logsumexp_B1), log_q_BC.scatter(1, target_B1, 0.0)


def log_binary(log_odds_B1: Tensor) -> Tensor:
    """[log p, log(1 - p)] of log-odds log(p / (1 - p)), (B, 1) -> (B, 2); neither is ever -infinity."""
    return F.logsigmoid(torch.cat([log_odds_B1, -log_odds_B1], dim=1))
