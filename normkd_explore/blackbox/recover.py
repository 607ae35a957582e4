"""Logits from answers: what a loss needs, from the probabilities that a black box shows.

Softmax loses nothing but a shift, so log p = z - logsumexp(z) is the logits themselves for every temperature policy:
log p has the std of z. That holds while every class is visible. A class that was rounded to 0, or kept back, has a
log p that nobody knows, and it is the smallest probabilities that decide the std.

Legend: B batch, C classes, K visible classes of a row; m normal scores.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from normkd_explore.blackbox.api import BlackBox

Remedy = Literal["epsilon", "floor", "fit"]
EPSILON = 1e-8  # what is usually added before a logarithm
LEAST_REST = 1e-7  # of the probability, where the answers leave none for the hidden classes
LARGEST_STD = 64.0
HALVINGS = 50


def logits_from(answers: Tensor, remedy: Remedy = "epsilon", digits: int | None = None) -> Tensor:
    """Logits (B, C), up to a shift of each row, from probabilities (B, C) in which 0 stands for "not shown".

    Shown classes get log p. A row that shows all classes is exact, whatever the remedy; one that shows none is flat,
    and NormKD gives it no weight. The hidden classes of the others get

        epsilon   log 1e-8: what `log(p + 1e-8)` would give them
        floor     the log of half a unit of the last digit, the most that is rounded to 0; without `digits`, of an equal
                  share of what is missing to 1, but no more than the smallest that is shown
        fit       the mean of what a normal distribution with the shown classes as its largest values has there (see
                  `fitted`), each no more than half a unit of the last digit; without `digits`, than the smallest shown

    All hidden classes of a row get one value: nobody knows their order, and an order that was made up, such as that of
    their numbers, would be learned. Which remedy teaches most was measured (docs/neighbours.md): for NormKD `epsilon`,
    for KD `fit`; the floor loses to both.

    The result has the answers' dtype and no gradient.

    Args:
        answers: what `BlackBox` gives for "soft" and "topK".
        remedy: one of the three.
        digits: decimals to which the answers were rounded, None for full precision.

    Raises:
        TypeError: the answers are no floating tensor.
        ValueError: another shape, a negative or non-finite value, or an unknown remedy.
    """
    _check_answers(answers)
    if remedy not in get_args(Remedy):
        raise ValueError(f"remedy: found {remedy!r}, wanted one of {', '.join(get_args(Remedy))}.")
    # Differences of logarithms lose digits that float32 has few of; Apple's GPUs have no float64.
    probs_BC = answers.detach() if answers.device.type == "mps" else answers.detach().double()
    probs_BC = torch.where((probs_BC > 0).any(dim=1, keepdim=True), probs_BC, 1 / probs_BC.shape[1])
    shown_BC = probs_BC > 0
    log_BC = probs_BC.clamp_min(torch.finfo(probs_BC.dtype).tiny).log()
    if bool(shown_BC.all()):
        return log_BC.to(answers.dtype)
    if remedy == "epsilon":
        fill_BC = torch.full_like(log_BC, EPSILON).log()
    elif remedy == "floor":
        most_B1 = _most(probs_BC, shown_BC, digits)
        floor_B1 = torch.minimum(most_B1, _share(probs_BC, shown_BC)) if digits is None else most_B1
        fill_BC = floor_B1.log().expand_as(log_BC)
    else:
        line_BC = torch.minimum(fitted(probs_BC, digits), _most(probs_BC, shown_BC, digits).log())
        hidden_B1 = (~shown_BC).sum(dim=1, keepdim=True).clamp_min(1)
        fill_BC = (line_BC.masked_fill(shown_BC, 0).sum(dim=1, keepdim=True) / hidden_B1).expand_as(log_BC)
    return torch.where(shown_BC, log_BC, fill_BC).to(answers.dtype)


def fitted(probs_BC: Tensor, digits: int | None = None) -> Tensor:
    """The row that a normal distribution gives: log p = a + σ m_r for the class of rank r (B, C).

        m_r = Φ⁻¹((C - r + 5/8) / (C + 1/4)),   r = 1 for the largest (Blom's scores)

    With three or more classes shown, a and σ are the least-squares line of their log p on their scores. With one or two
    a line says nothing, and σ is the one whose softmax gives the first class its p: Σ_{r>1} exp(σ (m_r - m_1)) =
    (1 - p_1) / p_1, where 1 - p_1 is at least a quarter of the last digit's unit.
    """
    ranked_BC, order_BC = probs_BC.sort(dim=1, descending=True, stable=True)
    shown_BC = ranked_BC > 0
    scores_C = normal_scores(probs_BC.shape[1]).to(ranked_BC)
    log_BC = ranked_BC.clamp_min(torch.finfo(ranked_BC.dtype).tiny).log()
    center_B1, score_B1, slope_B1 = _line(log_BC, scores_C, shown_BC.to(log_BC.dtype))
    few_B1 = shown_BC.sum(dim=1, keepdim=True) < 3
    if bool(few_B1.any()):
        slope_B1 = torch.where(few_B1, _std_of_first(ranked_BC[:, :1], scores_C, digits), slope_B1)
        center_B1 = torch.where(few_B1, log_BC[:, :1], center_B1)
        score_B1 = torch.where(few_B1, scores_C[:1], score_B1)
    line_BC = center_B1 + slope_B1 * (scores_C - score_B1)
    return torch.zeros_like(line_BC).scatter(1, order_BC, line_BC)


def normal_scores(classes: int) -> Tensor:
    """Where the ordered values of a standard normal sample lie, largest first (C,), in float64."""
    ranks_C = torch.arange(1, classes + 1, dtype=torch.float64)
    return torch.special.ndtri((classes - ranks_C + 0.625) / (classes + 0.25))


def _line(log_BC: Tensor, scores_C: Tensor, weights_BC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean of log p, mean of the scores and slope of the least-squares line, each (B, 1)."""
    count_B1 = weights_BC.sum(dim=1, keepdim=True)
    center_B1 = (weights_BC * log_BC).sum(dim=1, keepdim=True) / count_B1
    score_B1 = (weights_BC * scores_C).sum(dim=1, keepdim=True) / count_B1
    apart_BC = weights_BC * (scores_C - score_B1)
    spread_B1 = apart_BC.square().sum(dim=1, keepdim=True).clamp_min(torch.finfo(log_BC.dtype).eps)
    return center_B1, score_B1, (apart_BC * (log_BC - center_B1)).sum(dim=1, keepdim=True) / spread_B1


def _std_of_first(first_B1: Tensor, scores_C: Tensor, digits: int | None) -> Tensor:
    """The σ of a normal row whose softmax gives its largest value the probability `first`, by halving."""
    least = LEAST_REST if digits is None else 0.25 * 10.0**-digits
    rest_B1 = (1 - first_B1).clamp_min(least)
    wanted_B1 = rest_B1 / (1 - rest_B1).clamp_min(least)
    below_C = scores_C[1:] - scores_C[0]
    low_B1, high_B1 = torch.zeros_like(wanted_B1), torch.full_like(wanted_B1, LARGEST_STD)
    for _ in range(HALVINGS):
        middle_B1 = (low_B1 + high_B1) / 2
        too_small_B1 = torch.exp(middle_B1 * below_C).sum(dim=1, keepdim=True) > wanted_B1
        low_B1 = torch.where(too_small_B1, middle_B1, low_B1)
        high_B1 = torch.where(too_small_B1, high_B1, middle_B1)
    return low_B1


def _most(probs_BC: Tensor, shown_BC: Tensor, digits: int | None) -> Tensor:
    """The largest probability that a hidden class can have, (B, 1)."""
    if digits is not None:
        return torch.full_like(probs_BC[:, :1], 0.5 * 10.0**-digits)
    return probs_BC.masked_fill(~shown_BC, torch.inf).amin(dim=1, keepdim=True)


def _share(probs_BC: Tensor, shown_BC: Tensor) -> Tensor:
    """What each hidden class has if they share equally what is missing to 1, (B, 1)."""
    rest_B1 = (1 - probs_BC.sum(dim=1, keepdim=True)).clamp_min(LEAST_REST)
    return rest_B1 / (~shown_BC).sum(dim=1, keepdim=True).clamp_min(1)


def _check_answers(answers: Any) -> None:
    if not isinstance(answers, Tensor) or not answers.is_floating_point():
        found = answers.dtype if isinstance(answers, Tensor) else type(answers).__name__
        raise TypeError(
            f"answers: found {found}, wanted probabilities. Classes alone (answers='hard') hold no temperature: learn "
            "from them with cross-entropy."
        )
    if answers.ndim != 2:
        raise ValueError(f"answers: found shape {tuple(answers.shape)}, wanted (B, C): one row a picture.")
    if not bool(((answers >= 0) & torch.isfinite(answers)).all()):
        raise ValueError(
            "answers: found a negative, infinite or NaN probability, wanted values from 0 to 1, not logits."
        )


class AnsweringTeacher(nn.Module):
    """A black box in the place of a teacher: its logits are recovered from answers at every call.

        train(recipe, teacher=AnsweringTeacher(BlackBox(network, digits=3), "fit"))

    Each call asks, and counts, one query a picture. Arguments and errors as in `BlackBox` and `logits_from`; a black
    box that gives the class alone is a ValueError.
    """

    def __init__(self, box: BlackBox, remedy: Remedy = "epsilon") -> None:
        super().__init__()
        if box.answers == "hard":
            raise ValueError(
                "box: found answers='hard'; a class alone holds no temperature. Learn from such answers with "
                "cross-entropy, or ask for 'soft' or 'top5'."
            )
        self.box, self.remedy = box, remedy
        # A teacher is known, to run folders and caches, by its state: other answers are another teacher.
        known = f"{box.answers} {box.digits} {remedy} {box.fingerprint()}".encode()
        self.register_buffer("known", torch.tensor(list(known), dtype=torch.uint8))

    def __deepcopy__(self, memo: dict[int, object]) -> AnsweringTeacher:
        """Itself: a service is asked and counted in one place, and a copy would count on its own."""
        return self

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits (B, C) up to a shift of each row."""
        return logits_from(self.box(images_BCHW), self.remedy, self.box.digits)
