"""Policies and divergences compared: the table as a still picture, NormKD beside LSKD, gradients and temperatures.

Legend: B samples; `_s` student, `_t` teacher.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from normkd_explore.analysis.grid import Grid
from normkd_explore.figures.style import COLOURS, new_figure, rounded
from normkd_explore.figures.svg import INK, MUTED, Svg

QUANTITIES = {
    "loss": "loss, mean over the batch",
    "length": "length of a sample's gradient, mean over the batch",
    "weight": "weight of a sample, mean over the batch",
    "cosine": "cosine of gradient and centred student logits, mean over the batch",
}
LOG_DECADES = 3
SYMBOLS = (
    *("circle", "diamond", "square", "triangle-up", "cross", "x", "star", "circle-open", "diamond-open"),
    *("square-open", "triangle-up-open", "star-open", "hexagram", "pentagon", "hourglass", "bowtie", "hexagon-open"),
    *("triangle-down", "star-diamond", "hexagram-open", "triangle-down-open", "hourglass-open", "bowtie-open"),
)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def brief(value: float) -> str:
    """Three digits or so, at most 7 characters; below 10^-6 nothing but rounding and LSKD's 1e-7 is left: 0."""
    size = abs(value)
    if not np.isfinite(value):
        return "refused"
    if size < 1e-6:
        return "0"
    if size < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-").replace("-", "−")
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}".replace("-", "−")


def shades(values: ArrayLike) -> np.ndarray:
    """How dark each cell of a table is, 0 to 1: three decades below the largest size; NaN stays NaN."""
    sizes = np.abs(np.asarray(values, dtype=np.float64))
    largest = max(np.nanmax(sizes, initial=0.0), 1e-300)
    return np.clip(1 + np.log10(np.maximum(sizes / largest, 1e-300)) / LOG_DECADES, 0, 1)


