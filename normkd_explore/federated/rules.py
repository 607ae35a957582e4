"""The aggregations by name, each in the form in which its source uses it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial

from normkd_explore.federated.aggregation import Aggregation, GeometricMedian, Mean, Median, TrimmedMean
from normkd_explore.federated.defences import ExpGuard, SpectralFilter

AGGREGATIONS: dict[str, Callable[[], Aggregation]] = {
    "mean": Mean,
    "mean-probabilities": partial(Mean, of="probabilities"),
    "mean-z-scores": partial(Mean, of="z-scores"),
    "median": partial(Median, of="probabilities"),
    "trimmed-mean": partial(TrimmedMean, of="probabilities"),
    "geometric-median": partial(GeometricMedian, of="probabilities"),
    "spectral": partial(SpectralFilter, of="probabilities"),
    "cronus": partial(SpectralFilter, passes=2, of="probabilities"),
    "expguard": partial(ExpGuard, of="probabilities"),
}
"""Rules by the name that `normkd federate --aggregate` takes; "mean" is of logits."""


def make_aggregation(name: str) -> Aggregation:
    """A new rule of a name; a ValueError lists what exists."""
    if name not in AGGREGATIONS:
        close = difflib.get_close_matches(name, AGGREGATIONS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"aggregate: found {name!r}, wanted one of {', '.join(AGGREGATIONS)}.{hint}")
    return AGGREGATIONS[name]()
