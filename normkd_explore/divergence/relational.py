"""Relations instead of values: correlation of predictions (DIST), and their Gram matrices (MLKD).

Both look at the batch as a whole, so the loss of a sample depends on the company it keeps.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from normkd_explore.checks import check_non_negative, rows_that_count
from normkd_explore.precision import without_autocast


@dataclass(frozen=True)
class Correlation:
    """One minus Pearson's correlation of the predictions, over the classes of a sample and over the batch.

        p = softmax(soft)
        beta · (1 - r(p_s[b, :], p_t[b, :]))  +  gamma · (1 - (1/C) Σ_c r(p_s[:, c], p_t[:, c]))
        r(a, b) = <a - mean a, b - mean b> / (|a - mean a| · |b - mean b| + eps)

    The second part is the batch's, the same for every sample. eps = 1e-8 is the published code's, and is felt
    where probabilities are that small. A batch of one sample has no correlation over the batch: gamma remains.

    One value a sample: (B, C), (B, C) -> (B,).
    Source: DIST, Huang et al., NeurIPS 2022, arXiv 2205.10536.

    Raises:
        TypeError, ValueError: a field is not a finite number of at least 0.
    """

    beta: float
    gamma: float
    eps: float = 1e-8
    needs_target: ClassVar[bool] = False
    over_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("beta", "gamma", "eps"):
            object.__setattr__(self, name, check_non_negative(name, getattr(self, name)))

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor | None = None) -> Tensor:
        p_s_BC, p_t_BC = soft_s.softmax(dim=1), soft_t.softmax(dim=1)
        counts_B = rows_that_count(target, soft_s)
        between_classes_B = 1 - self._pearson(_centred(p_s_BC, 1), _centred(p_t_BC, 1), dim=1)
        within_classes_C = 1 - self._pearson(_centred(p_s_BC, 0, counts_B), _centred(p_t_BC, 0, counts_B), dim=0)
        return self.beta * between_classes_B + self.gamma * within_classes_C.mean()

    def _pearson(self, a_BC: Tensor, b_BC: Tensor, dim: int) -> Tensor:
        lengths = torch.linalg.vector_norm(a_BC, dim=dim) * torch.linalg.vector_norm(b_BC, dim=dim)
        # The smallest normal number keeps 0/0 away where eps is 0 or two lengths underflow.
        return (a_BC * b_BC).sum(dim) / (lengths + self.eps).clamp_min(torch.finfo(lengths.dtype).tiny)


def _centred(p_BC: Tensor, dim: int, counts_B: Tensor | None = None) -> Tensor:
    """p minus its mean along `dim`; rows that do not count are left out of the mean over the batch, and are 0."""
    if counts_B is None:
        return p_BC - p_BC.mean(dim, keepdim=True)
    p_BC = without_uncounted(p_BC, counts_B)
    return without_uncounted(p_BC - p_BC.sum(dim, keepdim=True) / counts_B.sum().clamp_min(1), counts_B)


def without_uncounted(p_BC: Tensor, counts_B: Tensor | None) -> Tensor:
    """The rows that count, and zeros in the place of the others; None: all count."""
    return p_BC if counts_B is None else torch.where(counts_B[:, None], p_BC, 0.0)


@dataclass(frozen=True)
class GramMatrices:
    """Squared distance between the Gram matrices of student and teacher, over classes and over the batch.

        P = softmax(soft), (B, C)
        classes · |P_tᵀ P_t - P_sᵀ P_s|² / C  +  batch · |P_t P_tᵀ - P_s P_sᵀ|² / B,   |·| Frobenius

    The first part is the batch's, the same for every sample, and grows with B²; of the second, a sample has
    its own row. One value a sample: (B, C), (B, C) -> (B,).
    Source: MLKD, CVPR 2023, and its code Jin-Ying/Multi-Level-Logit-Distillation.

    Raises:
        TypeError, ValueError: a field is not a finite number of at least 0.
    """

    classes: float = 1.0
    batch: float = 1.0
    needs_target: ClassVar[bool] = False
    over_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("classes", "batch"):
            object.__setattr__(self, name, check_non_negative(name, getattr(self, name)))

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor | None = None) -> Tensor:
        counts_B = rows_that_count(target, soft_s)
        p_s_BC, p_t_BC = (without_uncounted(soft_BC.softmax(dim=1), counts_B) for soft_BC in (soft_s, soft_t))
        over_classes, over_batch_B = gram_distances(p_s_BC, p_t_BC)
        return self.classes * over_classes + self.batch * over_batch_B


def class_gram(p_s_BC: Tensor, p_t_BC: Tensor) -> Tensor:
    """|P_tᵀ P_t - P_sᵀ P_s|² / C, a scalar."""
    return gram_distances(p_s_BC, p_t_BC)[0]


def batch_gram_B(p_s_BC: Tensor, p_t_BC: Tensor) -> Tensor:
    """The row sums of (P_t P_tᵀ - P_s P_sᵀ)², (B,): their mean is |P_t P_tᵀ - P_s P_sᵀ|² / B."""
    return gram_distances(p_s_BC, p_t_BC)[1]


def gram_distances(p_s_BC: Tensor, p_t_BC: Tensor) -> tuple[Tensor, Tensor]:
    """`class_gram` and `batch_gram_B` at once, a scalar and (B,), from the products that they share.

    With D = P_s - P_t and S = P_s + P_t, both of them sums of small terms where D is small:

        P_sᵀ P_s - P_tᵀ P_t = (Dᵀ S + Sᵀ D) / 2,   P_s P_sᵀ - P_t P_tᵀ = (K + Kᵀ) / 2,   K = D Sᵀ, (B, B)
        |P_sᵀ P_s - P_tᵀ P_t|² = (<D Dᵀ, S Sᵀ> + <K, Kᵀ>) / 2

    The last line needs no (C, C) matrix. Which form is taken follows from the shape alone. Never negative; exactly 0
    and without gradient where P_s = P_t. Computed in the dtype of the input, under autocast too.
    """
    batch, classes = p_s_BC.shape
    # Multiplications of both forms, each with its backward pass: 5 B²C against 2 B²C + 2 BC².
    over_classes, over_batch_B, *_ = _GramDistances.apply(p_s_BC, p_t_BC, 3 * batch < 2 * classes)
    return over_classes, over_batch_B


class _GramDistances(torch.autograd.Function):
    """By hand, because autograd does not know which matrices are symmetric and would multiply nearly twice as often."""

    generate_vmap_rule = True

    @staticmethod
    def forward(p_s_BC: Tensor, p_t_BC: Tensor, by_samples: bool) -> tuple[Tensor, ...]:
        with without_autocast(p_s_BC):
            K_BB, *others = _products(p_s_BC, p_t_BC, by_samples)
            if by_samples:
                U_BB, V_BB = others
                squares = ((U_BB * V_BB).sum() + (K_BB * K_BB.T).sum()).clamp_min(0) / 2
            else:
                squares = others[0].square().sum()
            return squares / p_s_BC.shape[1], (K_BB + K_BB.T).square().sum(dim=1) / 4, K_BB, *others

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: tuple[Tensor, ...]) -> None:
        p_s_BC, p_t_BC, ctx.by_samples = inputs
        ctx.mark_non_differentiable(*output[2:])
        ctx.save_for_backward(p_s_BC, p_t_BC, *output[2:])

    @staticmethod
    def backward(ctx: Any, from_classes: Tensor, from_batch_B: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        p_s_BC, p_t_BC, *products = ctx.saved_tensors
        with without_autocast(p_s_BC):
            if torch.is_grad_enabled():  # to be differentiated again: the products as functions of the input
                products = _products(p_s_BC, p_t_BC, ctx.by_samples)
            slope = _slope_by_samples if ctx.by_samples else _slope_by_classes
            g = from_classes / p_s_BC.shape[1]
            h_BB = (from_batch_B + from_batch_B[:, None]) / 2 * (products[0] + products[0].T)
            student, teacher, _ = ctx.needs_input_grad
            slope_s_BC = slope(p_s_BC, p_t_BC, products, g, h_BB) if student else None
            if not teacher:
                return slope_s_BC, None, None
            # The same with the roles exchanged, which changes the sign of D, and so of K and E.
            changing = 1 if ctx.by_samples else 2
            exchanged = [*(-x for x in products[:changing]), *products[changing:]]
            return slope_s_BC, slope(p_t_BC, p_s_BC, exchanged, g, -h_BB), None


def _products(p_s_BC: Tensor, p_t_BC: Tensor, by_samples: bool) -> list[Tensor]:
    # K = D Sᵀ and U = D Dᵀ, V = S Sᵀ; or K and E = P_sᵀ P_s - P_tᵀ P_t.
    D_BC, S_BC = p_s_BC - p_t_BC, p_s_BC + p_t_BC
    if by_samples:
        return [D_BC @ S_BC.T, D_BC @ D_BC.T, S_BC @ S_BC.T]
    twice_E_CC = D_BC.T @ S_BC
    return [D_BC @ S_BC.T, (twice_E_CC + twice_E_CC.T) / 2]


def _slope_by_samples(p_BC: Tensor, q_BC: Tensor, products: Sequence[Tensor], g: Tensor, h_BB: Tensor) -> Tensor:
    # 4 g · P E + 2 h · P with 4 P E = (Kᵀ + U) S + (V + K) D and 2 P = S + D.
    K_BB, U_BB, V_BB = products
    return (g * (K_BB.T + U_BB) + h_BB) @ (p_BC + q_BC) + (g * (V_BB + K_BB) + h_BB) @ (p_BC - q_BC)


def _slope_by_classes(p_BC: Tensor, q_BC: Tensor, products: Sequence[Tensor], g: Tensor, h_BB: Tensor) -> Tensor:
    return 4 * g * (p_BC @ products[1]) + 2 * (h_BB @ p_BC)
