"""One look for every figure: readable on light and dark pages, safe for colour-blind readers, small when stored."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "teacher": "#0072B2",
        "student": "#E69F00",
        "kd": "#CC79A7",
        "normkd": "#009E73",
        "dkd": "#56B4E9",
        "normdkd": "#D55E00",
        "lskd": "#F0E442",
        "ce": "#808080",
    }
)
"""Okabe and Ito's palette by role. Never the only cue: pair it with a legend, a pattern, a dash or a place."""

PATTERNS: Mapping[str, str] = MappingProxyType({"teacher": "", "student": "/"})
"""Fill pattern of bars, so that teacher and student differ in print and for every eye."""

# Mid-grey text and translucent grid lines on a transparent page suit both themes, so one template serves both.
INK = "#808080"
AXIS_LETTERS = 70  # along a figure of usual width
GRID = "rgba(128,128,128,0.25)"


def _axis() -> dict[str, object]:
    return {"gridcolor": GRID, "zerolinecolor": INK, "zerolinewidth": 1, "automargin": True}


TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": INK, "size": 12},
        "colorway": [COLOURS[role] for role in ("teacher", "student", "normkd", "kd", "dkd", "normdkd", "lskd")],
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.08, "x": 0},
        "margin": {"l": 8, "r": 8, "t": 64, "b": 8},
        "xaxis": _axis(),
        "yaxis": _axis(),
    }
)


def new_figure(rows: int = 1, cols: int = 1, *, height: int = 360, **options: object) -> go.Figure:
    """Make an empty figure with this package's look; `options` go to `plotly.subplots.make_subplots`."""
    figure = make_subplots(rows=rows, cols=cols, **options)
    figure.update_layout(template=TEMPLATE, height=height)
    # Subplot titles are annotations, which no template reaches.
    figure.update_annotations(font_size=12)
    return figure


def named_places(names: Sequence[str], letters: int = AXIS_LETTERS) -> range:
    """Positions of names that fit side by side along an axis: each of a few, else every second, third and so on."""
    fitting = max(2, letters // max(2, *map(len, names)))
    return range(0, len(names), math.ceil(len(names) / fitting))


def rounded(values: ArrayLike, digits: int = 4) -> list[float]:
    """Round to plain Python numbers: stored figures stay small, diffs readable, and rounding noise invisible."""
    # Adding 0.0 turns -0.0 into 0.0.
    return (np.round(np.asarray(values, dtype=np.float64), digits) + 0.0).tolist()
