"""SDD: any logit loss, applied to the whole image and to parts of it.

A classifier that is linear after average pooling can be applied to the average of any region, so that every cell of a
coarse grid has logits of its own.

Shapes: B batch, C classes, K channels, P cells, H, W; `_s` student, `_t` teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normkd_explore.checks import rows_that_count
from normkd_explore.feature_losses.base import average_pool
from normkd_explore.feature_losses.couple import look
from normkd_explore.losses.base import LogitLoss, mean_of_counted
from normkd_explore.models.features import Features
from normkd_explore.precision import ignores_autocast, in_full_precision

Scales = tuple[int, ...]


class SDD(nn.Module):
    """A logit loss on the logits of every cell; cells that contradict the whole image count twice.

        l_b = Σ over cells p of  w_bp · base(z_s[b, p], z_t[b, p], y[b]),   divided by P if `average`
        w_bp = 2 if the teacher is right on just one of cell p and cell 0, else 1
        loss = mean over B

    Cell 0 is the whole image. With that cell alone, the loss is `base`. Images of the label -100 are left out.

    Args:
        base: any loss on logits; one that looks at a batch as a whole sees B · P rows.
        average: True as published with KD, False as published with DKD.
    Shapes: (B, P, C), (B, P, C), int64 (B,) -> scalar.
    Raises:
        TypeError, ValueError: as `base`, or cells that do not fit.
    Source: "Scale Decoupled Distillation", CVPR 2024, arXiv 2403.13512, and its code. That replaces a loss that is NaN
    or infinite by 0; here it stays visible.
    """

    def __init__(self, base: LogitLoss, average: bool = True) -> None:
        super().__init__()
        self.base, self.average = base, average

    @ignores_autocast
    def forward(self, cells_s: Tensor, cells_t: Tensor, target: Tensor) -> Tensor:
        _check_cells(cells_s, cells_t)
        batch, cells, _ = cells_s.shape
        target_R = target.repeat_interleave(cells)
        losses_R = self.base.per_sample(cells_s.flatten(0, 1), cells_t.flatten(0, 1), target_R)
        right_BP = cells_t.argmax(dim=2) == target[:, None]
        weights_BP = 1 + (right_BP != right_BP[:, :1]).to(losses_R.dtype)
        losses_B = (weights_BP * losses_R.view(batch, cells)).sum(dim=1)
        return mean_of_counted(losses_B / cells if self.average else losses_B, rows_that_count(target, losses_B))

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Tell the base."""
        self.base.set_epoch(epoch, epochs)

    def extra_repr(self) -> str:
        return f"average={self.average}"


def _check_cells(cells_s: Tensor, cells_t: Tensor) -> None:
    if cells_s.ndim != 3 or cells_s.shape != cells_t.shape:
        raise ValueError(
            f"cells: found shapes {tuple(cells_s.shape)} and {tuple(cells_t.shape)}, wanted (B, P, C) of either "
            "network: the logits of each cell. `cell_logits` gives them from the last feature map."
        )


@ignores_autocast
def cell_logits(map_BKHW: Tensor, classifier: nn.Linear, scales: Scales = (1, 2)) -> Tensor:
    """Logits of every cell of some grids: (B, K, H, W) -> (B, P, C), P = Σ scale²; (1, 2) gives 5, (1, 2, 4) gives 21.

    Cells of a grid whose scale does not divide H overlap. Computed in float32 at least.

    Raises:
        ValueError: a grid is finer than the map.
    """
    check_scales(scales, *map_BKHW.shape[2:])
    map_BKHW, weight = in_full_precision(map_BKHW, classifier.weight)
    bias = None if classifier.bias is None else classifier.bias.to(weight.dtype)
    averages = [average_pool(map_BKHW, scale, scale).flatten(2) for scale in scales]
    return F.linear(torch.cat(averages, dim=2).mT, weight, bias)


def check_scales(scales: Scales, height: int, width: int) -> None:
    """ValueError where the finest grid has more cells along a side than the map has places."""
    if max(scales) > min(height, width):
        raise ValueError(
            f"scales: found {max(scales)}, wanted at most {min(height, width)}: the last feature map has "
            f"{height}x{width} places. Take a coarser grid, or larger images."
        )


@dataclass(frozen=True, eq=False)
class Head:
    """How a network classifies: logits = classifier(average of the last map)."""

    classifier: nn.Linear

    def cells(self, features: Features, scales: Scales) -> Tensor:
        """Logits of every cell, (B, P, C)."""
        return cell_logits(_last_map(features), self.classifier, scales)


def find_head(model: nn.Module, image_size: int) -> Head:
    """The linear classifier of a network, tried out on random images.

    Raises:
        ValueError: its logits are no linear function of the average of a map that it hands out.
    """
    images_BCHW = torch.randn(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    logits_BC, features = look(model, images_BCHW)
    for linear in [module for module in model.modules() if isinstance(module, nn.Linear)]:
        if _explains(linear, features, logits_BC):
            return Head(linear)
    raise ValueError(
        f"{type(model).__name__}: its logits are not a linear layer on the average of the last map in its features, so "
        "SDD has nothing to cut into cells. All networks of list_models() work; one of your own can hand out the map "
        "before its pooling as Features.last_map. Or take the base loss alone."
    )


def _last_map(features: Features) -> Tensor:
    return features.stages[-1] if features.last_map is None else features.last_map


@torch.no_grad()
def _explains(linear: nn.Linear, features: Features, logits_BC: Tensor) -> bool:
    map_BKHW = _last_map(features)
    if map_BKHW.ndim != 4 or (linear.in_features, linear.out_features) != (map_BKHW.shape[1], logits_BC.shape[1]):
        return False
    # The average as well as the logits: a classifier of zeros would agree with any map.
    averaged = map_BKHW.shape[1] == features.pooled.shape[1] and _close(map_BKHW.mean((2, 3)), features.pooled)
    return averaged and _close(cell_logits(map_BKHW, linear, (1,))[:, 0], logits_BC)


def _close(found: Tensor, wanted: Tensor) -> bool:
    return bool((found - wanted).abs().max() <= 1e-3 * wanted.abs().max())


class MultiScale(nn.Module):
    """`SDD` between two networks: their own classifiers give the logits of the cells."""

    def __init__(self, loss: SDD, heads: Sequence[Head], scales: Scales) -> None:
        super().__init__()
        self.loss, self.scales = loss, scales
        # A plain tuple keeps the classifiers out of this module's parameters: they are the networks' own.
        self.heads = tuple(heads)

    def forward(self, features_s: Features, features_t: Features, target: Tensor) -> Tensor:
        cells_s, cells_t = (
            head.cells(features, self.scales)
            for head, features in zip(self.heads, (features_s, features_t), strict=True)
        )
        return self.loss(cells_s, cells_t.detach(), target)

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Tell the loss."""
        self.loss.set_epoch(epoch, epochs)
