"""Students trained side by side on the same batches: what was measured of a race, and its still picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from normkd_explore.figures.style import COLOURS
from normkd_explore.figures.svg import LINE, MUTED, Svg

SPARE_COLOURS = ("#0072B2", "#E69F00", "#56B4E9", "#D55E00", "#F0E442")
# Dash and marker of the first, second, ... method: the cue beside colour.
STROKES = (
    ("", "circle"),
    ("7 4", "square"),
    ("2 3", "diamond"),
    ("8 3 2 3", "triangle-up"),
    ("12 5", "triangle-down"),
    ("12 4 2 4", "x"),
)
SPLITS = {"val": "validation", "test": "test"}


@dataclass(frozen=True)
class RaceLap:
    """One seed of a race. Images count from the start of its training; accuracies are top-1 in percent."""

    seed: int
    epochs: int = 0
    """Epochs that the training will have; 0 before its first step."""
    total: int = 0
    """Images that the training will have seen at its end."""
    images: list[float] = field(default_factory=list)
    """Where the training curves have points."""
    train: dict[str, list[float]] = field(default_factory=dict)
    """Top-1 on the training batches by method, one value for each of `images`."""
    ends: list[int] = field(default_factory=list)
    """Images seen at the end of each evaluated epoch."""
    valid: dict[str, list[float]] = field(default_factory=dict)
    """Top-1 on the held-out split by method, one value for each of `ends`."""

    @property
    def complete(self) -> bool:
        """Whether every epoch has been evaluated."""
        return 0 < self.epochs == len(self.ends)


@dataclass(frozen=True)
class Standing:
    """Held-out top-1 of one method, in percent."""

    method: str
    last: float | None
    """After the newest evaluated epoch of the newest seed."""
    mean: float | None
    """Mean of the last epoch over the `n` seeds that are complete."""
    n: int


def standings(methods: Sequence[str], laps: Sequence[RaceLap], by: str = "last") -> list[Standing]:
    """The leaderboard, best first by "last" or "mean"; where there is no number yet, in the order of `methods`."""
    rows = [_standing(method, laps) for method in methods]
    return sorted(rows, key=lambda row: -value if (value := getattr(row, by)) is not None else 1.0)


def _standing(method: str, laps: Sequence[RaceLap]) -> Standing:
    newest = laps[-1].valid.get(method, []) if laps else []
    finals = [lap.valid[method][-1] for lap in laps if lap.complete and lap.valid.get(method)]
    return Standing(method, newest[-1] if newest else None, round(fmean(finals), 2) if finals else None, len(finals))


def method_strokes(methods: Sequence[str]) -> list[dict[str, str]]:
    """Name, colour, dash ("dasharray" of an SVG line) and marker of each method.

    Known methods have the colours of `style.COLOURS`; others take the palette's colours that are still free.
    """
    taken = {COLOURS[method] for method in methods if method in COLOURS}
    free = [colour for colour in SPARE_COLOURS if colour not in taken] or list(SPARE_COLOURS)
    strokes, spare = [], 0
    for place, method in enumerate(methods):
        colour = COLOURS.get(method) or free[spare % len(free)]
        spare += method not in COLOURS
        dasharray, marker = STROKES[place % len(STROKES)]
        strokes.append({"name": method, "colour": colour, "dasharray": dasharray, "marker": marker})
    return strokes


WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 700, 356, 48, 76, 680, 308
# Corners of a point's shape, at size 1.
CORNERS = {
    "circle": [(math.cos(k * math.pi / 6), math.sin(k * math.pi / 6)) for k in range(12)],
    "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    "diamond": [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
    "triangle-up": [(0, -1.2), (1.2, 0.9), (-1.2, 0.9)],
    "triangle-down": [(0, 1.2), (-1.2, -0.9), (1.2, -0.9)],
    "x": [
        *((-1, -0.6), (-0.6, -1), (0, -0.4), (0.6, -1), (1, -0.6), (0.4, 0)),
        *((1, 0.6), (0.6, 1), (0, 0.4), (-0.6, 1), (-1, 0.6), (-0.4, 0)),
    ],
}


def race_picture(methods: Sequence[str], laps: Sequence[RaceLap], split: str = "val") -> Svg:
    """Draw top-1 (%) over images seen: lines on the training batches, points on the held-out `split`.

    The newest lap is strong and earlier ones are thin. Beside a method's name stands its mean over complete seeds.
    Without laps the frame and the names remain.
    """
    rows = {row.method: row for row in standings(methods, laps)}
    named = {m: f"{m} {row.mean:.2f} % (n = {row.n})" if row.mean is not None else m for m, row in rows.items()}
    svg = Svg(WIDTH, HEIGHT, f"Race: top-1 on {SPLITS.get(split, split)}. {', '.join(named.values())}")
    svg.text(16, 26, "Race: top-1 (%) on the same batches", size=17, bold=True)
    end, top = max((lap.total for lap in laps), default=0), _top(methods, laps)
    _axes(svg, end, top)
    for k, stroke in enumerate(method_strokes(methods)):
        _legend(svg, 16 + k % 4 * 168, 46 + k // 4 * 16, stroke, named[stroke["name"]])
        for lap in laps:
            _lap(svg, lap, stroke, (end or 1, top), newest=lap is laps[-1])
    svg.text(
        LEFT, HEIGHT - 12, f"training images seen; lines: training, points: {SPLITS.get(split, split)}", fill=MUTED
    )
    return svg


def _top(methods: Sequence[str], laps: Sequence[RaceLap]) -> int:
    """The end of the upright axis: a multiple of 10 above every value, 100 where there is none."""
    values = [v for lap in laps for m in methods for v in (*lap.train.get(m, []), *lap.valid.get(m, []))]
    return min(100, 10 * math.ceil(max(values) / 10)) or 10 if values else 100


def _axes(svg: Svg, end: int, top: int) -> None:
    for k in range(6):
        y = BOTTOM - (BOTTOM - TOP) * k / 5
        svg.line([(LEFT, y), (RIGHT, y)], MUTED if k == 0 else LINE)
        svg.text(LEFT - 6, y + 4, f"{top * k / 5:g}", size=12, fill=MUTED, anchor="end")
        if end:
            x, anchor = LEFT + (RIGHT - LEFT) * k / 5, "end" if k == 5 else "middle"
            svg.text(x, BOTTOM + 18, f"{end * k / 5:,.0f}", size=12, fill=MUTED, anchor=anchor)


def _legend(svg: Svg, x: float, y: float, stroke: dict[str, str], words: str) -> None:
    svg.line([(x, y), (x + 26, y)], stroke["colour"], 2, stroke["dasharray"])
    _point(svg, x + 13, y, 4, stroke)
    svg.text(x + 32, y + 4, words, size=12)


def _lap(svg: Svg, lap: RaceLap, stroke: dict[str, str], ends: tuple[float, float], newest: bool) -> None:
    def at(images: float, value: float) -> tuple[float, float]:
        return LEFT + (RIGHT - LEFT) * images / ends[0], BOTTOM - (BOTTOM - TOP) * value / ends[1]

    curve = lap.train.get(stroke["name"], [])
    if curve:
        points = [at(x, y) for x, y in zip(lap.images, curve, strict=True)]
        svg.line(points, stroke["colour"], 2 if newest else 0.7, stroke["dasharray"])
    for x, y in zip(lap.ends, lap.valid.get(stroke["name"], []), strict=False):
        _point(svg, *at(x, y), 5 if newest else 2.5, stroke)


def _point(svg: Svg, x: float, y: float, size: float, stroke: dict[str, str]) -> None:
    svg.shape([(x + size * dx, y + size * dy) for dx, dy in CORNERS[stroke["marker"]]], stroke["colour"])
