"""AT: the student shall look where the teacher looks.

Shapes: B batch, K channels, H, W, P = H * W places; `_s` student, `_t` teacher.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normkd_explore.checks import check_positive
from normkd_explore.feature_losses.base import check_stages, same_size, unit
from normkd_explore.precision import ignores_autocast, in_full_precision


class AT(nn.Module):
    """Squared difference of the attention maps: where in the image a stage is strongly active.

        A = a / ||a||,  a = mean over channels of |f|^power, (B, P)
        l = Σ over stages of  mean over B, P of (A_s - A_t)²

    Where sizes differ, the larger feature map is average-pooled to the smaller. Scaling a stage of either network
    by a positive factor changes nothing.

    Shapes: two lists of as many maps (B, K, H, W) -> scalar.
    Raises:
        TypeError, ValueError: wrong tensors, lists of different lengths, or `power` not above 0.
    Source: Zagoruyko and Komodakis, ICLR 2017, arXiv 1612.03928; mean in place of the paper's norm as in mdistiller.
    """

    def __init__(self, power: float = 2.0) -> None:
        super().__init__()
        self.power = check_positive("power", power)

    @ignores_autocast
    def forward(self, stages_s: Sequence[Tensor], stages_t: Sequence[Tensor]) -> Tensor:
        check_stages(stages_s, stages_t, "AT")
        parts = []
        for map_s, map_t in zip(stages_s, stages_t, strict=True):
            map_s_BKHW, map_t_BKHW = same_size(*in_full_precision(map_s, map_t.detach()))
            parts.append(F.mse_loss(self.attention(map_s_BKHW), self.attention(map_t_BKHW)))
        return torch.stack(parts).sum()

    def attention(self, map_BKHW: Tensor) -> Tensor:
        """The attention map of each sample, flat and of norm 1: (B, K, H, W) -> (B, P)."""
        return unit(map_BKHW.abs().pow(self.power).mean(dim=1).flatten(1))

    def extra_repr(self) -> str:
        return f"power={self.power:g}"
