"""The classics: cross-entropy, KD and DKD.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from normkd_explore.checks import IGNORED, check_logits, check_target, rows_that_count
from normkd_explore.divergence import KL, Decoupled
from normkd_explore.losses.base import DistillationLoss, mean_of_counted
from normkd_explore.precision import in_full_precision
from normkd_explore.temperature import Constant
from normkd_explore.temperature.constant import ConstantWeight


class CE(nn.Module):
    """Cross-entropy with the labels: the baseline without a teacher, called like the other losses.

        l = -log softmax(z_s)[y],   mean over the batch

    `logits_teacher` is ignored and may be None. Shapes, labels of -100 and errors as in `LogitLoss`.
    """

    def forward(
        self, logits_student: Tensor, logits_teacher: Tensor | None = None, target: Tensor | None = None
    ) -> Tensor:
        return mean_of_counted(
            self.per_sample(logits_student, logits_teacher, target), rows_that_count(target, logits_student)
        )

    def per_sample(
        self, logits_student: Tensor, logits_teacher: Tensor | None = None, target: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy of each sample, (B,); 0 where the label is -100."""
        check_logits("logits_student", logits_student)
        labels_B = check_target(target, logits_student, needed_by="CE")
        (z_s_BC,) = in_full_precision(logits_student)
        return F.cross_entropy(z_s_BC, labels_B, reduction="none", ignore_index=IGNORED)


class KD(DistillationLoss[Constant, KL]):
    """Classic distillation: one temperature for all samples.

        l = T² · KL( softmax(z_t / T) || softmax(z_s / T) ),   mean over the batch

    With `weight="variance"` each sample counts std(z_t)² times as much: NormKD's weights at KD's temperature. Of the
    four ways to cross a temperature (T or T_norm · std) with a weight (alike or the variance), KD, this one, LSKD and
    NormKD are one each.
    Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531.
    """

    def __init__(self, temperature: float = 4.0, weight: ConstantWeight = "alike") -> None:
        super().__init__(Constant(temperature, weight), KL())

    def extra_repr(self) -> str:
        chosen = "" if self.policy.weight == "alike" else f", weight={self.policy.weight!r}"
        return f"temperature={self.policy.temperature}{chosen}"


class DKD(DistillationLoss[Constant, Decoupled]):
    """Decoupled distillation: target against the rest, and the rest among themselves, each with its factor.

        l = T² · (alpha · TCKD + beta · NCKD),   mean over the batch;   TCKD, NCKD: see `Decoupled`

    Needs `target`. With C = 2, NCKD is exactly 0 and alpha · TCKD remains.
    Source: Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, arXiv 2203.08679.
    """

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0) -> None:
        super().__init__(Constant(temperature), Decoupled(alpha, beta))

    def extra_repr(self) -> str:
        return f"alpha={self.divergence.alpha}, beta={self.divergence.beta}, temperature={self.policy.temperature}"
