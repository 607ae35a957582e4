"""Results as figures: paired differences, accuracy after every epoch, gains by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from normkd_explore.analysis.paired import Paired
from normkd_explore.figures.style import COLOURS, GRID, INK, named_places, new_figure, rounded
from normkd_explore.results import EpochRecord

SPARE = "#0072B2"
SYMBOLS = ("circle", "diamond", "square", "cross", "triangle-up", "x", "star", "hexagram")  # one more than colours
SEED_STROKES = (("#0072B2", "solid"), ("#D55E00", "dash"), ("#009E73", "dot"), ("#CC79A7", "dashdot"))


def paired_figure(pairs: Sequence[Paired]) -> go.Figure:
    """Differences of top-1 (points): a dot a seed, a bar at the mean; right of zero the method is ahead."""
    figure = new_figure(height=130 + 44 * len(pairs))
    for row in pairs:
        name = f"{row.method} - {row.baseline}"
        colour = COLOURS.get(row.method, SPARE)
        figure.add_scatter(
            x=rounded(row.differences, 2),
            y=[name] * row.n,
            mode="markers",
            marker={"color": colour, "size": 9, "opacity": 0.8, "line": {"color": INK, "width": 0.5}},
            hovertext=[f"seed {seed}" for seed in row.seeds],
            showlegend=False,
        )
        figure.add_scatter(
            x=rounded([row.mean], 2),
            y=[name],
            mode="markers",
            marker={"symbol": "line-ns", "size": 26, "line": {"color": INK, "width": 3}},
            name="mean",
            showlegend=row is pairs[0],
        )
    figure.add_vline(x=0, line_dash="dot", line_color=INK)
    figure.update_xaxes(title="difference of test top-1, same seed (points)")
    figure.update_yaxes(autorange="reversed", type="category")
    return figure


def history_figure(records: Sequence[EpochRecord], plateau_from: int | None = None) -> go.Figure:
    """Top-1 (%) after every epoch, a line a seed; a star marks its best epoch, a square its last one.

    `plateau_from` shades the epochs from this one on.
    """
    figure = new_figure(height=380)
    for place, seed in enumerate(sorted({record.seed for record in records})):
        run = sorted((record for record in records if record.seed == seed), key=lambda record: record.epoch)
        epochs, top1 = [record.epoch for record in run], [record.top1 for record in run]
        best = int(np.argmax(top1))
        colour, dash = SEED_STROKES[place % len(SEED_STROKES)]
        line = {"color": colour, "dash": dash, "width": 2}
        figure.add_scatter(x=epochs, y=rounded(top1, 2), mode="lines", line=line, name=f"seed {seed}")
        figure.add_scatter(
            x=[epochs[best], epochs[-1]],
            y=rounded([top1[best], top1[-1]], 2),
            mode="markers",
            marker={"color": colour, "symbol": ["star", "square"], "size": [14, 9]},
            name="star: best epoch, square: last",
            showlegend=place == 0,
        )
    if plateau_from is not None:
        figure.add_vrect(
            x0=plateau_from - 0.5, x1=max(r.epoch for r in records) + 0.5, fillcolor=GRID, line_width=0, layer="below"
        )
    figure.update_xaxes(title="epoch")
    figure.update_yaxes(title=f"top-1 on the {records[0].split} split (%)")
    return figure


def class_gains_figure(gains_C: ArrayLike, class_names: Sequence[str], title: str) -> go.Figure:
    """One bar a class, largest gain first: images more (or fewer) that are right, in points of the class's images."""
    gains_C = np.asarray(gains_C, dtype=np.float64)
    order_C = np.argsort(-gains_C, kind="stable")
    figure = new_figure(height=340)
    figure.add_bar(
        x=list(range(len(order_C))),
        y=rounded(gains_C[order_C], 1),
        marker_color=[COLOURS["normkd"] if gain >= 0 else COLOURS["normdkd"] for gain in gains_C[order_C]],
        hovertext=[class_names[c] for c in order_C],
    )
    ticks = named_places([class_names[c] for c in order_C])
    figure.update_xaxes(tickvals=list(ticks), ticktext=[class_names[order_C[k]] for k in ticks], tickangle=0)
    figure.update_xaxes(title="classes, largest gain first")
    figure.update_yaxes(title=title)
    return figure


