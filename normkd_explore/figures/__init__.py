"""Plotly figures as pure functions: data in, figure out, readable on light and dark pages."""

from normkd_explore.figures.softening import softening_figure
from normkd_explore.figures.style import COLOURS, new_figure, rounded

__all__ = ["COLOURS", "new_figure", "rounded", "softening_figure"]
