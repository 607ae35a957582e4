"""Divergences: how far the student's softened prediction is from the teacher's, sample by sample.

A divergence takes logits that are already divided by their temperatures, so it knows nothing of temperature
policies. All of them work on log-probabilities: no probability is formed that could underflow to log(0).

Legend: B batch, C classes, R = C - 1 the classes other than the target; `_s` student, `_t` teacher.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from normkd_explore.checks import check_non_negative


class Divergence(Protocol):
    """Anything that turns softened logits (B, C), (B, C) and labels (B,) into one number a sample (B,)."""

    needs_target: ClassVar[bool]

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor | None = None) -> Tensor: ...


@dataclass(frozen=True)
class KL:
    """Kullback-Leibler divergence of the student's prediction from the teacher's.

        KL(p_t || p_s) = Σ_c p_t[c] · (log p_t[c] - log p_s[c]),   p = softmax(soft)

    Summed over the classes, one value a sample: (B, C), (B, C) -> (B,). Rounding may leave it just below 0.
    Source: Hinton, Vinyals, Dean, arXiv 1503.02531.
    """

    needs_target: ClassVar[bool] = False

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor | None = None) -> Tensor:
        return _kl_B(F.log_softmax(soft_s, dim=1), F.log_softmax(soft_t, dim=1))


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
        binary_s_B2, others_s_BR = split_at_target(soft_s, target)
        binary_t_B2, others_t_BR = split_at_target(soft_t, target)
        return self.alpha * _kl_B(binary_s_B2, binary_t_B2) + self.beta * _kl_B(others_s_BR, others_t_BR)


def split_at_target(soft_BC: Tensor, target_B: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of "target or not" and of the other classes among themselves.

        [log p[y], log(1 - p[y])]  with  log(1 - p[y]) = logsumexp_{c != y} log p[c]
        log softmax over c != y

    (B, C), (B,) -> (B, 2), (B, C - 1).
    """
    log_p_BC = F.log_softmax(soft_BC, dim=1)
    log_target_B1 = log_p_BC.gather(1, target_B[:, None])
    log_others_B1 = _without_target(log_p_BC, target_B).logsumexp(dim=1, keepdim=True)
    # From the logits again: beside a huge target logit, log p loses the small differences between the others.
    others_BR = F.log_softmax(_without_target(soft_BC, target_B), dim=1)
    return torch.cat([log_target_B1, log_others_B1], dim=1), others_BR


def _without_target(values_BC: Tensor, target_B: Tensor) -> Tensor:
    # Index arithmetic instead of a boolean mask: the shape is known beforehand, so the graph compiles whole.
    column_R = torch.arange(values_BC.shape[1] - 1, device=values_BC.device)
    return values_BC.gather(1, column_R + (column_R >= target_B[:, None]))


def _kl_B(log_p_s: Tensor, log_p_t: Tensor) -> Tensor:
    return F.kl_div(log_p_s, log_p_t, reduction="none", log_target=True).sum(dim=1)
