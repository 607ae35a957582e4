"""VID: the student's features shall make the teacher's likely, with a learned uncertainty for each channel.

Shapes: B batch, K channels, H, W; `_s` student, `_t` teacher.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normkd_explore.checks import check_positive
from normkd_explore.feature_losses.base import as_parameters_of, check_stages, same_count, same_size
from normkd_explore.models.features import conv1x1
from normkd_explore.precision import ignores_autocast

SMALLEST_VARIANCE = 1e-5


class Likelihood(nn.Module):
    """One stage of VID: a Gaussian around a guess from the student's map, with one variance for each channel.

        l = mean over B, K, H, W of ((mu(f_s) - f_t)² / var + log var) / 2,   var = softplus(a) + 1e-5

    mu is three 1x1 convolutions with ReLU between them; mu and a, (K_t,), learn.
    """

    def __init__(self, width_s: int, width_t: int, variance: float) -> None:
        super().__init__()
        self.mean = nn.Sequential(
            conv1x1(width_s, width_t), nn.ReLU(), conv1x1(width_t, width_t), nn.ReLU(), conv1x1(width_t, width_t)
        )
        start = math.log(math.expm1(variance - SMALLEST_VARIANCE))
        self.a = nn.Parameter(torch.full((width_t,), start))

    def forward(self, map_s_BKHW: Tensor, map_t_BKHW: Tensor) -> Tensor:
        variance_K11 = (F.softplus(self.a) + SMALLEST_VARIANCE)[:, None, None]
        error_BKHW = self.mean(map_s_BKHW) - map_t_BKHW
        return (error_BKHW.square() / variance_K11 + variance_K11.log()).mean() / 2


class VID(nn.Module):
    """Negative log-likelihood of the teacher's feature maps given the student's; see `Likelihood`.

        l = Σ over stages of  mean of ((mu(f_s) - f_t)² / var + log var) / 2

    A bound on the mutual information of the two: a channel that the student cannot guess gets a large variance and
    counts little. Where sizes differ, the larger map is average-pooled to the smaller. May be negative.

    In mdistiller the parameters behind the variances are left out of the optimiser, so that they stay at their first
    value; here they are trained, as the paper says.

    Args:
        widths_s, widths_t: channels of the stages of student and teacher.
        variance: the first value of all variances.
    Shapes: two lists of as many maps (B, K, H, W) -> scalar.
    Raises:
        TypeError, ValueError: wrong tensors, lists of different lengths, or a variance not above 0.
    Source: Ahn et al., "Variational Information Distillation", CVPR 2019, arXiv 1904.05835.
    """

    def __init__(self, widths_s: Sequence[int], widths_t: Sequence[int], variance: float = 5.0) -> None:
        super().__init__()
        same_count(len(widths_s), len(widths_t), "VID")
        check_positive("variance", variance - SMALLEST_VARIANCE)
        pairs = zip(widths_s, widths_t, strict=True)
        self.stages = nn.ModuleList([Likelihood(width_s, width_t, variance) for width_s, width_t in pairs])

    @ignores_autocast
    def forward(self, stages_s: Sequence[Tensor], stages_t: Sequence[Tensor]) -> Tensor:
        check_stages(stages_s, stages_t, "VID")
        same_count(len(stages_s), len(self.stages), "VID")
        parts = []
        for stage, map_s, map_t in zip(self.stages, stages_s, stages_t, strict=True):
            parts.append(stage(*same_size(*as_parameters_of(stage, map_s, map_t.detach()))))
        return torch.stack(parts).sum()
