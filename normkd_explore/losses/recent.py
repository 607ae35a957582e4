"""Divergences that came with language models, and optimal transport: JSD, SKL, SRKL, ABKD, TAID and WKD.

All but WKD have KD's temperature and its factor T² here, so that the divergence is the one thing that changes. For
language models T is 1 as a rule; `normkd_explore.language.TokenLoss` takes the same divergences on tokens.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from torch import Tensor

from normkd_explore.checks import check_non_negative
from normkd_explore.divergence import (
    AlphaBeta,
    Interpolated,
    JensenShannon,
    Normalized,
    SkewKL,
    SkewReverseKL,
    Transport,
)
from normkd_explore.losses.base import DistillationLoss, WeightedSum
from normkd_explore.temperature import Constant, Unweighted


class JSD(DistillationLoss[Constant, JensenShannon]):
    """Generalised Jensen-Shannon divergence: both predictions are compared with their mixture.

        l = T² · (beta · KL(p_t || m) + (1 - beta) · KL(p_s || m)),   m = beta · p_t + (1 - beta) · p_s

    p = softmax(z / T), mean over the batch; beta = 0 is KD, beta = 1 the reverse KL, see `JensenShannon`.
    Source: Agarwal et al., "On-Policy Distillation of Language Models" (GKD), ICLR 2024, arXiv 2306.13649.
    """

    def __init__(self, beta: float = 0.5, temperature: float = 4.0) -> None:
        super().__init__(Constant(temperature), JensenShannon(beta))

    def extra_repr(self) -> str:
        return f"beta={self.divergence.beta}, temperature={self.policy.temperature}"


class SKL(DistillationLoss[Constant, SkewKL]):
    """Skew KL: the teacher's prediction against a mixture that holds some of itself.

        l = T² · KL(p_t || skew · p_t + (1 - skew) · p_s),   p = softmax(z / T),   mean over the batch

    Source: Ko et al., "DistiLLM", ICML 2024, arXiv 2402.03898.
    """

    def __init__(self, skew: float = 0.1, temperature: float = 4.0) -> None:
        super().__init__(Constant(temperature), SkewKL(skew))

    def extra_repr(self) -> str:
        return f"skew={self.divergence.skew}, temperature={self.policy.temperature}"


class SRKL(DistillationLoss[Constant, SkewReverseKL]):
    """Skew reverse KL: the student's prediction against a mixture that holds some of itself.

        l = T² · KL(p_s || skew · p_s + (1 - skew) · p_t),   p = softmax(z / T),   mean over the batch

    Source: Ko et al., "DistiLLM", ICML 2024, arXiv 2402.03898.
    """

    def __init__(self, skew: float = 0.1, temperature: float = 4.0) -> None:
        super().__init__(Constant(temperature), SkewReverseKL(skew))

    def extra_repr(self) -> str:
        return f"skew={self.divergence.skew}, temperature={self.policy.temperature}"


class ABKD(DistillationLoss[Constant, AlphaBeta]):
    """Alpha-beta divergence, whose two exponents say whose likely classes count.

        l = T² · D_αβ( softmax(z_t / T) || softmax(z_s / T) ),   mean over the batch;   D_αβ: see `AlphaBeta`

    The published code has no factor T²: its weight of the term is T² times the one here.
    Source: Wang et al., "ABKD", ICML 2025, arXiv 2505.04560.
    """

    def __init__(self, alpha: float = 0.8, beta: float = 0.3, temperature: float = 4.0) -> None:
        super().__init__(Constant(temperature), AlphaBeta(alpha, beta))

    def extra_repr(self) -> str:
        return f"alpha={self.divergence.alpha}, beta={self.divergence.beta}, temperature={self.policy.temperature}"


class TAID(DistillationLoss[Constant, Interpolated]):
    """Distillation from a target that moves from the student's own prediction to the teacher's.

        l = T² · KL( softmax(((1 - t) · z_s + t · z_t) / T) || softmax(z_s / T) ),   mean over the batch

    No gradient through the target. t rises from `start` to `end`, see `Interpolated`: in a loop of your own call
    `tell_step(loss, done, value)` after every step. The trainer does.
    Source: Shing et al., "TAID", ICLR 2025, arXiv 2501.16937.
    """

    def __init__(
        self,
        start: float = 0.4,
        end: float = 1.0,
        pace: float = 5e-4,
        momentum: float = 0.99,
        temperature: float = 4.0,
    ) -> None:
        super().__init__(Constant(temperature), Interpolated(start, end, pace, momentum))

    def extra_repr(self) -> str:
        d = self.divergence
        return (
            f"start={d.start}, end={d.end}, pace={d.pace}, momentum={d.momentum}, temperature={self.policy.temperature}"
        )


class WKD(WeightedSum):
    """Cross-entropy with the teacher's confidence on the target, and optimal transport between the other classes.

        l = -p_t[y] log p_s[y] at temperature 1  +  gamma · W(q_s, q_t) at T,   mean over the batch, no factor T²

    q is the softmax over the classes other than y; W: see `Transport`, whose costs the trainer takes from the teacher's
    classifier; here `cost` (C, C) says them, and without it every two classes are equally far. Needs `target`.
    Source: Lv, Yang, Li, "Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge Distillation"
    (WKD-L), NeurIPS 2024, arXiv 2412.08139.
    """

    def __init__(
        self,
        gamma: float = 600.0,
        temperature: float = 8.0,
        blur: float = 0.05,
        iterations: float = 10,
        decay_after: float = 0.625,
        cost: Tensor | None = None,
    ) -> None:
        self.gamma, others = check_non_negative("gamma", gamma), Constant(temperature)
        self.temperature, transport = others.temperature, Transport(blur, iterations, decay_after, cost)
        super().__init__(
            [
                (self.gamma, DistillationLoss(Unweighted(others), transport)),
                (1.0, DistillationLoss(Constant(1.0), Normalized(1.0, 0.0))),
            ]
        )
        self._said = f"blur={transport.blur}, iterations={transport.iterations}, decay_after={transport.decay_after}"

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, temperature={self.temperature}, {self._said}"
