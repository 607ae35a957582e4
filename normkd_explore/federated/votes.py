"""What clients upload: checks of their tensors, and the three forms in which a server may read them.

Legend: K clients, N samples, C classes.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from normkd_explore.temperature import row_std

Form = Literal["logits", "probabilities", "z-scores"]
FORMS: tuple[Form, ...] = get_args(Form)


def check_votes(name: str, votes: Any, axes: str = "(..., C)") -> None:
    """Check that `votes` is a finite floating tensor with two or more classes on its last axis.

    Raises:
        TypeError: not a tensor, or not of a floating dtype.
        ValueError: too few axes, fewer than two classes, nothing in it, or NaN or infinity.
    """
    if not isinstance(votes, Tensor):
        raise TypeError(f"{name} is a {type(votes).__name__}, wanted a torch.Tensor of shape {axes}.")
    if not votes.is_floating_point():
        raise TypeError(f"{name} has dtype {votes.dtype}, wanted a floating dtype: use {name}.float().")
    wanted = axes.count(",") + 1 if "..." not in axes else None
    if votes.ndim == 0 or (wanted and votes.ndim != wanted) or votes.shape[-1] < 2 or votes.numel() == 0:
        raise ValueError(
            f"{name} has shape {tuple(votes.shape)}, wanted {axes} with at least two classes C on the last axis and at "
            "least one vector. torch.stack([...]) of the clients' (samples, classes) puts clients first."
        )
    if not torch.isfinite(votes).all():
        raise ValueError(f"{name} holds NaN or infinity, wanted finite numbers. A server drops such a client's upload.")


def in_form(votes: Tensor, form: Form) -> Tensor:
    """Logits (..., C) in the form a server works on: as they are, softmax(z), or (z - mean(z)) / std(z).

    std has divisor C - 1; the z-scores of a vector of equal logits are 0.
    """
    if form == "probabilities":
        return votes.softmax(dim=-1)
    if form == "z-scores":
        rows_BC = votes.flatten(0, -2) if votes.ndim > 1 else votes[None]
        std_B1, flat_B1 = row_std(rows_BC)
        z_BC = (rows_BC - rows_BC.mean(dim=-1, keepdim=True)) / std_B1
        return z_BC.masked_fill(flat_B1, 0.0).view(votes.shape)
    return votes


def are_probabilities(votes: Tensor) -> bool:
    """Whether every vector is a distribution: nothing below 0, sums of 1 up to the rounding of float32 or coarser."""
    # float32 at least: clients compute in it, and a server that turns what it gets into float64 sees the same rounding.
    tolerance = 8 * votes.shape[-1] * max(torch.finfo(votes.dtype).eps, torch.finfo(torch.float32).eps)
    return bool((votes >= 0).all() and ((votes.sum(dim=-1) - 1).abs() <= tolerance).all())


def check_form(form: Any) -> Form:
    """ValueError unless `form` is one of FORMS."""
    if form not in FORMS:
        raise ValueError(f"of: found {form!r}, wanted one of {', '.join(FORMS)}.")
    return form
