"""The Softening Explorer's view as a still picture: what a reader sees where no kernel runs.

Legend: B samples, C classes, K classes shown; `_s` student, `_t` teacher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from normkd_explore.analysis.softening import Softened
from normkd_explore.analysis.softness import softness_band
from normkd_explore.figures.svg import BAND_INK, LINE, MUTED, STRIPES, TEACHER, Svg

WIDTH, LEFT, COLUMN, GAP, TOP = 700, 16, 322, 24, 60
SHOWN, ROW, NAMES, NUMBERS, HEAD = 10, 19, 64, 46, 44
METHODS = {"kd": "KD", "normkd": "NormKD"}


def softening_picture(softened: Mapping[str, Softened], class_names: Sequence[str], sample_names: Sequence[str]) -> Svg:
    """Draw the KD- and NormKD-softened predictions of a few samples, a row a sample, with their effective classes.

    The teacher's ten likeliest classes, the student's striped bar below the teacher's, on one axis for all.

    Args:
        softened: "kd" and "normkd" of `analysis.soften`, all for the same B samples.
        class_names: C names.
        sample_names: B titles, one a row.
    """
    classes = min(SHOWN, len(class_names))
    block = HEAD + classes * ROW + 16
    svg = Svg(WIDTH, TOP + block * len(sample_names), _title(softened, sample_names))
    svg.text(LEFT, 26, "The same samples under KD and NormKD", size=17, bold=True)
    svg.rect(LEFT, 38, 18, 9, TEACHER)
    svg.text(LEFT + 24, 47, "teacher", fill=MUTED)
    svg.rect(LEFT + 92, 38, 18, 9, STRIPES)
    svg.text(LEFT + 116, 47, "student", fill=MUTED)
    top = max(float(probs.max()) for view in softened.values() for probs in (view.probs_t_BC, view.probs_s_BC))
    for b, sample_name in enumerate(sample_names):
        for k, method in enumerate(METHODS):
            x, y = LEFT + k * (COLUMN + GAP), TOP + b * block
            _head(svg, x, y, f"{sample_name}, {METHODS[method]}", softened[method], b)
            order_K = np.argsort(-softened[method].probs_t_BC[b], kind="stable")[:classes]
            _bars(svg, (x, y + HEAD), softened[method], b, order_K, class_names, top)
    return svg


def _classes(view: Softened, b: int) -> tuple[float, str]:
    """Effective classes of the teacher's prediction, and where they lie."""
    count, (low, high) = float(np.exp(view.entropy_t_B[b])), softness_band(view.probs_t_BC.shape[1])
    return count, "too sharp" if count < low else "too flat" if count > high else "in the band"


def _title(softened: Mapping[str, Softened], sample_names: Sequence[str]) -> str:
    said = [
        f"{name} means {_classes(softened[method], b)[0]:.0f} classes under {METHODS[method]}"
        for b, name in enumerate(sample_names)
        for method in METHODS
    ]
    return f"Softened predictions. {', '.join(said)}."


def _head(svg: Svg, x: float, y: float, name: str, view: Softened, b: int) -> None:
    count, place = _classes(view, b)
    svg.text(x, y + 18, f"{name}, T {view.temperature_t_B[b]:.2f}", size=14, bold=True)
    fill = BAND_INK if place == "in the band" else MUTED
    svg.text(x, y + 36, f"{count:.{1 if count < 9.95 else 0}f} effective classes, {place}", fill=fill)


def _bars(
    svg: Svg,
    corner: tuple[float, float],
    view: Softened,
    b: int,
    order_K: np.ndarray,
    class_names: Sequence[str],
    top: float,
) -> None:
    x, y = corner
    width = COLUMN - NAMES - NUMBERS
    svg.line([(x + NAMES + width, y), (x + NAMES + width, y + len(order_K) * ROW)], LINE)
    for r, c in enumerate(order_K):
        p, q, here = view.probs_t_BC[b, c], view.probs_s_BC[b, c], y + r * ROW
        svg.text(x + NAMES - 8, here + 13, class_names[c][:8], anchor="end")
        svg.rect(x + NAMES, here + 2, width * p / top, 7, TEACHER)
        svg.rect(x + NAMES, here + 9, width * q / top, 7, STRIPES)
        svg.text(x + COLUMN, here + 13, f"{p:.3f}", fill=MUTED, anchor="end")
    svg.line([(x + NAMES, y), (x + NAMES, y + len(order_K) * ROW)], MUTED)
