"""Image files of every kind, and folders of them."""

from __future__ import annotations

import io
import signal
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, value: int = 0, size: tuple[int, int] = (16, 16), mode: str = "RGB") -> None:
    """Write an image of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = len(Image.new(mode, (1, 1)).getbands())
    shape = (size[1], size[0], channels) if channels > 1 else (size[1], size[0])
    Image.fromarray(np.full(shape, value, dtype=np.uint8)).save(path)


def write_folder(
    root: Path,
    counts: dict[str, int],
    classes: tuple[str, ...] = ("ant", "bee"),
    size: tuple[int, int] = (16, 16),
    suffix: str = "png",
) -> Path:
    """Write SPLIT/CLASS/NUMBER.png, images whose value is 10 * class + number."""
    for split, count in counts.items():
        for label, name in enumerate(classes):
            for number in range(count):
                write_image(root / split / name / f"{number:03}.{suffix}", 10 * label + number, size)
    return root


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of that size by its header, with next to no pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    """A file's bytes."""
    stored = io.BytesIO()
    image.save(stored, format, **options)
    return stored.getvalue()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n%%EOF\n"
"""A program in PostScript, which Pillow hands over to Ghostscript."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail instead of waiting for ever."""

    def too_late(*_: object) -> None:
        raise TimeoutError(f"still waiting after {seconds} s")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
