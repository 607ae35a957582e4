"""The losses of language models, a few positions at a time.

A vocabulary of 150,000 makes two logit tensors the largest things in memory, and composing a loss from ordinary
operations keeps several more of that size for the backward pass. Here positions are taken a few at a time, and the
gradient of each group is computed at once, in the forward pass. Beside the logits there is then one more tensor, the
student's gradient: at its peak 1.5 times the memory of both logit tensors, and little more than they themselves with
`consume_teacher` alone. Less is not to be had without giving up one of them, and it cannot be the student's: a second
loss on those logits, or an accuracy, would read the gradient in their place and nothing would notice.

Leave out positions by the mask, not by a slice such as `logits[:, :-1]`: the way back through a slice needs memory for
the gradient of the whole besides that of the part.

Legend: V vocabulary, K positions that count, k of them in one chunk, A axes before the vocabulary; `_s` student,
`_t` teacher.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from normkd_explore.divergence import KL, Correlation, Differences, Divergence, GramMatrices, ReverseKL
from normkd_explore.language.top_k import TopK, check_top_k_loss, compare_top_k
from normkd_explore.losses import DistillationLoss
from normkd_explore.precision import in_full_precision, without_autocast
from normkd_explore.temperature import Constant, Std, TemperaturePolicy, Unweighted

Compare = Callable[[Tensor, Any], Tensor]
"""The loss of each position of a chunk (k,), from its student logits in full precision and its teacher's."""
CHUNKS = 64
HALF = (torch.float16, torch.bfloat16)


class TokenLoss(nn.Module):
    """A temperature policy and a divergence on every position that counts, averaged over those of the whole batch.

        l = Σ over positions with mask  weight · divergence(z_s / T_s, z_t / T_t)  /  number of such positions

    Long and short sequences are not averaged first: each position counts once. Without any such position the loss is 0.
    Where several batches or processes make one step, multiply by this batch's number of positions over all of them.

    Args:
        policy, divergence: as in `DistillationLoss`; nothing that looks at several positions at once, learns, or
            needs labels.
        consume_teacher: write the gradient over the teacher's logits instead of into new memory. They must be
            contiguous, of the student's dtype, and of no further use to the caller.
    Args of a call:
        logits_student, logits_teacher: (..., V), any floating dtype; computed in float32 at least, chunk by chunk. The
            teacher's may be a `TopK` of the same positions, with `Constant` or `Std` temperatures.
        mask: bool, (...): True where a position counts, such as the answer's tokens; None counts all.
    Returns:
        a scalar. It can be differentiated once, by one call of backward. In half precision a loss scale belongs on it
        before that call, as `torch.amp.GradScaler` puts it there: the gradient is rounded after it.
    Raises:
        TypeError, ValueError: wrong type, dtype, shape or device, or a result that is not finite (looked at on the
            CPU alone); the message says what to do.
    """

    def __init__(self, policy: TemperaturePolicy, divergence: Divergence, consume_teacher: bool = False) -> None:
        super().__init__()
        self.loss = DistillationLoss(policy, divergence)
        self.consume_teacher = consume_teacher
        if isinstance(divergence, (Correlation, GramMatrices)) or divergence.needs_target or [*self.loss.parameters()]:
            raise ValueError(
                f"{self.loss!r} needs labels, learns, or compares several positions, wanted a loss of each position "
                "alone, such as KL(), ReverseKL() or Differences(8) with Constant(3.0) or Std(3.0)."
            )

    def forward(self, logits_student: Tensor, logits_teacher: Tensor | TopK, mask: Tensor | None = None) -> Tensor:
        compare = self._checked(logits_student, logits_teacher, mask)
        if mask is None:
            mask = torch.ones(logits_student.shape[:-1], dtype=torch.bool, device=logits_student.device)
        # The logits keep their shape: to flatten a slice of a larger tensor would copy it.
        kept_KA = mask.nonzero()
        with without_autocast(logits_student):
            teacher = logits_teacher.detach() if isinstance(logits_teacher, Tensor) else logits_teacher
            mean = _ChunkByChunk.apply(logits_student, teacher, kept_KA, compare, self.consume_teacher)
        if mean.device.type == "cpu" and not torch.isfinite(mean):
            raise ValueError(
                f"the loss is {mean.item()}, wanted a finite number: logits_student or logits_teacher hold NaN or "
                "infinity at a position that counts. Look for a learning rate that is too high or an overflow."
            )
        return mean

    def _checked(self, logits_student: Any, logits_teacher: Any, mask: Any) -> Compare:
        """How one chunk is compared, once everything was looked at."""
        if isinstance(logits_teacher, TopK):
            _check_student(logits_student)
            _check_top_k(logits_student, logits_teacher, self.consume_teacher)
            check_top_k_loss(self.loss, logits_teacher)
            _check_mask(logits_student, mask)
            return self._compare_top_k
        _check(logits_student, logits_teacher, mask)
        if self.consume_teacher:
            _check_consumable(logits_student, logits_teacher)
        return self._compare

    def _compare(self, z_s_kV: Tensor, z_t_kV: Tensor) -> Tensor:
        return self.loss.compare(z_s_kV, z_t_kV.to(z_s_kV.dtype), None)

    def _compare_top_k(self, z_s_kV: Tensor, top: TopK) -> Tensor:
        return compare_top_k(self.loss, z_s_kV, top.in_precision(z_s_kV.dtype))

    def extra_repr(self) -> str:
        return f"consume_teacher={self.consume_teacher}"


