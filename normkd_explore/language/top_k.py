"""A teacher's k largest logits of a position, and what is known of all others: enough for a loss, and a little memory.

Of a vocabulary of 150,000 a teacher has an opinion on some dozens of words. They are kept, and of the others three
numbers: the logarithm of the sum of their exponentials, their mean and their standard deviation.

What becomes of the mass of the others has two names:

* "rest": all of them are one more class. The student's mass of them is exact at any temperature. The teacher's is
  exact at T = 1 and for large T, and between them what a cubic through both says (see `TopK.rest_at`).
* "renormalised": they are left out on both sides, and the k probabilities add up to 1. Then nobody tells the student
  how much mass belongs elsewhere, and KL no longer pulls its other logits down.

What a standard deviation means, for NormKD's temperatures, has two names as well: "all" is that of the whole
vocabulary, which the three numbers give exactly; "kept" is that of the k logits alone, on both sides, which is another
temperature.

Legend: V vocabulary, K positions that count, k classes kept, A axes before; `_s` student, `_t` teacher.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from normkd_explore.divergence import Differences
from normkd_explore.losses import DistillationLoss
from normkd_explore.temperature import Constant, Softening, Std, Unweighted

Mass = Literal["rest", "renormalised"]
Spread = Literal["all", "kept"]
KEPT_AT_LEAST = 3  # of fewer, a standard deviation says nothing


@dataclass(frozen=True, eq=False)
class TopK:
    """A teacher's k largest logits at some positions. A common shift of all numbers of a position changes nothing.

    Raises:
        TypeError, ValueError: shapes do not fit, k is not between 3 and V - 1, or `mass` or `spread` is another word.
    """

    values: Tensor
    """Logits (..., k), the largest first."""
    index: Tensor
    """Their places in the vocabulary (..., k), int64."""
    rest: Tensor
    """log Σ exp of the other logits (...,)."""
    rest_mean: Tensor
    """Mean of the other logits (...,)."""
    rest_std: Tensor
    """Their standard deviation (...,), with their number as divisor."""
    vocabulary: int
    """V."""
    mass: Mass = "rest"
    """What becomes of the others."""
    spread: Spread = "all"
    """Whose standard deviation a temperature follows."""

    def __post_init__(self) -> None:
        k = self.values.shape[-1]
        rows = {tuple(part.shape) for part in (self.rest, self.rest_mean, self.rest_std)}
        if self.index.shape != self.values.shape or rows != {tuple(self.values.shape[:-1])}:
            raise ValueError(
                f"TopK: values have shape {tuple(self.values.shape)}, index {tuple(self.index.shape)} and the rest "
                f"{rows}, wanted (..., k), (..., k) and (...,)."
            )
        check_k(k, self.vocabulary)
        for name, words in (("mass", Mass), ("spread", Spread)):
            if getattr(self, name) not in get_args(words):
                raise ValueError(f"{name} is {getattr(self, name)!r}, wanted one of {', '.join(get_args(words))}.")

    @classmethod
    def of(cls, logits: Tensor, k: int, mass: Mass = "rest", spread: Spread = "all") -> TopK:
        """What is kept of logits (..., V), in float32 at least and relative to the largest."""
        check_k(k, logits.shape[-1])
        wide = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
        values, index = wide.topk(k, dim=-1)
        largest = values[..., :1]
        others = (wide - largest).scatter(-1, index, -math.inf)
        count = logits.shape[-1] - k
        finite = others.masked_fill(others == -math.inf, 0.0)
        mean = finite.sum(-1) / count
        apart = (others - mean[..., None]).masked_fill(others == -math.inf, 0.0)
        std = (apart.square().sum(-1) / count).sqrt()
        return cls(values - largest, index, others.logsumexp(-1), mean, std, logits.shape[-1], mass, spread)

    def with_mass(self, mass: Mass, spread: Spread | None = None) -> TopK:
        """The same logits, with another answer to what becomes of the others."""
        return replace(self, mass=mass, spread=spread or self.spread)

    def to(self, device: Any) -> TopK:
        """The same on another device."""
        return self._each(lambda part: part.to(device, non_blocking=True))

    def __getitem__(self, places: Any) -> TopK:
        """Some positions."""
        return self._each(lambda part: part[places])

    def _each(self, change: Any) -> TopK:
        names = ("values", "index", "rest", "rest_mean", "rest_std")
        return replace(self, **{name: change(getattr(self, name)) for name in names})

    def in_precision(self, dtype: torch.dtype) -> TopK:
        """The same with floating numbers of `dtype`."""
        return self._each(lambda part: part.to(dtype) if part.is_floating_point() else part)

    def std(self) -> Tensor:
        """Standard deviation of all V logits (...,), divisor V - 1."""
        count = self.vocabulary - self.values.shape[-1]
        mean = (self.values.sum(-1) + count * self.rest_mean) / self.vocabulary
        squares = (self.values - mean[..., None]).square().sum(-1)
        squares = squares + count * (self.rest_std.square() + (self.rest_mean - mean).square())
        return (squares / (self.vocabulary - 1)).sqrt()

    def rest_at(self, inverse_T: Tensor) -> Tensor:
        """log Σ exp(z / T) of the others (...,), given 1 / T of the same shape.

            K(b) = log mean exp(b z) = mean · b + std² · b² / 2 + c · b³,   b = 1 / T,   c such that K(1) is right

        K is convex with K(0) = 0 and K'(0) = mean, so it lies between mean · b and b · K(1) for b <= 1; above, between
        b · K(1) and b times the smallest logit kept. What the cubic says is held to these bounds.
        """
        count = self.vocabulary - self.values.shape[-1]
        at_one = self.rest - math.log(count)
        half = self.rest_std.square() / 2
        cubic = inverse_T * (self.rest_mean + inverse_T * (half + inverse_T * (at_one - self.rest_mean - half)))
        inside = inverse_T <= 1
        lowest = inverse_T * torch.where(inside, self.rest_mean, at_one)
        highest = inverse_T * torch.where(inside, at_one, self.values[..., -1])
        return math.log(count) + torch.minimum(torch.maximum(cubic, lowest), highest)


def check_k(k: int, vocabulary: int) -> None:
    """ValueError unless k logits of such a vocabulary can be kept and something is left over."""
    if not KEPT_AT_LEAST <= k < vocabulary:
        raise ValueError(f"k is {k}, wanted between {KEPT_AT_LEAST} and {vocabulary - 1} (one less than all).")


def check_top_k_loss(loss: DistillationLoss, top: TopK) -> None:
    """ValueError where a loss looks for more than the top k can tell."""
    policy = loss.policy.policy if isinstance(loss.policy, Unweighted) else loss.policy
    if not isinstance(policy, Constant | Std):
        raise ValueError(f"{policy!r} looks at logits that are not stored, wanted Constant or Std with a TopK.")
    if isinstance(loss.divergence, Differences) and top.mass == "rest":
        raise ValueError(
            "Differences compares single logits, and the rest is none: pass top_k.with_mass('renormalised')."
        )


def compare_top_k(loss: DistillationLoss, z_s_KV: Tensor, top: TopK) -> Tensor:
    """The loss of each position (K,), from the student's logits and a teacher's top k, both in full precision."""
    seen_s_Kk = z_s_KV.gather(1, top.index)
    T_s_K1, T_t_K1, weight_K1 = _softening(loss, z_s_KV, seen_s_Kk, top)
    soft_s, soft_t = seen_s_Kk / T_s_K1, top.values / T_t_K1
    if top.mass == "rest":
        # Divided first: where the student's T learns, -inf / T would have no gradient.
        others_KV = (z_s_KV / T_s_K1).scatter(1, top.index, -math.inf)
        soft_s = torch.cat([soft_s, others_KV.logsumexp(1, keepdim=True)], dim=1)
        soft_t = torch.cat([soft_t, top.rest_at(1 / T_t_K1.squeeze(1))[:, None]], dim=1)
    return weight_K1.squeeze(1) * loss.divergence(soft_s, soft_t, None)


def _softening(loss: DistillationLoss, z_s_KV: Tensor, seen_s_Kk: Tensor, top: TopK) -> Softening:
    if top.spread == "kept":
        return loss.policy(seen_s_Kk, top.values)
    # Three logits whose standard deviation is that of all: these policies look at nothing else of the teacher.
    std_K1 = top.std()[:, None]
    return loss.policy(z_s_KV, torch.cat([-std_K1, torch.zeros_like(std_K1), std_K1], dim=1))
