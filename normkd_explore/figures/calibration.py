"""Reliability diagrams: how often predictions of a confidence are right."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from normkd_explore.analysis.calibration import Reliability
from normkd_explore.figures.style import COLOURS, INK, new_figure, rounded


def reliability_figure(models: dict[str, Reliability]) -> go.Figure:
    """One panel a model: accuracy (bars) in bins of confidence against the diagonal of a calibrated model.

    A bar below the diagonal is over-confidence. The small row below shows how many predictions each bin holds. Each
    panel's title states the ECE and its number of bins.
    """
    titles = [f"{name}: ECE {100 * r.ece:.1f} % ({len(r.count_K)} bins)" for name, r in models.items()]
    figure = new_figure(
        2,
        len(models),
        height=400,
        row_heights=[0.75, 0.25],
        vertical_spacing=0.08,
        horizontal_spacing=0.07,
        shared_xaxes=True,
        subplot_titles=titles,
    )
    for place, model in enumerate(models.values(), start=1):
        _add_panel(figure, model, place)
    figure.update_layout(bargap=0.08, showlegend=True)
    figure.update_yaxes(range=[0, 1], row=1)
    figure.update_xaxes(range=[0, 1])
    figure.update_xaxes(title="confidence", row=2)
    figure.update_yaxes(title="accuracy", row=1, col=1)
    figure.update_yaxes(title="predictions", row=2, col=1)
    return figure


def _add_panel(figure: go.Figure, model: Reliability, place: int) -> None:
    middle_K = rounded((model.edges[:-1] + model.edges[1:]) / 2)
    accuracy_K = [None if np.isnan(value) else round(float(value), 4) for value in model.accuracy_K]
    bars = go.Bar(x=middle_K, y=accuracy_K, marker_color=COLOURS["teacher"], name="accuracy", showlegend=place == 1)
    diagonal = go.Scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": INK, "dash": "dash", "width": 1},
        name="calibrated",
        showlegend=place == 1,
    )
    counts = go.Bar(x=middle_K, y=model.count_K.tolist(), marker_color=INK, showlegend=False)
    figure.add_trace(bars, row=1, col=place)
    figure.add_trace(diagonal, row=1, col=place)
    figure.add_trace(counts, row=2, col=place)
