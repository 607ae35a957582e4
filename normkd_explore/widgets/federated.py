"""The federation explorer: choose who lies, how loudly, and the server's rule, and see what the server concludes.

The browser holds what every client says of every picture and computes attacks and rules itself, so a slider step
needs no kernel.

Legend: K clients, N pictures, C classes.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import anywidget
import numpy as np
import plotly.graph_objects as go
import torch
import traitlets
from numpy.typing import ArrayLike
from torch import Tensor

from normkd_explore.federated import ExpGuard, Random, forge, make_aggregation, make_attack
from normkd_explore.figures.federated import RULE_TITLES, exchange_figure
from normkd_explore.widgets.bundle import join_modules, join_styles
from normkd_explore.widgets.sprite import make_sprite

MOST_LIARS = 4
STRENGTHS = (0.5, 40.0, 0.5)  # lowest, highest, step
ATTACKS = ("pcfdla", "fdla", "random")
MOST_VALUES = 200_000  # logits that a page works through at every step of a slider
START: dict[str, Any] = {"sample": 0, "attackers": 2, "attack": "pcfdla", "strength": 20.0, "rule": "mean"}
PLOTLY_MIME = "application/vnd.plotly.v1+json"


class FederatedExplorer(anywidget.AnyWidget):
    """What each client says of a picture, the last ones through an attack, and what the server makes of it by any rule.

    Args:
        logits: what the clients honestly say, (K, N, C) with K > 4 and C >= 3; kept as float32.
        images: uint8 pictures, (N, H, W, 3) or (N, H, W, 1).
        labels: N class positions, which the server does not know.
        class_names: C names.
        state: what to show first; keys that are left out keep their defaults.
    Raises:
        TypeError, ValueError: an argument does not fit the others; the message names it.

    Attributes:
        state: dict with "sample" (a position), "attackers" (0 to 4, the last clients), "attack" (pcfdla, fdla or
            random), "strength" (of pcfdla, 0.5 to 40) and "rule" (mean, mean-probabilities, mean-z-scores, median,
            geometric-median or expguard). Assign a dict with any of these keys to move the view.
    """

    _esm = join_modules("federated")
    _css = join_styles("federated")
    _setup = traitlets.Dict().tag(sync=True)
    _logits = traitlets.Bytes().tag(sync=True)
    _noise = traitlets.Bytes().tag(sync=True)
    _sprite = traitlets.Bytes().tag(sync=True)
    state = traitlets.Dict(START).tag(sync=True)

    def __init__(
        self,
        logits: Tensor,
        images: ArrayLike | Tensor,
        labels: ArrayLike | Tensor,
        class_names: Sequence[str],
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.logits_KNC = torch.as_tensor(logits).detach().to("cpu", torch.float32)
        self.labels_N = torch.as_tensor(labels).cpu()
        self.class_names = [str(name) for name in class_names]
        images_NHWC = np.asarray(images.cpu() if isinstance(images, Tensor) else images)
        self._check(len(images_NHWC))
        sprite, columns = make_sprite(images_NHWC)
        noise_KNC = forge(self.logits_KNC, Random(), MOST_LIARS)[-MOST_LIARS:]
        super().__init__(
            _setup={
                "labels": self.labels_N.tolist(),
                "class_names": self.class_names,
                "columns": columns,
                "clients": len(self.logits_KNC),
                "most": MOST_LIARS,
                "limits": STRENGTHS,
                "eta": ExpGuard().eta,
                "rules": [{"key": key, "title": title} for key, title in RULE_TITLES.items()],
            },
            _logits=self.logits_KNC.numpy().astype("<f4").tobytes(),
            _noise=noise_KNC.numpy().astype("<f4").tobytes(),
            _sprite=sprite,
        )
        self.state = dict(state or {})

    def _check(self, pictures: int) -> None:
        shape = tuple(self.logits_KNC.shape)
        if len(shape) != 3 or shape[0] <= MOST_LIARS or shape[2] < 3:
            raise ValueError(
                f"logits has shape {shape}, wanted (K, N, C): more than {MOST_LIARS} clients and at least 3 classes."
            )
        if self.logits_KNC.numel() > MOST_VALUES:
            raise ValueError(
                f"logits has {self.logits_KNC.numel():,} values, wanted at most {MOST_VALUES:,}, so that a slider "
                f"step stays quick: pass logits[:, :{MOST_VALUES // (shape[0] * shape[2])}] and so on."
            )
        if not torch.isfinite(self.logits_KNC).all():
            raise ValueError("logits holds NaN or infinity, wanted finite numbers.")
        for name, found, wanted in (
            ("images", pictures, shape[1]),
            ("labels", len(self.labels_N), shape[1]),
            ("class_names", len(self.class_names), shape[2]),
        ):
            if found != wanted:
                raise ValueError(f"{name} has {found} entries, wanted {wanted} for logits of shape {shape}.")
        if self.labels_N.is_floating_point() or not bool(((self.labels_N >= 0) & (self.labels_N < shape[2])).all()):
            raise ValueError(f"labels must be whole numbers from 0 to {shape[2] - 1}, found {self.labels_N!r}.")

    @traitlets.validate("state")
    def _complete_state(self, proposal: dict[str, Any]) -> dict[str, Any]:
        given = proposal["value"]
        if unknown := sorted(set(given) - set(START)):
            raise ValueError(f"state has no {', '.join(unknown)}; its keys are {', '.join(START)}.")
        state = {**START, **self.state, **given}
        choices: dict[str, Sequence[Any]] = {
            "sample": range(len(self.labels_N)),
            "attackers": range(MOST_LIARS + 1),
            "attack": ATTACKS,
            "rule": tuple(RULE_TITLES),
        }
        for key, values in choices.items():
            if state[key] not in values:
                wanted = f"0 to {values[-1]}" if isinstance(values, range) else ", ".join(values)
                raise ValueError(f'state["{key}"] is {state[key]!r}, wanted one of {wanted}.')
        low, high, _ = STRENGTHS
        if not isinstance(state["strength"], int | float) or not low <= state["strength"] <= high:
            raise ValueError(f'state["strength"] is {state["strength"]!r}, wanted a number from {low} to {high:g}.')
        whole = {key: int(state[key]) for key in ("sample", "attackers")}
        return {**{key: state[key] for key in START}, **whole, "strength": float(state["strength"])}

    def uploads(self) -> Tensor:
        """What the server gets in this state, (K, N, C) in float64."""
        attackers, attack = self.state["attackers"], make_attack(self.state["attack"], self.state["strength"])
        return forge(self.logits_KNC, attack if attackers else None, attackers).double()

    def answers(self, rule: str | None = None) -> Tensor:
        """What the server concludes, as logits (N, C); `rule` None takes the one of this state."""
        return make_aggregation(rule or self.state["rule"]).teach(self.uploads())

    def right(self, rule: str | None = None) -> int:
        """How many of the N pictures it gets right."""
        return int((self.answers(rule).argmax(dim=-1) == self.labels_N).sum())

    def as_code(self) -> str:
        """Give the line of Python that brings this view back."""
        return f"explorer.state = {json.dumps(self.state)}"

    def preview(self) -> go.Figure:
        """Draw the exchange as a still figure, which is what a stored notebook keeps."""
        n, pictures = self.state["sample"], len(self.labels_N)
        said_KC, answer_C = self.uploads()[:, n].softmax(dim=-1), self.answers()[n].softmax(dim=-1)
        right = {rule: self.right(rule) / pictures for rule in RULE_TITLES}
        return exchange_figure(said_KC.numpy(), answer_C.numpy(), self.class_names, self.state["attackers"], right)

    def __repr__(self) -> str:
        clients, pictures, classes = self.logits_KNC.shape
        return f"FederatedExplorer({clients} clients, {pictures} pictures, {classes} classes)"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        # JupyterLab prefers the live widget; a stored notebook, and a test of it, has the figure.
        still = {"text/plain": repr(self), PLOTLY_MIME: self.preview().to_plotly_json()}
        return {**data, **still}, metadata
