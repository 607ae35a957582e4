"""The alpha-beta divergence: a family of two exponents with KL and the reverse KL at its corners.

Legend: B batch (or tokens), C classes (or vocabulary); `_s` student, `_t` teacher.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from normkd_explore.checks import check_non_negative


@dataclass(frozen=True)
class AlphaBeta:
    """Alpha-beta divergence of the student's prediction from the teacher's.

        Σ_c p_t^(α+β) / (β (α+β)) + p_s^(α+β) / (α (α+β)) - p_t^α · p_s^β / (α β),   p = softmax(soft)

    α says how much what the teacher finds likely counts, β what the student does. With α = 1, β = 0 it is KL, with
    α = 0, β = 1 the reverse KL (by continuity), with α = β = 1 half the squared distance, and with α = β = 1/2 four
    times the squared Hellinger distance Σ (√p_t - √p_s)² / 2.

    One value a sample: (B, C), (B, C) -> (B,). Negative exponents, which the family has too, divide by probabilities
    that underflow and are left out.
    Source: Cichocki, Cruces, Amari, Entropy 2011; for distillation ABKD, Wang et al., ICML 2025, arXiv 2505.04560.

    Raises:
        TypeError, ValueError: an exponent is not a finite number of at least 0, or both are 0.
    """

    alpha: float
    beta: float
    needs_target: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", check_non_negative("alpha", self.alpha))
        object.__setattr__(self, "beta", check_non_negative("beta", self.beta))
        if self.alpha == self.beta == 0:
            raise ValueError("alpha and beta are both 0, wanted one above 0: alpha=1, beta=0 is KL.")

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor | None = None) -> Tensor:
        a, b, log_p_BC, log_q_BC = self.alpha, self.beta, F.log_softmax(soft_t, dim=1), F.log_softmax(soft_s, dim=1)
        if a < b:  # to exchange exponents and predictions changes nothing, and the division by the smaller one is exact
            a, b, log_p_BC, log_q_BC = b, a, log_q_BC, log_p_BC
        whole_p_BC, whole_q_BC = ((a + b) * log_p_BC).exp(), ((a + b) * log_q_BC).exp()
        apart_BC = log_q_BC - log_p_BC
        if b == 0:
            crossed_BC = whole_p_BC * apart_BC
        else:
            # (p^a q^b - p^(a+b)) / b without cancelling digits: e^x - e^y = (e^x + e^y) · tanh((x - y) / 2).
            both_BC = whole_p_BC + (a * log_p_BC + b * log_q_BC).exp()
            crossed_BC = both_BC * torch.tanh(b / 2 * apart_BC) / b
        return ((whole_q_BC - whole_p_BC) / (a + b) - crossed_BC).sum(dim=1) / a
