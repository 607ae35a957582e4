"""What of the teacher is taught: RLD, NKD, TTM and WTTM.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from normkd_explore.checks import check_non_negative
from normkd_explore.divergence import Normalized, PowerTransformed, Refined
from normkd_explore.losses.base import DistillationLoss, WeightedSum
from normkd_explore.temperature import Constant


class RLD(WeightedSum):
    """Decoupled distillation that does not teach the teacher's mistakes.

        l = alpha · T_a² · SCD at T_a  +  beta · T² · MCD at T,   mean over the batch;   SCD, MCD: see `Refined`

    T_a is `confidence_temperature`. Needs `target`. Where the teacher is right on every sample and T_a = T it
    is DKD; the published code's option --same-t sets T_a = T.
    Source: Sun et al., "Knowledge Distillation with Refined Logits", ICCV 2025, arXiv 2408.07703.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 8.0,
        temperature: float = 4.0,
        confidence_temperature: float = 1.0,
    ) -> None:
        confidence, ranking = Constant(confidence_temperature), Constant(temperature)
        self.alpha, self.beta = check_non_negative("alpha", alpha), check_non_negative("beta", beta)
        self.temperature, self.confidence_temperature = ranking.temperature, confidence.temperature
        super().__init__(
            [
                (self.alpha, DistillationLoss(confidence, Refined(1.0, 0.0))),
                (self.beta, DistillationLoss(ranking, Refined(0.0, 1.0))),
            ]
        )
        self.needs_target = True

    def extra_repr(self) -> str:
        return (
            f"alpha={self.alpha}, beta={self.beta}, temperature={self.temperature}, "
            f"confidence_temperature={self.confidence_temperature}"
        )


class NKD(WeightedSum):
    """Cross-entropy with the teacher's own confidence on the target, and with its other classes, normalised.

        l = -p_t[y] log p_s[y] at temperature 1  -  gamma · T² · Σ_{c != y} q_t[c] log q_s[c] at T

    Mean over the batch; q is the softmax over the classes other than y, see `Normalized`. Needs `target`.
    Source: Yang et al., "From Knowledge Distillation to Self-Knowledge Distillation", ICCV 2023, arXiv 2303.13005.
    """

    def __init__(self, gamma: float = 1.5, temperature: float = 1.0) -> None:
        others = Constant(temperature)
        self.gamma, self.temperature = check_non_negative("gamma", gamma), others.temperature
        if self.temperature == 1.0:  # one softmax serves both parts
            parts = [(1.0, DistillationLoss(others, Normalized(1.0, self.gamma)))]
        else:
            parts = [
                (1.0, DistillationLoss(Constant(1.0), Normalized(1.0, 0.0))),
                (self.gamma, DistillationLoss(others, Normalized(0.0, 1.0))),
            ]
        super().__init__(parts)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, temperature={self.temperature}"


class TTM(DistillationLoss[Constant, PowerTransformed]):
    """Distillation from a teacher whose probabilities are raised to a power; the student is not softened.

        q = p_t^g / Σ_c p_t[c]^g,   l = KL( q || softmax(z_s) ),   mean over the batch;   g = `exponent`

    q is softmax(g · z_t): a temperature 1/g on the teacher alone. No factor T². `exponent` has no default: the
    authors choose it for every pair, below 1 (0.1 for vgg13 > vgg8).
    Source: Zheng and Yang, "Knowledge Distillation Based on Transformed Teacher Matching", ICLR 2024,
    arXiv 2402.11148.
    """

    weighted = False

    def __init__(self, exponent: float) -> None:
        super().__init__(Constant(1.0), PowerTransformed(exponent, self.weighted))

    def extra_repr(self) -> str:
        return f"exponent={self.divergence.exponent}"


class WTTM(TTM):
    """TTM with every sample weighed by Σ_c p_t[c]^g, which is large where the teacher doubts.

    l = (Σ_c p_t[c]^g) · KL( q || softmax(z_s) ),   mean over the batch;   q and source: see `TTM`
    """

    weighted = True
