"""Which files a GPU may decode: whole JPEG files whose header says nothing unusual. All else is left to Pillow.

A GPU's decoder may show wrong colours or fill a damaged image with grey and report nothing, so a file must give a
reason for trust. Refusing costs only time.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from PIL import Image

from normkd_explore.data.read import open_image

END_OF_IMAGE = b"\xff\xd9"  # without it a file is cut off
TABLES, HUFFMAN, SCAN = 0xDB, 0xC4, 0xDA  # quantisation tables, Huffman tables, where the pixels begin
FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive: what both decoders know
RGB_IDS = [*b"RGB"]  # names of the components of a file that stores RGB itself


def whole_rgb_jpeg(content: bytes) -> bool:
    """Whether a GPU may decode these bytes: an intact header, an end, and colours stored as YCbCr for RGB."""
    if not content.startswith(b"\xff\xd8") or not content.rstrip(b"\0").endswith(END_OF_IMAGE):
        return False
    try:
        with open_image(io.BytesIO(content), ("JPEG",)) as image:  # reads the header only
            usual = image.format == "JPEG" and image.mode == "RGB" and _stored_as_ycbcr(image)
        return usual and _intact_header(content)
    except Exception:  # a damaged header can fail with nearly any
        return False


def _stored_as_ycbcr(image: Image.Image) -> bool:
    """Adobe's marker says 0 for RGB and 1 for YCbCr; without it, the components' names tell."""
    names = [layer[0] for layer in getattr(image, "layer", [])]
    return image.info.get("adobe_transform", 1) == 1 and names != RGB_IDS


def _intact_header(content: bytes) -> bool:
    """Whether segment follows segment up to the pixels, with each table whole and all that a decoder needs."""
    seen = set()
    for marker, body in _segments(content):
        if (marker == TABLES and not _whole_quantisation(body)) or (marker == HUFFMAN and not _whole_huffman(body)):
            return False
        seen.add(marker)
    return {TABLES, HUFFMAN, SCAN} <= seen and not seen.isdisjoint(FRAMES)


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and body of each segment from after the start of the image to the first scan; ValueError where none is."""
    place, marker = 2, 0
    while marker != SCAN:
        if content[place] != 0xFF:
            raise ValueError("no marker follows the segment")
        while content[place] == 0xFF:  # a marker may be led by any number of these
            place += 1
        marker, size = content[place], int.from_bytes(content[place + 1 : place + 3], "big")
        yield marker, content[place + 3 : place + 1 + size]
        place += 1 + size


def _whole_quantisation(body: bytes) -> bool:
    """Tables of a byte that says precision and number, then 64 values of one or two bytes, none of them 0."""
    while body:
        width = 2 if body[0] >> 4 else 1
        table, body = body[1 : 1 + 64 * width], body[1 + 64 * width :]
        values = [int.from_bytes(table[i : i + width], "big") for i in range(0, len(table), width)]
        if len(table) < 64 * width or not all(values):
            return False
    return True


def _whole_huffman(body: bytes) -> bool:
    """Tables of a byte for kind and number, 16 counts of codes by length, then as many values, all different."""
    while body:
        counts = body[1:17]
        codes = sum(counts)
        values = body[17 : 17 + codes]
        if len(counts) < 16 or not 0 < codes == len(values) == len(set(values)):
            return False
        body = body[17 + codes :]
    return True
