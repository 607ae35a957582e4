"""OFD: the student's maps before the ReLU shall equal the teacher's, as far as the ReLU lets that matter.

Shapes: B batch, K channels, H, W; `_s` student, `_t` teacher.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from normkd_explore.checks import check_non_negative
from normkd_explore.feature_losses.base import BatchNorm, as_parameters_of, check_stages, same_count, same_size
from normkd_explore.models.features import conv1x1
from normkd_explore.precision import ignores_autocast

RARE = 0.001
SMALLEST_SPREAD = 1e-12


class OFD(nn.Module):
    """Squared differences before the ReLU; where the teacher's unit is off, the student's need only be off as well.

        t = max(f_t, m_K),   s = BN(conv1x1(f_s)), from the student's to the teacher's channels
        l = Σ over stages i = 1..n of  2^(i - n) · (1/B) Σ over B, K, H, W of (s - t)², but 0 where s <= t <= 0

    f are the maps before the ReLU, and m_K the average of the channel's negative values (`negative_mean`), so that how
    far a unit is off plays no part beyond it. All places count in full, a sum and not a mean: hence the small weights,
    1e-3 on CIFAR-100 and 1e-4 on ImageNet. Where sizes differ, the larger map is average-pooled to the smaller;
    mdistiller brings the teacher's to the student's size either way.

    The teacher's maps come from a teacher in eval mode, as everywhere here. The authors' training script and mdistiller
    (its `train()` reaches the teacher) run it in training mode: batch statistics, and running ones that drift.

    Args:
        widths_s: channels of the student's stages.
        margins: m_K of the teacher's stages, (K_t,) each; the channels that the 1x1 convolutions lead to.
    Shapes: two lists of as many maps (B, K, H, W) -> scalar.
    Raises:
        TypeError, ValueError: wrong tensors, or lists of different lengths.
    Source: Heo et al., "A Comprehensive Overhaul of Feature Distillation", ICCV 2019, arXiv 1904.01866; reduction as in
    the authors' code (clovaai/overhaul-distillation).
    """

    def __init__(self, widths_s: Sequence[int], margins: Sequence[Tensor]) -> None:
        super().__init__()
        same_count(len(widths_s), len(margins), "OFD")
        pairs = list(zip(widths_s, margins, strict=True))
        self.connectors = nn.ModuleList([_connector(width_s, len(margin)) for width_s, margin in pairs])
        for at, margin_K in enumerate(margins):
            self.register_buffer(f"margin_{at}", margin_K.detach().clone()[:, None, None], persistent=False)

    @ignores_autocast
    def forward(self, pre_s: Sequence[Tensor], pre_t: Sequence[Tensor]) -> Tensor:
        check_stages(pre_s, pre_t, "OFD")
        same_count(len(pre_s), len(self.connectors), "OFD")
        total, last = pre_s[0].new_zeros(()), len(pre_s) - 1
        for at, (connector, map_s, map_t) in enumerate(zip(self.connectors, pre_s, pre_t, strict=True)):
            map_s_BKHW, map_t_BKHW = same_size(*as_parameters_of(connector, map_s, map_t.detach()))
            target_BKHW = torch.maximum(map_t_BKHW, getattr(self, f"margin_{at}"))
            total = total + 2.0 ** (at - last) * partial_l2(connector(map_s_BKHW), target_BKHW)
        return total


def _connector(width_s: int, width_t: int) -> nn.Sequential:
    convolution = conv1x1(width_s, width_t)
    nn.init.normal_(convolution.weight, 0.0, math.sqrt(2.0 / width_t))
    return nn.Sequential(convolution, BatchNorm(width_t))


def partial_l2(s_BKHW: Tensor, t_BKHW: Tensor) -> Tensor:
    """Σ (s - t)² / B, but nothing where s <= t <= 0: there the student's unit is off, as it should be."""
    counts_BKHW = (s_BKHW > t_BKHW) | (t_BKHW > 0)
    return ((s_BKHW - t_BKHW).square() * counts_BKHW).sum() / len(s_BKHW)


@torch.no_grad()
def negative_mean(norm: nn.BatchNorm2d, rare: float = RARE) -> Tensor:
    """Mean of what is negative in each channel of a batch norm's output, (K,), if that is normally distributed.

        m = E[x | x < 0] = beta - |gamma| phi(a) / Phi(-a),   a = beta / |gamma|,   x ~ Normal(beta, |gamma|)

    phi and Phi are the density and the distribution function of the standard normal. Channels that are negative with a
    probability of at most `rare` get -3 |gamma| instead, as in the authors' code; rare = 0 takes the paper's formula
    for all of them. A channel without spread gets min(beta, 0).

    Raises:
        ValueError: `rare` is negative.
    """
    check_non_negative("rare", rare)
    beta_K, sigma_K = norm.bias.double(), norm.weight.double().abs().clamp_min(SMALLEST_SPREAD)
    a_K = beta_K / sigma_K
    # phi(a) / Phi(-a) without underflow: both are exp(-a² / 2) times something moderate for large a.
    mean_K = beta_K - sigma_K * math.sqrt(2 / math.pi) / torch.special.erfcx(a_K / math.sqrt(2))
    seldom_K = torch.special.ndtr(-a_K) <= rare
    return torch.where(seldom_K & (rare > 0), -3 * sigma_K, mean_K.clamp_max(0.0)).to(norm.weight.dtype)


@runtime_checkable
class NamesNorms(Protocol):
    """A network that says which batch norms make its pre-activations."""

    def norms_before_relu(self) -> list[nn.BatchNorm2d]: ...


def norms_before_relu(model: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch norms that make a network's pre-activations, one for each of them.

    In a residual network the pre-activation is a sum; as in the published code, the last batch norm of the branch
    of the stage's last block stands for it, and the shortcut is left out of account.

    Raises:
        ValueError: the network does not say which they are.
    """
    if not isinstance(model, NamesNorms):
        raise ValueError(
            f"teacher: found {type(model).__name__} without `norms_before_relu`, wanted a network that names the batch "
            "norm in front of each ReLU at a stage's end: OFD computes from them where to clip the teacher's maps. "
            "Take a teacher of the resnet, wrn, vgg or ResNet families, or mobilenetv1 (the student can be any network "
            "with pre-activations), or another method."
        )
    return model.norms_before_relu()
