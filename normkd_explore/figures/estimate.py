"""What a run wants before it starts: memory by what holds it, and speed against the number of GPUs."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from normkd_explore.figures.style import COLOURS, INK, new_figure, rounded
from normkd_explore.training.planning.advice import Rate, Speeds
from normkd_explore.training.planning.memory import Memory

GIB = 2**30
OVERLAY = {"fillmode": "overlay", "fgcolor": "white", "fgopacity": 0.6}
PARTS = {  # what a bar is made of: fields of Memory, colour, pattern
    "weights, gradients, momentum": (("weights", "gradients", "momentum"), COLOURS["teacher"], ""),
    "activations kept for backward": (("activations",), COLOURS["student"], "/"),
    "gradients in flight": (("working",), COLOURS["normdkd"], "x"),
    "images": (("images", "dataset"), COLOURS["normkd"], "."),
}
RATES = {  # parts of a step: name, colour, symbol
    "decoding": ("decoding", COLOURS["normkd"], "square"),
    "teacher": ("teacher, forward", COLOURS["teacher"], "circle"),
    "student": ("student, whole step", COLOURS["student"], "diamond"),
    "together": ("all together", COLOURS["ce"], "x"),
}


def memory_figure(memories: Mapping[str, Memory], sizes: Mapping[str, float]) -> go.Figure:
    """Stacked bars of the memory of one process, a bar for each label; dotted lines at devices' sizes (in GiB)."""
    figure = new_figure(height=170 + 40 * len(memories))
    labels = list(memories)
    for name, (fields, colour, pattern) in PARTS.items():
        gib = [sum(getattr(memory, field) for field in fields) / GIB for memory in memories.values()]
        marker = {"color": colour, "pattern": {**OVERLAY, "shape": pattern}}
        figure.add_bar(x=rounded(gib, 2), y=labels, name=name, orientation="h", marker=marker)
    for name, size in sizes.items():
        figure.add_vline(x=size, line_dash="dot", line_color=INK, annotation_text=name, annotation_position="top")
    figure.update_layout(barmode="stack", legend={"y": 1.14, "traceorder": "normal"})
    figure.update_xaxes(title="memory of one process (GiB)", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", type="category")
    return figure


def gpus_figure(speeds: Speeds, most: int = 8) -> go.Figure:
    """Images per second against the number of GPUs: what the networks could do, and what decoding lets through."""
    counts = list(range(1, most + 1))
    figure = new_figure(height=340)
    lines = {
        "teacher and student alone": ([n * speeds.networks for n in counts], COLOURS["teacher"], "dash", "circle-open"),
        "decoding on this machine": ([speeds.decoding] * most, COLOURS["normkd"], "dot", "square-open"),
        "a training step": ([speeds.step(n) for n in counts], COLOURS["student"], "solid", "diamond"),
    }
    for name, (rate, colour, dash, symbol) in lines.items():
        figure.add_scatter(
            x=counts,
            y=rounded(rate, 1),
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": dash},
            marker={"symbol": symbol, "size": 8},
        )
    figure.update_xaxes(title="GPUs in one machine", dtick=1)
    figure.update_yaxes(title="images per second", rangemode="tozero")
    return figure


def rates_figure(rates: Mapping[str, Rate | None]) -> go.Figure:
    """Measured images per second of each part, with the slowest and the fastest stretch as whiskers; log scale."""
    figure = new_figure(height=230)
    for part, (name, colour, symbol) in RATES.items():
        if rate := rates.get(part):
            spread = {
                "type": "data",
                "symmetric": False,
                "array": rounded([rate.fastest - rate.mean], 2),
                "arrayminus": rounded([rate.mean - rate.slowest], 2),
                "color": INK,
            }
            figure.add_scatter(
                x=rounded([rate.mean], 2),
                y=[name],
                mode="markers",
                error_x=spread,
                marker={"color": colour, "symbol": symbol, "size": 12},
                showlegend=False,
            )
    figure.update_layout(margin_t=16)
    figure.update_xaxes(
        title="images per second (log scale)", type="log", dtick=1, minor={"dtick": "D1", "showgrid": True}
    )
    figure.update_yaxes(autorange="reversed", type="category")
    return figure
