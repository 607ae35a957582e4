"""Small still pictures written as SVG text: what stands where no script runs. Equal input gives equal bytes."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from normkd_explore.figures.style import COLOURS

INK, MUTED, LINE, PAPER = "#212121", "#5f5f5f", "#dcdcdc", "#ffffff"
BAND, BAND_INK = "#009e73", "#006b4e"
TEACHER, STUDENT = COLOURS["teacher"], COLOURS["student"]
STRIPES = "url(#stripes)"
_STRIPES = (
    f'<pattern id="stripes" width="3" height="3" patternUnits="userSpaceOnUse"><rect width="3" height="3" '
    f'fill="{STUDENT}"/><rect y="2" width="3" height="1" fill="#a86f00"/></pattern>'
)
_FONT = "system-ui,-apple-system,'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif"


def place(value: float) -> str:
    """A coordinate to a tenth of a pixel, without zeros that say nothing."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


class Svg:
    """A picture of `width` by `height` pixels on white, which light and dark pages can both show."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self._parts: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, fill: str, radius: float = 0) -> None:
        """A filled rectangle; none where its width is 0."""
        if width <= 0:
            return
        corner = f' rx="{place(radius)}"' if radius else ""
        size = f'x="{place(x)}" y="{place(y)}" width="{place(width)}" height="{place(height)}"'
        self._parts.append(f'<rect {size} fill="{fill}"{corner}/>')

    def line(self, points: Sequence[tuple[float, float]], stroke: str, width: float = 1, dash: str = "") -> None:
        """A line through points."""
        path = "L".join(f"{place(x)} {place(y)}" for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(f'<path d="M{path}" fill="none" stroke="{stroke}" stroke-width="{place(width)}"{dashes}/>')

    def shape(self, points: Sequence[tuple[float, float]], fill: str) -> None:
        """A filled polygon."""
        path = "L".join(f"{place(x)} {place(y)}" for x, y in points)
        self._parts.append(f'<path d="M{path}Z" fill="{fill}"/>')

    def text(
        self, x: float, y: float, words: str, size: int = 13, fill: str = INK, anchor: str = "start", bold: bool = False
    ) -> None:
        """One line of text whose baseline lies at y."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{place(x)}" y="{place(y)}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"{weight}>'
            f"{escape(words, quote=False)}</text>"
        )

    def picture(self, x: float, y: float, side: float, image_HWC: np.ndarray) -> None:
        """A small picture of pixels."""
        self._parts.append(
            f'<image x="{place(x)}" y="{place(y)}" width="{place(side)}" height="{place(side)}" '
            f'style="image-rendering:pixelated" href="{_data_address(image_HWC)}"/>'
        )

    def key(self) -> str:
        """A short name of the picture, made from what it shows."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:10]

    def __str__(self) -> str:
        size = f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'
        body = "".join(self._parts)
        stripes = _STRIPES if STRIPES in body else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FONT}"><title>{escape(self.title)}</title>'
            f'{stripes}<rect width="{self.width}" height="{self.height}" fill="{PAPER}"/>{body}</svg>'
        )


def _data_address(image_HWC: np.ndarray) -> str:
    # A bitmap is stored as it is: a PNG's bytes would depend on the version of the library that packs them.
    file = io.BytesIO()
    Image.fromarray(np.broadcast_to(image_HWC, (*image_HWC.shape[:2], 3)).copy()).save(file, "BMP")
    return f"data:image/bmp;base64,{base64.b64encode(file.getvalue()).decode()}"
