"""How soft one temperature makes each sample, beside a temperature for every sample; and what students reached."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from normkd_explore.analysis.softness import softness_band
from normkd_explore.figures.style import COLOURS, new_figure, rounded

NAMES = {"kd": "KD, one T for all", "normkd": "NormKD, T follows std"}
SYMBOLS = {"kd": "circle-open", "normkd": "diamond"}


def softness_figure(std_N: ArrayLike, classes_N: dict[str, ArrayLike], num_classes: int) -> go.Figure:
    """Effective classes of each sample's softened prediction against the standard deviation of its logits, a dot a
    sample; the green band is `analysis.softness.softness_band`.

    Args:
        std_N: standard deviation of each sample's teacher logits.
        classes_N: for each method ("kd", "normkd") the effective classes of each sample.
        num_classes: C, the upper end.
    """
    figure = new_figure(height=380)
    order_N = np.argsort(np.asarray(std_N))
    low, high = softness_band(num_classes)
    for method, values_N in classes_N.items():
        figure.add_scatter(
            x=rounded(np.asarray(std_N)[order_N], 3),
            y=rounded(np.asarray(values_N)[order_N], 2),
            mode="markers",
            name=NAMES.get(method, method),
            marker={"color": COLOURS.get(method), "symbol": SYMBOLS.get(method, "square"), "size": 6, "opacity": 0.75},
            hovertemplate="std %{x:.2f}<br>%{y:.1f} effective classes",
        )
    figure.add_hrect(y0=low, y1=high, fillcolor=COLOURS["normkd"], opacity=0.15, line_width=0, layer="below")
    figure.update_xaxes(title="standard deviation of the teacher's logits")
    figure.update_yaxes(title="effective classes of its softened prediction", range=[0, num_classes])
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
