"""How every loss is called and checked, and the two ways to build one: compose, and add up.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from normkd_explore.checks import check_not_multi_label, check_pair, check_target, rows_that_count
from normkd_explore.divergence import Divergence
from normkd_explore.precision import in_full_precision, without_autocast
from normkd_explore.temperature import TemperaturePolicy, tell_epoch

P = TypeVar("P", bound=TemperaturePolicy)
D = TypeVar("D", bound=Divergence)


class LogitLoss(nn.Module):
    """A loss on both networks' logits; a subclass says in `compare` what a sample costs.

    Args of a call:
        logits_student, logits_teacher: raw outputs of the classifiers, (B, C).
        target: int64 class indices (B,). Rows with the label -100 are left out by every loss, and so is what they
            would be to other rows. Losses that do not need labels look at nothing else in it.
    Returns:
        a scalar, the mean over the rows that count, 0 without any; `per_sample` returns what it is the mean of, (B,),
        with 0 for the rows that are left out.
    Raises:
        TypeError, ValueError: wrong type, dtype, shape, device or value; the message says what to do.
    """

    needs_target = False

    def forward(self, logits_student: Tensor, logits_teacher: Tensor, target: Tensor | None = None) -> Tensor:
        return mean_of_counted(*self._losses(logits_student, logits_teacher, target))

    def per_sample(self, logits_student: Tensor, logits_teacher: Tensor, target: Tensor | None = None) -> Tensor:
        """The loss of each sample, (B,); their mean over the rows that count is the loss."""
        return self._losses(logits_student, logits_teacher, target)[0]

    def _losses(self, logits_student: Tensor, logits_teacher: Tensor, target: Any) -> tuple[Tensor, Tensor | None]:
        """The loss of each sample, (B,), and which of them count."""
        check_pair(logits_student, logits_teacher)
        check_not_multi_label(target, logits_student)
        if self.needs_target:
            check_target(target, logits_student, needed_by=type(self).__name__)
        with without_autocast(logits_student):
            z_s_BC, z_t_BC = in_full_precision(logits_student, logits_teacher.detach())
            losses_B = self.compare(z_s_BC, z_t_BC, target)
        counts_B = rows_that_count(target, losses_B)
        return (losses_B if counts_B is None else torch.where(counts_B, losses_B, 0.0)), counts_B

    def compare(self, z_s_BC: Tensor, z_t_BC: Tensor, target: Tensor | None) -> Tensor:
        """The loss of each sample, (B,), from checked logits in float32 or float64; any for rows left out."""
        raise NotImplementedError

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Hook called in every epoch (the first is 1); only methods that change during training use it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


class DistillationLoss(LogitLoss, Generic[P, D]):
    """Soften both logit tensors with `policy`, compare them with `divergence`, weigh and average the samples.

        l_b = weight_b · divergence(z_s[b] / T_s[b], z_t[b] / T_t[b], y[b]),   loss = (1/B) Σ_b l_b

    Calls and errors as in `LogitLoss`. A subclass that fixes both says so: `class KD(DistillationLoss[Constant, KL])`.
    """

    def __init__(self, policy: P, divergence: D) -> None:
        super().__init__()
        self.policy = policy
        self.divergence = divergence
        self.needs_target = divergence.needs_target

    def compare(self, z_s_BC: Tensor, z_t_BC: Tensor, target: Tensor | None) -> Tensor:
        T_s_B1, T_t_B1, weight_B1 = self.policy(z_s_BC, z_t_BC)
        if not getattr(self.divergence, "over_batch", False):
            target = _as_classes(target)
        return weight_B1.squeeze(1) * self.divergence(soften(z_s_BC, T_s_B1), soften(z_t_BC, T_t_B1), target)

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Tell policy and divergence."""
        tell_epoch(self.policy, epoch, epochs)
        tell_epoch(self.divergence, epoch, epochs)

    def extra_repr(self) -> str:
        return f"policy={self.policy!r}, divergence={self.divergence!r}"


class WeightedSum(LogitLoss):
    """Several losses added up, each with its factor; a part with the factor 0 is not computed.

        l_b = Σ_i factor_i · part_i(z_s, z_t, y)_b,   mean over the batch

    Calls and errors as in `LogitLoss`.
    """

    def __init__(self, parts: Sequence[tuple[float, LogitLoss]]) -> None:
        super().__init__()
        used = [(factor, part) for factor, part in parts if factor != 0]
        self.factors = [factor for factor, _ in used]
        self.parts = nn.ModuleList([part for _, part in used])
        self.needs_target = any(part.needs_target for part in self.parts)

    def compare(self, z_s_BC: Tensor, z_t_BC: Tensor, target: Tensor | None) -> Tensor:
        total_B = 0.0 * z_s_BC[:, 0]
        for factor, part in zip(self.factors, self.parts, strict=True):
            total_B = total_B + factor * cast(LogitLoss, part).compare(z_s_BC, z_t_BC, target)
        return total_B

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Tell every part."""
        for part in self.parts:
            tell_epoch(part, epoch, epochs)

    def extra_repr(self) -> str:
        return repr(list(zip(self.factors, self.parts, strict=True)))


def mean_of_counted(losses_B: Tensor, counts_B: Tensor | None) -> Tensor:
    """Mean over the rows that count (None: all), 0 without any; the others are 0."""
    return losses_B.mean() if counts_B is None else losses_B.sum() / counts_B.sum().clamp_min(1)


def _as_classes(target: Any) -> Any:
    """Labels with class 0 in the place of -100: what a divergence makes of such a row is thrown away."""
    return target.clamp_min(0) if isinstance(target, Tensor) and target.dtype == torch.int64 else target


def soften(z_BC: Tensor, T_B1: Tensor) -> Tensor:
    """z / T. As a product, because the way back through a quotient takes three times as many passes over (B, C)."""
    return z_BC * T_B1.reciprocal()
