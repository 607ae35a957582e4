"""The hero as a still picture: two softened predictions and how many classes each still means.

Legend: N samples (two), C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from normkd_explore.analysis.softness import effective_classes, softness_band
from normkd_explore.figures.svg import BAND, BAND_INK, INK, LINE, MUTED, TEACHER, Svg

WIDTH, HEIGHT, COLUMN, GAP, LEFT = 700, 424, 310, 48, 16
BARS_TOP, ROW, SHOWN, NAMES, NUMBERS = 112, 19, 10, 34, 48


def hero_picture(
    logits_NC: NDArray[np.float64],
    images_NHWC: NDArray[np.uint8],
    labels: Sequence[int],
    class_names: Sequence[str],
    temperatures: Sequence[float],
    lines: tuple[str, str],
) -> Svg:
    """Draw both samples: picture, ten bars and all other classes, gauge; below them what one sees.

    Args:
        logits_NC: the teacher's logits of two samples.
        images_NHWC: their pixels.
        labels: their classes.
        class_names: C names.
        temperatures: T of each.
        lines: title, and the sentence below.
    """
    title, sentence = lines
    svg = Svg(WIDTH, HEIGHT, f"{title}. {sentence}")
    svg.text(LEFT, 28, title, size=19, bold=True)
    for n, T in enumerate(temperatures):
        x = LEFT + n * (COLUMN + GAP)
        svg.picture(x, 44, 56, images_NHWC[n])
        svg.text(x + 68, 64, class_names[labels[n]], size=16, bold=True)
        svg.text(x + 68, 84, f"std of its logits {logits_NC[n].std(ddof=1):.1f}, T = {T:.2f}", fill=MUTED)
        _bars(svg, x, logits_NC[n], class_names, T)
        _gauge(svg, x, float(effective_classes(logits_NC[[n]], T)[0]), logits_NC.shape[1])
    svg.text(LEFT, HEIGHT - 14, sentence, size=15)
    return svg


def _bars(svg: Svg, x: float, logits_C: NDArray[np.float64], class_names: Sequence[str], T: float) -> None:
    p_C = np.exp((logits_C - logits_C.max()) / T)
    p_C /= p_C.sum()
    order = np.argsort(-logits_C, kind="stable")[:SHOWN]
    bars = [(class_names[c], p_C[c]) for c in order]
    if left := len(p_C) - len(order):
        bars.append((f"+{left}", 1 - p_C[order].sum()))
    width = COLUMN - NAMES - NUMBERS
    for r, (name, p) in enumerate(bars):
        y = BARS_TOP + r * ROW
        svg.text(x + NAMES - 8, y + 12, name[:4], anchor="end", bold=r < SHOWN)
        svg.rect(x + NAMES, y + 1, width * p, 13, TEACHER if r < SHOWN else "#a0a0a0")
        svg.text(x + COLUMN, y + 12, _percent(p), fill=MUTED, anchor="end")
    svg.line([(x + NAMES, BARS_TOP - 2), (x + NAMES, BARS_TOP + len(bars) * ROW)], MUTED)


def _percent(p: float) -> str:
    return f"{100 * p:.{1 if p < 0.0995 else 0}f} %"


def _gauge(svg: Svg, x: float, classes: float, num_classes: int) -> None:
    top = BARS_TOP + (SHOWN + 1) * ROW + 28
    low, high = softness_band(num_classes)
    inside = low <= classes <= high
    svg.text(x, top, f"{classes:.{1 if classes < 9.95 else 0}f}", size=20, fill=BAND_INK if inside else INK, bold=True)
    svg.text(x + 44, top, "effective classes", fill=MUTED)
    verdict = "in the band" if inside else "too sharp" if classes < low else "too flat"
    svg.text(x + COLUMN, top, verdict, fill=BAND_INK if inside else MUTED, anchor="end", bold=True)
    at = np.log([low, high, classes]) / np.log(num_classes) * COLUMN
    svg.rect(x, top + 8, COLUMN, 14, LINE, radius=7)
    svg.rect(x + at[0], top + 8, at[1] - at[0], 14, BAND if inside else "#9fd6c5")
    svg.rect(x + at[2] - 3, top + 5, 6, 20, INK, radius=3)
