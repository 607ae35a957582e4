"""Divergences that go through a mixture of both predictions, so that none is asked to explain a 0 of the other.

Legend: B batch (or tokens), C classes (or vocabulary); `_s` student, `_t` teacher.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from normkd_explore.checks import check_share
from normkd_explore.divergence.base import kl_B


@dataclass(frozen=True)
class JensenShannon:
    """Generalised Jensen-Shannon divergence: both predictions are compared with a mixture of the two.

        beta · KL(p_t || m) + (1 - beta) · KL(p_s || m),   m = beta · p_t + (1 - beta) · p_s,   p = softmax(soft)

    It is bounded by the entropy of (beta, 1 - beta), so at most ln 2. Towards the ends it vanishes, in proportion to
    KL(p_t || p_s) at 0 and to KL(p_s || p_t) at 1: divided by beta, and by 1 - beta, those are its limits, and beta = 0
    and beta = 1 stand for the two themselves.

    One value a sample: (B, C), (B, C) -> (B,).
    Source: Agarwal et al., "On-Policy Distillation of Language Models" (GKD), ICLR 2024, arXiv 2306.13649.

    Raises:
        TypeError, ValueError: `beta` is not a number from 0 to 1.
    """

    beta: float
    needs_target: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", check_share("beta", self.beta))

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor | None = None) -> Tensor:
        log_p_s_BC, log_p_t_BC = F.log_softmax(soft_s, dim=1), F.log_softmax(soft_t, dim=1)
        if self.beta == 0:
            return kl_B(log_p_s_BC, log_p_t_BC)
        if self.beta == 1:
            return kl_B(log_p_t_BC, log_p_s_BC)
        log_m_BC = log_mixture(log_p_t_BC, log_p_s_BC, self.beta)
        return self.beta * kl_B(log_m_BC, log_p_t_BC) + (1 - self.beta) * kl_B(log_m_BC, log_p_s_BC)


@dataclass(frozen=True)
class SkewKL:
    """KL of the teacher's prediction from a mixture that holds some of itself.

        KL(p_t || skew · p_t + (1 - skew) · p_s),   p = softmax(soft)

    The gradient stays bounded where the student gives nothing to what the teacher finds likely. skew = 0 is KL.
    One value a sample: (B, C), (B, C) -> (B,).
    Source: Ko et al., "DistiLLM", ICML 2024, arXiv 2402.03898.

    Raises:
        TypeError, ValueError: `skew` is not a number from 0 up to 1, without 1.
    """

    skew: float
    needs_target: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "skew", check_share("skew", self.skew, with_one=False))

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor | None = None) -> Tensor:
        return _skewed_kl_B(F.log_softmax(soft_t, dim=1), F.log_softmax(soft_s, dim=1), self.skew)


@dataclass(frozen=True)
class SkewReverseKL:
    """KL of the student's prediction from a mixture that holds some of itself.

        KL(p_s || skew · p_s + (1 - skew) · p_t),   p = softmax(soft)

    skew = 0 is the reverse KL. One value a sample: (B, C), (B, C) -> (B,).
    Source: Ko et al., "DistiLLM", ICML 2024, arXiv 2402.03898.

    Raises:
        TypeError, ValueError: `skew` is not a number from 0 up to 1, without 1.
    """

    skew: float
    needs_target: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "skew", check_share("skew", self.skew, with_one=False))

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor | None = None) -> Tensor:
        return _skewed_kl_B(F.log_softmax(soft_s, dim=1), F.log_softmax(soft_t, dim=1), self.skew)


def log_mixture(log_p_BC: Tensor, log_q_BC: Tensor, share: float) -> Tensor:
    """log(share · p + (1 - share) · q) from log-probabilities, for a share between 0 and 1; never -infinity."""
    return torch.logaddexp(log_p_BC + math.log(share), log_q_BC + math.log1p(-share))


def _skewed_kl_B(log_p_BC: Tensor, log_q_BC: Tensor, skew: float) -> Tensor:
    return kl_B(log_q_BC if skew == 0 else log_mixture(log_p_BC, log_q_BC, skew), log_p_BC)
