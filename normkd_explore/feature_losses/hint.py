"""FitNet: the student's middle layer, sent through a small regressor, shall equal the teacher's.

Shapes: B batch, K channels, H, W; `_s` student, `_t` teacher.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from normkd_explore.feature_losses.base import BatchNorm, check_maps
from normkd_explore.feature_losses.couple import MapShape
from normkd_explore.precision import ignores_autocast, in_full_precision


class Regressor(nn.Sequential):
    """Convolution, batch norm, ReLU from the student's map (K, H, W) to the shape of the teacher's.

    The convolution is 3x3 with stride 2 where the student's map is twice as high, 4x4 transposed with stride 2 where it
    is half as high, else without padding and as large as it takes to lose the difference: 1x1 at equal sizes.

    Raises:
        ValueError: the student's map is smaller, but not half as high.
    """

    def __init__(self, shape_s: MapShape, shape_t: MapShape) -> None:
        super().__init__(_fitting_convolution(shape_s, shape_t), BatchNorm(shape_t[0]), nn.ReLU())


def _fitting_convolution(shape_s: MapShape, shape_t: MapShape) -> nn.Module:
    (width_s, height_s, breadth_s), (width_t, height_t, breadth_t) = shape_s, shape_t
    if height_s == 2 * height_t:
        return nn.Conv2d(width_s, width_t, 3, stride=2, padding=1)
    if 2 * height_s == height_t:
        return nn.ConvTranspose2d(width_s, width_t, 4, stride=2, padding=1)
    if height_s < height_t:
        raise ValueError(
            f"hint: found a map of the student of {height_s}x{breadth_s} and one of the teacher of "
            f"{height_t}x{breadth_t}; wanted the student's as large, larger, or half as large. Take another place "
            "with --set hint=NUMBER."
        )
    return nn.Conv2d(width_s, width_t, (1 + height_s - height_t, 1 + breadth_s - breadth_t))


class FitNet(nn.Module):
    """Mean squared difference between the teacher's feature map and what a regressor makes of the student's.

        l = mean over B, K, H, W of (r(f_s) - f_t)²

    The regressor r learns together with the student; the paper trains it in a stage of its own beforehand, the field's
    comparisons do as here.

    Args:
        regressor: maps f_s to the shape of f_t, e.g. `Regressor(shape_s, shape_t)`.
    Shapes: (B, K_s, H_s, W_s), (B, K_t, H_t, W_t) -> scalar.
    Raises:
        TypeError, ValueError: wrong tensors, or a regressor that gives another shape than the teacher's.
    Source: Romero et al., "FitNets", ICLR 2015, arXiv 1412.6550; regressor as in mdistiller.
    """

    def __init__(self, regressor: nn.Module) -> None:
        super().__init__()
        self.regressor = regressor

    @ignores_autocast
    def forward(self, map_s: Tensor, map_t: Tensor) -> Tensor:
        check_maps(map_s, map_t)
        map_s_BKHW, map_t_BKHW = in_full_precision(map_s, map_t.detach())
        guess_BKHW = self.regressor(map_s_BKHW)
        if guess_BKHW.shape != map_t_BKHW.shape:
            raise ValueError(
                f"regressor: its output has shape {tuple(guess_BKHW.shape)}, wanted the teacher's "
                f"{tuple(map_t_BKHW.shape)}. Build it from these shapes: Regressor(shape_s, shape_t)."
            )
        return F.mse_loss(guess_BKHW, map_t_BKHW)
