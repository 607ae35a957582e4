"""The Softening Explorer: drag a temperature and see what it does to single samples.

The browser holds the logits and computes every softmax itself, so a slider step repaints within a frame; the
kernel hears of it when the slider is released.

Legend: N samples, C classes; `_s` student, `_t` teacher.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from normkd_explore.analysis.softening import methods_at, soften
from normkd_explore.analysis.softness import median_classes, median_classes_normkd, softness_band
from normkd_explore.figures.softening import softening_picture
from normkd_explore.figures.svg import Svg
from normkd_explore.widgets.bundle import join_modules, join_styles
from normkd_explore.widgets.links import ViewState, check_name, read_link, write_link
from normkd_explore.widgets.sprite import LARGEST_TILE, make_sprite
from normkd_explore.widgets.still import StillMixin
from normkd_explore.widgets.thinning import carried_rows

# Lowest value, highest value and step of each slider.
LIMITS = {"T": (0.5, 20.0, 0.1), "T_norm": (0.1, 5.0, 0.01)}
CHOICES: dict[str, tuple[Any, ...]] = {
    "tie": (True, False),
    "sort": ("index", "std", "entropy", "correctness", "disagreement"),
    "classes": ("top", "all"),
    "show": ("probabilities", "gradients"),
    "scale": ("same", "fit", "log"),
}
START: dict[str, Any] = {
    "sample": 0,
    "pinned": None,
    "T": 6.0,
    "T_norm": 1.0,
    "tie": True,
    "sort": "index",
    "classes": "top",
    "show": "probabilities",
    "scale": "same",
}
# Temperatures at which the page is told the median softness; between them it draws lines.
GRID = 48


class SofteningExplorer(StillMixin, anywidget.AnyWidget):
    """Raw, KD-, NormKD- and LSKD-softened predictions of single samples, teacher beside student.

    Sliders set KD's T and NormKD's T_norm; tied, they move together, so that both methods leave the median sample
    equally soft. A second sample can be pinned next to the first, which shows that no single T serves both. Play sweeps
    T. A click on a bar or a number opens its arithmetic. Entropies and divergences are in nats; the standard deviation
    has divisor C - 1.

    Args:
        logits_t, logits_s: teacher's and student's logits, (N, C) with C >= 3; kept as float32.
        images: uint8 pictures, (N, H, W, 3) or (N, H, W, 1).
        labels: N class positions.
        class_names: C names.
        state: what to show first, see `state`; keys that are left out keep their defaults.
        reference: teacher's logits of more samples, (M, C), whose median softness ties the sliders; else `logits_t`.
        name: what the view is called in a link; explorers on one page need different names.
    Raises:
        TypeError, ValueError: an argument does not fit the others; the message names it.
    Warns:
        UserWarning: more samples than a browser can hold; those of `rows_N` are shown, evenly over all.

    Attributes:
        rows_N: positions, among the samples that were given, of those that are shown.
        state: dict with "sample" and "pinned" (positions; None for no second sample), "T", "T_norm", "tie" (whether the
            sliders move together), "sort" (index, std, entropy, correctness, disagreement), "classes" (top, all),
            "show" (probabilities, gradients) and "scale" (same, fit, log). Assign a dict with any of these keys to move
            the view, or a link's text to take over a whole view.
    """

    _esm = join_modules("softening")
    _css = join_styles("softening")
    _setup = traitlets.Dict().tag(sync=True)
    _logits_t = traitlets.Bytes().tag(sync=True)
    _logits_s = traitlets.Bytes().tag(sync=True)
    _sprite = traitlets.Bytes().tag(sync=True)
    state = ViewState(START).tag(sync=True)

    def __init__(
        self,
        logits_t: ArrayLike | Tensor,
        logits_s: ArrayLike | Tensor,
        images: ArrayLike | Tensor,
        labels: ArrayLike | Tensor,
        class_names: Sequence[str],
        state: Mapping[str, Any] | str | None = None,
        reference: ArrayLike | Tensor | None = None,
        name: str = "explorer",
    ) -> None:
        self.link_name, self.link_start = check_name(name), START
        self.logits_t_NC, self.logits_s_NC = _float32(logits_t), _float32(logits_s)
        self.class_names = [str(name) for name in class_names]
        labels_N = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
        images_NHWC = np.asarray(images.cpu() if isinstance(images, Tensor) else images)
        self._check_parts(labels_N, len(images_NHWC))
        view = {**START, **read_link(state, name)} if isinstance(state, str) else dict(state or {})
        images_NHWC, labels_N, view = self._carry(images_NHWC, labels_N, view)
        sprite, columns = make_sprite(images_NHWC)
        self.labels = [int(label) for label in labels_N]
        self.medians = _medians(self.logits_t_NC if reference is None else _float32(reference))
        setup = {
            "labels": self.labels,
            "class_names": self.class_names,
            "columns": columns,
            "limits": LIMITS,
            "choices": CHOICES,
            "band": softness_band(len(self.class_names)),
            "medians": self.medians,
            "name": name,
            "start": START,
        }
        super().__init__(
            _setup=setup,
            _logits_t=self.logits_t_NC.astype("<f4").tobytes(),
            _logits_s=self.logits_s_NC.astype("<f4").tobytes(),
            _sprite=sprite,
        )
        self.state = view

    def _carry(
        self, images_NHWC: NDArray[Any], labels_N: NDArray[Any], state: dict[str, Any]
    ) -> tuple[NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Leave out samples where a browser could not hold all; positions in `state` become those among the rest."""
        samples, classes = self.logits_t_NC.shape
        named = {key: state[key] for key in ("sample", "pinned") if isinstance(state.get(key), int)}
        tile = 3 * min(LARGEST_TILE, max(images_NHWC.shape[1:3], default=0)) ** 2
        self.rows_N = carried_rows(samples, 8 * classes + tile, named.values())
        if len(self.rows_N) == samples:
            return images_NHWC, labels_N, state
        self.logits_t_NC, self.logits_s_NC = self.logits_t_NC[self.rows_N], self.logits_s_NC[self.rows_N]
        places = {key: int(np.searchsorted(self.rows_N, n)) for key, n in named.items()}
        return images_NHWC[self.rows_N], labels_N[self.rows_N], {**state, **places}

    def _check_parts(self, labels_N: NDArray[Any], pictures: int) -> None:
        # The policies check shapes, finite values and the number of classes, with messages that say what to do.
        soften(self.logits_t_NC, self.logits_s_NC, methods_at()["normkd"])
        samples, classes = self.logits_t_NC.shape
        found = {"images": pictures, "labels": len(labels_N)}
        for name, count in found.items():
            if count != samples:
                raise ValueError(f"{name} has {count} entries, wanted {samples}: one for each row of the logits.")
        if len(self.class_names) != classes:
            raise ValueError(
                f"class_names has {len(self.class_names)} entries, wanted {classes}: one a column of logits."
            )
        if not np.issubdtype(labels_N.dtype, np.integer) or labels_N.min() < 0 or labels_N.max() >= classes:
            raise ValueError(f"labels must be whole numbers from 0 to {classes - 1}, found {labels_N!r}.")

    @traitlets.validate("state")
    def _complete_state(self, proposal: dict[str, Any]) -> dict[str, Any]:
        given = proposal["value"]
        unknown = sorted(set(given) - set(START))
        if unknown:
            raise ValueError(f"state has no {', '.join(unknown)}; its keys are {', '.join(START)}.")
        state = {**START, **self.state, **given}
        return {key: self._check_value(key, state[key]) for key in START}

    def _check_value(self, key: str, value: Any) -> Any:
        if key in CHOICES:
            if value not in CHOICES[key]:
                raise ValueError(f'state["{key}"] is {value!r}, wanted one of {", ".join(map(str, CHOICES[key]))}.')
            return value
        if key in LIMITS:
            low, high, _ = LIMITS[key]
            if not isinstance(value, int | float) or not low <= value <= high:
                raise ValueError(f'state["{key}"] is {value!r}, wanted a number from {low} to {high}.')
            return float(value)
        if key == "pinned" and value is None:
            return None
        if not isinstance(value, int | np.integer) or not 0 <= value < len(self.labels):
            raise ValueError(f'state["{key}"] is {value!r}, wanted a position from 0 to {len(self.labels) - 1}.')
        return int(value)

    def matched_t(self) -> float:
        """KD's T that leaves the median sample as soft as the present T_norm, in steps of its slider."""
        table, (low, high, _) = self.medians, LIMITS["T"]
        classes = np.interp(math.log(self.state["T_norm"]), np.log(table["T_norm"]), np.log(table["normkd"]))
        T = math.exp(np.interp(classes, np.log(table["kd"]), np.log(table["T"])))
        return round(min(high, max(low, T)), 1)

    def as_code(self) -> str:
        """Give the line of Python that brings this view back."""
        return f"explorer.state = {self.state!r}".replace("'", '"')

    def link(self) -> str:
        """Give the view as the text that stands in a page's address: "explorer:sample=3,T=6.5"."""
        return write_link(self.link_name, self.state, START)

    def still(self) -> Svg:
        """Draw the shown samples as a picture, which is what a stored notebook keeps."""
        letters = {"A": self.state["sample"], "B": self.state["pinned"]}
        shown = {letter: n for letter, n in letters.items() if n is not None}
        rows = list(shown.values())
        policies = methods_at(self.state["T"], self.state["T_norm"])
        softened = {
            name: soften(self.logits_t_NC[rows], self.logits_s_NC[rows], policies[name]) for name in ("kd", "normkd")
        }
        names = [f"{letter}: {self.class_names[self.labels[n]]}" for letter, n in shown.items()]
        return softening_picture(softened, self.class_names, names)

    def __repr__(self) -> str:
        samples, classes = self.logits_t_NC.shape
        return f"SofteningExplorer({samples} samples, {classes} classes)"


def _medians(logits_t_NC: NDArray[np.float32]) -> dict[str, Any]:
    """Median effective classes of the samples over both sliders' ranges; what keeps the sliders together."""
    grids = {key: np.geomspace(low, high, GRID) for key, (low, high, _) in LIMITS.items()}
    medians = {
        "kd": median_classes(logits_t_NC, grids["T"].tolist()),
        "normkd": median_classes_normkd(logits_t_NC, grids["T_norm"].tolist()),
    }
    # Strictly rising, so that the page can read the table in both directions.
    rising = {name: np.maximum.accumulate(values) * (1 + 1e-9 * np.arange(GRID)) for name, values in medians.items()}
    return {**{key: values.tolist() for key, values in (grids | rising).items()}, "samples": len(logits_t_NC)}


def _float32(logits: ArrayLike | Tensor) -> NDArray[np.float32]:
    if isinstance(logits, Tensor):
        logits = logits.detach().to("cpu", torch.float32).numpy()
    return np.array(logits, dtype=np.float32)
