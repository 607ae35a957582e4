"""The answers explorer: drag how many digits and classes a black box shows, and see what NormKD makes of it.

The browser holds the logits and computes answers, remedies and softened predictions itself.

Legend: N pictures, C classes.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import anywidget
import numpy as np
import plotly.graph_objects as go
import torch
import traitlets
from numpy.typing import ArrayLike
from torch import Tensor

from normkd_explore.blackbox import BlackBox, logits_from
from normkd_explore.blackbox.recover import Remedy, normal_scores
from normkd_explore.figures.blackbox import answer_figure
from normkd_explore.widgets.bundle import join_modules, join_styles
from normkd_explore.widgets.sprite import make_sprite

MOST_DIGITS = 8
T_NORM = 2.0
START: dict[str, Any] = {"sample": 0, "digits": 3, "kept": None, "remedy": "epsilon"}
PLOTLY_MIME = "application/vnd.plotly.v1+json"


class AnswersExplorer(anywidget.AnyWidget):
    """One picture's temperature and softened prediction, from the logits and from what a black box shows of them.

    Args:
        logits: (N, C) with C >= 3; kept as float32.
        images: uint8 pictures, (N, H, W, 3) or (N, H, W, 1).
        labels: N class positions.
        class_names: C names.
        state: what to show first; keys that are left out keep their defaults.
    Raises:
        TypeError, ValueError: an argument does not fit the others; the message names it.

    Attributes:
        state: dict with "sample" (a position), "digits" (1 to 8, None for all), "kept" (1 to C; None is made C) and
            "remedy" (epsilon, floor or fit). Assign a dict with any of these keys to move the view.
    """

    _esm = join_modules("answers")
    _css = join_styles("answers")
    _setup = traitlets.Dict().tag(sync=True)
    _logits = traitlets.Bytes().tag(sync=True)
    _sprite = traitlets.Bytes().tag(sync=True)
    state = traitlets.Dict(START).tag(sync=True)

    def __init__(
        self,
        logits: ArrayLike | Tensor,
        images: ArrayLike | Tensor,
        labels: ArrayLike | Tensor,
        class_names: Sequence[str],
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.logits_NC = torch.as_tensor(logits).detach().to("cpu", torch.float32)
        self.labels_N = torch.as_tensor(labels).cpu()
        self.class_names = [str(name) for name in class_names]
        images_NHWC = np.asarray(images.cpu() if isinstance(images, Tensor) else images)
        self._check(len(images_NHWC))
        sprite, columns = make_sprite(images_NHWC)
        super().__init__(
            _setup={
                "labels": self.labels_N.tolist(),
                "class_names": self.class_names,
                "columns": columns,
                "most": MOST_DIGITS,
                "scores": normal_scores(self.logits_NC.shape[1]).tolist(),
            },
            _logits=self.logits_NC.numpy().astype("<f4").tobytes(),
            _sprite=sprite,
        )
        self.state = dict(state or {})

    def _check(self, pictures: int) -> None:
        shape = tuple(self.logits_NC.shape)
        if len(shape) != 2 or shape[1] < 3 or not shape[0]:
            raise ValueError(f"logits has shape {shape}, wanted (N, C) with a row at least and 3 classes.")
        if not torch.isfinite(self.logits_NC).all():
            raise ValueError("logits holds NaN or infinity, wanted finite numbers.")
        for name, found, wanted in (
            ("images", pictures, shape[0]),
            ("labels", len(self.labels_N), shape[0]),
            ("class_names", len(self.class_names), shape[1]),
        ):
            if found != wanted:
                raise ValueError(f"{name} has {found} entries, wanted {wanted} for logits of shape {shape}.")
        if self.labels_N.is_floating_point() or not bool(((self.labels_N >= 0) & (self.labels_N < shape[1])).all()):
            raise ValueError(f"labels must be whole numbers from 0 to {shape[1] - 1}, found {self.labels_N!r}.")

    @traitlets.validate("state")
    def _complete_state(self, proposal: dict[str, Any]) -> dict[str, Any]:
        given = proposal["value"]
        if unknown := sorted(set(given) - set(START)):
            raise ValueError(f"state has no {', '.join(unknown)}; its keys are {', '.join(START)}.")
        pictures, classes = self.logits_NC.shape
        state = {**START, **self.state, **given}
        state["kept"] = classes if state["kept"] is None else state["kept"]
        choices: dict[str, Any] = {"sample": range(pictures), "kept": range(1, classes + 1), "remedy": get_args(Remedy)}
        if state["digits"] is not None:
            choices["digits"] = range(1, MOST_DIGITS + 1)
        for key, values in choices.items():
            if state[key] not in values:
                wanted = f"{values[0]} to {values[-1]}" if isinstance(values, range) else ", ".join(values)
                raise ValueError(f'state["{key}"] is {state[key]!r}, wanted one of {wanted}.')
        whole = {key: int(state[key]) for key in choices if key != "remedy"}
        return {**{key: state[key] for key in START}, **whole}

    def recovered(self) -> Tensor:
        """What can be made of the answers in this state, (N, C) in float64."""
        box = BlackBox(lambda logits: logits, f"top{self.state['kept']}", self.state["digits"])
        return logits_from(box(self.logits_NC.double()), self.state["remedy"], self.state["digits"])

    def temperatures(self) -> tuple[Tensor, Tensor]:
        """NormKD's temperature of every picture, from the logits and from the answers, (N,) each."""
        true_N, visible_N = (T_NORM * rows.std(dim=1) for rows in (self.logits_NC.double(), self.recovered()))
        return true_N, visible_N

    def as_code(self) -> str:
        """Give the line of Python that brings this view back."""
        state = json.dumps(self.state).replace("null", "None")
        return f"explorer.state = {state}"

    def preview(self) -> go.Figure:
        """Draw the sample as a still figure, which is what a stored notebook keeps."""
        n = self.state["sample"]
        rows = self.logits_NC.double()[n], self.recovered()[n]
        true_C, visible_C = (torch.softmax(row / (T_NORM * row.std()).clamp_min(1e-9), dim=0) for row in rows)
        true_N, visible_N = self.temperatures()
        pair = true_N[n].item(), visible_N[n].item()
        return answer_figure(true_C.numpy(), visible_C.numpy(), self.class_names, pair)

    def __repr__(self) -> str:
        pictures, classes = self.logits_NC.shape
        return f"AnswersExplorer({pictures} pictures, {classes} classes)"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        # JupyterLab prefers the live widget; a stored notebook, and a test of it, has the figure.
        still = {"text/plain": repr(self), PLOTLY_MIME: self.preview().to_plotly_json()}
        return {**data, **still}, metadata
