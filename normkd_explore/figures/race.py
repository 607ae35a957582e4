"""Students trained side by side on the same batches: what was measured of a race, and its still picture."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

import plotly.graph_objects as go

from normkd_explore.figures.style import COLOURS, new_figure, rounded

SPARE_COLOURS = ("#0072B2", "#E69F00", "#56B4E9", "#D55E00", "#F0E442")
# Dash (for plotly, for SVG) and marker of the first, second, ... method: the cue beside colour.
STROKES = (
    ("solid", "", "circle"),
    ("dash", "7 4", "square"),
    ("dot", "2 3", "diamond"),
    ("dashdot", "8 3 2 3", "triangle-up"),
    ("longdash", "12 5", "triangle-down"),
    ("longdashdot", "12 4 2 4", "x"),
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
    """Name, colour, dash ("dash" for plotly, "dasharray" for SVG) and marker of each method.

    Known methods have the colours of `style.COLOURS`; others take the palette's colours that are still free.
    """
    taken = {COLOURS[method] for method in methods if method in COLOURS}
    free = [colour for colour in SPARE_COLOURS if colour not in taken] or list(SPARE_COLOURS)
    strokes, spare = [], 0
    for place, method in enumerate(methods):
        colour = COLOURS.get(method) or free[spare % len(free)]
        spare += method not in COLOURS
        dash, dasharray, marker = STROKES[place % len(STROKES)]
        strokes.append({"name": method, "colour": colour, "dash": dash, "dasharray": dasharray, "marker": marker})
    return strokes


def race_figure(methods: Sequence[str], laps: Sequence[RaceLap], split: str = "val") -> go.Figure:
    """Draw top-1 (%) over images seen: lines on the training batches, points on the held-out `split`.

    The newest lap is strong and earlier ones are faint. The legend has each method's mean over complete seeds.
    Without laps the frame, its axes and the legend remain. Values are rounded to 2 decimals.
    """
    figure = new_figure(height=400)
    rows = {row.method: row for row in standings(methods, laps)}
    for stroke in method_strokes(methods):
        row = rows[stroke["name"]]
        title = f"{row.method}, {row.mean:.2f} % (n = {row.n})" if row.mean is not None else row.method
        for lap in laps or [RaceLap(seed=0)]:
            newest = not laps or lap is laps[-1]
            for trace in _traces(stroke, lap, newest):
                figure.add_trace(trace.update(legendgroup=row.method, name=title))
    end = max((lap.total for lap in laps), default=0)
    figure.update_xaxes(title_text="training images seen", range=[0, end or 1], showticklabels=end > 0)
    figure.update_yaxes(
        title_text=f"top-1 (%): lines training, points {SPLITS.get(split, split)}",
        rangemode="tozero",
        range=None if any(lap.images or lap.ends for lap in laps) else [0, 100],
    )
    return figure


EMPTY: list[float | None] = [None]  # a trace without any point would have no entry in the legend


def _traces(stroke: dict[str, str], lap: RaceLap, newest: bool) -> list[go.Scatter]:
    opacity = 1.0 if newest else 0.35
    hover = f"seed {lap.seed}: %{{y:.1f}} %"
    line = go.Scatter(
        x=rounded(lap.images, 0) or EMPTY,
        y=rounded(lap.train.get(stroke["name"], []), 2) or EMPTY,
        mode="lines",
        line={"color": stroke["colour"], "dash": stroke["dash"], "width": 2 if newest else 1},
    )
    points = go.Scatter(
        x=lap.ends,
        y=rounded(lap.valid.get(stroke["name"], []), 2),
        mode="markers",
        marker={"color": stroke["colour"], "symbol": stroke["marker"], "size": 9 if newest else 6},
        showlegend=False,
        cliponaxis=False,
    )
    line.showlegend = newest
    return [trace.update(opacity=opacity, hovertemplate=hover) for trace in (line, points)]
