"""Losses on outputs with a place for every pixel: segmentation, depth in classes, detection's class maps.

Legend: B batch, C classes, H, W places (any number of axes, also none or one), R = B · H · W rows; `_s` student,
`_t` teacher.
"""

from typing import Any

from torch import Tensor, nn

from normkd_explore.checks import IGNORED
from normkd_explore.divergence import GramMatrices
from normkd_explore.losses.base import DistillationLoss, LogitLoss
from normkd_explore.losses.classic import CE
from normkd_explore.losses.relational import MultiLevelLoss
from normkd_explore.temperature import tell_epoch


class PerPixel(nn.Module):
    """A loss of every pixel by itself, averaged over those that count: each pixel is a sample with logits of its own.

        l = Σ over pixels with another label than `ignore_index`  loss(z_s[b, :, h, w], z_t[b, :, h, w], y[b, h, w])
            / number of such pixels,   0 without any

    Every policy works as on images: NormKD gives each pixel the temperature of its own logits. Images with many pixels
    that count weigh more, as in `F.cross_entropy`.

    Args of a call:
        logits_student, logits_teacher: (B, C, H, W), of one size.
        target: int64 class indices (B, H, W). Losses that need no labels look at nothing in it but `ignore_index`;
            without it all pixels count.
    Returns:
        a scalar; `per_sample` gives the loss of each pixel, (B, H, W), 0 where it is ignored.
    Raises:
        TypeError, ValueError: as the loss, or shapes that do not fit; a loss that compares all rows with all others.
    """

    def __init__(self, loss: LogitLoss | CE, ignore_index: int = IGNORED) -> None:
        super().__init__()
        gram = isinstance(loss, DistillationLoss) and isinstance(loss.divergence, GramMatrices)
        if gram or isinstance(loss, MultiLevelLoss):
            raise ValueError(
                f"{loss!r} compares every row with every other one: for pixels that is the square of their number. "
                "Wanted a loss of each row, such as NormKD(2.0), KD(4.0) or DKD()."
            )
        self.loss, self.ignore_index = loss, ignore_index

    def forward(self, logits_student: Tensor, logits_teacher: Tensor | None, target: Tensor | None = None) -> Tensor:
        return self.loss(*self._rows(logits_student, logits_teacher, target))

    def per_sample(self, logits_student: Tensor, logits_teacher: Tensor | None, target: Tensor | None = None) -> Tensor:
        """The loss of each pixel, (B, H, W)."""
        rows = self.loss.per_sample(*self._rows(logits_student, logits_teacher, target))
        return rows.view(logits_student.shape[0], *logits_student.shape[2:])

    def _rows(self, logits_s: Any, logits_t: Any, target: Any) -> tuple[Tensor, Any, Any]:
        places = _places("logits_student", logits_s)
        if logits_t is not None and _places("logits_teacher", logits_t) != places:
            raise ValueError(
                f"logits_student has shape {tuple(logits_s.shape)} and logits_teacher {tuple(logits_t.shape)}, wanted "
                "the same places: F.interpolate(logits, size, mode='bilinear') brings the smaller one to the size."
            )
        return _as_rows(logits_s), None if logits_t is None else _as_rows(logits_t), self._labels(target, places)

    def _labels(self, target: Any, places: tuple[int, ...]) -> Any:
        if not isinstance(target, Tensor):
            return target
        if tuple(target.shape) != places:
            raise ValueError(
                f"target has shape {tuple(target.shape)}, wanted {places}: one class index for each pixel of the "
                "logits. F.interpolate(target[:, None].float(), size, mode='nearest') makes labels of another size."
            )
        target_R = target.reshape(-1)
        return target_R.masked_fill(target_R == self.ignore_index, IGNORED) if target_R.dtype.is_signed else target_R

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Tell the loss."""
        tell_epoch(self.loss, epoch, epochs)

    def extra_repr(self) -> str:
        return f"ignore_index={self.ignore_index}"


def per_pixel(loss: LogitLoss | CE, ignore_index: int = IGNORED) -> PerPixel:
    """A loss for (B, C, H, W) logits and (B, H, W) labels out of one for (B, C) and (B,); see `PerPixel`.

    `per_pixel(NormKD(2.0), ignore_index=255)` leaves out the pixels that are labelled 255.
    """
    return PerPixel(loss, ignore_index)


def _places(name: str, logits: Any) -> tuple[int, ...]:
    if not isinstance(logits, Tensor) or logits.ndim < 2:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"{name} is {found}, wanted a tensor (B, C, H, W): the class axis second.")
    return (logits.shape[0], *logits.shape[2:])


def _as_rows(logits: Tensor) -> Tensor:
    return logits.movedim(1, -1).flatten(0, -2)
