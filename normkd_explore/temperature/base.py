"""What a temperature policy is given and what it decides.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from typing import Any, NamedTuple, Protocol

from torch import Tensor


class Softening(NamedTuple):
    """What a policy decides for a batch; every field has shape (B, 1)."""

    T_s: Tensor
    """Divisor of the student's logits."""
    T_t: Tensor
    """Divisor of the teacher's logits."""
    weight: Tensor
    """Factor of the sample's divergence."""


class TemperaturePolicy(Protocol):
    """Anything that turns two logit tensors (B, C) into a `Softening`; an `nn.Module` if it learns.

    A policy that changes during training may also have `set_epoch(epoch, epochs)`; see `tell_epoch`.
    """

    def __call__(self, logits_s: Tensor, logits_t: Tensor) -> Softening: ...

    def describe(self) -> str: ...


def tell_epoch(part: Any, epoch: int, epochs: int) -> None:
    """Call `part.set_epoch(epoch, epochs)` if it has that hook; the first of the `epochs` epochs is 1."""
    hook = getattr(part, "set_epoch", None)
    if hook is not None:
        hook(epoch, epochs)
