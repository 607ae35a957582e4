"""The method grid: click a temperature policy's row and a divergence's column and see what the two make of a sample.

Python evaluates every combination once; the page holds all numbers and gradients, so a click needs no kernel.

Legend: B samples, C classes, P policies, D divergences; `_s` student, `_t` teacher.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from normkd_explore.analysis.grid import Grid, evaluate_grid, formula
from normkd_explore.figures.grid import QUANTITIES, grid_picture
from normkd_explore.figures.svg import Svg
from normkd_explore.widgets.bundle import join_modules, join_styles
from normkd_explore.widgets.still import StillMixin

# The order in which each combination's numbers travel; one value a sample.
NUMBERS = ("loss", "weight", "length", "cosine", "temperature_t", "temperature_s")
MOST_VALUES = 4_000_000


class MethodGrid(StillMixin, anywidget.AnyWidget):
    """All policies with all divergences as a table: click a cell for its formulas, numbers and gradient.

    Rows and columns are the parts of every registered method (see `analysis.grid.registered_parts`), as they are
    when the table is made. A cell shows the batch's mean, the panel below it one sample.

    Args:
        logits_t, logits_s: teacher's and student's logits, (B, C): the batch.
        labels: B class positions.
        class_names: C names.
        state: what to show first; keys that are left out keep their defaults.
    Raises:
        TypeError, ValueError: an argument does not fit the others, or the batch is too large for a page.

    Attributes:
        state: dict with "policy" and "divergence" (names of a row and a column), "sample" (a position) and "quantity"
            (loss, length, weight or cosine). Assign a dict with any of these keys to move the view.
    """

    _esm = join_modules("methodgrid")
    _css = join_styles("methodgrid")
    _setup = traitlets.Dict().tag(sync=True)
    _numbers = traitlets.Bytes().tag(sync=True)
    _gradients = traitlets.Bytes().tag(sync=True)
    state = traitlets.Dict({}).tag(sync=True)

    def __init__(
        self,
        logits_t: ArrayLike | Tensor,
        logits_s: ArrayLike | Tensor,
        labels: ArrayLike | Tensor,
        class_names: Sequence[str],
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.grid: Grid = evaluate_grid(logits_t, logits_s, labels)
        cells = list(self.grid.cells.values())
        self.shape = cells[0].gradient_BC.shape
        _check(self.shape, len(cells), len(class_names))
        numbers = np.array([[getattr(cell, f"{name}_B") for name in NUMBERS] for cell in cells])
        super().__init__(
            _setup=self._describe(_numpy(labels), _numpy(logits_t), class_names),
            _numbers=numbers.astype("<f8").tobytes(),
            _gradients=np.array([cell.gradient_BC for cell in cells]).astype("<f4").tobytes(),
        )
        self.state = dict(state or {})

    def _describe(
        self, labels_B: NDArray[Any], logits_t_BC: NDArray[Any], class_names: Sequence[str]
    ) -> dict[str, Any]:
        cells = self.grid.cells.values()
        return {
            "policies": [{"name": name, "text": formula(part)} for name, part in self.grid.policies.items()],
            "divergences": [{"name": name, "text": formula(part)} for name, part in self.grid.divergences.items()],
            "methods": [", ".join(cell.methods) for cell in cells],
            "problems": [cell.problem or "" for cell in cells],
            "labels": labels_B.tolist(),
            "tops": logits_t_BC.argmax(axis=1).tolist(),
            "class_names": [str(name) for name in class_names],
            "numbers": NUMBERS,
        }

    @traitlets.validate("state")
    def _complete_state(self, proposal: dict[str, Any]) -> dict[str, Any]:
        choices: dict[str, Sequence[Any]] = {
            "policy": list(self.grid.policies),
            "divergence": list(self.grid.divergences),
            "sample": range(self.shape[0]),
            "quantity": list(QUANTITIES),
        }
        given = proposal["value"]
        if unknown := sorted(set(given) - set(choices)):
            raise ValueError(f"state has no {', '.join(unknown)}; its keys are {', '.join(choices)}.")
        state = {**{key: values[0] for key, values in choices.items()}, **self.state, **given}
        for key, values in choices.items():
            if state[key] not in values:
                wanted = f"0 to {len(values) - 1}" if key == "sample" else ", ".join(map(str, values))
                raise ValueError(f'state["{key}"] is {state[key]!r}, wanted one of {wanted}.')
        return {**{key: state[key] for key in choices}, "sample": int(state["sample"])}

    def as_code(self) -> str:
        """Give the line of Python that brings this view back."""
        return f"grid.state = {json.dumps(self.state)}"

    def still(self) -> Svg:
        """Draw the table as a picture, which is what a stored notebook keeps."""
        return grid_picture(self.grid, self.state["quantity"], (self.state["policy"], self.state["divergence"]))

    def __repr__(self) -> str:
        return f"MethodGrid({len(self.grid.policies)} policies, {len(self.grid.divergences)} divergences)"


def _numpy(values: ArrayLike | Tensor) -> NDArray[Any]:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _check(shape: tuple[int, int], cells: int, names: int) -> None:
    samples, classes = shape
    if names != classes:
        raise ValueError(f"class_names has {names} entries, wanted {classes}: one a column of logits.")
    if cells * samples * classes > MOST_VALUES:
        most = max(1, MOST_VALUES // (cells * classes))
        raise ValueError(
            f"the batch has {samples} samples, wanted at most {most} of {classes} classes: the page holds every "
            f"gradient of all {cells} combinations. Pass logits_t[:{most}] and so on."
        )
