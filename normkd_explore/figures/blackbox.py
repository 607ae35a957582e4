"""Answers of a black box as still pictures: a softened prediction, the drift of the temperature, accuracy by queries.

Legend: C classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from PIL import Image

from normkd_explore.figures.style import COLOURS, new_figure, rounded

REMEDY_MARKS: Mapping[str, tuple[str, str]] = {
    "epsilon": (COLOURS["ce"], "square"),
    "floor": (COLOURS["student"], "triangle-up"),
    "fit": (COLOURS["normkd"], "circle"),
}


def answer_figure(
    true_C: ArrayLike, visible_C: ArrayLike, class_names: Sequence[str], temperatures: tuple[float, float]
) -> go.Figure:
    """A softened prediction from the logits and from the answer, from the likeliest class on, and both temperatures."""
    true_C, visible_C = np.asarray(true_C), np.asarray(visible_C)
    order = np.argsort(-true_C, kind="stable")
    titles = ["softened prediction", "NormKD's temperature"]
    figure = new_figure(cols=2, height=300, subplot_titles=titles, column_widths=[0.7, 0.3])
    names = [class_names[c] for c in order]
    parts = ("from the logits", true_C, COLOURS["teacher"]), ("from the answer", visible_C, COLOURS["student"])
    for (name, row_C, colour), temperature in zip(parts, temperatures, strict=True):
        figure.add_bar(x=names, y=rounded(row_C[order], 4), name=name, marker_color=colour, row=1, col=1)
        told, shown = [f"{temperature:.1f}"], [round(temperature, 3)]
        figure.add_bar(x=[name], y=shown, text=told, marker_color=colour, showlegend=False, row=1, col=2)
    figure.update_xaxes(type="category", showticklabels=False, row=1, col=1)
    return figure


def drift_figure(drift: Mapping[str, Mapping[str, float]], title: str) -> go.Figure:
    """Visible over true temperature, by remedy (outer) and by how the box answers (inner keys, in order)."""
    figure = new_figure(height=320)
    for remedy, values in drift.items():
        colour, symbol = REMEDY_MARKS[remedy]
        marker = {"color": colour, "symbol": symbol, "size": 9}
        ratios = rounded(list(values.values()), 3)
        figure.add_scatter(x=list(values), y=ratios, mode="lines+markers", name=remedy, marker=marker)
    figure.add_hline(y=1, line_dash="dot", line_color="rgba(128,128,128,0.8)")
    figure.update_xaxes(type="category", title_text=title)
    figure.update_yaxes(title_text="visible over true temperature", rangemode="tozero")
    return figure


def glyph_sheet(images_NHWC: ArrayLike, columns: int = 12) -> go.Figure:
    """Pictures side by side, uint8 (N, H, W, 3), from the top left in rows of `columns`."""
    images = np.asarray(images_NHWC)
    rows = -(-len(images) // columns)
    side, depth = images.shape[1], images.shape[3]
    full = np.zeros((rows * columns, side, side, depth), np.uint8)
    full[: len(images)] = images
    sheet = full.reshape(rows, columns, side, side, depth).swapaxes(1, 2).reshape(rows * side, columns * side, depth)
    figure = new_figure(height=40 + 58 * rows)
    figure.add_layout_image(
        source=Image.fromarray(sheet), x=0, y=0, xref="x", yref="y", sizex=columns, sizey=rows, sizing="stretch"
    )
    figure.update_xaxes(visible=False, range=[0, columns])
    figure.update_yaxes(visible=False, range=[rows, 0], scaleanchor="x")
    figure.update_layout(margin={"l": 0, "r": 0, "t": 8, "b": 8})
    return figure
