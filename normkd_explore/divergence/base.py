"""What a divergence is given and what it returns, and the relative entropy that most of them use.

Legend: B batch, C classes; `_s` student, `_t` teacher.
"""

from typing import Any, ClassVar, Protocol

from torch import Tensor, nn
from torch.nn import functional as F


class Divergence(Protocol):
    """Anything that turns softened logits (B, C), (B, C) and labels (B,) into one number a sample (B,).

    What is measured on the batch as a whole is added to every sample alike, so that the mean holds it once. A
    divergence that does so has `over_batch = True`, and must leave out rows whose label is -100 (`rows_that_count`).
    The others are given class 0 there, and what they return for such a row is thrown away. Without `needs_target`,
    labels may be None.
    """

    needs_target: ClassVar[bool]

    def __call__(self, soft_s: Tensor, soft_t: Tensor, target: Any, /) -> Tensor: ...


def kl_B(log_p_s: Tensor, log_p_t: Tensor) -> Tensor:
    """KL(p_t || p_s) of each row from log-probabilities, (B, C), (B, C) -> (B,)."""
    return F.kl_div(log_p_s, log_p_t, reduction="none", log_target=True).sum(dim=1)


def tell_step(loss: nn.Module, done: float, value: Tensor) -> None:
    """Call `end_step(done, value)` of every part of a loss that has that hook, once after each training step.

    `done` is the share of the training's steps that are done, the last step included; `value` the loss of that step, a
    scalar. Parts that change with the steps, such as `Interpolated`, change here and nowhere else.
    """
    for part in loss.modules():
        if hook := getattr(part, "end_step", None):
            hook(done, value)


def tell_teacher(loss: nn.Module, teacher: nn.Module) -> None:
    """Call `meet(teacher)` of every part of a loss that has that hook, once before the training."""
    for part in loss.modules():
        if hook := getattr(part, "meet", None):
            hook(teacher)
