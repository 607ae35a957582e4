"""A network behind a counter: pictures go in, answers come out, and nothing else.

Legend: B batch, C classes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from normkd_explore.checks import check_logits

MOST_DIGITS = 15  # float64 holds no more decimals of a number near 1
TOP = re.compile(r"top([1-9]\d*)")


class BudgetError(RuntimeError):
    """The black box has answered as often as it was paid for; nothing was asked, nothing counted."""


class BlackBox:
    """What a prediction service shows of `model`: answers to pictures, never a logit, a weight or a gradient.

        soft    p = softmax(z), rounded to `digits` decimals                       (B, C)
        topK    the K largest p, rounded likewise; 0 for the classes it keeps back  (B, C)
        hard    the class with the largest z                                        (B,) int64

    Rounded probabilities need not add up to 1, and small ones become 0. Each picture is one query, asked before or not.
    The model is left as it was: every part keeps its place, its mode, its buffers and its gradients. Answers come back
    to the device of the pictures.

    Args:
        model: a module that maps pictures (B, ...) to logits (B, C), used in eval mode; or any function that does.
        answers: "soft", "hard", or "top" with a number of classes: "top5".
        digits: decimals of the probabilities; None gives all that the number format has.
        budget: most queries; None sets no limit.

    Attributes:
        queries: pictures answered so far; a run that goes on sets it to where it was.

    Raises:
        TypeError, ValueError: an argument is none of these, or the model's output is no finite tensor (B, C).
        BudgetError: when called with more pictures than the budget has left.
    """

    def __init__(
        self,
        model: nn.Module | Callable[[Tensor], Tensor],
        answers: str = "soft",
        digits: int | None = None,
        budget: int | None = None,
    ) -> None:
        self.answers, self.kept, self.digits, self.budget = answers, _kept(answers), digits, budget
        _check_digits(digits, answers)
        _check_budget(budget)
        self.model = model
        self.queries = 0

    @property
    def remaining(self) -> int | None:
        """Queries that the budget has left; None without one."""
        return None if self.budget is None else self.budget - self.queries

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Answers to pictures (B, ...); see the class for their shape."""
        self._check_budget_for(images)
        with _in_eval_mode(self.model):
            logits_BC = self.model(images.detach().to(_device_of(self.model, images))).to(images.device)
        check_logits("the model's output", logits_BC)
        if len(logits_BC) != len(images):
            raise ValueError(
                f"images: found {tuple(images.shape)}, to which the model gave {len(logits_BC)} rows; wanted one row a "
                "picture. A single picture needs images.unsqueeze(0)."
            )
        answer = self._answer(logits_BC)
        self.queries += len(images)
        return answer

    def _check_budget_for(self, images: Tensor) -> None:
        if self.budget is None or self.queries + len(images) <= self.budget:
            return
        raise BudgetError(
            f"budget: found {len(images):,} pictures to answer and {self.remaining:,} of {self.budget:,} queries left. "
            "Send fewer pictures, keep answers and learn from them again, or give the black box a larger budget."
        )

    def _answer(self, logits_BC: Tensor) -> Tensor:
        if self.answers == "hard":
            return logits_BC.argmax(dim=1)
        # Half precision would round what `digits` is to round.
        probs_BC = torch.softmax(logits_BC if logits_BC.dtype == torch.float64 else logits_BC.float(), dim=1)
        if self.kept is not None:
            probs_BC = _largest(probs_BC, self.kept)
        return probs_BC if self.digits is None else torch.round(probs_BC, decimals=self.digits)

    def fingerprint(self) -> str:
        """SHA-256 of the model's weights and buffers; of a function, which keeps them to itself, of its name."""
        digest = hashlib.sha256()
        state = self.model.state_dict() if isinstance(self.model, nn.Module) else {}
        if not state:
            digest.update(getattr(self.model, "__qualname__", type(self.model).__qualname__).encode())
        for name, tensor in sorted(state.items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def describe(self) -> str:
        """What it answers, in a few words."""
        if self.answers == "hard":
            return "the class alone"
        what = "all probabilities" if self.kept is None else f"the {self.kept} largest probabilities"
        return what + (" in full precision" if self.digits is None else f" with {self.digits} digits")

    def __repr__(self) -> str:
        limit = "" if self.budget is None else f" of {self.budget:,}"
        return f"BlackBox({self.describe()}; {self.queries:,}{limit} queries)"


def _largest(probs_BC: Tensor, kept: int) -> Tensor:
    classes = probs_BC.shape[1]
    if kept > classes:
        raise ValueError(f"answers: found 'top{kept}' for {classes} classes, wanted at most 'top{classes}'.")
    values_BK, index_BK = probs_BC.topk(kept, dim=1)
    return torch.zeros_like(probs_BC).scatter(1, index_BK, values_BK)


def _kept(answers: str) -> int | None:
    """The K of "topK", None for the others."""
    if answers in ("soft", "hard"):
        return None
    found = TOP.fullmatch(answers) if isinstance(answers, str) else None
    if found is None:
        raise ValueError(f"answers: found {answers!r}, wanted 'soft', 'hard', or 'top' with a number, such as 'top5'.")
    return int(found[1])


def _check_digits(digits: int | None, answers: str) -> None:
    if digits is None:
        return
    if isinstance(digits, bool) or not isinstance(digits, int) or not 1 <= digits <= MOST_DIGITS:
        raise ValueError(f"digits: found {digits!r}, wanted a whole number from 1 to {MOST_DIGITS}, or None for all.")
    if answers == "hard":
        raise ValueError(f"digits: found {digits} with answers='hard', which give no numbers to round. Leave it out.")


def _check_budget(budget: int | None) -> None:
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 0):
        raise ValueError(f"budget: found {budget!r}, wanted a whole number of queries, or None for no limit.")


def _device_of(model: object, images: Tensor) -> torch.device:
    """Where a module computes; a function gets the pictures where they are."""
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), images.device)


@contextmanager
def _in_eval_mode(model: object) -> Iterator[None]:
    """Put every part of a module in eval mode, and each back into its own mode afterwards."""
    training = [part for part in model.modules() if part.training] if isinstance(model, nn.Module) else []
    try:
        for part in training:
            part.training = False
        yield
    finally:
        for part in training:
            part.training = True
