"""Other temperatures than a constant or the std: ATLC, DTKD and CTKD.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from normkd_explore.checks import check_non_negative
from normkd_explore.divergence import KL
from normkd_explore.losses.base import DistillationLoss, WeightedSum
from normkd_explore.temperature import Constant, Learned, MaxLogit, MaxRatio
from normkd_explore.temperature.maximum import PEAK_FACTOR, PeakSource


class ATLC(DistillationLoss[MaxLogit, KL]):
    """Distillation of z-scored logits with a temperature for every sample from its largest z-score.

        u = (z - mean(z)) / (std(z) + 1e-7),   T = factor · max_c max(|u_s[c]|, |u_t[c]|), a constant for the gradient
        l = T² · KL( softmax(u_t / T) || softmax(u_s / T) ),   mean over the batch

    source="teacher" takes |u_t| alone, as the paper's abstract says; the default is the published code. Needs
    C >= 3; rows of equal logits as in `MaxLogit`.
    Source: Matsuyama et al., "Adaptive Temperature Based on Logits Correlation", arXiv 2503.09030.
    """

    def __init__(self, source: PeakSource = "both", factor: float = PEAK_FACTOR) -> None:
        super().__init__(MaxLogit(source, factor), KL())

    def extra_repr(self) -> str:
        return f"source={self.policy.source!r}, factor={self.policy.factor}"


class DTKD(WeightedSum):
    """Distillation that shares the temperature out between teacher and student by their largest logits.

        x = max z_t,   v = max z_s,   T_t = 2x / (x + v) · T,   T_s = 2v / (x + v) · T
        l = alpha · T_t · T_s · KL( softmax(z_t / T_t) || softmax(z_s / T_s) )  +  beta · KD(T)

    Mean over the batch. The default is the method's own term alone; its authors add classic KD and train with
    alpha = 3, beta = 1 (see the settings of the method dtkd). Samples without positive maxima as in `MaxRatio`.
    Source: Wei and Bai, "Dynamic Temperature Knowledge Distillation", arXiv 2404.12711.
    """

    def __init__(self, temperature: float = 4.0, alpha: float = 1.0, beta: float = 0.0) -> None:
        self.alpha, self.beta = check_non_negative("alpha", alpha), check_non_negative("beta", beta)
        own, classic = MaxRatio(temperature), Constant(temperature)
        self.temperature = own.temperature
        super().__init__([(self.alpha, DistillationLoss(own, KL())), (self.beta, DistillationLoss(classic, KL()))])

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}, alpha={self.alpha}, beta={self.beta}"


class CTKD(DistillationLoss[Learned, KL]):
    """Distillation with one learned temperature that rises against the student, slowly at first.

        l = T² · KL( softmax(z_t / T) || softmax(z_s / T) ),   T = start + end · sigmoid(theta),   mean over the batch

    theta's gradient is reversed and grows over `ramp` epochs, see `Learned`: give `parameters()` to the
    student's optimiser and call `set_epoch(epoch, epochs)` in every epoch.
    Source: Li et al., "Curriculum Temperature for Knowledge Distillation", AAAI 2023, arXiv 2211.16231.
    """

    def __init__(self, start: float = 1.0, end: float = 20.0, ramp: float = 10.0) -> None:
        super().__init__(Learned(start, end, ramp), KL())

    def extra_repr(self) -> str:
        return f"start={self.policy.start}, end={self.policy.end}, ramp={self.policy.ramp}"
