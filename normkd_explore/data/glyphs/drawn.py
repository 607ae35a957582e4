"""Drawn photographs: JPEG files of shapes in train/CLASS and val/CLASS, for rehearsals and for measuring speed.

Letters: H height, W width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from normkd_explore.data.batches import mixed_seed

SHAPES = ("cross", "disc", "square", "triangle")
SIZE = (500, 375)  # pixels, a usual size of an ImageNet file
QUALITY = 92  # files of some 100 kB, like ImageNet's


def draw_photos(root: Path | str, train: int, val: int, size: tuple[int, int] = SIZE, seed: int = 0) -> Path:
    """Write `train` and `val` images of each of four shapes below `root`, the same ones for the same arguments.

    Each is one light shape on a darker textured ground: ``root/train/disc/000.jpg`` and so on.

    Args:
        root: folder, made where it is missing.
        train, val: images of each class.
        size: (width, height) in pixels.
        seed: another seed draws other images.
    """
    for part, (split, count) in enumerate({"train": train, "val": val}.items()):
        for label, shape in enumerate(SHAPES):
            folder = Path(root) / split / shape
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                image = draw_photo(shape, size, np.random.default_rng(mixed_seed(seed, part, label, number)))
                image.save(folder / f"{number:03d}.jpg", quality=QUALITY)
    return Path(root)


def draw_photo(shape: str, size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """Draw one image of a shape at a random place, size and colour."""
    W, H = size
    coarse = Image.fromarray(random.integers(20, 110, (6, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain_HW3 = random.normal(0, 18, (H, W, 1)).repeat(3, axis=2)
    image = Image.fromarray((np.asarray(coarse) + grain_HW3).clip(0, 255).astype(np.uint8))
    radius = min(W, H) * random.uniform(0.2, 0.35)
    x, y = random.uniform(radius, W - radius), random.uniform(radius, H - radius)
    colour = tuple(random.integers(150, 256, 3).tolist())
    _draw_shape(ImageDraw.Draw(image), shape, (x, y), radius, colour)
    return image


def _draw_shape(draw: ImageDraw.ImageDraw, shape: str, centre: tuple[float, float], r: float, colour: tuple) -> None:
    x, y = centre
    if shape == "disc":
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif shape == "square":
        draw.rectangle((x - r, y - r, x + r, y + r), fill=colour)
    elif shape == "triangle":
        draw.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=colour)
    elif shape == "cross":
        draw.rectangle((x - r, y - r / 3, x + r, y + r / 3), fill=colour)
        draw.rectangle((x - r / 3, y - r, x + r / 3, y + r), fill=colour)
    else:
        raise ValueError(f"shape: found {shape!r}, wanted one of {', '.join(SHAPES)}.")
