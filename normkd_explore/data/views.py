"""Views: the finite set of crops and flips of one image, each with a number.

Zero-padding by ``pad`` pixels, cropping back to the old size and flipping gives (2 pad + 1)^2 * 2 different pictures.
Because they can be counted, a frozen teacher's answer to (image, view) can be computed once and kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

IntOrTensor = TypeVar("IntOrTensor", int, Tensor)


@dataclass(frozen=True)
class Views:
    """The crop offsets (0 .. 2 pad, both axes) and flips that augmentation may choose for an image.

    ``view = ((dy * side) + dx) * flips + flip`` with ``side = 2 pad + 1`` and ``flips = 2`` (1 where mirror images
    change the meaning: b is not d). ``countable=False`` describes augmentation with a continuum of views, such as
    random resized crops; its ``count`` is 0 and every view id is -1.
    """

    pad: int = 4
    flip: bool = True
    countable: bool = True

    def __post_init__(self) -> None:
        if self.pad < 0:
            raise ValueError(f"pad must be 0 or more pixels, found {self.pad}")

    @property
    def side(self) -> int:
        """Number of crop offsets along one axis."""
        return 2 * self.pad + 1

    @property
    def flips(self) -> int:
        """2 where views may be mirrored, else 1."""
        return 2 if self.flip else 1

    @property
    def count(self) -> int:
        """Number of different views of one image; 0 where they cannot be counted."""
        return self.side**2 * self.flips if self.countable else 0

    @property
    def identity(self) -> int:
        """The view that shows the image as it is: central crop, not flipped (-1 where views cannot be counted)."""
        return self.encode(self.pad, self.pad, 0) if self.countable else -1

    def encode(self, dy: IntOrTensor, dx: IntOrTensor, flip: IntOrTensor) -> IntOrTensor:
        """Give the view id of crop offset (dy, dx) in the padded image and flip 0 or 1; integers or tensors of them."""
        return (dy * self.side + dx) * self.flips + flip

    def decode(self, view: IntOrTensor) -> tuple[IntOrTensor, IntOrTensor, IntOrTensor]:
        """Give (dy, dx, flip) of a view id: the inverse of :meth:`encode`."""
        offset = view // self.flips
        return offset // self.side, offset % self.side, view % self.flips
