"""How a server makes one answer out of what the clients say: (clients, samples, classes) -> (samples, classes).

    Median()(votes)                          of the numbers as they are
    Median(of="probabilities")(logits)       of their softmax, renormalised
    Median(of="probabilities").teach(logits) the same answer as logits, for any distillation loss

Legend: K clients, N samples, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from normkd_explore.checks import check_positive
from normkd_explore.federated.votes import Form, are_probabilities, check_form, check_votes, in_form
from normkd_explore.temperature import row_std

LEAST_PROBABILITY = 1e-12
"""What a probability counts as least where its logarithm is taken: log p = -27.6."""


class Aggregation:
    """One rule, applied to the clients' vectors in one form (see `in_form`).

    Args:
        of: "logits" (the numbers as they are), "probabilities" or "z-scores".
    A call:
        votes: (K, N, C), what the clients upload. Returned is (N, C), in the form that `of` names. Where every vector
        the rule sees is a distribution, so is the answer: it is divided by its sum.
    Raises:
        TypeError, ValueError: not a finite floating tensor (K, N, C) with C >= 2.
    """

    def __init__(self, of: Form = "logits") -> None:
        self.of = check_form(of)

    def __call__(self, votes: Tensor) -> Tensor:
        check_votes("votes", votes, "(K, N, C)")
        seen_KNC = in_form(votes, self.of)
        answer_NC = self.combine(seen_KNC)
        if self.of == "probabilities" or are_probabilities(seen_KNC):
            answer_NC = answer_NC.clamp_min(0)
            answer_NC = answer_NC / answer_NC.sum(dim=-1, keepdim=True)
        return answer_NC

    def combine(self, votes_KNC: Tensor) -> Tensor:
        """The rule itself, on checked vectors in the form it works on."""
        raise NotImplementedError

    def teach(self, logits: Tensor) -> Tensor:
        """The answer to the clients' logits (K, N, C) as a teacher's logits (N, C), computed in float64.

        Probabilities become log p, which has the softmax p and, where no p is below 1e-12, the std of the logits that
        gave them. z-scores are multiplied with the median of the clients' stds of that sample: a loss that weighs
        samples by the teacher's std then sees an ordinary one, and fewer than half of the clients cannot choose it.
        """
        logits_KNC = logits.double()
        answer_NC = self(logits_KNC)
        if self.of == "probabilities":
            answer_NC = answer_NC.clamp_min(LEAST_PROBABILITY).log()
        elif self.of == "z-scores":
            std_KN = row_std(logits_KNC.flatten(0, 1))[0].view(logits.shape[:2])
            answer_NC = answer_NC * middle(std_KN)[:, None]
        return answer_NC.to(logits.dtype)

    def state(self) -> Tensor | None:
        """What a rule remembers from round to round; None where it remembers nothing."""
        return None

    def load_state(self, state: Tensor | None) -> None:
        """Restore what `state` gave."""

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({values})"


class Mean(Aggregation):
    """The plain mean over the clients.

        answer = (1/K) Σ_k v_k

    FedMD's is of logits, DS-FL's of probabilities. One client can move a mean of logits anywhere; of probabilities or
    z-scores only by its own bounded share.

    Source: Li and Wang, "FedMD", arXiv 1910.03581; Itahara et al., "DS-FL", arXiv 2008.06180.
    """

    def combine(self, votes_KNC: Tensor) -> Tensor:
        return votes_KNC.mean(dim=0)


class Median(Aggregation):
    """The median of each class over the clients; of an even number the mean of the middle two.

    While fewer than half of the clients lie, every class's value stays between honest ones.
    """

    def combine(self, votes_KNC: Tensor) -> Tensor:
        return middle(votes_KNC)


class TrimmedMean(Aggregation):
    """The mean of each class after leaving out the lowest and the highest clients.

    Args:
        share: of the clients, left out on either side and rounded down: 0.25 of 8 leaves the middle four.
    Raises:
        ValueError: `share` is not in [0, 0.5).
    """

    def __init__(self, share: float = 0.25, of: Form = "logits") -> None:
        super().__init__(of)
        if not 0 <= share < 0.5:
            raise ValueError(f"share is {share!r}, wanted a number in [0, 0.5): of each side, so half leaves nobody.")
        self.share = float(share)

    def combine(self, votes_KNC: Tensor) -> Tensor:
        clients = len(votes_KNC)
        cut = int(self.share * clients)
        return votes_KNC.sort(dim=0).values[cut : clients - cut].mean(dim=0)


class GeometricMedian(Aggregation):
    """The point of least total distance to the clients' vectors, sample by sample.

        m = argmin Σ_k |v_k - m|;   Weiszfeld:  m <- Σ (v_k / d_k) / Σ (1 / d_k),   d_k = max(|v_k - m|, closest)

    It starts from the mean and is always inside the hull of the vectors. Euclidean distance over the classes.

    Args:
        steps: most steps; it stops before where no sample moves any more.
        closest: the least distance that a vector counts with, so that none is divided by 0.
    """

    def __init__(self, steps: int = 200, closest: float = 1e-9, of: Form = "logits") -> None:
        super().__init__(of)
        if steps < 1:
            raise ValueError(f"steps is {steps!r}, wanted at least 1.")
        self.steps, self.closest = int(steps), check_positive("closest", closest)

    def combine(self, votes_KNC: Tensor) -> Tensor:
        point_NC = votes_KNC.mean(dim=0)
        tolerance = 8 * torch.finfo(votes_KNC.dtype).eps * votes_KNC.abs().amax()
        for _ in range(self.steps):
            pull_KN1 = (votes_KNC - point_NC).norm(dim=-1, keepdim=True).clamp_min(self.closest).reciprocal()
            moved_NC = (pull_KN1 * votes_KNC).sum(dim=0) / pull_KN1.sum(dim=0)
            still = (moved_NC - point_NC).abs().amax() <= tolerance
            point_NC = moved_NC
            if still:
                break
        return point_NC


def middle(values_K: Tensor) -> Tensor:
    """The median over the first axis; of an even number the mean of the middle two, as numpy has it."""
    ordered = values_K.sort(dim=0).values
    clients = len(ordered)
    return (ordered[(clients - 1) // 2] + ordered[clients // 2]) / 2
