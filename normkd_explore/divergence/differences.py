"""Differences between the largest logits, ranked by teacher and by student: BiLD.

Legend: B batch (or tokens), C classes (or vocabulary), K classes looked at, P = K (K - 1) / 2 pairs of them;
`_s` student, `_t` teacher.
"""

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from normkd_explore.divergence.base import kl_B


@dataclass(frozen=True)
class Differences:
    """KL between softmaxes of all pairwise differences of k logits: the teacher's top k, then the student's.

        D(v) = [v_i - v_j for i < j]  in the leader's order, largest first;   k (k - 1) / 2 of them
        Σ over leader in (teacher, student)  KL( softmax D(soft_t[top k of leader]) || softmax D(soft_s[...]) )

    The teacher is the target in both parts. The choice of the k classes has no gradient, their logits have.
    With fewer than k classes all are taken. One value a sample: (B, C), (B, C) -> (B,).
    Source: BiLD, Li, Zhou, Song, COLING 2025, arXiv 2406.13555.

    Raises:
        TypeError, ValueError: `k` is not a whole number of at least 3, or there are fewer than 3 classes: the
            softmax of a single difference is always 1.
    """

    k: int
    needs_target: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", _check_count(self.k))

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor | None = None) -> Tensor:
        if soft_s.shape[1] < 3:
            raise ValueError(
                f"logits_student has {soft_s.shape[1]} classes, wanted at least 3: two logits have a single "
                "difference, whose softmax is always 1. Use KD(temperature=4.0)."
            )
        k = min(self.k, soft_s.shape[1])
        top_t_BK, top_s_BK = (soft_BC.topk(k, dim=1).indices for soft_BC in (soft_t, soft_s.detach()))
        return _led_by(top_t_BK, soft_s, soft_t) + _led_by(top_s_BK, soft_s, soft_t)


def _led_by(leader_BK: Tensor, soft_s: Tensor, soft_t: Tensor) -> Tensor:
    return kl_B(*(_log_softmax_of_differences(soft_BC.gather(1, leader_BK)) for soft_BC in (soft_s, soft_t)))


def _log_softmax_of_differences(ranked_BK: Tensor) -> Tensor:
    k = ranked_BK.shape[1]
    first_P, second_P = torch.triu_indices(k, k, offset=1, device=ranked_BK.device)
    return F.log_softmax(ranked_BK[:, first_P] - ranked_BK[:, second_P], dim=1)


def _check_count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"k is {value!r} ({type(value).__name__}), wanted a whole number such as 8.")
    if value < 3 or not float(value).is_integer():
        raise ValueError(f"k is {value!r}, wanted a whole number of at least 3: two logits have one difference alone.")
    return int(float(value))
