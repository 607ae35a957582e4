"""NormKD's temperatures with every divergence: a temperature for each sample from the std of its logits.

Only NormKD, LSKD and NormDKD were published by their authors in this form; the others are the same exchange of
the policy made here.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from collections.abc import Sequence

from normkd_explore.divergence import KL, Correlation, Decoupled, Differences, Refined
from normkd_explore.losses.base import DistillationLoss
from normkd_explore.losses.relational import MultiLevelLoss
from normkd_explore.temperature import Std, Unweighted


class NormKD(DistillationLoss[Std, KL]):
    """Distillation with a temperature for every sample: T_norm times the std of its logits.

        T_s = T_norm · std(z_s),   T_t = T_norm · std(z_t)
        l = T_t² · KL( softmax(z_t / T_t) || softmax(z_s / T_s) ),   mean over the batch

    std: sample standard deviation over the classes (divisor C - 1); the student's is differentiated through.
    Needs C >= 3; rows of equal logits are handled as `Std` says. The loss depends on z_s through its z-score
    alone.
    Source: Chi et al., "NormKD: Normalized Logits for Knowledge Distillation", arXiv 2308.00520.
    """

    def __init__(self, t_norm: float = 2.0) -> None:
        super().__init__(Std(t_norm), KL())

    def extra_repr(self) -> str:
        return f"t_norm={self.policy.t_norm}"


class LSKD(DistillationLoss[Std, KL]):
    """Distillation of z-scored logits: NormKD's softening, with every sample weighed alike.

        n(z) = (z - mean(z)) / (std(z) + 1e-7)
        l = τ² · KL( softmax(n(z_t) / τ) || softmax(n(z_s) / τ) ),   mean over the batch

    Per sample NormKD is std(z_t)² times this. std, C >= 3 and rows of equal logits as in `Std`.
    Source: Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024, arXiv 2403.01427.
    """

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__(Std(temperature, weight="constant", eps=1e-7), KL())

    def extra_repr(self) -> str:
        return f"temperature={self.policy.t_norm}"


class NormDKD(DistillationLoss[Std, Decoupled]):
    """DKD with NormKD's temperatures.

        T_s = T_norm · std(z_s),   T_t = T_norm · std(z_t)
        l = T_t² · (alpha · TCKD + beta · NCKD),   mean over the batch;   TCKD, NCKD: see `Decoupled`

    std is taken over all classes, the target included. Needs `target` and C >= 3; rows of equal logits as in
    `Std`.
    Source: Chi et al., arXiv 2308.00520, with Zhao et al., CVPR 2022.
    """

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, t_norm: float = 2.0) -> None:
        super().__init__(Std(t_norm), Decoupled(alpha, beta))

    def extra_repr(self) -> str:
        return f"alpha={self.divergence.alpha}, beta={self.divergence.beta}, t_norm={self.policy.t_norm}"


class NormRLD(DistillationLoss[Std, Refined]):
    """RLD with NormKD's temperatures, the same for both of its parts.

        l = T_t² · (alpha · SCD + beta · MCD),   T = T_norm · std(z),   mean over the batch;   see `Refined`

    Needs `target` and C >= 3; rows of equal logits as in `Std`.
    """

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, t_norm: float = 2.0) -> None:
        super().__init__(Std(t_norm), Refined(alpha, beta))

    def extra_repr(self) -> str:
        return f"alpha={self.divergence.alpha}, beta={self.divergence.beta}, t_norm={self.policy.t_norm}"


class NormDIST(DistillationLoss[Std, Correlation]):
    """DIST with NormKD's temperatures.

        l = T_t² · (beta · (1 - r over classes) + gamma · (1 - mean r over the batch)),   T = T_norm · std(z)

    Mean over the batch; see `Correlation`. Needs C >= 3; rows of equal logits as in `Std`.
    """

    def __init__(self, beta: float = 1.0, gamma: float = 1.0, t_norm: float = 2.0) -> None:
        super().__init__(Std(t_norm), Correlation(beta, gamma))

    def extra_repr(self) -> str:
        return f"beta={self.divergence.beta}, gamma={self.divergence.gamma}, t_norm={self.policy.t_norm}"


class NormBiLD(DistillationLoss[Unweighted[Std], Differences]):
    """BiLD with NormKD's temperatures, and like BiLD without a factor T².

        l = `Differences` of z_t / T_t and z_s / T_s among the top k,   T = T_norm · std(z),   mean over the batch

    Needs C >= 3; rows of equal logits as in `Std`.
    """

    def __init__(self, k: int = 8, t_norm: float = 2.0) -> None:
        super().__init__(Unweighted(Std(t_norm)), Differences(k))

    def extra_repr(self) -> str:
        return f"k={self.divergence.k}, t_norm={self.policy.policy.t_norm}"


class NormMLKD(MultiLevelLoss[Std]):
    """MLKD with NormKD's temperatures in all three levels.

        l = Σ over T_norm of  T_t² · KL + |class Gram matrices|² / C + |batch Gram matrices|² / B,   T = T_norm · std(z)

    See `MLKD`. The defaults keep the ratios of MLKD's temperatures with NormKD's 2.0 in the place of its 4.
    Needs C >= 3; rows of equal logits as in `Std`. LSKD's variant of MLKD normalises in the KL alone.
    """

    def __init__(
        self, t_norm: float = 2.0, t_norms: Sequence[float] = (1.0, 1.5, 2.5, 3.0), as_coded: bool = False
    ) -> None:
        super().__init__([Std(value) for value in (t_norm, *t_norms)], as_coded)

    def extra_repr(self) -> str:
        first, *others = (policy.t_norm for policy in self.policies)
        return f"t_norm={first}, t_norms={tuple(others)}, as_coded={self.as_coded}"
