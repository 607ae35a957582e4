"""Plotly figures as pure functions: data in, figure out, readable on light and dark pages."""

from normkd_explore.figures.race import RaceLap, race_figure
from normkd_explore.figures.softening import softening_figure
from normkd_explore.figures.style import COLOURS, new_figure, rounded

__all__ = ["COLOURS", "RaceLap", "new_figure", "race_figure", "rounded", "softening_figure"]
