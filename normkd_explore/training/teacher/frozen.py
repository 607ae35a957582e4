"""A frozen teacher: its logits, and if asked its features, for a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from normkd_explore.data import Batch
from normkd_explore.models import Features
from normkd_explore.models.origin import Origin, Triple, origin_of
from normkd_explore.training.machine.compiling import Compiled
from normkd_explore.training.teacher.folding import folded

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CPU_ROWS = 32
"""Images that a teacher on a CPU looks at together: as fast as 64, and little is wasted on the last of an epoch."""


class Teacher:
    """A model that is never changed: eval mode, no gradients; its logits are a function of the image alone.

    With `compile` it is compiled on a GPU; on a CPU the folded copy was measured to be as fast without. Where the model
    was trained on pixels normalised otherwise than the batches are (`seen`: their mean and std), it is shown them as it
    knows them.
    """

    def __init__(
        self, model: nn.Module, fabric: Fabric, compile: bool = False, seen: tuple[Triple, Triple] | None = None
    ) -> None:
        model.eval().requires_grad_(False)
        self.model = model.to(fabric.device).to(memory_format=torch.channels_last)
        self.fabric, self.compile = fabric, compile
        self.change = _change(origin_of(model), seen, fabric.device) if seen else None
        self._networks: dict[bool, Callable[..., Any]] = {}

    def logits(self, batch: Batch) -> Tensor:
        """Logits (B, C) in float32."""
        return self.evaluate(batch.images_BCHW)

    @torch.no_grad()
    def evaluate(self, images_BCHW: Tensor) -> Tensor:
        """Logits (B, C) in float32; on a CPU every bit of a row depends on that row's image alone."""
        return torch.cat([self._forward(block)[: len(block)].float() for block in self._blocks(images_BCHW)])

    @torch.no_grad()
    def logits_and_features(self, batch: Batch) -> tuple[Tensor, Features]:
        """Logits (B, C) in float32, equal to those of `logits`, and the features of the same pass."""
        parts, sizes = [], []
        for block in self._blocks(batch.images_BCHW):
            parts.append(self._forward(block, return_features=True))
            sizes.append(len(block))
        logits_BC = torch.cat([logits[:size].float() for (logits, _), size in zip(parts, sizes, strict=True)])
        return logits_BC, _join([features for _, features in parts], sizes)

    def _blocks(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """CPU kernels for another number of images may round otherwise, so there the model always sees as many."""
        return images_BCHW.split(CPU_ROWS) if self.fabric.device.type == "cpu" else (images_BCHW,)

    def _forward(self, block: Tensor, return_features: bool = False) -> Any:
        if self.fabric.device.type == "cpu" and len(block) < CPU_ROWS:
            filling = block[-1:].expand(CPU_ROWS - len(block), *block.shape[1:])
            block = torch.cat([block, filling]).contiguous(memory_format=torch.channels_last)
        if self.change is not None:
            offset_C11, scale_C11 = self.change
            block = torch.addcmul(offset_C11, block, scale_C11)
        with self.fabric.autocast():
            return self._network(return_features)(*([block, True] if return_features else [block]))

    def _network(self, return_features: bool) -> Callable[..., Any]:
        """What computes: on a CPU a folded copy of the model, elsewhere compiled code or the model itself."""
        if return_features not in self._networks:
            self._networks[return_features] = self._make_network(return_features)
        return self._networks[return_features]

    def _make_network(self, return_features: bool) -> Callable[..., Any]:
        if self.fabric.device.type == "cpu":
            return folded(self.model, return_features) or self.model
        return Compiled(self.model, any_rows=True) if self.compile else self.model

    def fingerprint(self) -> str:
        """SHA-256 of all that its answers depend on: equal before and after training, and the key of cached logits."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        for tensor in self.change or ():
            digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()


def _change(origin: Origin, seen: tuple[Triple, Triple], device: torch.device) -> tuple[Tensor, Tensor] | None:
    """Offset and scale (C, 1, 1) that turn pixels normalised as `seen` into those of the training; None for none."""
    if origin.mean is None or origin.std is None or (origin.mean, origin.std) == seen:
        return None
    mean_C, std_C, own_mean_C, own_std_C = (
        torch.tensor(values, dtype=torch.float64) for values in (*seen, origin.mean, origin.std)
    )
    both = ((mean_C - own_mean_C) / own_std_C, std_C / own_std_C)
    offset_C11, scale_C11 = (values_C.float().view(3, 1, 1).to(device) for values_C in both)
    return offset_C11, scale_C11


def _join(parts: list[Features], sizes: list[int]) -> Features:
    """The features of consecutive blocks as those of one batch; only the first `sizes` rows of each block count."""

    def rows(blocks: tuple[Tensor, ...]) -> Tensor:
        return torch.cat([block[:size] for block, size in zip(blocks, sizes, strict=True)])

    stages, pre, pooled, last = zip(*parts, strict=True)
    joined_pre = None if pre[0] is None else tuple(map(rows, zip(*pre, strict=True)))
    joined_last = None if last[0] is None else rows(last)
    return Features(tuple(map(rows, zip(*stages, strict=True))), joined_pre, rows(pooled), joined_last)
