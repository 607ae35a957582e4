"""What one model's logits look like, sample by sample: mean, standard deviation, maximum, entropy, confidence.

Everything is computed in float64, some rows at a time. Only `LogitStatistics.frame` needs pandas.

Legend: N samples, C classes, B rows of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from normkd_explore.analysis.row_blocks import by_rows
from normkd_explore.checks import check_logits, check_positive, check_target
from normkd_explore.temperature import row_std

if TYPE_CHECKING:
    import pandas

Floats = NDArray[np.float64]
MEASURES = ("mean", "std", "max", "entropy", "confidence")
"""Names of the per-sample numbers, in the order of tables and figures."""


@dataclass(frozen=True, eq=False)
class LogitStatistics:
    """One number a sample and measure, float64, all at temperature 1."""

    num_classes: int
    mean_N: Floats
    """Mean of a sample's logits. Softmax does not see it."""
    std_N: Floats
    """Sample standard deviation of a sample's logits (divisor C - 1); 0 where they are all equal."""
    max_N: Floats
    """Largest logit."""
    entropy_N: Floats
    """-Σ_c p_c log p_c of p = softmax(z), in nats: 0 for a sure model, log C for an even spread."""
    confidence_N: Floats
    """Largest softmax probability."""
    predicted_N: NDArray[np.int64]
    """Position of the largest logit."""
    labels_N: NDArray[np.int64] | None = None
    """True classes, where they are known."""

    def __len__(self) -> int:
        return len(self.std_N)

    @property
    def correct_N(self) -> NDArray[np.bool_]:
        """Whether the largest logit is the true class's.

        Raises:
            ValueError: no labels were given.
        """
        if self.labels_N is None:
            raise ValueError("labels: found none, wanted the true class of each sample to say which ones are correct.")
        return self.predicted_N == self.labels_N

    def by_correctness(self) -> dict[str, LogitStatistics]:
        """The samples in two groups, "right" and "wrong"; a group without samples is left out.

        Raises:
            ValueError: no labels were given.
        """
        groups = {"right": self.correct_N, "wrong": ~self.correct_N}
        return {name: self.select(chosen_N) for name, chosen_N in groups.items() if chosen_N.any()}

    def select(self, chosen_N: NDArray[np.bool_]) -> LogitStatistics:
        """The same measures for some of the samples: `chosen_N` is a mask (N,) or positions."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self) if field.name.endswith("_N")}
        chosen: dict[str, Any] = {
            name: None if values_N is None else values_N[chosen_N] for name, values_N in arrays.items()
        }
        return replace(self, **chosen)

    def measure(self, name: str) -> Floats:
        """The numbers of one of `MEASURES`.

        Raises:
            ValueError: there is no such measure.
        """
        if name not in MEASURES:
            raise ValueError(f"measure is {name!r}, wanted one of {', '.join(MEASURES)}.")
        return getattr(self, f"{name}_N")

    def frame(self, class_names: Sequence[str] | None = None) -> pandas.DataFrame:
        """A table with a row a sample: the measures, predicted class and, where known, true class and correctness.

        Classes are names where `class_names` gives C of them, else positions.
        """
        import pandas

        def named(positions_N: NDArray[np.int64]) -> list:
            return [class_names[c] if class_names is not None else c for c in positions_N.tolist()]

        columns: dict[str, object] = {name: self.measure(name) for name in MEASURES}
        columns["predicted"] = named(self.predicted_N)
        if self.labels_N is not None:
            columns |= {"label": named(self.labels_N), "correct": self.correct_N}
        return pandas.DataFrame(columns)


def as_logits(values: ArrayLike | Tensor, name: str = "logits") -> Tensor:
    """A float64 copy (N, C) on the CPU.

    Raises:
        ValueError: not (N, C) with N >= 1 and C >= 2, or NaN or infinity inside.
    """
    return as_table(values, name).to(torch.float64, copy=True)


def as_table(values: ArrayLike | Tensor, name: str = "logits") -> Tensor:
    """The logits (N, C) on the CPU in the dtype they have: a tensor that lies there is not copied.

    Raises:
        ValueError: as `as_logits`.
    """
    table_NC = values.detach().cpu() if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
    # Whole numbers are always finite, and `check_logits` wants a floating dtype: it is shown their shape.
    check_logits(name, table_NC if table_NC.is_floating_point() else torch.empty(table_NC.shape, device="meta"))
    return table_NC


def logit_statistics(logits: ArrayLike | Tensor, labels: ArrayLike | Tensor | None = None) -> LogitStatistics:
    """Measure every sample's logits at temperature 1.

    Args:
        logits: (N, C), tensor or array of any numeric dtype.
        labels: N class positions, whole numbers; None where they are not known.
    Raises:
        ValueError: shapes do not fit, values are not finite, or labels lie outside 0..C-1.
        TypeError: labels that are not whole numbers.
    """
    table_NC = as_table(logits)
    labels_N = None
    if labels is not None:
        given = labels.detach() if isinstance(labels, Tensor) else torch.from_numpy(np.array(labels))
        labels_N = given.cpu() if given.is_floating_point() else given.to("cpu", torch.int64)
        check_target(labels_N, table_NC, needed_by="accuracy")
    mean_N, std_N, max_N, entropy_N, confidence_N, predicted_N = by_rows(_measures, table_NC).T.contiguous().numpy()
    labelled_N = None if labels_N is None else labels_N.numpy()
    measures = (mean_N, std_N, max_N, entropy_N, confidence_N)
    return LogitStatistics(table_NC.shape[1], *measures, predicted_N.astype(np.int64), labelled_N)


def _measures(logits_BC: Tensor) -> Tensor:
    """The numbers of `LogitStatistics` in their order, predicted_N last: (B, 6)."""
    std_B1, flat_B1 = row_std(logits_BC)
    log_p_BC = logits_BC.log_softmax(dim=1)
    columns = (
        logits_BC.mean(dim=1),
        std_B1.masked_fill(flat_B1, 0.0).squeeze(1),
        logits_BC.amax(dim=1),
        _entropy(log_p_BC),
        log_p_BC.exp().amax(dim=1),
        logits_BC.argmax(dim=1).double(),
    )
    return torch.stack(columns, dim=1)


def softened_entropy(logits: ArrayLike | Tensor, temperature: float | ArrayLike) -> Floats:
    """Entropy of softmax(z / T) in nats, (N,), for one T or one for each sample.

    Args:
        logits: (N, C).
        temperature: T > 0, a number or (N,).
    Raises:
        ValueError: a temperature is not a finite number above 0, or their number is not N.
    """
    table_NC = as_table(logits)
    samples = len(table_NC)
    T_N = np.array(check_positive("temperature", temperature) if np.isscalar(temperature) else temperature, np.float64)
    if T_N.ndim and T_N.shape != (samples,):
        raise ValueError(f"temperature has shape {T_N.shape}, wanted one number or ({samples},): one a sample.")
    if not (np.isfinite(T_N).all() and (T_N > 0).all()):
        raise ValueError("temperature holds values that are not finite and above 0. A constant row has no NormKD T.")
    T_N1 = torch.from_numpy(T_N).reshape(-1, 1).expand(samples, 1)
    return by_rows(lambda z_BC, T_B1: _entropy((z_BC / T_B1).log_softmax(dim=1)), table_NC, T_N1).numpy()


def _entropy(log_p_BC: Tensor) -> Tensor:
    # exp(-inf) · -inf would be NaN where a probability underflows; its limit is 0.
    return -(log_p_BC.exp() * log_p_BC.clamp_min(-1e4)).sum(dim=1)
