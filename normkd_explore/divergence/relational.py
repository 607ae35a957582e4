"""Relations instead of values: correlation of predictions (DIST), and their Gram matrices (MLKD).

Both look at the batch as a whole, so the loss of a sample depends on the company it keeps.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from normkd_explore.checks import check_non_negative


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

    def __post_init__(self) -> None:
        for name in ("beta", "gamma", "eps"):
            object.__setattr__(self, name, check_non_negative(name, getattr(self, name)))

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor | None = None) -> Tensor:
        p_s_BC, p_t_BC = soft_s.softmax(dim=1), soft_t.softmax(dim=1)
        between_classes_B = 1 - self._pearson(p_s_BC, p_t_BC, dim=1)
        within_classes = 1 - self._pearson(p_s_BC, p_t_BC, dim=0).mean()
        return self.beta * between_classes_B + self.gamma * within_classes

    def _pearson(self, a_BC: Tensor, b_BC: Tensor, dim: int) -> Tensor:
        a_BC, b_BC = (x_BC - x_BC.mean(dim, keepdim=True) for x_BC in (a_BC, b_BC))
        lengths = torch.linalg.vector_norm(a_BC, dim=dim) * torch.linalg.vector_norm(b_BC, dim=dim)
        # The smallest normal number keeps 0/0 away where eps is 0 or two lengths underflow.
        return (a_BC * b_BC).sum(dim) / (lengths + self.eps).clamp_min(torch.finfo(lengths.dtype).tiny)


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

    def __post_init__(self) -> None:
        for name in ("classes", "batch"):
            object.__setattr__(self, name, check_non_negative(name, getattr(self, name)))

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Tensor | None = None) -> Tensor:
        p_s_BC, p_t_BC = soft_s.softmax(dim=1), soft_t.softmax(dim=1)
        return self.classes * class_gram(p_s_BC, p_t_BC) + self.batch * batch_gram_B(p_s_BC, p_t_BC)


def class_gram(p_s_BC: Tensor, p_t_BC: Tensor) -> Tensor:
    """|P_tᵀ P_t - P_sᵀ P_s|² / C, a scalar."""
    return (p_t_BC.T @ p_t_BC - p_s_BC.T @ p_s_BC).square().sum() / p_s_BC.shape[1]


def batch_gram_B(p_s_BC: Tensor, p_t_BC: Tensor) -> Tensor:
    """The row sums of (P_t P_tᵀ - P_s P_sᵀ)², (B,): their mean is |P_t P_tᵀ - P_s P_sᵀ|² / B."""
    return (p_t_BC @ p_t_BC.T - p_s_BC @ p_s_BC.T).square().sum(dim=1)
