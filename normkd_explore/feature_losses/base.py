"""Checks and small tools that the feature losses share.

Shapes: B batch, K channels, D features of a vector, H, W; `_s` student, `_t` teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST_NORM = 1e-12
MAP = "(B, K, H, W), a feature map"
VECTOR = "(B, D), one vector a sample"


def check_maps(maps_s: Any, maps_t: Any) -> None:
    """Check a feature map (B, K, H, W) of either network; channels and sizes may differ.

    Raises:
        TypeError: not a tensor, or not of a floating dtype.
        ValueError: another shape, or other batch sizes or devices.
    """
    _check_pair(maps_s, maps_t, 4, MAP)


def check_vectors(vectors_s: Any, vectors_t: Any) -> None:
    """Check vectors (B, D) of either network; D may differ. Errors as in `check_maps`."""
    _check_pair(vectors_s, vectors_t, 2, VECTOR)


def check_stages(stages_s: Sequence[Tensor], stages_t: Sequence[Tensor], loss: str) -> None:
    """Check two lists of feature maps, stage by stage; ValueError also where their numbers differ."""
    same_count(len(stages_s), len(stages_t), loss)
    for map_s, map_t in zip(stages_s, stages_t, strict=True):
        check_maps(map_s, map_t)


def same_count(stages_s: int, stages_t: int, loss: str) -> None:
    """ValueError unless both networks have equally many stages, and at least one."""
    if stages_s != stages_t or not stages_s:
        raise ValueError(
            f"stages: found {stages_s} of the student and {stages_t} of the teacher; {loss} compares them one by one "
            "and wants as many of either. Take networks of the same number of stages, leave some stages out by hand, "
            "or take a method that compares one place alone: rkd, sp, pkt, crd."
        )


def _check_pair(tensor_s: Any, tensor_t: Any, ndim: int, wanted: str) -> None:
    for name, tensor in (("the student's features", tensor_s), ("the teacher's features", tensor_t)):
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            found = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise TypeError(f"{name}: found {found}, wanted a floating tensor {wanted}.")
        if tensor.ndim != ndim or 0 in tensor.shape:
            todo = "Pooled features are Features.pooled, maps are the entries of Features.stages."
            raise ValueError(f"{name}: found shape {tuple(tensor.shape)}, wanted {wanted}. {todo}")
    if tensor_s.shape[0] != tensor_t.shape[0]:
        raise ValueError(
            f"batch: found {tensor_s.shape[0]} samples of the student and {tensor_t.shape[0]} of the teacher; show "
            "both networks the same images."
        )
    if tensor_s.device != tensor_t.device:
        raise ValueError(
            f"device: found the student's features on {tensor_s.device} and the teacher's on {tensor_t.device}, "
            "wanted one device."
        )


def same_size(map_s_BKHW: Tensor, map_t_BKHW: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool the larger of two maps to the size of the smaller."""
    height_s, height_t = map_s_BKHW.shape[2], map_t_BKHW.shape[2]
    if height_s > height_t:
        map_s_BKHW = average_pool(map_s_BKHW, height_t, map_t_BKHW.shape[3])
    elif height_t > height_s:
        map_t_BKHW = average_pool(map_t_BKHW, height_s, map_s_BKHW.shape[3])
    return map_s_BKHW, map_t_BKHW


def average_pool(map_BKHW: Tensor, height: int, width: int) -> Tensor:
    """Averages over a grid of cells, (B, K, H, W) -> (B, K, height, width): `F.adaptive_avg_pool2d` in other words.

    Cells overlap where the grid does not divide the map. That function has no deterministic gradient on a GPU; these
    sums have.
    """
    rows, columns = map_BKHW.shape[2:]
    if rows % height == 0 and columns % width == 0:
        return F.avg_pool2d(map_BKHW, (rows // height, columns // width))
    shares_hH, shares_wW = _shares(height, rows, map_BKHW), _shares(width, columns, map_BKHW)
    return shares_hH @ map_BKHW @ shares_wW.mT


def _shares(cells: int, places: int, like: Tensor) -> Tensor:
    """Each place's weight in each cell's average; cell i of C covers places ⌊i P / C⌋ to ⌈(i + 1) P / C⌉ of P."""
    cell_C1, place_P = torch.arange(cells, device=like.device)[:, None], torch.arange(places, device=like.device)
    starts_C1, ends_C1 = cell_C1 * places // cells, -(-(cell_C1 + 1) * places // cells)
    inside_CP = ((place_P >= starts_C1) & (place_P < ends_C1)).to(like.dtype)
    return inside_CP / inside_CP.sum(dim=1, keepdim=True)


def unit(vectors: Tensor) -> Tensor:
    """Vectors along the last axis divided by their norm; a vector of zeros stays 0 and gets no gradient.

    `F.normalize` would multiply its gradient by 1e12, and features after a ReLU are all zero now and then.
    """
    norm = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return torch.where(norm > SMALLEST_NORM, vectors / norm.clamp_min(SMALLEST_NORM), 0.0)


def of_all_processes(values: Tensor) -> Tensor:
    """The values (B, ...) of all processes of a distributed run one after the other; without gradient."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return values.detach()
    parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values.detach().contiguous())
    return torch.cat(parts)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that takes its running statistics where a channel has a single value, as in a last batch of one."""

    def forward(self, map_BKHW: Tensor) -> Tensor:
        if map_BKHW.numel() > map_BKHW.shape[1]:
            return super().forward(map_BKHW)
        return F.batch_norm(map_BKHW, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def as_parameters_of(adapter: nn.Module, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the dtype of the adapter's parameters: half precision becomes float32."""
    dtype = next(adapter.parameters()).dtype
    return tuple(tensor.to(dtype) for tensor in tensors)
