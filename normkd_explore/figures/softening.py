"""The Softening Explorer's view as a still picture: what a reader sees where no kernel runs.

Legend: B samples, C classes, K classes shown; `_s` student, `_t` teacher.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from normkd_explore.analysis.softening import Softened
from normkd_explore.figures.style import COLOURS, PATTERNS, new_figure, rounded

SHOWN = 10
COLUMNS = ("raw", "kd", "normkd")


def softening_figure(
    softened: Mapping[str, Softened], class_names: Sequence[str], sample_names: Sequence[str]
) -> go.Figure:
    """Draw the raw, KD-softened and NormKD-softened predictions of a few samples, one row each.

    The teacher's ten likeliest classes, teacher and student side by side; values rounded to 4 decimals.

    Args:
        softened: "raw", "kd" and "normkd" of `analysis.soften`, all for the same B samples.
        class_names: C names.
        sample_names: B titles, one a row.
    """
    figure = new_figure(
        rows=len(sample_names),
        cols=len(COLUMNS),
        height=110 + 250 * len(sample_names),
        subplot_titles=[_title(softened, column, b) for b in range(len(sample_names)) for column in COLUMNS],
        horizontal_spacing=0.12,
        vertical_spacing=0.18,
    )
    for b, sample_name in enumerate(sample_names):
        # The order at T = 1 is the logits' order, and every other temperature keeps it.
        order_K = np.argsort(-softened["raw"].probs_t_BC[b], kind="stable")[:SHOWN]
        for k, column in enumerate(COLUMNS):
            _add_bars(figure, softened[column], b, order_K, class_names, place=(b + 1, k + 1))
        figure.update_yaxes(title_text=sample_name, row=b + 1, col=1)
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(rangemode="tozero")
    return figure


def _title(softened: Mapping[str, Softened], column: str, b: int) -> str:
    if column == "raw":
        return "Raw, T 1"
    view = softened[column]
    if column == "kd":
        return f"KD, T {view.temperature_t_B[b]:.2f}"
    return f"NormKD, T {view.temperature_t_B[b]:.2f} / {view.temperature_s_B[b]:.2f}"


def _add_bars(
    figure: go.Figure,
    view: Softened,
    b: int,
    order_K: np.ndarray,
    class_names: Sequence[str],
    place: tuple[int, int],
) -> None:
    for who, probs_BC in (("teacher", view.probs_t_BC), ("student", view.probs_s_BC)):
        bars = go.Bar(
            x=rounded(probs_BC[b, order_K]),
            y=[class_names[c] for c in order_K],
            orientation="h",
            name=who,
            legendgroup=who,
            showlegend=place == (1, 1),
            marker={"color": COLOURS[who], "pattern": {"shape": PATTERNS[who], "size": 4}},
        )
        figure.add_trace(bars, row=place[0], col=place[1])
