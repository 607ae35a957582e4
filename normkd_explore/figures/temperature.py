"""How much one temperature leaves of each sample's certainty, beside a temperature for every sample."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from normkd_explore.figures.style import COLOURS, new_figure, rounded

NAMES = {"kd": "KD, one T for all", "normkd": "NormKD, T follows std"}
SYMBOLS = {"kd": "circle-open", "normkd": "diamond"}


def certainty_figure(std_N: ArrayLike, top_N: dict[str, ArrayLike], num_classes: int) -> go.Figure:
    """Softened probability of the teacher's first class against the standard deviation of its logits, a dot a sample.

    Args:
        std_N: standard deviation of each sample's teacher logits.
        top_N: for each method ("kd", "normkd") the largest softened probability of each sample.
        num_classes: gives the line of an even spread, 1/C.
    """
    figure = new_figure(height=380)
    order_N = np.argsort(np.asarray(std_N))
    for method, values_N in top_N.items():
        figure.add_scatter(
            x=rounded(np.asarray(std_N)[order_N], 3),
            y=rounded(np.asarray(values_N)[order_N], 4),
            mode="markers",
            name=NAMES.get(method, method),
            marker={"color": COLOURS.get(method), "symbol": SYMBOLS.get(method, "square"), "size": 6, "opacity": 0.75},
            hovertemplate="std %{x:.2f}<br>top probability %{y:.3f}",
        )
    figure.add_hline(y=round(1 / num_classes, 4), line_dash="dot", line_color="#808080")
    figure.update_xaxes(title="standard deviation of the teacher's logits")
    figure.update_yaxes(title="softened probability of its first class", rangemode="tozero")
    return figure


def results_figure(accuracies: dict[str, list[float]], title: str) -> go.Figure:
    """Test top-1 (%) of each method: a dot a seed, a line from mean - std to mean + std.

    `accuracies` maps a method to the values of its seeds, in the same order of seeds for every method.
    """
    figure = new_figure(height=120 + 56 * len(accuracies))
    for method, values in accuracies.items():
        mean, std = float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        spread = f" ± {std:.1f}" if len(values) > 1 else ""  # one value has no spread to state
        colour = COLOURS.get(method, "#0072B2")
        line = {"color": colour, "width": 6}
        figure.add_scatter(
            x=rounded([mean - std, mean + std], 2),
            y=[method, method],
            mode="lines",
            line=line,
            opacity=0.35,
            showlegend=False,
        )
        figure.add_scatter(
            x=rounded(values, 2),
            y=[method] * len(values),
            mode="markers",
            marker={"color": colour, "size": 11, "line": {"color": "white", "width": 1}},
            name=f"{method}: {mean:.1f}{spread} (n = {len(values)})",
        )
    figure.update_xaxes(title=title)
    figure.update_yaxes(autorange="reversed", type="category")
    return figure
