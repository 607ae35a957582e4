"""Logit statistics as figures: distributions, classes, confidence, softened entropy and the temperatures that suit.

Legend: N samples, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from normkd_explore.analysis.statistics import LogitStatistics
from normkd_explore.figures.style import COLOURS, INK, named_places, new_figure, rounded

BINS = 32
UNITS = {
    "mean": "mean of the logits",
    "std": "standard deviation of the logits",
    "max": "largest logit",
    "entropy": "entropy (nats)",
    "confidence": "largest probability",
}
# Colour, dash and marker of the first, second, ... group: colour is never the only cue.
LOOKS = (
    (COLOURS["teacher"], "solid", "circle"),
    (COLOURS["student"], "dash", "x"),
    (COLOURS["normkd"], "dot", "diamond"),
    (COLOURS["kd"], "dashdot", "square"),
)


def distribution_figure(
    groups: Mapping[str, LogitStatistics], measures: Sequence[str] = ("mean", "std", "max", "entropy")
) -> go.Figure:
    """Draw how each measure is distributed in each group, as shares of the group's samples in common bins.

    Args:
        groups: up to four groups of samples by name, such as two models, or right and wrong predictions of one.
        measures: names from `analysis.statistics.MEASURES`, a panel each.
    Raises:
        ValueError: more than four groups, an empty one, or an unknown measure.
    """
    _check_groups(groups)
    columns = min(2, len(measures))
    rows = -(-len(measures) // columns)
    figure = new_figure(rows=rows, cols=columns, height=90 + 220 * rows, vertical_spacing=0.2)
    for panel, measure in enumerate(measures):
        row, column = panel // columns + 1, panel % columns + 1
        edges = _edges([group.measure(measure) for group in groups.values()])
        for (name, group), (colour, dash, _) in zip(groups.items(), LOOKS, strict=False):
            share = 100 * np.histogram(group.measure(measure), edges)[0] / len(group)
            step = go.Scatter(
                x=rounded((edges[1:] + edges[:-1]) / 2, 3),
                y=rounded(share, 2),
                name=f"{name} (n = {len(group):,})",
                legendgroup=name,
                showlegend=panel == 0,
                line={"shape": "hvh", "color": colour, "dash": dash, "width": 2},
                hovertemplate="%{x:.2f}: %{y:.1f} %",
            )
            figure.add_trace(step, row=row, col=column)
        figure.update_xaxes(title_text=UNITS[measure], row=row, col=column)
        figure.update_yaxes(title_text="share (%)" if column == 1 else None, row=row, col=column)
    figure.update_yaxes(rangemode="tozero")
    return figure


def _check_groups(groups: Mapping[str, LogitStatistics]) -> None:
    if not 1 <= len(groups) <= len(LOOKS):
        raise ValueError(f"groups holds {len(groups)} groups, wanted 1 to {len(LOOKS)}: more cannot be told apart.")
    if empty := [name for name, group in groups.items() if not len(group)]:
        raise ValueError(f"groups: {', '.join(empty)} has no samples, wanted at least one in each.")


def _edges(values: Sequence[ArrayLike]) -> np.ndarray:
    # A little wider than the data: then rounding noise cannot move an extreme sample out of the last bin.
    low, high = min(np.min(v) for v in values), max(np.max(v) for v in values)
    margin = 0.005 * (high - low) or 0.5
    return np.linspace(low - margin, high + margin, BINS + 1)


def class_figure(stats: LogitStatistics, class_names: Sequence[str], measure: str = "std") -> go.Figure:
    """Draw a measure's middle half (line) and median (dot) in every true class, sorted by median.

    Of many classes only some are named along the axis, so that the names can be read; hovering names each.

    Raises:
        ValueError: `stats` has no labels, or the measure is unknown.
    """
    if stats.labels_N is None:
        raise ValueError("stats has no labels, wanted the true class of each sample to group them by class.")
    values_N = stats.measure(measure)
    present = np.unique(stats.labels_N)
    quarters = np.array([np.quantile(values_N[stats.labels_N == c], (0.25, 0.5, 0.75)) for c in present]).round(6)
    order = np.argsort(quarters[:, 1], kind="stable")
    names = [class_names[present[k]] for k in order]
    colour = LOOKS[0][0]
    figure = new_figure(height=360)
    # One trace with gaps instead of a trace for each class.
    ends = [value for k in order for value in (*rounded(quarters[k, [0, 2]], 3), None)]
    figure.add_scatter(
        x=[place for place in range(len(names)) for _ in range(3)],
        y=ends,
        mode="lines",
        line={"color": colour, "width": 3},
        opacity=0.4,
        name="middle half of its samples",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=list(range(len(names))),
        y=rounded(quarters[order, 1], 3),
        mode="markers",
        marker={"color": colour, "size": 6},
        name="median of a class",
        text=names,
        hovertemplate="%{text}: %{y:.2f}",
    )
    named = named_places(names)
    title = "class" if len(named) == len(names) else f"class, sorted ({len(named)} of {len(names)} are named)"
    figure.update_xaxes(
        tickvals=list(named), ticktext=[names[place] for place in named], tickangle=0, title_text=title, showgrid=False
    )
    figure.update_xaxes(zeroline=False)
    figure.update_yaxes(title_text=UNITS[measure])
    return figure


def confidence_figure(stats: LogitStatistics) -> go.Figure:
    """Draw each sample's largest probability against the standard deviation of its logits, by correctness if known."""
    figure = new_figure(height=380)
    right_N = stats.correct_N if stats.labels_N is not None else np.ones(len(stats), dtype=bool)
    names = ("right", "wrong") if stats.labels_N is not None else ("samples", "")
    for name, chosen_N, (colour, _, symbol) in zip(names, (right_N, ~right_N), LOOKS[:2], strict=True):
        if not chosen_N.any():
            continue
        figure.add_scatter(
            x=rounded(stats.std_N[chosen_N], 2),
            y=rounded(stats.confidence_N[chosen_N], 3),
            mode="markers",
            name=f"{name} (n = {chosen_N.sum():,})",
            marker={"color": colour, "symbol": symbol, "size": 5, "opacity": 0.6},
            hovertemplate="std %{x:.2f}<br>confidence %{y:.2f}",
        )
    figure.update_xaxes(title_text=UNITS["std"])
    figure.update_yaxes(title_text=UNITS["confidence"], range=[-0.02, 1.03])
    return figure