class TokenKL(TokenLoss):
    """KL(p_t || p_s) at one temperature, without the factor T², as the comparisons of BiLD have it."""

    def __init__(self, temperature: float = 3.0, consume_teacher: bool = False) -> None:
        super().__init__(Unweighted(Constant(temperature)), KL(), consume_teacher)


class TokenReverseKL(TokenLoss):
    """KL(p_s || p_t) at one temperature, without the factor T²."""

    def __init__(self, temperature: float = 3.0, consume_teacher: bool = False) -> None:
        super().__init__(Unweighted(Constant(temperature)), ReverseKL(), consume_teacher)


class TokenNormKD(TokenLoss):
    """NormKD of every position: T = T_norm · std of its logits, weight T_t². T_norm is 3 in BiLD's comparisons."""

    def __init__(self, t_norm: float = 3.0, consume_teacher: bool = False) -> None:
        super().__init__(Std(t_norm), KL(), consume_teacher)


class TokenBiLD(TokenLoss):
    """BiLD of every position, see `Differences`. Its authors add a plain KL (T = 1) on the prompt, and no CE."""

    def __init__(self, k: int = 8, temperature: float = 3.0, consume_teacher: bool = False) -> None:
        super().__init__(Unweighted(Constant(temperature)), Differences(k), consume_teacher)


