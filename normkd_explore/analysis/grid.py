"""Every temperature policy with every divergence on one batch: losses, weights and gradients as one table.

Nothing is listed here: the rows and columns are the parts of all registered methods, and what the two packages export
besides, so a method that is registered anywhere brings its parts along.

Legend: B samples, C classes; `_s` student, `_t` teacher.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from normkd_explore import divergence as all_divergences
from normkd_explore import temperature as all_policies
from normkd_explore.checks import check_pair, check_target
from normkd_explore.divergence import Divergence
from normkd_explore.losses import DistillationLoss
from normkd_explore.methods import METHODS, Method
from normkd_explore.temperature import TemperaturePolicy

Floats = NDArray[np.float64]
TINY = 1e-6  # an epsilon against division by 0, which no name needs to tell


@dataclass(frozen=True, eq=False)
class Combination:
    """One policy with one divergence on B samples, in float64; all NaN where `problem` says why it is refused."""

    methods: tuple[str, ...]
    """Registered methods that are exactly this, settings included; with "like" in front, of this kind."""
    weight_B: Floats
    """Factor of each sample's divergence."""
    temperature_t_B: Floats
    """Divisor of the teacher's logits."""
    temperature_s_B: Floats
    """Divisor of the student's logits."""
    loss_B: Floats
    """weight · divergence; their mean is the batch's loss."""
    gradient_BC: Floats
    """d(Σ_b loss_b) / d(student's logits): a sample's own gradient, unless the divergence looks at the whole batch."""
    length_B: Floats
    """Euclidean length of each sample's gradient."""
    cosine_B: Floats
    """Cosine between a sample's gradient and its centred student logits: what of the step changes their scale alone."""
    problem: str | None = None
    """What the parts said when they refused the logits."""


@dataclass(frozen=True)
class Grid:
    """The table: parts under their short names, and what each pair of them makes of the batch."""

    policies: Mapping[str, TemperaturePolicy]
    divergences: Mapping[str, Divergence]
    cells: Mapping[tuple[str, str], Combination]
    """By (policy, divergence)."""

    def values(self, quantity: str) -> Floats:
        """Batch means of "loss", "weight", "length" or "cosine", one row a policy, one column a divergence."""
        return np.array(
            [[getattr(self.cells[p, d], f"{quantity}_B").mean() for d in self.divergences] for p in self.policies]
        )