def grid_figure(grid: Grid, quantity: str = "loss") -> go.Figure:
    """Draw the table of policies and divergences: the number in each cell, and darker for larger.

    Args:
        grid: of `analysis.grid.evaluate_grid`.
        quantity: "loss", "length", "weight" or "cosine".
    """
    values = grid.values(quantity)
    rows, columns = list(grid.policies), list(grid.divergences)
    figure = new_figure(height=200 + 34 * len(rows))
    figure.add_heatmap(
        z=[rounded(row, 2) for row in shades(np.nan_to_num(values))],
        x=columns,
        y=rows,
        text=[[brief(value) for value in row] for row in values],
        texttemplate="%{text}",
        hovertemplate="%{y} × %{x}: %{text}<extra></extra>",
        # Light enough for grey text on both ends.
        colorscale=[[0, "rgba(0,114,178,0.02)"], [1, "rgba(0,114,178,0.42)"]],
        showscale=False,
        xgap=2,
        ygap=2,
    )
    figure.update_xaxes(side="top", tickangle=-45, tickfont_size=10, showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_layout(title={"text": QUANTITIES[quantity], "font_size": 12, "x": 0, "y": 0.02}, margin_t=136)
    figure.update_layout(margin_b=32, margin_r=72)  # room for the last name, which leans out of the table
    return figure


def grid_picture(grid: Grid, quantity: str, chosen: tuple[str, str]) -> Svg:
    """The table as a still picture, its chosen policy and divergence framed."""
    values = grid.values(quantity)
    rows, columns = list(grid.policies), list(grid.divergences)
    width, height, left, top = 66, 26, 164, 104
    svg = Svg(left + width * len(columns) + 16, top + height * len(rows) + 16, f"Policies and divergences: {quantity}")
    svg.text(16, 26, "Every policy with every divergence", size=17, bold=True)
    svg.text(16, 46, f"{QUANTITIES[quantity]}; darker is larger", fill=MUTED)
    for c, name in enumerate(columns):
        for line, part in enumerate(re.sub(r"(?<=[a-z])(?=[A-Z])|(?=\()", "\n", name).split("\n")[:3]):
            svg.text(left + width * (c + 0.5), 68 + 13 * line, part[:12], size=10, fill=MUTED, anchor="middle")
    shade = shades(np.nan_to_num(values))
    for r, name in enumerate(rows):
        y = top + r * height
        svg.text(left - 8, y + 17, name[:22], size=12, anchor="end")
        for c, column in enumerate(columns):
            x = left + c * width
            if (name, column) == chosen:
                svg.rect(x, y, width, height, INK)
            svg.rect(x + 2, y + 2, width - 4, height - 4, _tint(shade[r, c]))
            svg.text(x + width / 2, y + 17, brief(values[r, c]), size=12, anchor="middle")
    return svg


def _tint(share: float) -> str:
    """The teacher's blue over white, 0 to 42 %, which leaves black text readable."""
    part = 0.42 * share
    return "#" + "".join(f"{round(255 + (channel - 255) * part):02x}" for channel in (0, 114, 178))


def weights_figure(std_t_B: ArrayLike, loss_normkd_B: ArrayLike, loss_lskd_B: ArrayLike) -> go.Figure:
    """NormKD's loss of each sample against LSKD's, and their ratio against the teacher's std with the curve std².

    All three arguments hold one value a sample; both losses have the same T_norm.
    """
    std_B, ratio_B = np.asarray(std_t_B), np.asarray(loss_normkd_B) / np.asarray(loss_lskd_B)
    figure = new_figure(cols=2, height=340, subplot_titles=["a dot a sample", "the same, divided"])
    dots = {"mode": "markers", "marker": {"color": COLOURS["normkd"], "symbol": "diamond", "size": 6, "opacity": 0.75}}
    figure.add_scatter(x=rounded(loss_lskd_B), y=rounded(loss_normkd_B), name="samples", **dots, row=1, col=1)
    figure.add_scatter(x=rounded(std_B), y=rounded(ratio_B), showlegend=False, **dots, row=1, col=2)
    line = np.linspace(std_B.min(), std_B.max(), 40)
    style = {"color": COLOURS["teacher"], "dash": "dash", "width": 1.5}
    figure.add_scatter(
        x=rounded(line), y=rounded(line**2), mode="lines", name="std²", line=style, row=1, col=2, legendrank=2
    )
    figure.update_xaxes(title="LSKD's loss", row=1, col=1)
    figure.update_yaxes(title="NormKD's loss", row=1, col=1)
    figure.update_xaxes(title="std of the teacher's logits", row=1, col=2)
    figure.update_yaxes(title="NormKD / LSKD", row=1, col=2)
    return figure


def cosine_figure(grid: Grid) -> go.Figure:
    """One dot a divergence in each policy's row: the cosine of gradient and centred student logits, batch mean."""
    values = grid.values("cosine")
    rows = list(grid.policies)
    figure = new_figure(height=150 + 34 * len(rows))
    palette = list(COLOURS.values())
    for d, name in enumerate(grid.divergences):
        marker = {"color": palette[d % len(palette)], "symbol": SYMBOLS[d % len(SYMBOLS)], "size": 9, "opacity": 0.9}
        figure.add_scatter(x=rounded(values[:, d], 3), y=rows, mode="markers", name=name, marker=marker)
    figure.add_vline(x=0, line_width=1, line_color="#808080")
    figure.update_xaxes(title="cosine of gradient and centred student logits; 0: the step leaves their scale alone")
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_layout(margin_t=96)
    return figure


def curves_figure(
    x: Sequence[float], curves: Mapping[str, ArrayLike], titles: tuple[str, str], log: bool = False
) -> go.Figure:
    """Lines over common x values that differ in colour and dash; `titles` of x and y, `log` for both axes."""
    figure = new_figure(height=360)
    palette = [COLOURS[role] for role in ("normkd", "kd", "teacher", "student", "normdkd")]
    for i, (name, values) in enumerate(curves.items()):
        line = {"color": palette[i % len(palette)], "dash": DASHES[i % len(DASHES)], "width": 2}
        figure.add_scatter(x=rounded(x), y=rounded(values, 8), mode="lines", name=name, line=line)
    figure.update_xaxes(title=titles[0], type="log" if log else "linear")
    figure.update_yaxes(title=titles[1], type="log" if log else "linear", exponentformat="power")
    return figure
