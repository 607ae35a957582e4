"""Many small pictures as one PNG, so that a widget receives them in one message.

Legend: N samples, H height, W width, channels last.
"""

import io
import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image, ImageOps

LARGEST_TILE = 96


def make_sprite(images: ArrayLike | torch.Tensor) -> tuple[bytes, int]:
    """Lay pictures out row by row in a near-square grid of square tiles of at most 96 pixels.

    Args:
        images: uint8, (N, H, W, 3) or grey (N, H, W, 1). Pictures that are not square get a border.
    Returns:
        the PNG file's bytes, and the number of tiles in a row.
    Raises:
        TypeError: the pixels are not uint8.
        ValueError: another shape.
    """
    images_NHWC = np.asarray(images.cpu() if isinstance(images, torch.Tensor) else images)
    _check(images_NHWC)
    side = min(LARGEST_TILE, max(images_NHWC.shape[1:3]))
    columns = math.ceil(math.sqrt(len(images_NHWC)))
    sheet = Image.new("RGB", (columns * side, math.ceil(len(images_NHWC) / columns) * side))
    for n, image_HWC in enumerate(images_NHWC):
        tile = Image.fromarray(np.broadcast_to(image_HWC, (*image_HWC.shape[:2], 3)).copy())
        sheet.paste(ImageOps.pad(tile, (side, side)), (n % columns * side, n // columns * side))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue(), columns


def _check(images_NHWC: np.ndarray) -> None:
    if images_NHWC.ndim != 4 or images_NHWC.shape[-1] not in (1, 3) or images_NHWC.size == 0:
        raise ValueError(
            f"images has shape {images_NHWC.shape}, wanted (N, H, W, 3) or (N, H, W, 1) with N >= 1: channels "
            "last. For (N, 3, H, W) use images.permute(0, 2, 3, 1)."
        )
    if images_NHWC.dtype != np.uint8:
        raise TypeError(
            f"images has dtype {images_NHWC.dtype}, wanted uint8 pixels from 0 to 255, not a model's normalised "
            "input. Dataset.denormalize turns such an input back into pixels."
        )
