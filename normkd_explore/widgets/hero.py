"""The hero: two samples and one temperature that cannot fit both.

Legend: N samples (two), C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from normkd_explore.analysis.logits import model_logits, pictures
from normkd_explore.analysis.softness import effective_classes, extreme_pair, scan_test_split, softness_band
from normkd_explore.analysis.statistics import as_logits
from normkd_explore.data import Dataset
from normkd_explore.figures.hero import hero_picture
from normkd_explore.figures.svg import Svg
from normkd_explore.widgets.bundle import join_modules, join_styles
from normkd_explore.widgets.links import ViewState, check_name, write_link
from normkd_explore.widgets.sprite import make_sprite
from normkd_explore.widgets.still import StillMixin


def _stops(start: float, *stretches: tuple[float, float]) -> NDArray[np.float64]:
    """Round numbers from `start`: up to each end in steps that grow, so that no two lie far apart on a log axis."""
    values = [start]
    for end, step in stretches:
        values += [values[-1] + k * step for k in range(1, round((end - values[-1]) / step) + 1)]
    return np.round(values, 2)


# Where the slider can stand.
T_STOPS = _stops(0.5, (1, 0.02), (2, 0.05), (5, 0.1), (10, 0.2), (25, 0.5))
T_NORM_STOPS = _stops(0.2, (1, 0.02), (2, 0.05))
LIMITS = {"T": (0.5, 25.0), "T_norm": (0.2, 2.0)}
MODES = ("one", "own")
START: dict[str, Any] = {"T": 4.0, "T_norm": 1.0, "mode": "one"}
TITLE = "One temperature does not fit both"


class Hero(StillMixin, anywidget.AnyWidget):
    """Two samples, their softened predictions, and a gauge each of how many classes these still mean.

    One slider sets a temperature for both; a button gives each its own, T_norm · std of its logits, as NormKD does.
    The green band of the gauges is `analysis.softness.softness_band`.

    Args:
        logits: a teacher's logits of the two samples, (2, C) with C >= 3.
        images: uint8 pictures, (2, H, W, 3) or (2, H, W, 1).
        labels: 2 class positions.
        class_names: C names.
        state: what to show first; keys that are left out keep their defaults.
        name: what the view is called in a link.
    Raises:
        TypeError, ValueError: an argument does not fit the others; the message names it.

    Attributes:
        state: dict with "T" (0.5 to 25), "T_norm" (0.2 to 2) and "mode" ("one" temperature for both, or each its
            "own"). Assign a dict with any of these keys to move the view, or a link's text to take over a whole view.
    """

    _esm = join_modules("herowidget")
    _css = join_styles("hero")
    _setup = traitlets.Dict().tag(sync=True)
    _logits = traitlets.Bytes().tag(sync=True)
    _sprite = traitlets.Bytes().tag(sync=True)
    state = ViewState(START).tag(sync=True)

    def __init__(
        self,
        logits: ArrayLike | Tensor,
        images: ArrayLike | Tensor,
        labels: Sequence[int] | ArrayLike,
        class_names: Sequence[str],
        state: Mapping[str, Any] | str | None = None,
        name: str = "hero",
    ) -> None:
        self.link_name, self.link_start = check_name(name), START
        self.logits_NC = as_logits(logits).numpy()
        self.class_names = [str(name) for name in class_names]
        self.labels = [int(label) for label in np.asarray(labels)]
        self.images_NHWC = np.asarray(images.cpu() if isinstance(images, Tensor) else images)
        self._check(len(self.images_NHWC))
        sprite, columns = make_sprite(images)
        setup = {
            "names": self.class_names,
            "labels": self.labels,
            "columns": columns,
            "band": softness_band(self.logits_NC.shape[1]),
            "stops": T_STOPS.tolist(),
            "t_norm_stops": T_NORM_STOPS.tolist(),
            "title": TITLE,
            "name": name,
            "start": START,
            "limits": LIMITS,
            "modes": MODES,
        }
        super().__init__(_setup=setup, _logits=self.logits_NC.astype("<f8").tobytes(), _sprite=sprite)
        self.state = state or {}  # type: ignore[assignment]  # the trait takes a link's text too

    @classmethod
    def from_model(cls, model: nn.Module, dataset: Dataset, state: Mapping[str, Any] | None = None) -> Hero:
        """Run a model on the test split and show the two samples that need temperatures furthest apart.

        See `analysis.softness.extreme_pair` for the choice. Of a test split above 2,000 samples, 2,000 that lie evenly
        over it are looked at.
        """
        index_N, scanned_NC = scan_test_split(model, dataset)
        labels_N = torch.as_tensor(dataset.test.labels_N)[index_N]
        chosen = list(extreme_pair(scanned_NC, labels_N))
        images_NHWC = pictures(dataset.test, index_N[chosen])
        logits_NC = model_logits(model, dataset, images_NHWC)
        return cls(logits_NC, images_NHWC, labels_N[chosen], dataset.class_names, state)

    def _check(self, images: int) -> None:
        samples, classes = self.logits_NC.shape
        if classes < 3:
            raise ValueError(f"logits have {classes} classes, wanted at least 3: two z-scores are always ±0.707.")
        if (self.logits_NC.std(axis=1) == 0).any():
            raise ValueError("logits hold a row of equal values, wanted two with a spread: T_norm · std would be 0.")
        for name, count in {"logits": samples, "images": images, "labels": len(self.labels)}.items():
            if count != 2:
                raise ValueError(f"{name} has {count} entries, wanted 2: the hero compares two samples.")
        if len(self.class_names) != classes:
            raise ValueError(
                f"class_names has {len(self.class_names)} entries, wanted {classes}: one a column of logits."
            )
        if not all(0 <= label < classes for label in self.labels):
            raise ValueError(f"labels must be whole numbers from 0 to {classes - 1}, found {self.labels}.")

    @traitlets.validate("state")
    def _complete_state(self, proposal: dict[str, Any]) -> dict[str, Any]:
        given = proposal["value"]
        if unknown := sorted(set(given) - set(START)):
            raise ValueError(f"state has no {', '.join(unknown)}; its keys are {', '.join(START)}.")
        state = {**START, **self.state, **given}
        if state["mode"] not in MODES:
            raise ValueError(f'state["mode"] is {state["mode"]!r}, wanted one of {", ".join(MODES)}.')
        for key, (low, high) in LIMITS.items():
            if not isinstance(state[key], int | float) or not low <= state[key] <= high:
                raise ValueError(f'state["{key}"] is {state[key]!r}, wanted a number from {low} to {high}.')
        return {"T": float(state["T"]), "T_norm": float(state["T_norm"]), "mode": state["mode"]}

    def link(self) -> str:
        """Give the view as the text that stands in a page's address: "hero:T=6,mode=own"."""
        return write_link(self.link_name, self.state, START)

    def temperatures(self) -> list[float]:
        """T of each sample in the present view."""
        if self.state["mode"] == "one":
            return [self.state["T"]] * 2
        return [self.state["T_norm"] * float(std) for std in self.logits_NC.std(axis=1, ddof=1)]

    def still(self) -> Svg:
        """Draw the present view as a picture, which is what a stored notebook keeps."""
        T_N = self.temperatures()
        counts = effective_classes(self.logits_NC, T_N)
        said = [
            f"{self.class_names[label]} at T = {T:.3g} means {classes:.{1 if classes < 2.95 else 0}f} classes"
            for label, T, classes in zip(self.labels, T_N, counts, strict=True)
        ]
        lines = (
            TITLE,
            f"{said[0]}, {said[1]}; the green band is {self._setup['band'][0]:g} to {self._setup['band'][1]:g}.",
        )
        return hero_picture(self.logits_NC, self.images_NHWC, self.labels, self.class_names, T_N, lines)

    def __repr__(self) -> str:
        return f"Hero({', '.join(self.class_names[label] for label in self.labels)})"
