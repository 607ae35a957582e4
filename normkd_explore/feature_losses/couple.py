"""Feature methods under training: what they must know beforehand, what they see in a step, and how both become a loss.

Shapes: B batch, C classes, N training images, K channels, D pooled features, H, W.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from normkd_explore.models.features import Features
from normkd_explore.temperature import tell_epoch

MapShape = tuple[int, int, int]  # (K, H, W)


class FeatureShapes(NamedTuple):
    """Shapes of one network's `Features` for one image; from these adapters are built."""

    stages: tuple[MapShape, ...]
    """(K, H, W) of the stem and of each stage."""
    pre_activation: tuple[MapShape, ...] | None
    """(K, H, W) before the ReLU; None where the network hands out none."""
    pooled: int
    """D."""
    last_map: MapShape
    """(D, H, W) of the map that is averaged to the pooled features; of the last stage where none is handed out."""


@dataclass(frozen=True, eq=False)
class Couple:
    """A student and its teacher before training."""

    models: tuple[nn.Module, nn.Module]
    """Student, teacher."""
    image_size: int
    """Side of the images in pixels."""
    labels_N: Tensor
    """Class of every training image; `Batch.index_B` points into it."""
    student: FeatureShapes
    teacher: FeatureShapes


class Observation(NamedTuple):
    """What a feature method is shown of one batch."""

    student: Features
    teacher: Features
    labels_B: Tensor
    index_B: Tensor
    """Positions of the images in the training split."""


def introduce(student: nn.Module, teacher: nn.Module, image_size: int, labels_N: Tensor) -> Couple:
    """Look at the feature shapes of both networks with a dry run on one image; neither is changed.

    Raises:
        ValueError: a network hands out no features.
    """
    shapes = [_shapes(look(model, torch.zeros(1, 3, image_size, image_size))[1]) for model in (student, teacher)]
    return Couple((student, teacher), image_size, labels_N, *shapes)


@torch.no_grad()
def look(model: nn.Module, images_BCHW: Tensor) -> tuple[Tensor, Features]:
    """Logits and features of some images in eval mode; the model is left in the mode it was in.

    Raises:
        ValueError: the network hands out no features.
    """
    was_training = model.training
    images_BCHW = images_BCHW.to(next(model.parameters()))
    try:
        return model.eval()(images_BCHW, return_features=True)
    except TypeError as error:
        raise ValueError(
            f"{type(model).__name__} hands out no features: its forward takes no `return_features`. Feature methods "
            "need that argument (see normkd_explore.models.Features); a logit method such as normkd does not."
        ) from error
    finally:
        model.train(was_training)


def _shapes(features: Features) -> FeatureShapes:
    stages, pre, pooled, last = features
    (last_shape,) = _map_shapes([stages[-1] if last is None else last])
    return FeatureShapes(_map_shapes(stages), None if pre is None else _map_shapes(pre), pooled.shape[1], last_shape)


def _map_shapes(maps: Sequence[Tensor]) -> tuple[MapShape, ...]:
    return tuple((m.shape[1], m.shape[2], m.shape[3]) for m in maps)


class FeatureMethod(nn.Module):
    """A loss on feature tensors in its place between two networks.

    Args:
        make: builds the loss, with its adapters, once both networks are known.
        pick: the arguments of the loss, out of what is seen of a batch.

    `connect` comes before the first call; what `make` draws at random is the caller's to seed.
    """

    def __init__(self, make: Callable[[Couple], nn.Module], pick: Callable[[Observation], tuple[Any, ...]]) -> None:
        super().__init__()
        self.make, self.pick = make, pick
        self.loss: nn.Module | None = None

    def connect(self, couple: Couple) -> None:
        """Build the loss for these two networks."""
        self.loss = self.make(couple)

    def forward(self, seen: Observation) -> Tensor:
        """The distillation term, a scalar."""
        if self.loss is None:
            raise RuntimeError("FeatureMethod: found a call before `connect`, which builds the loss for two networks.")
        return self.loss(*self.pick(seen))

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Tell the loss."""
        tell_epoch(self.loss, epoch, epochs)
