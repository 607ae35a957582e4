"""Named distillation losses, each a temperature policy composed with a divergence.

    loss = mean over samples of  weight · divergence(z_s / T_s, z_t / T_t, target)

Every loss is called `loss(logits_student, logits_teacher, target=None)` and returns the distillation term
alone, a scalar; adding cross-entropy, and the factors of both, is the training recipe's matter. float16 and
bfloat16 logits are computed in float32, float64 stays float64. The teacher never receives a gradient. Bad
inputs raise errors that say what to do; their values (NaN, label range) are looked at only on the CPU in
eager mode (see `normkd_explore.checks`).

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normkd_explore.checks import check_logits, check_pair, check_target
from normkd_explore.divergence import KL, Decoupled, Divergence
from normkd_explore.temperature import Constant, Std, TemperaturePolicy


class DistillationLoss(nn.Module):
    """Soften both logit tensors with `policy`, compare them with `divergence`, weigh and average the samples.

        l_b = weight_b · divergence(z_s[b] / T_s[b], z_t[b] / T_t[b], y[b]),   loss = (1/B) Σ_b l_b

    Args of a call:
        logits_student, logits_teacher: raw outputs of the classifiers, (B, C).
        target: int64 class indices (B,), for divergences that need them; the others ignore it.
    Returns:
        a scalar, the mean over the batch; `per_sample` returns the l_b, (B,).
    Raises:
        TypeError, ValueError: wrong type, dtype, shape, device or value; the message says what to do.
    """

    def __init__(self, policy: TemperaturePolicy, divergence: Divergence) -> None:
        super().__init__()
        self.policy = policy
        self.divergence = divergence

    def forward(self, logits_student: Tensor, logits_teacher: Tensor, target: Tensor | None = None) -> Tensor:
        return self.per_sample(logits_student, logits_teacher, target).mean()

    def per_sample(self, logits_student: Tensor, logits_teacher: Tensor, target: Tensor | None = None) -> Tensor:
        """The weighed divergence of each sample, (B,); its mean is the loss."""
        check_pair(logits_student, logits_teacher)
        if self.divergence.needs_target:
            check_target(target, logits_student, needed_by=type(self).__name__)
        z_s_BC, z_t_BC = _in_full_precision(logits_student, logits_teacher.detach())
        T_s_B1, T_t_B1, weight_B1 = self.policy(z_s_BC, z_t_BC)
        return weight_B1.squeeze(1) * self.divergence(z_s_BC / T_s_B1, z_t_BC / T_t_B1, target)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        return f"policy={self.policy!r}, divergence={self.divergence!r}"


class CE(nn.Module):
    """Cross-entropy with the labels: the baseline without a teacher, called like the other losses.

        l = -log softmax(z_s)[y],   mean over the batch

    `logits_teacher` is ignored and may be None. Shapes and errors as in `DistillationLoss`.
    """

    def forward(
        self, logits_student: Tensor, logits_teacher: Tensor | None = None, target: Tensor | None = None
    ) -> Tensor:
        return self.per_sample(logits_student, logits_teacher, target).mean()

    def per_sample(
        self, logits_student: Tensor, logits_teacher: Tensor | None = None, target: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy of each sample, (B,)."""
        check_logits("logits_student", logits_student)
        check_target(target, logits_student, needed_by="CE")
        (z_s_BC,) = _in_full_precision(logits_student)
        return F.cross_entropy(z_s_BC, target, reduction="none")


class KD(DistillationLoss):
    """Classic distillation: one temperature for all samples.

        l = T² · KL( softmax(z_t / T) || softmax(z_s / T) ),   mean over the batch

    Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531.
    """

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__(Constant(temperature), KL())

    def extra_repr(self) -> str:
        return f"temperature={self.policy.temperature}"


class NormKD(DistillationLoss):
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


class LSKD(DistillationLoss):
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


class DKD(DistillationLoss):
    """Decoupled distillation: target against the rest, and the rest among themselves, each with its factor.

        l = T² · (alpha · TCKD + beta · NCKD),   mean over the batch;   TCKD, NCKD: see `Decoupled`

    Needs `target`. With C = 2, NCKD is exactly 0 and alpha · TCKD remains.
    Source: Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, arXiv 2203.08679.
    """

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0) -> None:
        super().__init__(Constant(temperature), Decoupled(alpha, beta))

    def extra_repr(self) -> str:
        return f"{_factors(self.divergence)}, temperature={self.policy.temperature}"


class NormDKD(DistillationLoss):
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
        return f"{_factors(self.divergence)}, t_norm={self.policy.t_norm}"


def _factors(divergence: Decoupled) -> str:
    return f"alpha={divergence.alpha}, beta={divergence.beta}"


def _in_full_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    dtype = torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32
    return tuple(tensor.to(dtype) for tensor in tensors)