def entropy_figure(entropies: Mapping[str, ArrayLike], num_classes: int) -> go.Figure:
    """Draw the softened entropy under several settings: 5 to 95 % of the samples (thin), 25 to 75 % (thick), median.

    Args:
        entropies: for each setting, such as "KD, T = 4", the entropy of each sample in nats. Settings whose name starts
            with "NormKD" get its colour and marker.
        num_classes: gives the line of an even spread, log C.
    """
    figure = new_figure(height=130 + 34 * len(entropies))
    for name, values_N in entropies.items():
        role, symbol = ("normkd", "diamond") if name.startswith("NormKD") else ("kd", "circle")
        p5, p25, p50, p75, p95 = rounded(np.quantile(np.asarray(values_N), (0.05, 0.25, 0.5, 0.75, 0.95)), 3)
        for ends, width in (((p5, p95), 3), ((p25, p75), 9)):
            line = {"color": COLOURS[role], "width": width}
            figure.add_scatter(
                x=ends, y=[name, name], mode="lines", line=line, opacity=0.5, showlegend=False, hoverinfo="skip"
            )
        figure.add_scatter(
            x=[p50],
            y=[name],
            mode="markers",
            marker={"color": COLOURS[role], "symbol": symbol, "size": 10, "line": {"color": "white", "width": 1}},
            showlegend=False,
            hovertemplate=f"median %{{x:.3f}}<br>5 to 95 %: {p5:.3f} to {p95:.3f}",
        )
    figure.add_vline(x=round(math.log(num_classes), 4), line_dash="dot", line_color=INK)
    figure.update_xaxes(title_text="softened entropy (nats); dotted: an even spread", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", type="category")
    return figure


def suited_figure(std_N: ArrayLike, suited_N: ArrayLike, t_norm: float, common: float) -> go.Figure:
    """Draw the temperature that suits each sample against its standard deviation, with two ways to choose one.

    Args:
        std_N: standard deviation of each sample's logits.
        suited_N: each sample's `analysis.suited_temperature`; NaN is left out.
        t_norm: gives NormKD's line, T = T_norm · std.
        common: one temperature for all, the level line.
    """
    std, suited = np.asarray(std_N, dtype=np.float64), np.asarray(suited_N, dtype=np.float64)
    kept = ~np.isnan(suited)
    figure = new_figure(height=400)
    figure.add_scatter(
        x=rounded(std[kept], 2),
        y=rounded(suited[kept], 2),
        mode="markers",
        name="suits the sample",
        marker={"color": COLOURS["teacher"], "size": 5, "opacity": 0.5},
        hovertemplate="std %{x:.2f}<br>T %{y:.2f}",
    )
    ends = np.array([std.min(), std.max()])
    lines = {
        f"NormKD, T = {t_norm:g} · std": ("normkd", t_norm * ends, "dash"),
        f"KD, one T = {common:.1f}": ("kd", np.full(2, common), "dot"),
    }
    for name, (role, heights, dash) in lines.items():
        line = {"color": COLOURS[role], "dash": dash, "width": 3}
        figure.add_scatter(x=rounded(ends, 2), y=rounded(heights, 2), mode="lines", name=name, line=line)
    figure.update_xaxes(title_text=UNITS["std"])
    figure.update_yaxes(title_text="temperature", rangemode="tozero")
    return figure
