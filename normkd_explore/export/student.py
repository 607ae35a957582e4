"""The network that is exported: from the pixels of an image to logits, with nothing left to do outside.

Shapes: B batch, S image size in pixels, C classes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from normkd_explore.models.own import logits_of
from normkd_explore.training.teacher.folding import folded


class Deployed(nn.Module):
    """A classifier of raw pictures: uint8 (B, S, S, 3) in RGB -> logits float32 (B, C).

        logits = network((pixels / 255 - mean) / std)

    Every BatchNorm that follows a convolution is folded into it, where the network can be traced; logits move by
    rounding alone. The network itself is left as it is.

    Args:
        network: its forward takes images (B, 3, S, S) and returns logits, or what holds them (see `logits_of`).
        mean, std: of each colour, in units of 0..1.
    """

    scale_3HW: Tensor
    shift_3HW: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        own = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
        # Channels last makes CPUs fast here; another program would only meet it as a detour.
        self.network = (folded(own) or own).to(memory_format=torch.contiguous_format)
        mean_3, std_3 = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (mean, std))
        self.register_buffer("scale_3HW", (1 / (255 * std_3)).float())
        self.register_buffer("shift_3HW", (-mean_3 / std_3).float())
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits of some pictures; the argument's name is that of the file's input."""
        pixels_B3SS = images.permute(0, 3, 1, 2).to(torch.float32)
        return logits_of(self.network(pixels_B3SS * self.scale_3HW + self.shift_3HW))
