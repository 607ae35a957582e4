"""Figures and still pictures as pure functions: data in, figure out, readable on light and dark pages."""

from normkd_explore.figures.pictures import picture_sheet
from normkd_explore.figures.race import RaceLap, race_picture
from normkd_explore.figures.softening import softening_picture
from normkd_explore.figures.style import COLOURS, new_figure, rounded
from normkd_explore.figures.temperature import results_figure, softness_figure

__all__ = [
    "COLOURS",
    "RaceLap",
    "new_figure",
    "picture_sheet",
    "race_picture",
    "results_figure",
    "rounded",
    "softening_picture",
    "softness_figure",
]
