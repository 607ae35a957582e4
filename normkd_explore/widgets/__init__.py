"""Explorers for Jupyter: drag, and every panel follows."""

from normkd_explore.widgets.explore import explore
from normkd_explore.widgets.hero import Hero
from normkd_explore.widgets.race import RaceView
from normkd_explore.widgets.softening import SofteningExplorer

__all__ = ["Hero", "RaceView", "SofteningExplorer", "explore"]
