"""The work of moving one prediction into the other, where near classes are cheap to reach: WKD-L.

Legend: B batch, C classes, D features of the classifier; `_s` student, `_t` teacher.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normkd_explore.checks import check_non_negative, check_positive, check_share, check_whole

STEEPEST = 80.0
"""Largest cost / blur: exp of minus that is still a normal float32."""
EQUAL = 0.5
"""Cost between classes of which nothing is known; across larger ones ten iterations at a blur of 0.05 get nowhere."""


class Transport(nn.Module):
    """Entropic optimal transport between both predictions without the target, by Sinkhorn's iterations.

        q = softmax over the classes other than y,   K = exp(-cost / blur)
        v = q_t / (Kᵀ u),   u = q_s / (K v),   `iterations` times, from u = 1
        Σ_ij u_i K_ij v_j cost_ij

    `cost` says how far class i is from class j. Without one every two classes are equally far (0.5). In training the
    teacher's classifier says it, see `class_distances` and `meet`. The gradient goes through the iterations, which are
    computed on logarithms: nothing overflows, and no small number is added to a denominator. Equal predictions do not
    give 0, as the plan is blurred. With C = 2 it is 0.

    From the share `decay_after` of the epochs on, the value falls to 0 along a half cosine (1: never).

    One value a sample: (B, C), (B, C), (B,) -> (B,).
    Source: WKD-L, Lv, Yang, Li, NeurIPS 2024, arXiv 2412.08139, whose `cost` comes from features of the teacher.

    Raises:
        TypeError, ValueError: an argument is out of its range, or `cost` is no (C, C) tensor of finite costs >= 0 that
            `blur` can resolve.
    """

    needs_target: ClassVar[bool] = True
    cost: Tensor | None
    factor: Tensor

    def __init__(
        self, blur: float = 0.05, iterations: float = 10, decay_after: float = 1.0, cost: Tensor | None = None
    ) -> None:
        super().__init__()
        self.blur, self.iterations = check_positive("blur", blur), check_whole("iterations", iterations, 1)
        self.decay_after = check_share("decay_after", decay_after)
        if 1 / self.blur > STEEPEST:
            raise ValueError(f"blur is {blur!r}, wanted at least {1 / STEEPEST}: costs are as large as 1.")
        self.register_buffer("cost", None if cost is None else self._checked(cost), persistent=False)
        self.register_buffer("factor", torch.ones(()), persistent=False)

    def _checked(self, cost: Tensor) -> Tensor:
        shape = tuple(cost.shape)
        if len(shape) != 2 or shape[0] != shape[1] or not torch.isfinite(cost).all() or bool((cost < 0).any()):
            raise ValueError(f"cost has shape {shape}, wanted (C, C) and finite costs of at least 0.")
        if (largest := float(cost.max())) > STEEPEST * self.blur:
            raise ValueError(
                f"blur is {self.blur} and the largest cost {largest:g}, wanted at least {largest / STEEPEST:g}: below "
                "that, exp(-cost / blur) is 0 in float32."
            )
        return cost.detach().clone()

    def meet(self, teacher: nn.Module) -> None:
        """Take the costs from the teacher's classifier, its last linear layer; a `cost` that was given stays.

        Raises:
            ValueError: the teacher has no linear layer.
        """
        if self.cost is not None:
            return
        layers = [layer for layer in teacher.modules() if isinstance(layer, nn.Linear)]
        if not layers:
            raise ValueError(
                f"teacher is {type(teacher).__name__}, which has no linear classifier, so how near its classes are to "
                "each other is not known. Wanted a network that ends in one; nkd and dkd treat the other classes alike."
            )
        self.cost = self._checked(class_distances(layers[-1].weight))

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Set the factor of the decay for `epoch` of `epochs` (the first is 1)."""
        begin = self.decay_after * epochs
        past = (epoch - begin) / (epochs - begin) if epoch > begin else 0.0
        self.factor.fill_((1 + math.cos(math.pi * past)) / 2)

    def forward(self, soft_s: Tensor, soft_t: Tensor, target: Tensor) -> Tensor:
        cost_CC, target_B1 = self._cost(soft_s), target[:, None]
        # No mass at the target, for which -infinity stands: it is never differentiated.
        log_q_s_BC, log_q_t_BC = (
            F.log_softmax(soft_BC.scatter(1, target_B1, -torch.inf), dim=1) for soft_BC in (soft_s, soft_t)
        )
        K_CC = torch.exp(-cost_CC / self.blur)
        log_u_BC = torch.zeros_like(soft_s).scatter(1, target_B1, -torch.inf)
        for _ in range(self.iterations - 1):
            log_v_BC = log_q_t_BC - _log_sum(log_u_BC, K_CC)
            log_u_BC = log_q_s_BC - _log_sum(log_v_BC, K_CC.T)
        log_v_BC = log_q_t_BC - _log_sum(log_u_BC, K_CC)
        # The last u makes the student's masses exact, so each of them moves at the mean cost of its own row.
        v_BC = torch.exp(log_v_BC - log_v_BC.detach().amax(dim=1, keepdim=True))
        mean_cost_BC = (v_BC @ (K_CC * cost_CC).T) / (v_BC @ K_CC.T)
        return self.factor.to(soft_s.dtype) * (log_q_s_BC.exp() * mean_cost_BC).sum(dim=1)

    def _cost(self, soft_s: Tensor) -> Tensor:
        classes = soft_s.shape[1]
        if self.cost is None:
            return EQUAL * (1 - torch.eye(classes, dtype=soft_s.dtype, device=soft_s.device))
        if len(self.cost) != classes:
            raise ValueError(f"cost is for {len(self.cost)} classes, wanted {classes}, as many as the logits have.")
        return self.cost.to(soft_s)

    def __repr__(self) -> str:
        return f"Transport(blur={self.blur}, iterations={self.iterations}, decay_after={self.decay_after})"


def _log_sum(log_x_BC: Tensor, K_CC: Tensor) -> Tensor:
    """log Σ_i x_i K_ij from log x: the largest x is taken out, and what it is multiplied with is not 0."""
    top_B1 = log_x_BC.detach().amax(dim=1, keepdim=True)
    return top_B1 + torch.log(torch.exp(log_x_BC - top_B1) @ K_CC)


def class_distances(weight_CD: Tensor, sharpness: float = 1.0) -> Tensor:
    """How far classes are from each other for a linear classifier, from 0 to 1: (C, D) -> (C, C).

        1 - exp(-sharpness · (1 - cos(w_i, w_j)))

    Of the published code's two ways the one that needs no image; its results were made with the other, the centred
    kernel alignment of the classes' features.
    """
    sharpness = check_non_negative("sharpness", sharpness)
    w_CD = F.normalize(weight_CD.detach().float(), dim=1)
    apart_CC = (1 - w_CD @ w_CD.T).clamp_min(0.0).fill_diagonal_(0.0)
    return -torch.expm1(-sharpness * apart_CC)
