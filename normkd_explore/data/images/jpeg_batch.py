"""The JPEG files of a batch as a few tensors: what worker processes hand over to a GPU that decodes.

Each tensor that passes between processes keeps a file open until it is used. One for each image would reach the usual
limit of 1024 open files within two batches of 512, and the processes would wait for one another.

Letters: B images of a batch, P of them decoded already, S image size in pixels, C = 3 colours, L bytes of a file,
T bytes of all files, K = 8 numbers about an image.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

Box = tuple[int, int, int, int]  # top, left, height, width
NO_BOX = (-1, -1, -1, -1)
COLOURS = 3
DECODED = -1  # in the place of a file's length


class JpegBytes(NamedTuple):
    """A JPEG file as it is on disk, and what to cut out of it."""

    position: int
    """Of the image in its split."""
    bytes_L: Tensor
    box: Box | None
    """The part to show; None: the centre, as for evaluation."""
    flip: bool
    pixels: int
    """Of the whole picture."""

    @property
    def decoded_bytes(self) -> int:
        """What the whole picture takes once it is decoded."""
        return COLOURS * self.pixels


class PackedFiles(NamedTuple):
    """A batch's files one after the other, its decoded images, and how to tell them apart."""

    bytes_T: Tensor
    pixels_PSSC: Tensor
    facts_BK: Tensor
    """int64: length in bytes (-1: one of the decoded images, in order), position, box, flip, pixels."""


def pack(items: list[JpegBytes | Tensor], image_size: int) -> PackedFiles:
    """Join files and decoded images uint8 (S, S, C); `unpack` gives them back in the same order."""
    files = [item.bytes_L for item in items if isinstance(item, JpegBytes)]
    pixels = [item for item in items if not isinstance(item, JpegBytes)]
    return PackedFiles(
        torch.cat(files) if files else torch.empty(0, dtype=torch.uint8),
        stack_pictures(pixels, image_size),
        torch.tensor([_facts(item) for item in items], dtype=torch.int64).view(len(items), 8),
    )


def unpack(packed: PackedFiles) -> list[JpegBytes | Tensor]:
    """Give the batch's files and decoded images in order, as views of the joined tensors."""
    facts = packed.facts_BK.tolist()
    files = iter(packed.bytes_T.split([row[0] for row in facts if row[0] != DECODED]))
    pixels = iter(packed.pixels_PSSC)
    return [next(pixels) if row[0] == DECODED else _jpeg_bytes(next(files), row) for row in facts]


def stack_pictures(pictures: list[Tensor], image_size: int) -> Tensor:
    """Join pictures (S, S, C) to uint8 (B, S, S, C). B is 0 where the others of many processes have all the images."""
    return torch.stack(pictures) if pictures else torch.empty(0, image_size, image_size, 3, dtype=torch.uint8)


def _facts(item: JpegBytes | Tensor) -> tuple[int, ...]:
    if not isinstance(item, JpegBytes):
        return (DECODED, *[0] * 7)
    return (len(item.bytes_L), item.position, *(item.box or NO_BOX), int(item.flip), item.pixels)


def _jpeg_bytes(bytes_L: Tensor, facts: list[int]) -> JpegBytes:
    _, position, top, left, height, width, flip, pixels = facts
    box = (top, left, height, width)
    return JpegBytes(position, bytes_L, None if box == NO_BOX else box, bool(flip), pixels)
