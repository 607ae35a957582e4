"""When a temperature from the standard deviation suits, what equal softness costs, and how much wrong answers weigh.

Legend: N samples, C classes, K values of T_norm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from normkd_explore.analysis.softness import effective_classes
from normkd_explore.analysis.statistics import as_table, softened_entropy
from normkd_explore.analysis.suited_temperature import normkd_temperature, suited_temperature
from normkd_explore.figures.style import COLOURS, INK, new_figure, rounded


def predicted_and_suited(logits: ArrayLike, t_norm: float) -> tuple[np.ndarray, np.ndarray, float]:
    """NormKD's temperatures (N,), those that give every sample their median entropy (N,), and the correlation r."""
    predicted_N = normkd_temperature(logits, t_norm)
    suited_N = suited_temperature(logits, float(np.median(softened_entropy(logits, predicted_N))))
    kept_N = ~np.isnan(suited_N)
    return predicted_N, suited_N, float(np.corrcoef(predicted_N[kept_N], suited_N[kept_N])[0, 1])


def regime_figure(logits: ArrayLike, t_norms: Sequence[float] = (2.0, 1.0, 0.5, 0.25), most: int = 150) -> go.Figure:
    """Temperature that suits a sample against NormKD's, a panel for each T_norm and a dot for each of `most` samples.

    On the dotted line both are equal. r is that of all samples.
    """
    found = {t_norm: predicted_and_suited(logits, t_norm) for t_norm in t_norms}
    titles = [f"T_norm = {t_norm:g}: r = {r:.2f}" for t_norm, (_, _, r) in found.items()]
    figure = new_figure(1, len(t_norms), height=300, subplot_titles=titles, horizontal_spacing=0.06)
    for place, (predicted_N, suited_N, _) in enumerate(found.values(), start=1):
        few = np.linspace(0, len(predicted_N) - 1, min(most, len(predicted_N))).astype(int)
        marker = {"color": COLOURS["normkd"], "size": 5, "opacity": 0.6}
        dots = {"x": rounded(predicted_N[few], 2), "y": rounded(suited_N[few], 2), "marker": marker}
        figure.add_scatter(**dots, mode="markers", showlegend=False, row=1, col=place)
        ends = rounded([np.nanmin(predicted_N), np.nanmax(predicted_N)], 2)
        line = {"color": INK, "dash": "dot", "width": 1}
        figure.add_scatter(x=ends, y=ends, mode="lines", line=line, showlegend=False, row=1, col=place)
    figure.update_xaxes(title="T_norm · std", rangemode="tozero")
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title="T that suits", col=1)
    return figure


def price_table(logits: ArrayLike, t_norms: Sequence[float]) -> dict[str, np.ndarray]:
    """For each T_norm the 5 %, 50 % and 95 % quantiles over the samples, (3, K).

    Returns:
        "classes": effective classes; "top": share of the first class (%).
    """
    table_NC = as_table(logits).numpy()
    quantiles: dict[str, list[np.ndarray]] = {"classes": [], "top": []}
    for t_norm in t_norms:
        T_N = normkd_temperature(table_NC, t_norm)
        scaled_NC = (table_NC - table_NC.max(axis=1, keepdims=True)) / T_N[:, None]
        top_N = 100 / np.exp(scaled_NC).sum(axis=1)
        for name, values_N in (("classes", effective_classes(table_NC, T_N)), ("top", top_N)):
            quantiles[name].append(np.nanquantile(values_N, [0.05, 0.5, 0.95]))
    return {name: np.array(rows).T for name, rows in quantiles.items()}


def price_figure(logits: ArrayLike, t_norms: Sequence[float] = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)) -> go.Figure:
    """Effective classes and the first class's share (%) against T_norm: medians, and bands that hold 90 %."""
    names = {"classes": ("effective classes", "normkd"), "top": ("share of the first class (%)", "teacher")}
    figure = new_figure(height=340)
    for key, (low, middle, high) in price_table(logits, t_norms).items():
        name, role = names[key]
        x = [*t_norms, *reversed(t_norms)]
        figure.add_scatter(
            x=x, y=rounded([*high, *low[::-1]], 2), fill="toself", mode="none", fillcolor=COLOURS[role], opacity=0.25,
            showlegend=False, hoverinfo="skip",
        )  # fmt: skip
        line = {"color": COLOURS[role], "dash": "solid" if key == "classes" else "dash", "width": 3}
        figure.add_scatter(x=list(t_norms), y=rounded(middle, 2), mode="lines+markers", name=name, line=line)
    figure.update_xaxes(title="T_norm", type="log", tickvals=list(t_norms), ticktext=[f"{t:g}" for t in t_norms])
    figure.update_yaxes(range=[0, 100])
    return figure


def wrong_shares(std_N: ArrayLike, correct_N: ArrayLike) -> dict[str, float]:
    """What belongs to samples that the teacher gets wrong (%): of all samples, and of the weights std².

    "ratio" is the mean weight of the wrong ones over that of the right ones.
    """
    weight_N, correct_N = np.asarray(std_N, dtype=np.float64) ** 2, np.asarray(correct_N, dtype=bool)
    return {
        "samples": 100 * float((~correct_N).mean()),
        "weights": 100 * float(weight_N[~correct_N].sum() / weight_N.sum()),
        "ratio": float(weight_N[~correct_N].mean() / weight_N[correct_N].mean()),
    }


def wrong_figure(std_N: ArrayLike, correct_N: ArrayLike) -> go.Figure:
    """Two bars: which share of the samples, and of the weights std², belongs to mistakes of the teacher."""
    shares = wrong_shares(std_N, correct_N)
    names: Mapping[str, str] = {"samples": "of the samples", "weights": "of the weights std²"}
    values = [shares[key] for key in names]
    figure = new_figure(height=200)
    figure.add_bar(
        x=rounded(values, 2), y=list(names.values()), orientation="h", marker_color=[INK, COLOURS["normkd"]],
        text=[f"{value:.1f} %" for value in values], textposition="outside",
    )  # fmt: skip
    figure.update_xaxes(title="share that belongs to wrong answers of the teacher (%)", range=[0, 1.4 * max(values)])
    figure.update_yaxes(autorange="reversed", type="category")
    return figure
