"""Drawing one Glyphs-100 picture: a character, a face, a random pose, random colours, texture and noise.

A picture is a function of (seed, split, index) alone: each has its own random generator, so image 17 is the same
whether 100 or 100,000 images are made.

Letters: H = W = 32 pixels, C = 3 colours.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from normkd_explore.data.glyphs.alphabet import CHARACTERS, FACES, face_path

IMAGE_SIZE = 32
SUPERSAMPLING = 2  # glyphs are posed on a canvas this many times larger, then averaged down
MASTER_SIZE = 72  # pixels per em of the glyph that is drawn once and then posed
LARGEST_EXTENT = 28.0  # pixels: wide glyphs (W, @, %) are shrunk to fit
TEXTURE_GRID = 5
SPLIT_KEYS = {"train": 0, "val": 1, "test": 2}
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Level:
    """How hard Glyphs-100 is. Lengths are in pixels of the 32x32 picture, colours in 0..1."""

    smallest: float
    """Smallest font size."""
    largest: float
    """Largest font size."""
    rotation: float
    """Standard deviation of the rotation in degrees."""
    shear: float
    """Standard deviation of the horizontal shear."""
    scale: float
    """Standard deviation of the logarithm of the stretch, drawn for each axis."""
    shift: float
    """Standard deviation of the displacement, drawn for each axis."""
    noise: float
    """Standard deviation of the pixel noise."""
    texture: float
    """Amplitude of the smooth coloured texture behind the glyph."""
    any_colours: bool
    """False: a light glyph on a dark ground. True: any two colours that differ enough."""
    contrast: float
    """Smallest difference of luminance between glyph and ground."""
    mean: tuple[float, float, float]
    """Mean of each colour channel over the standard 10,000 training images."""
    std: tuple[float, float, float]
    """Standard deviation of each colour channel over the same images."""


LEVELS = {
    "standard": Level(
        smallest=26, largest=34, rotation=8, shear=0.1, scale=0.08, shift=1, noise=0.04, texture=0.1,
        any_colours=False, contrast=0.35, mean=(0.2450, 0.2456, 0.2446), std=(0.2257, 0.2271, 0.2246),
    ),
    "hard": Level(
        smallest=24, largest=34, rotation=10, shear=0.14, scale=0.12, shift=1.3, noise=0.06, texture=0.15,
        any_colours=True, contrast=0.3, mean=(0.4100, 0.4256, 0.4032), std=(0.3004, 0.3075, 0.2953),
    ),
    "wild": Level(
        smallest=20, largest=36, rotation=14, shear=0.2, scale=0.16, shift=2, noise=0.1, texture=0.25,
        any_colours=True, contrast=0.2, mean=(0.4047, 0.4136, 0.4009), std=(0.2981, 0.3011, 0.2958),
    ),
}  # fmt: skip


def label_of(index: int) -> int:
    """Give the class of picture ``index``: classes take turns, so every prefix of a split is balanced."""
    return index % len(CHARACTERS)


def render_glyph(index: int, split: str, level: Level, seed: int) -> np.ndarray:
    """Draw picture ``index`` of a split: uint8 (32, 32, 3)."""
    rng = np.random.default_rng([seed, SPLIT_KEYS[split], index])
    faces = FACES[split]
    face = faces[rng.integers(len(faces))]
    ink_HW1 = pose_glyph(CHARACTERS[label_of(index)], face, level, rng)[:, :, None]
    ground_C, ink_C = draw_colours(level, rng)
    ground_HWC = ground_C + level.texture * draw_texture(rng)
    noise_HWC = rng.standard_normal((IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.float32)
    picture_HWC = ground_HWC + ink_HW1 * (ink_C - ground_HWC) + level.noise * noise_HWC
    return np.rint(picture_HWC.clip(0, 1) * 255).astype(np.uint8)


@cache
def master_glyph(character: str, face: str) -> Image.Image:
    """Draw a character once, large, cropped to its ink: an 8-bit coverage mask."""
    font = ImageFont.truetype(face_path(face), MASTER_SIZE, layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = map(int, font.getbbox(character))
    margin = 2
    mask = Image.new("L", (right - left + 2 * margin, bottom - top + 2 * margin))
    ImageDraw.Draw(mask).text((margin - left, margin - top), character, fill=255, font=font)
    return mask


def pose_glyph(character: str, face: str, level: Level, rng: np.random.Generator) -> np.ndarray:
    """Rotate, shear, stretch and shift a glyph about its centre: coverage float32 (32, 32) in 0..1."""
    master = master_glyph(character, face)
    size = rng.uniform(level.smallest, level.largest)
    size = min(size, LARGEST_EXTENT * MASTER_SIZE / max(master.size))
    angle, shear = math.radians(rng.normal(0, level.rotation)), rng.normal(0, level.shear)
    stretch_x, stretch_y = np.exp(rng.normal(0, level.scale, 2))
    shift_x, shift_y = rng.normal(0, level.shift, 2)

    zoom = SUPERSAMPLING * size / MASTER_SIZE
    cos, sin = math.cos(angle), math.sin(angle)
    rotate = np.array([[cos, -sin], [sin, cos]])
    forward = zoom * rotate @ np.array([[1, shear], [0, 1]]) @ np.diag([stretch_x, stretch_y])
    (a, b), (d, e) = backward = np.linalg.inv(forward)
    canvas = IMAGE_SIZE * SUPERSAMPLING
    target = canvas / 2 + SUPERSAMPLING * np.array([shift_x, shift_y])
    c, f = np.array(master.size) / 2 - backward @ target
    posed = master.transform((canvas, canvas), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR)
    return np.asarray(posed.reduce(SUPERSAMPLING), dtype=np.float32) / 255


def draw_colours(level: Level, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the colours of ground and ink, each (3,), until their luminance differs by ``level.contrast``."""
    while True:
        hue, saturation, value = rng.random((3, 2))
        if level.any_colours:
            values = value
        else:
            saturation = saturation * [0.8, 0.6]
            values = value * [0.3, 0.2] + [0.05, 0.8]
        ground_C, ink_C = (
            np.array(colorsys.hsv_to_rgb(*hsv), dtype=np.float32) for hsv in zip(hue, saturation, values, strict=True)
        )
        if abs(float((ink_C - ground_C) @ LUMINANCE)) >= level.contrast:
            return ground_C, ink_C


@cache
def texture_weights() -> np.ndarray:
    """Weights (32, grid) that blend a coarse grid of values smoothly over the picture (cosine interpolation)."""
    position = np.linspace(0, TEXTURE_GRID - 1, IMAGE_SIZE)[:, None]
    distance = np.clip(np.abs(position - np.arange(TEXTURE_GRID)), 0, 1)
    return (0.5 + 0.5 * np.cos(np.pi * distance)).astype(np.float32)


def draw_texture(rng: np.random.Generator) -> np.ndarray:
    """Draw a smooth coloured pattern: float32 (32, 32, 3), values about -1..1."""
    grid_CGG = rng.uniform(-1, 1, (3, TEXTURE_GRID, TEXTURE_GRID)).astype(np.float32)
    weights = texture_weights()
    return (weights @ grid_CGG @ weights.T).transpose(1, 2, 0)