class _ChunkByChunk(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, z_s: Tensor, z_t: Tensor | TopK, kept_KA: Tensor, compare: Compare, consume_teacher: bool
    ) -> Tensor:
        gradient = _gradient_buffer(z_s, z_t, kept_KA, consume_teacher) if ctx.needs_input_grad[0] else None
        total = torch.zeros((), dtype=torch.promote_types(z_s.dtype, torch.float32), device=z_s.device)
        ctx.units = []
        for places in _chunks(kept_KA):
            z_t_part = z_t[places]
            same = (z_t_part,) if isinstance(z_t_part, Tensor) else ()
            z_s_kV, *_ = in_full_precision(z_s[places], *same)
            if gradient is None:
                total += compare(z_s_kV, z_t_part).sum()
                continue
            with torch.enable_grad():
                part = compare(z_s_kV.requires_grad_(), z_t_part).sum()
                (gradient_kV,) = torch.autograd.grad(part, z_s_kV)
            unit_k1 = _unit(gradient_kV) if gradient.dtype in HALF else None
            gradient[places] = (gradient_kV if unit_k1 is None else gradient_kV / unit_k1).to(gradient.dtype)
            ctx.units.append(unit_k1)
            total += part.detach()
        ctx.gradient, ctx.kept_KA = gradient, kept_KA
        return total / max(len(kept_KA), 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, from_above: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None:
            raise RuntimeError(
                "backward was called twice on a TokenLoss: its gradient is handed out once. Call it again."
            )
        factor = from_above / max(len(ctx.kept_KA), 1)
        if gradient.dtype not in HALF:
            return gradient.mul_(factor), None, None, None, None
        for places, unit_k1 in zip(_chunks(ctx.kept_KA), ctx.units, strict=True):
            gradient[places] = (gradient[places].float() * (factor * unit_k1)).to(gradient.dtype)
        return gradient, None, None, None, None


def _chunks(kept_KA: Tensor) -> list[tuple[Tensor, ...]]:
    """The places that count, a few at a time, as indices."""
    parts = kept_KA.split(max(1, len(kept_KA) // CHUNKS)) if len(kept_KA) else ()
    return [places_kA.unbind(1) for places_kA in parts]


def _unit(gradient_kV: Tensor) -> Tensor:
    """A power of two for each row that brings its largest value to 2^14 or 2^15, float32 (k, 1).

    In half precision a row is kept in this unit, and multiplied by the loss scale and divided by the number of
    positions on the way back alone, in float32: before that, a float16 gradient would mostly be rounded to zero.
    """
    exponent_k1 = torch.frexp(gradient_kV.abs().amax(dim=1, keepdim=True)).exponent
    return torch.ldexp(torch.ones_like(gradient_kV[:, :1]), (exponent_k1 - 15).clamp_min(-120))


def _gradient_buffer(z_s: Tensor, z_t: Tensor | TopK, kept_KA: Tensor, consume_teacher: bool) -> Tensor:
    if not consume_teacher or isinstance(z_t, TopK):
        return torch.zeros_like(z_s, memory_format=torch.contiguous_format)
    ignored = torch.ones(z_s.shape[:-1], dtype=torch.bool, device=z_s.device)
    ignored[kept_KA.unbind(1)] = False
    # Row by row of zeros: a masked fill of the whole would make a mask of its size.
    z_t[ignored.nonzero().unbind(1)] = 0
    return z_t


def _check(logits_s: Any, logits_t: Any, mask: Any) -> None:
    _check_student(logits_s)
    _check_floating("logits_teacher", logits_t)
    if logits_s.shape != logits_t.shape:
        raise ValueError(
            f"logits_student has shape {tuple(logits_s.shape)} and logits_teacher {tuple(logits_t.shape)}, wanted the "
            "same (..., vocabulary): both models need the same tokenizer. Cut padded vocabularies to its size."
        )
    _check_mask(logits_s, mask)


def _check_student(logits_s: Any) -> None:
    _check_floating("logits_student", logits_s)
    if logits_s.ndim < 2 or logits_s.shape[-1] < 2:
        raise ValueError(f"logits_student has shape {tuple(logits_s.shape)}, wanted (..., vocabulary).")


def _check_floating(name: str, logits: Any) -> None:
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        found = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"{name} is {found}, wanted a floating tensor of shape (..., vocabulary).")


def _check_top_k(logits_s: Tensor, top: TopK, consume_teacher: bool) -> None:
    if consume_teacher:
        raise ValueError("consume_teacher: found a TopK, which has no room for a gradient. Leave it off.")
    wanted = (*top.values.shape[:-1], top.vocabulary)
    if tuple(logits_s.shape) != wanted:
        raise ValueError(
            f"logits_student has shape {tuple(logits_s.shape)} and the stored top {top.values.shape[-1]} belongs to "
            f"{wanted}, wanted the same: the same positions, and the tokenizer that it was stored with."
        )


def _check_mask(logits_s: Tensor, mask: Any) -> None:
    if mask is not None and not (isinstance(mask, Tensor) and mask.dtype == torch.bool):
        raise TypeError("mask must be a bool tensor, True where a position counts: labels != -100, for example.")
    if mask is not None and mask.shape != logits_s.shape[:-1]:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}, wanted {tuple(logits_s.shape[:-1])}: one for a position."
        )


def _check_consumable(logits_s: Tensor, logits_t: Tensor) -> None:
    if logits_t.dtype != logits_s.dtype or logits_t.requires_grad or not logits_t.is_contiguous():
        raise ValueError(
            f"consume_teacher: found logits_teacher of dtype {logits_t.dtype}, requires_grad={logits_t.requires_grad}, "
            f"contiguous={logits_t.is_contiguous()}, wanted a contiguous tensor of dtype {logits_s.dtype} made under "
            "torch.no_grad(). Leave consume_teacher off to keep the teacher's logits."
        )
