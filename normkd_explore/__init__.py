"""NormKD, seen and measured: distillers, training loops and interactive explorers."""

__version__ = "0.1.0"
