"""Sheets of sample pictures with their names: what a data set looks like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

PAPER, INK = (255, 255, 255), (60, 60, 66)
GAP, LABEL = 6, 16


def picture_sheet(images: ArrayLike | Tensor, names: Sequence[str], columns: int = 16, side: int = 40) -> Image.Image:
    """Draw pictures in rows, each above its name.

    Args:
        images: uint8 pictures, (N, H, W, 3).
        names: N class names; long ones are cut.
        columns: pictures in a row.
        side: width and height of a picture on the sheet, in pixels.
    Returns:
        a PIL image, which a notebook shows as it is.
    """
    images_NHWC = np.asarray(images)
    rows = -(-len(images_NHWC) // columns)
    sheet = Image.new("RGB", (columns * (side + GAP) + GAP, rows * (side + LABEL + GAP) + GAP), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.truetype(_label_font(), 12)
    for n, (picture, name) in enumerate(zip(images_NHWC, names, strict=True)):
        x, y = GAP + n % columns * (side + GAP), GAP + n // columns * (side + LABEL + GAP)
        sheet.paste(Image.fromarray(picture).resize((side, side), Image.Resampling.NEAREST), (x, y))
        draw.text((x + side / 2, y + side + LABEL / 2), name[:7], fill=INK, font=font, anchor="mm")
    # A palette keeps the stored picture small, and notebooks from storing a JPEG beside it.
    return sheet.quantize(64)


def _label_font() -> str:
    # Pillow's own default font has no Greek letters.
    from normkd_explore.data.glyphs.alphabet import face_path

    return str(face_path("DejaVuSans"))
