"""ReviewKD: deep stages of the student review shallow ones, and the mixture is compared with the teacher.

Shapes: B batch, K channels, M channels in the middle, H, W; `_s` student, `_t` teacher.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normkd_explore.feature_losses.base import BatchNorm, as_parameters_of, average_pool, check_stages, same_count
from normkd_explore.feature_losses.couple import MapShape
from normkd_explore.models.features import conv1x1, conv3x3
from normkd_explore.precision import ignores_autocast

POOLED_SIZES = (4, 2, 1)


class Fusion(nn.Module):
    """Attention-based fusion of a stage with what came from the deeper stages.

        x = BN(conv1x1(f))                           M channels
        x <- g_1 · x + g_2 · y,   (g_1, g_2) = sigmoid(conv1x1([x, y])), (B, 1, H, W) each
        guess = BN(conv3x3(x)) at the size of the teacher's map

    y is the mixture of the deeper stages, resized to x by nearest neighbours; the deepest stage has none.
    """

    def __init__(self, width_s: int, middle: int, width_t: int, deepest: bool) -> None:
        super().__init__()
        reducing, expanding = conv1x1(width_s, middle), conv3x3(middle, width_t)
        self.reduce = nn.Sequential(reducing, BatchNorm(middle))
        self.expand = nn.Sequential(expanding, BatchNorm(width_t))
        self.gates = None if deepest else nn.Sequential(nn.Conv2d(2 * middle, 2, 1), nn.Sigmoid())
        for convolution in (reducing, expanding):
            nn.init.kaiming_uniform_(convolution.weight, a=1)

    def forward(self, map_BKHW: Tensor, deeper: Tensor | None, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The guess of the teacher's map of that `size`, and the mixture for the next shallower stage."""
        x_BMHW = self.reduce(map_BKHW)
        if self.gates is not None:
            assert deeper is not None  # the deepest stage alone has none, and it has no gates
            y_BMHW = F.interpolate(deeper, x_BMHW.shape[2:], mode="nearest")
            gates_B2HW = self.gates(torch.cat([x_BMHW, y_BMHW], dim=1))
            x_BMHW = gates_B2HW[:, :1] * x_BMHW + gates_B2HW[:, 1:] * y_BMHW
        if x_BMHW.shape[2:] != size:
            x_BMHW = F.interpolate(x_BMHW, size, mode="nearest")
        return self.expand(x_BMHW), x_BMHW


def context_loss(guess_BKHW: Tensor, map_t_BKHW: Tensor) -> Tensor:
    """Mean squared difference at full size and, with halving weights, of averages over coarser grids.

        ( d(full) + d(4x4) / 2 + d(2x2) / 4 + d(1x1) / 8 ) / (sum of these weights)

    Grids as large as the map or larger are left out, and the next one takes their weight.
    """
    loss, weight, total = F.mse_loss(guess_BKHW, map_t_BKHW), 1.0, 1.0
    for size in POOLED_SIZES:
        if size < guess_BKHW.shape[2]:
            weight /= 2
            total += weight
            pooled_s, pooled_t = (average_pool(map_BKHW, size, size) for map_BKHW in (guess_BKHW, map_t_BKHW))
            loss = loss + weight * F.mse_loss(pooled_s, pooled_t)
    return loss / total


class ReviewKD(nn.Module):
    """Hierarchical context loss between the teacher's maps and guesses that fuse all deeper stages of the student.

        l = Σ over stages of context_loss(guess, f_t);   guesses: `Fusion`, from the deepest stage to the shallowest

    Args:
        shapes_s, shapes_t: (K, H, W) of the stages, from shallow to deep; published with the pooled features last, as a
            1x1 map, and with the teacher's maps before the ReLU.
        middle: M is this or the width of the student's deepest stage, whichever is smaller.
    Shapes: two lists of as many maps (B, K, H, W) -> scalar.
    Raises:
        TypeError, ValueError: wrong tensors, or lists of different lengths.
    Source: Chen et al., "Distilling Knowledge via Knowledge Review", CVPR 2021, arXiv 2104.09044; details as in
    mdistiller.
    """

    def __init__(self, shapes_s: Sequence[MapShape], shapes_t: Sequence[MapShape], middle: int = 512) -> None:
        super().__init__()
        same_count(len(shapes_s), len(shapes_t), "ReviewKD")
        middle, last = min(middle, shapes_s[-1][0]), len(shapes_s) - 1
        pairs = enumerate(zip(shapes_s, shapes_t, strict=True))
        self.fusions = nn.ModuleList([Fusion(s[0], middle, t[0], deepest=at == last) for at, (s, t) in pairs])

    @ignores_autocast
    def forward(self, maps_s: Sequence[Tensor], maps_t: Sequence[Tensor]) -> Tensor:
        check_stages(maps_s, maps_t, "ReviewKD")
        same_count(len(maps_s), len(self.fusions), "ReviewKD")
        parts, mixture = [], None
        for fusion, map_s, map_t in reversed(list(zip(self.fusions, maps_s, maps_t, strict=True))):
            map_s_BKHW, map_t_BKHW = as_parameters_of(fusion, map_s, map_t.detach())
            guess_BKHW, mixture = fusion(map_s_BKHW, mixture, map_t_BKHW.shape[2:])
            parts.append(context_loss(guess_BKHW, map_t_BKHW))
        return torch.stack(parts).sum()
