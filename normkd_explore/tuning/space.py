"""What is searched: temperatures and weights, each between two ends, and the settings that a search begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from normkd_explore.analysis.examine import examine
from normkd_explore.methods import Settings, get_method
from normkd_explore.methods.options import WEIGHTS, arguments_of

TEMPERATURES = ("temperature", "t_norm")
WIDTH = {"temperature": 4.0, "t_norm": 4.0, "ce_weight": 8.0, "kd_weight": 8.0}
"""How many times larger or smaller than at the start a number may become."""
ROOM = 2.0  # around what is advised, where that lies at an end or outside

Values = dict[str, float]
"""A setting as plain numbers by name: arguments of the loss, ce_weight, kd_weight."""


@dataclass(frozen=True)
class Space:
    """The numbers that are searched, evenly on a log scale, and the settings that all others are changes of."""

    method: str
    start: Settings
    """The published settings, or the stated default."""
    ranges: dict[str, tuple[float, float]]
    """The ends by name."""

    @classmethod
    def around(cls, method: str, start: Settings, changes: Sequence[str] = ()) -> Space:
        """Temperatures and weights around `start`; `changes` are NAME=LOW:HIGH and add to that or change it.

        Raises:
            ValueError: a method without a teacher, an unknown name, or ends that are not 0 < LOW < HIGH.
        """
        if not get_method(method).needs_teacher:
            raise ValueError(f"method: {method} has no teacher, so it has no temperature and no weights to tune.")
        known = numbers_of(method, start)
        ranges = {name: (known[name] / by, known[name] * by) for name, by in WIDTH.items() if known.get(name)}
        ranges |= dict(_read_range(text, method, known) for text in changes)
        return cls(method, start, ranges)

    def settings(self, values: Values) -> Settings:
        """The settings with these numbers, marked as not published."""
        loss = {**self.start.loss, **{name: value for name, value in values.items() if name not in WEIGHTS}}
        weights: dict[str, Any] = {name: values[name] for name in WEIGHTS if name in values}
        return replace(self.start, loss=loss, **weights, published=False, source="normkd tune")

    def values(self, settings: Settings) -> Values:
        """The searched numbers of some settings."""
        known = numbers_of(self.method, settings)
        return {name: known[name] for name in self.ranges}

    def widened(self, values: Values) -> Space:
        """The space with room around these values, so that what is advised is never at its edge."""
        ranges = dict(self.ranges)
        for name, value in values.items():
            low, high = ranges[name]
            ranges[name] = (min(low, value / ROOM), max(high, value * ROOM))
        return replace(self, ranges=ranges)


def numbers_of(method: str, settings: Settings) -> Values:
    """All positive numbers of some settings that a search could change."""
    found = {**arguments_of(get_method(method)), **settings.loss}
    found |= {name: getattr(settings, name) for name in WEIGHTS}
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    }


def rounded(values: Values) -> Values:
    """Three digits: what a search on a few thousand images can tell apart, and a person can read."""
    return {name: float(f"{value:.3g}") for name, value in values.items()}


def brief(values: Values) -> str:
    """A setting in a few words: "t_norm 1.5, CE x 0.1, KD x 0.9"."""
    short = {"ce_weight": "CE x", "kd_weight": "KD x"}
    return ", ".join(f"{short.get(name, name)} {value:.3g}" for name, value in values.items())


def _read_range(text: str, method: str, known: Values) -> tuple[str, tuple[float, float]]:
    name, _, ends = text.partition("=")
    low, _, high = ends.partition(":")
    try:
        pair = float(low), float(high)
    except ValueError:
        pair = (0.0, 0.0)
    if name not in known or not 0 < pair[0] < pair[1] < float("inf"):
        raise ValueError(
            f"--search: found {text!r}, wanted NAME=LOW:HIGH with 0 < LOW < HIGH and for {method} NAME one of "
            f"{', '.join(known)}."
        )
    return name, pair


def advised(space: Space, logits_NC: Tensor) -> list[Values]:
    """The settings to try first: the one to begin with, and changes of it that the teacher's logits suggest.

    What `normkd stats` prints: the temperature of equal softness (KD's T for T_norm = 2, or the T_norm for KD's T = 4),
    and the distillation weight that brings a loss weighed by T² to the scale of LSKD's published settings.
    """
    first = space.values(space.start)
    found = [first]
    advice: dict[str, Any] | None = examine(logits_NC)["normkd"]
    if advice is None:
        return found
    suited = {
        "t_norm": advice["t_norm_of_kd_temperature"],
        "temperature": advice["kd_temperature_of_equal_entropy"],
    }
    if space.method == "lskd":  # its `temperature` divides z-scores: a T_norm
        suited["temperature"] = suited["t_norm"]
    for name in TEMPERATURES:
        if name in space.ranges:
            found.append({**first, name: suited[name]})
    if "t_norm" in space.ranges and "kd_weight" in space.ranges:
        t_norm = first["t_norm"]
        weight = examine(logits_NC, t_norm=t_norm)["normkd"]["kd_weight_of_lskd_scale"]
        found.append({**first, "kd_weight": weight})
    return found
