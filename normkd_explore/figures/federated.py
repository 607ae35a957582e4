"""Federations as still pictures: one exchange between clients and server, and the measured table.

Legend: K clients, C classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from normkd_explore.figures.style import COLOURS, new_figure, rounded

RULE_TITLES: Mapping[str, str] = {
    "mean": "mean of logits",
    "mean-probabilities": "mean of probabilities",
    "mean-z-scores": "mean of z-scores",
    "median": "median",
    "geometric-median": "geometric median",
    "expguard": "ExpGuard",
}
ATTACK_TITLES: Mapping[str, str] = {"none": "nobody lies", "random": "random", "fdla": "FDLA", "pcfdla": "PCFDLA, s 20"}
MARKERS: Mapping[str, tuple[str, str]] = {
    "none": (COLOURS["teacher"], "circle"),
    "random": (COLOURS["ce"], "square"),
    "fdla": (COLOURS["student"], "triangle-up"),
    "pcfdla": (COLOURS["normdkd"], "diamond"),
}
GAP = 0.17  # between the marks of one rule


def exchange_figure(
    said_KC: ArrayLike, answer_C: ArrayLike, class_names: Sequence[str], malicious: int, right: Mapping[str, float]
) -> go.Figure:
    """What clients and server say of one picture, and the share of all pictures that each rule gets right.

    Args:
        said_KC: the clients' softmax, the last `malicious` ones forged.
        answer_C: the server's softmax.
        right: by rule, in [0, 1].
    """
    rows = [rounded(row, 3) for row in [*np.asarray(said_KC), np.asarray(answer_C)]]
    clients = len(rows) - 1
    names = [f"client {k + 1}{' lies' if k >= clients - malicious else ''}" for k in range(clients)]
    titles = ["what each says of one picture", "answers right, by rule"]
    figure = new_figure(cols=2, height=380, subplot_titles=titles, column_widths=[0.6, 0.4], horizontal_spacing=0.28)
    figure.add_heatmap(
        z=rows,
        x=list(class_names),
        y=[*names, "server"],
        text=[[f"{100 * value:.0f}" if value >= 0.095 else "" for value in row] for row in rows],
        texttemplate="%{text}",
        hovertemplate="%{y}, class %{x}: %{text} %<extra></extra>",
        colorscale=[[0, "rgba(0,114,178,0.02)"], [1, "rgba(0,114,178,0.45)"]],
        zmin=0,
        zmax=1,
        showscale=False,
        xgap=2,
        ygap=2,
        row=1,
        col=1,
    )
    shares = rounded(list(right.values()), 3)
    figure.add_bar(
        x=shares,
        y=[RULE_TITLES[rule] for rule in right],
        orientation="h",
        marker_color=COLOURS["normkd"],
        text=[f"{100 * share:.0f} %" for share in shares],
        textposition="auto",
        showlegend=False,
        row=1,
        col=2,
    )
    figure.update_xaxes(type="category", showgrid=False, row=1, col=1)
    figure.update_xaxes(range=[0, 1], tickformat=".0%", row=1, col=2)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def shares_figure(counts_KC: ArrayLike, class_names: Sequence[str]) -> go.Figure:
    """How many private pictures of each class each client holds: the number in each cell, and darker for more."""
    rows = np.asarray(counts_KC).astype(int).tolist()
    figure = new_figure(height=100 + 26 * len(rows))
    figure.add_heatmap(
        z=rows,
        x=list(class_names),
        y=[f"client {k + 1} ({sum(row)})" for k, row in enumerate(rows)],
        text=[[str(count) for count in row] for row in rows],
        texttemplate="%{text}",
        hovertemplate="%{y}, class %{x}: %{text} pictures<extra></extra>",
        colorscale=[[0, "rgba(0,114,178,0.02)"], [1, "rgba(0,114,178,0.45)"]],
        showscale=False,
        xgap=2,
        ygap=2,
    )
    figure.update_xaxes(type="category", title="class; private pictures in each cell", showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_layout(margin_t=16)
    return figure


def attacks_figure(
    table: Mapping[tuple[str, str], Sequence[float]], alone: float, rules: Sequence[str] = tuple(RULE_TITLES)
) -> go.Figure:
    """Top-1 of the honest clients for each attack against each rule: mean, sample std, and a small dot for each seed.

    Args:
        table: of `results.federated.victims_table`: (attack, rule) -> percent, one value a seed.
        alone: mean of the same clients before anybody shared anything, a dashed line.
    """
    figure = new_figure(height=110 + 62 * len(rules))
    for place, attack in enumerate(ATTACK_TITLES):
        colour, symbol = MARKERS[attack]
        heights = [row + GAP * (place - 1.5) for row in range(len(rules))]
        runs = [table[attack, rule] for rule in rules]
        mean = [sum(own) / len(own) for own in runs]
        spread = [std(own) for own in runs]
        dots = [(value, y) for own, y in zip(runs, heights, strict=True) for value in own]
        figure.add_scatter(
            x=rounded([value for value, _ in dots], 2),
            y=rounded([y for _, y in dots], 3),
            mode="markers",
            marker={"color": colour, "size": 4, "opacity": 0.6},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=rounded(mean, 2),
            y=rounded(heights, 3),
            mode="markers",
            name=f"{ATTACK_TITLES[attack]}, n = {len(runs[0])}",
            marker={"color": colour, "symbol": symbol, "size": 10},
            error_x={"type": "data", "array": rounded(spread, 2), "color": colour, "thickness": 1.5},
            hovertemplate="%{x:.1f} %<extra>" + ATTACK_TITLES[attack] + "</extra>",
        )
    figure.add_vline(x=round(alone, 2), line_dash="dash", line_color="#808080", line_width=1.5)
    figure.add_annotation(x=round(alone, 2), y=-0.62, text="each alone", showarrow=False, xanchor="right", xshift=-4)
    ticks = {"tickvals": list(range(len(rules))), "ticktext": [RULE_TITLES[rule] for rule in rules]}
    figure.update_yaxes(**ticks, range=[len(rules) - 0.5, -0.8], showgrid=False, zeroline=False)
    figure.update_xaxes(title="test top-1 of the honest clients, %", zeroline=False)
    return figure


def std(values: Sequence[float]) -> float:
    """Sample standard deviation; 0 of a single value."""
    mean = sum(values) / len(values)
    return (sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)) ** 0.5
