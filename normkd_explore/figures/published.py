"""Published accuracies as a figure that shows what each source states of them and what it does not."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from normkd_explore.figures.style import COLOURS, new_figure
from normkd_explore.results import PublishedResult

ROW, AROUND = 17, 100
NOT_STATED = "not stated"


def published_figure(results: Sequence[PublishedResult]) -> go.Figure:
    """A mark a value, the highest first: filled where its source states how many runs it averages, a whisker where it
    states a standard deviation. Hovering tells the source and how the value was read.

    Raises:
        ValueError: no results.
    """
    if not results:
        raise ValueError("results: found none, wanted at least one published value.")
    ordered = sorted(results, key=lambda r: r.top1)
    figure = new_figure(height=AROUND + ROW * len(ordered))
    counted = [r.n != NOT_STATED for r in ordered]
    for is_counted, symbol, told in ((True, "circle", "number of runs stated"), (False, "circle-open", "not stated")):
        places = [place for place, own in enumerate(counted) if own is is_counted]
        figure.add_scatter(
            x=[ordered[place].top1 for place in places],
            y=places,
            mode="markers",
            marker={"color": COLOURS["teacher"], "symbol": symbol, "size": 9, "line": {"width": 1.5}},
            error_x={"array": [ordered[place].std for place in places], "thickness": 2, "width": 5},
            name=f"{told} ({len(places)} of {len(ordered)})",
            hovertext=[_words(ordered[place]) for place in places],
            hoverinfo="text",
        )
    stated = sum(r.std is not None for r in ordered)
    figure.update_xaxes(title=f"top-1 (%), with a standard deviation where one is stated ({stated} of {len(ordered)})")
    figure.update_yaxes(
        tickvals=list(range(len(ordered))),
        ticktext=[r.method for r in ordered],
        range=[-0.7, len(ordered) - 0.3],
        zeroline=False,
    )
    return figure


def _words(result: PublishedResult) -> str:
    spread = "" if result.std is None else f" ± {result.std:.2f}"
    return (
        f"{result.method}: {result.top1:.2f}{spread}, runs {result.n}, epoch {result.epoch}<br>"
        f"{result.source} ({result.mark})"
    )