def heatmap_figure(matrices: dict[str, ArrayLike], class_names: Sequence[str], largest: float) -> go.Figure:
    """Matrices (C, C) side by side, one scale from 0 to `largest` (at most 2.55), in hundredths.

    Whole hundredths in one byte each: a hundred classes are 10,000 numbers, and stored figures must stay small.
    """
    figure = new_figure(1, len(matrices), height=400, subplot_titles=list(matrices), horizontal_spacing=0.06)
    for place, matrix in enumerate(matrices.values(), start=1):
        figure.add_heatmap(
            z=np.round(100 * np.asarray(matrix)).astype(np.uint8), coloraxis="coloraxis", row=1, col=place
        )
    scale = {
        "colorscale": "Viridis",
        "cmin": 0,
        "cmax": round(100 * largest),
        "colorbar": {"thickness": 12, "title": "x 100"},
    }
    figure.update_layout(coloraxis=scale)
    ticks = list(range(0, len(class_names), -(-len(class_names) // 10)))
    names = [class_names[c] for c in ticks]
    figure.update_xaxes(tickvals=ticks, ticktext=names, showgrid=False, constrain="domain")
    figure.update_yaxes(tickvals=ticks, ticktext=names, showgrid=False, autorange="reversed")
    return figure


def map_figure(maps: dict[str, ArrayLike], names: Sequence[str]) -> go.Figure:
    """Maps (N, 2) side by side: a mark for each sample, and each class's name where it is furthest from others."""
    figure = new_figure(1, len(maps), height=420, subplot_titles=list(maps), horizontal_spacing=0.04)
    palette = [colour for role, colour in COLOURS.items() if role != "lskd"]  # yellow cannot be seen on white
    kinds = list(dict.fromkeys(names))
    place_N = np.array([kinds.index(name) for name in names])
    colours = [palette[k % len(palette)] for k in range(len(kinds))]
    for column, points in enumerate(maps.values(), start=1):
        points_N2 = np.asarray(points, dtype=np.float64)
        named = [_loneliest(points_N2, place_N == k) for k in range(len(kinds))]
        marks = {"color": [colours[k] for k in place_N], "symbol": [SYMBOLS[k % len(SYMBOLS)] for k in place_N]}
        figure.add_scatter(
            x=rounded(points_N2[:, 0], 1),
            y=rounded(points_N2[:, 1], 1),
            mode="markers",
            marker={**marks, "size": 6, "opacity": 0.7},
            hovertext=list(names),
            hoverinfo="text",
            showlegend=False,
            row=1,
            col=column,
        )
        figure.add_scatter(
            x=rounded(points_N2[named, 0], 1),
            y=rounded(points_N2[named, 1], 1),
            mode="text",
            text=kinds,
            textposition="top center",
            textfont={"color": colours, "size": 18},
            hoverinfo="skip",
            showlegend=False,
            row=1,
            col=column,
        )
    figure.update_xaxes(showticklabels=False, zeroline=False)
    figure.update_yaxes(showticklabels=False, zeroline=False)
    return figure


def _loneliest(points_N2: np.ndarray, own_N: np.ndarray) -> int:
    """Position of the point among the own ones that is furthest from all others."""
    if own_N.all():
        return int(own_N.argmax())
    own, others = np.flatnonzero(own_N), points_N2[~own_N]
    distances = np.linalg.norm(points_N2[own, None] - others[None], axis=2).min(axis=1)
    return int(own[distances.argmax()])
