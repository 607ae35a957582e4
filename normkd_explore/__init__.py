"""NormKD, seen and measured: distillers, training loops and interactive explorers."""

from normkd_explore import spinning

spinning.shorten()  # before anything here loads torch

__version__ = "0.1.0"
