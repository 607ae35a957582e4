"""The two networks of MEKD's first step: one makes pictures of logits, the other tells them from real ones.

Legend: B batch, C classes of the black box, S side of a picture.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PUBLISHED_CHANNELS = 128
SMALL_CHANNELS = 32
"""What a CPU gets: a quarter of the published channels, a sixteenth of the arithmetic."""
BN_EPS = 0.8  # the released code hands 0.8 over as eps, where 0.8 as momentum may have been meant
SLOPE = 0.2


class Generator(nn.Module):
    """A picture for every vector of the length of the black box's logits: (B, C) -> (B, 3, S, S), pixels in [-1, 1].

    A linear layer to `channels` x (S/4)², then twice: doubled pixels, convolution 3x3, BatchNorm, LeakyReLU; the second
    time with half the channels; then convolution 3x3 and tanh.

    Args:
        classes: C. The noise that it learns from must have the length of the logits, or step two could not feed it.
        image_size: S, a multiple of 4.
        channels: 128 as published, which costs some 115 million multiply-adds for a picture of 32 pixels.

    Source: Ma et al., CVPR 2024, arXiv 2205.10490, and its released code.
    """

    def __init__(self, classes: int, image_size: int = 32, channels: int = PUBLISHED_CHANNELS) -> None:
        super().__init__()
        if image_size % 4 or image_size < 8:
            raise ValueError(
                f"image_size: found {image_size}, wanted a multiple of 4 and at least 8: the generator doubles a "
                "quarter of the side twice. --image-size 32 brings pictures to such a size."
            )
        if channels < 2 or classes < 2:
            raise ValueError(f"found {channels} channels and {classes} classes, wanted at least 2 of each.")
        self.classes, self.image_size, self.channels = classes, image_size, channels
        self.first = nn.Linear(classes, channels * (image_size // 4) ** 2)
        self.norm = nn.BatchNorm2d(channels)
        self.wide = _Upsampled(channels, channels)
        self.narrow = _Upsampled(channels, channels // 2)
        self.last = nn.Conv2d(channels // 2, 3, 3, padding=1)
        self.apply(_small_weights)

    def forward(self, logits_BC: Tensor) -> Tensor:
        """Pictures (B, 3, S, S)."""
        side = self.image_size // 4
        x = self.norm(self.first(logits_BC).view(-1, self.channels, side, side))
        return torch.tanh(self.last(self.narrow(self.wide(x))))


class _Upsampled(nn.Module):
    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(ins, outs, 3, padding=1), nn.BatchNorm2d(outs, eps=BN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        return F.leaky_relu(self.norm(self.conv(x)), SLOPE)


class Discriminator(nn.Module):
    """How real a picture looks, as a score: (B, 3, S, S) -> (B,); D = sigmoid(score) is the published output.

    Four convolutions 3x3 of stride 2 with 16, 32, 64 and 128 channels, each with LeakyReLU and Dropout2d 0.25, and
    BatchNorm from the second on; then a linear layer. It costs a hundredth of the generator, so it is never made
    smaller.
    """

    def __init__(self, image_size: int = 32) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        ins, side = 3, image_size
        for outs in (16, 32, 64, 128):
            blocks += [nn.Conv2d(ins, outs, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE), nn.Dropout2d(0.25)]
            blocks += [nn.BatchNorm2d(outs, eps=BN_EPS)] if ins > 3 else []
            ins, side = outs, (side + 1) // 2
        self.blocks, self.score = nn.Sequential(*blocks), nn.Linear(ins * side**2, 1)
        self.apply(_small_weights)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Scores (B,); above 0 is more likely real."""
        return self.score(self.blocks(images_BCHW).flatten(1))[:, 0]


def _small_weights(module: nn.Module) -> None:
    """Normal weights of std 0.02, around 0 for convolutions and around 1 for BatchNorm."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def to_pixels(images_BCHW: Tensor) -> Tensor:
    """Pictures in [-1, 1] as the 8 bits a colour that can be sent to anybody: uint8 (B, S, S, 3)."""
    return ((images_BCHW.detach().permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
