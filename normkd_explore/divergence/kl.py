"""Relative entropy in both directions, and with a teacher whose probabilities are raised to a power.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from normkd_explore.checks import check_positive
from normkd_explore.divergence.base import kl_B


@dataclass(frozen=True)
class KL:
    """Kullback-Leibler divergence of the student's prediction from the teacher's.

        KL(p_t || p_s) = Σ_c p_t[c] · (log p_t[c] - log p_s[c]),   p = softmax(soft)

    Summed over the classes, one value a sample: (B, C), (B, C) -> (B,). Rounding may leave it just below 0.
    Source: Hinton, Vinyals, Dean, arXiv 1503.02531.
    """

    needs_target: ClassVar[bool] = False

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor | None = None) -> Tensor:
        return kl_B(F.log_softmax(soft_s, dim=1), F.log_softmax(soft_t, dim=1))


@dataclass(frozen=True)
class ReverseKL:
    """Kullback-Leibler divergence of the teacher's prediction from the student's: the student leads.

        KL(p_s || p_t) = Σ_c p_s[c] · (log p_s[c] - log p_t[c]),   p = softmax(soft)

    It asks the student to avoid what the teacher finds unlikely rather than to cover all that it finds likely.
    Summed over the classes, one value a sample: (B, C), (B, C) -> (B,).
    """

    needs_target: ClassVar[bool] = False

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor | None = None) -> Tensor:
        return kl_B(F.log_softmax(soft_t, dim=1), F.log_softmax(soft_s, dim=1))


@dataclass(frozen=True)
class PowerTransformed:
    """KL from a teacher whose probabilities are raised to a power and renormalised.

        q = p_t^g / Σ_c p_t[c]^g,   KL(q || p_s)                          (TTM)
        the same times Σ_c p_t[c]^g, which is large where the teacher doubts  (WTTM, `weighted`)

    q is softmax(g · soft_t): a temperature 1/g on the teacher alone. Summed over the classes, one value a
    sample: (B, C), (B, C) -> (B,).
    Source: Zheng and Yang, ICLR 2024, arXiv 2402.11148.

    Raises:
        TypeError, ValueError: `exponent` is not a finite number above 0.
    """

    exponent: float
    weighted: bool = False
    needs_target: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "exponent", check_positive("exponent", self.exponent))

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor | None = None) -> Tensor:
        log_p_s_BC, log_q_BC = F.log_softmax(soft_s, dim=1), F.log_softmax(self.exponent * soft_t, dim=1)
        result_B = kl_B(log_p_s_BC, log_q_BC)
        if not self.weighted:
            return result_B
        return result_B * (self.exponent * F.log_softmax(soft_t, dim=1)).logsumexp(dim=1).exp()
