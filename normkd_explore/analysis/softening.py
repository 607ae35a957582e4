"""What a temperature policy does to each sample: its softened predictions, its weight and its gradient.

Legend: B samples, C classes; `_s` student, `_t` teacher.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from normkd_explore.checks import check_pair
from normkd_explore.divergence import KL
from normkd_explore.temperature import Constant, Std, TemperaturePolicy, row_std

LSKD_EPS = 1e-7


@dataclass(frozen=True, eq=False)
class Softened:
    """One policy's view of B samples, in float64. Entropies and divergences are in nats."""

    std_t_B: NDArray[np.float64]
    """Sample standard deviation (divisor C - 1) of the teacher's logits; 0 where they are all equal."""
    std_s_B: NDArray[np.float64]
    """The same of the student's logits."""
    temperature_t_B: NDArray[np.float64]
    """Divisor of the teacher's logits: the effective temperature."""
    temperature_s_B: NDArray[np.float64]
    """Divisor of the student's logits."""
    weight_B: NDArray[np.float64]
    """Factor of the sample's divergence."""
    probs_t_BC: NDArray[np.float64]
    """softmax(z_t / T_t)."""
    probs_s_BC: NDArray[np.float64]
    """softmax(z_s / T_s)."""
    entropy_t_B: NDArray[np.float64]
    """-Σ_c p_c log p_c of the teacher's softened prediction."""
    entropy_s_B: NDArray[np.float64]
    """The same of the student's."""
    kl_B: NDArray[np.float64]
    """KL(p_t || p_s), unweighted."""
    loss_B: NDArray[np.float64]
    """weight · KL: what the sample adds to the batch's sum."""
    gradient_BC: NDArray[np.float64]
    """d(weight · KL) / d(student logits), through the student's temperature too."""


def methods_at(temperature: float = 4.0, t_norm: float = 2.0) -> dict[str, TemperaturePolicy]:
    """Name the policies that the explorers compare: "raw" (T = 1), "kd", "normkd" and "lskd".

    Raises:
        TypeError, ValueError: a setting is not a finite number above 0.
    """
    return {
        "raw": Constant(1.0),
        "kd": Constant(temperature),
        "normkd": Std(t_norm),
        "lskd": Std(t_norm, weight="constant", eps=LSKD_EPS),
    }


def soften(logits_t: ArrayLike | Tensor, logits_s: ArrayLike | Tensor, policy: TemperaturePolicy) -> Softened:
    """Measure what `policy` makes of every sample, in float64 on the CPU.

        p_t = softmax(z_t / T_t),   p_s = softmax(z_s / T_s),   l = weight · KL(p_t || p_s)

    No reduction: one value a sample. The gradient comes from automatic differentiation of l.

    Args:
        logits_t, logits_s: teacher's and student's logits, (B, C), tensors or arrays.
        policy: any of `normkd_explore.temperature`.
    Raises:
        ValueError: shapes differ, values are not finite, or the policy refuses the logits.
    """
    z_t_BC, z_s_BC = _float64(logits_t), _float64(logits_s).requires_grad_()
    check_pair(z_s_BC, z_t_BC)
    T_s_B1, T_t_B1, weight_B1 = policy(z_s_BC, z_t_BC)
    soft_s_BC, soft_t_BC = z_s_BC / T_s_B1, z_t_BC / T_t_B1
    kl_B = KL()(soft_s_BC, soft_t_BC)
    loss_B = weight_B1.squeeze(1) * kl_B
    # Samples do not interact, so the gradient of the sum holds every sample's own gradient.
    (gradient_BC,) = torch.autograd.grad(loss_B.sum(), z_s_BC)
    probs_t_BC, entropy_t_B = _probs_and_entropy(soft_t_BC)
    probs_s_BC, entropy_s_B = _probs_and_entropy(soft_s_BC)
    return Softened(
        std_t_B=_true_std(z_t_BC),
        std_s_B=_true_std(z_s_BC),
        temperature_t_B=_numpy(T_t_B1.squeeze(1)),
        temperature_s_B=_numpy(T_s_B1.squeeze(1)),
        weight_B=_numpy(weight_B1.squeeze(1)),
        probs_t_BC=probs_t_BC,
        probs_s_BC=probs_s_BC,
        entropy_t_B=entropy_t_B,
        entropy_s_B=entropy_s_B,
        kl_B=_numpy(kl_B),
        loss_B=_numpy(loss_B),
        gradient_BC=_numpy(gradient_BC),
    )


def _float64(logits: ArrayLike | Tensor) -> Tensor:
    tensor = logits.detach() if isinstance(logits, Tensor) else torch.from_numpy(np.array(logits))
    return tensor.to("cpu", torch.float64, copy=True)


def _true_std(logits_BC: Tensor) -> NDArray[np.float64]:
    std_B1, flat_B1 = row_std(logits_BC)
    return _numpy(std_B1.masked_fill(flat_B1, 0.0).squeeze(1))


def _probs_and_entropy(soft_BC: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    log_p_BC = soft_BC.detach().log_softmax(dim=1)
    p_BC = log_p_BC.exp()
    return _numpy(p_BC), _numpy(-(p_BC * log_p_BC).sum(dim=1))


def _numpy(tensor: Tensor) -> NDArray[np.float64]:
    # A copy, because several fields may be views of one tensor and a caller may write into a field.
    return tensor.detach().numpy().copy()