def evaluate_grid(logits_t: ArrayLike | Tensor, logits_s: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> Grid:
    """Evaluate every policy with every divergence on the same logits, in float64 on the CPU.

        l_b = weight_b · divergence(z_s[b] / T_s[b], z_t[b] / T_t[b], y[b])

    Args:
        logits_t, logits_s: teacher's and student's logits, (B, C), tensors or arrays.
        labels: the B true classes.
    Raises:
        TypeError, ValueError: shapes differ, values are not finite, or a label is no class.
    """
    z_t_BC, z_s_BC = (_tensor(logits).to(torch.float64) for logits in (logits_t, logits_s))
    target_B = _tensor(labels)
    check_pair(z_s_BC, z_t_BC)
    check_target(target_B, z_s_BC, needed_by="evaluate_grid")
    policies, divergences = registered_parts()
    cells = {
        (p, d): evaluate(policy, divergence, z_t_BC, z_s_BC, target_B)
        for p, policy in policies.items()
        for d, divergence in divergences.items()
    }
    return Grid(policies, divergences, cells)


def evaluate(
    policy: TemperaturePolicy, divergence: Divergence, logits_t: Tensor, logits_s: Tensor, target: Tensor
) -> Combination:
    """Evaluate one combination on logits (B, C) of float64; a refusal becomes its `problem`."""
    z_s_BC = logits_s.detach().clone().requires_grad_()
    try:
        T_s_B1, T_t_B1, weight_B1 = policy(z_s_BC, logits_t)
        loss_B = weight_B1.squeeze(1) * divergence(z_s_BC / T_s_B1, logits_t / T_t_B1, target)
    except ValueError as error:
        missing_B = torch.full_like(logits_s[:, 0], torch.nan)
        missing = (missing_B, missing_B, missing_B, missing_B)
        return _combination(policy, divergence, logits_s, missing, missing_B[:, None] + logits_s, str(error))
    (gradient_BC,) = torch.autograd.grad(loss_B.sum(), z_s_BC)
    rows_B = (weight_B1.squeeze(1), T_t_B1.squeeze(1), T_s_B1.squeeze(1), loss_B)
    return _combination(policy, divergence, logits_s, rows_B, gradient_BC)


def _tensor(values: ArrayLike | Tensor) -> Tensor:
    return values.detach().cpu() if isinstance(values, Tensor) else torch.from_numpy(np.array(values))


def _combination(
    policy: TemperaturePolicy,
    divergence: Divergence,
    z_s_BC: Tensor,
    rows_B: tuple[Tensor, Tensor, Tensor, Tensor],
    gradient_BC: Tensor,
    problem: str | None = None,
) -> Combination:
    centred_BC = z_s_BC - z_s_BC.mean(dim=1, keepdim=True)
    length_B, spread_B = gradient_BC.norm(dim=1), centred_BC.norm(dim=1)
    scale_B = (length_B * spread_B).clamp_min(torch.finfo(torch.float64).tiny)
    cosine_B = (gradient_BC * centred_BC).sum(dim=1) / scale_B
    numbers = (*rows_B, gradient_BC, length_B, cosine_B)
    weight, T_t, T_s, loss, gradient, length, cosine = (n.detach().numpy().copy() for n in numbers)
    return Combination(_names(policy, divergence), weight, T_t, T_s, loss, gradient, length, cosine, problem)


# --- which parts there are, and what they are called ---------------------------------------------------------


def registered_parts() -> tuple[dict[str, TemperaturePolicy], dict[str, Divergence]]:
    """Policies and divergences of all registered methods by short name, one of each kind, then other exported ones.

    A kind is a class and its choices ("teacher", weighted); its numbers are those of the first method that uses it
    without switching a term off with a 0. An exported class that needs no arguments is there without a method.
    """
    losses = [loss for method in METHODS.values() for loss in _parts_of(method)]
    return (
        _one_of_each([loss.policy for loss in losses] + _without_arguments(all_policies)),
        _one_of_each([loss.divergence for loss in losses] + _without_arguments(all_divergences)),
    )


def _parts_of(method: Method) -> list[DistillationLoss]:
    """The compositions that a method's losses consist of, CIFAR-100's first; none where it is made in another way."""
    settings = [chosen for chosen in (method.cifar100, method.imagenet) if chosen is not None]
    on_logits = method.needs_teacher and not method.needs_features
    losses = [method.build(**chosen.loss) for chosen in settings] if on_logits else []
    return [part for loss in losses for part in loss.modules() if isinstance(part, DistillationLoss)]


def _without_arguments(package: ModuleType) -> list[Any]:
    exported = [getattr(package, name) for name in package.__all__]
    parts = [item for item in exported if inspect.isclass(item) and is_dataclass(item)]
    return [part() for part in parts if all(field.default is not MISSING for field in fields(part))]


def _one_of_each(parts: list[Any]) -> dict[str, Any]:
    kinds: dict[str, Any] = {}
    for part in parts:
        kept = kinds.setdefault(kind(part), part)
        if _switched_off(kept) and not _switched_off(part):
            kinds[kind(part)] = part
    return {short_name(part): part for part in kinds.values()}


def _values(part: Any) -> dict[str, Any]:
    return {field.name: getattr(part, field.name) for field in fields(part)} if is_dataclass(part) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_tiny(value: Any) -> bool:
    return _is_number(value) and 0 < abs(value) < TINY


def _switched_off(part: Any) -> bool:
    defaults = {field.name: field.default for field in fields(part)} if is_dataclass(part) else {}
    return any(_is_number(v) and v == 0 and defaults[name] != 0 for name, v in _values(part).items())


def kind(part: Any) -> str:
    """A part's class and its choices without its numbers, such as "Std teacher"; of a wrapper, also what it wraps."""
    inner = getattr(part, "policy", None)
    words = [str(value) for value in _values(part).values() if not _is_number(value)]
    return " ".join([type(part).__name__, *words, *([kind(inner)] if inner is not None else [])])


def short_name(part: Any) -> str:
    """A part's class and what of its settings is neither the default nor tiny: "Std(2)", "Std(2, constant)"."""
    inner = getattr(part, "policy", None)
    if inner is not None:
        return f"{type(part).__name__} {short_name(inner)}"
    defaults = {field.name: field.default for field in fields(part)} if is_dataclass(part) else {}
    told = {name: value for name, value in _values(part).items() if value != defaults[name] and not _is_tiny(value)}
    words = [f"{v:g}" if _is_number(v) else name if v is True else str(v) for name, v in told.items()]
    return f"{type(part).__name__}({', '.join(words)})" if words else type(part).__name__


def formula(part: Any) -> str:
    """A part's own words: its docstring's first sentence and formula, and a policy's `describe()`."""
    first, _, rest = (inspect.getdoc(type(part)) or type(part).__name__).partition("\n\n")
    block = []
    for line in rest.splitlines():
        if line.strip() and not line.startswith("    "):
            break
        block.append(line)
    told = part.describe() if hasattr(part, "describe") else ""
    return "\n".join(filter(None, [" ".join(first.split()), textwrap.dedent("\n".join(block)).strip("\n"), told]))


def _names(policy: TemperaturePolicy, divergence: Divergence) -> tuple[str, ...]:
    exact, alike = [], []
    for method in METHODS.values():
        if not (parts := _parts_of(method)):
            continue
        first, alone = parts[0], isinstance(method.build(**method.cifar100.loss), DistillationLoss)
        if alone and (repr(first.policy), repr(first.divergence)) == (repr(policy), repr(divergence)):
            exact.append(method.name)
        elif (kind(first.policy), kind(first.divergence)) == (kind(policy), kind(divergence)):
            alike.append(f"like {method.name}")
    return tuple(exact or alike)
