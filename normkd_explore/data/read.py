"""The one reader of image files: announced formats, regular files, a bounded size, eight bits a colour.

A file's content never chooses its decoder: Pillow knows some fifty formats, one of which starts another program.

Letters: H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntFlag
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from normkd_explore.files.regular import require_regular

SUFFIXES_OF = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "PPM": (".ppm", ".pgm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
"""Pillow's name of each format that is read, and the endings that its files have."""
FORMATS = tuple(SUFFIXES_OF)
SUFFIXES = tuple(suffix for suffixes in SUFFIXES_OF.values() for suffix in suffixes)
MOST_PIXELS = 89_478_485  # Pillow's own alarm; decoded, that is a quarter of a gigabyte
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF, and a value
DARK = 16  # an image whose brightest value is below this part of its range looks black
Result = TypeVar("Result")


class Oddity(IntFlag):
    """What an image lost, or may have lost, on its way to eight bits for each of three colours."""

    TRANSPARENT = 1
    WIDE = 2
    DIM = 4
    SEVERAL = 8


SAID = {
    Oddity.TRANSPARENT: "transparent places, where the colours beneath are read",
    Oddity.WIDE: "more than 8 bits a value, scaled to 8",
    Oddity.DIM: f"no value above a {DARK}th of their bits' range, so they look black",
    Oddity.SEVERAL: "several pictures, of which the first is read",
}


def read_rgb(path: Path) -> Image.Image:
    """Read an image file as RGB.

    Raises:
        ValueError: when it is damaged, truncated, too large, of a kind that has no certain meaning in eight bits, or no
            image; the message names it and says what to do.
        FileNotFoundError: when it has gone.
    """
    return read_picture(path)[0]


def read_picture(path: Path) -> tuple[Image.Image, Oddity]:
    """Read an image file as RGB, and tell what is odd about it; errors are those of `read_rgb`."""
    return _named(path, as_rgb)


def oddity_of(path: Path) -> Oddity:
    """What `read_picture` would tell; an ordinary file is not decoded for it."""

    def look(image: Image.Image) -> Oddity:
        ordinary = image.mode in ("1", "L", "P", "RGB", "CMYK") and "transparency" not in image.info
        return _pictures(image) if ordinary else as_rgb(image)[1]

    return _named(path, look)


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of an image, from its header."""
    return _named(path, lambda image: image.size)


def describe_oddities(oddities: list[Oddity], of: str) -> list[str]:
    """Say how many images have each oddity; `of` names all that were looked at, e.g. "of 200 images"."""
    counts = {kind: sum(bool(kind & found) for found in oddities) for kind in SAID}
    return [f"{count:,} {of} have {SAID[kind]}" for kind, count in counts.items() if count]


@contextmanager
def open_image(source: Path | BinaryIO, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """Open an image whose header alone is read so far.

    Raises:
        ValueError: it has too many pixels, or `source` is a path to something else than a file.
        OSError and whatever else Pillow raises: it is none of `formats`, or damaged.
    """
    if isinstance(source, Path):
        require_regular(source)
    with Image.open(source, formats=formats) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"it has {image.width:,} x {image.height:,} pixels, the limit is {MOST_PIXELS:,}")
        yield image


def _named(path: Path, use: Callable[[Image.Image], Result]) -> Result:
    """`use` of the opened image; every failure becomes one error that names the file."""
    try:
        with open_image(path) as image:
            return use(image)
    except FileNotFoundError as problem:
        raise FileNotFoundError(
            f"{path} was listed but is gone (or is a broken link); load the data set again"
        ) from problem
    except MemoryError:
        raise
    # A damaged file can fail with nearly any exception; Pillow's alarm about its size is a warning or an error.
    except Exception as problem:
        reason = str(problem).removeprefix(f"{path} ").removesuffix("; replace or remove it") or type(problem).__name__
        raise ValueError(f"{path} cannot be read as an image ({reason}); replace or remove it") from problem


def as_rgb(image: Image.Image) -> tuple[Image.Image, Oddity]:
    """An opened image in RGB, and what is odd about it; a ValueError where its values have no certain meaning."""
    found = _pictures(image)
    if image.mode == "F" or image.mode.startswith("I"):
        image, dim = _narrowed(image)
        found |= Oddity.WIDE | (Oddity.DIM if dim else Oddity(0))
    elif "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        # Pillow warns when transparency is lost straight from a palette.
        image = image.convert("RGBA")
        found |= _transparency(image)
    return image.convert("RGB"), found


def _pictures(image: Image.Image) -> Oddity:
    """A JPEG's further pictures are previews and gain maps."""
    several = image.format not in ("JPEG", "MPO") and getattr(image, "n_frames", 1) > 1
    return Oddity.SEVERAL if several else Oddity(0)


def _transparency(image: Image.Image) -> Oddity:
    pixels_HWC = np.asarray(image)
    least_C, most_C = pixels_HWC.min((0, 1)), pixels_HWC.max((0, 1))
    if least_C[-1] < most_C[-1] and (least_C[:-1] == most_C[:-1]).all():
        raise ValueError(
            "it is of one colour everywhere and the picture is in its transparency, which is not read: lay it over a "
            "background of another colour first"
        )
    return Oddity.TRANSPARENT if least_C[-1] < 255 else Oddity(0)


def _narrowed(image: Image.Image) -> tuple[Image.Image, bool]:
    """Scale grey values of more than 8 bits to 0..255, and tell whether nearly nothing is left of them."""
    largest = _largest(image)
    values_HW = np.asarray(image).astype(np.int64)
    if isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        values_HW = largest - values_HW  # Pillow does so for 8 bits only
    narrow_HW = (values_HW * 255 + largest // 2) // largest
    return Image.fromarray(narrow_HW.astype(np.uint8)), bool(values_HW.max() < largest / DARK)


def _largest(image: Image.Image) -> int:
    """The largest value that an image of this kind can have."""
    if image.mode.startswith("I;16"):
        bits = image.tag_v2.get(BITS_PER_SAMPLE, (16,)) if isinstance(image, TiffImageFile) else (16,)
        return 2 ** bits[0] - 1
    if image.mode == "I" and image.format in ("PNG", "PPM"):  # Pillow has widened these itself
        return 65535
    raise ValueError(
        f"its values are of Pillow's mode {image.mode} (32 bits, or with a sign), and no file says what is black and "
        "what is white in it: save it with 8 bits, or as a PNG with 16"
    )
