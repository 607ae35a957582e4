"""Rules that first ask who is an outlier: the spectral filter, and weights that remember it from round to round.

Legend: K clients, N samples, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from normkd_explore.checks import check_positive
from normkd_explore.federated.aggregation import Aggregation, Median
from normkd_explore.federated.votes import Form, check_votes, in_form


def outlier_scores(votes: Tensor, centre: Tensor) -> Tensor:
    """Mean over the samples of each client's Euclidean distance to `centre` (N, C): (K, N, C) -> (K,)."""
    check_votes("votes", votes, "(K, N, C)")
    return (votes - centre).norm(dim=-1).mean(dim=-1)


def client_scores(logits: Tensor) -> Tensor:
    """How far each client is from the others, whatever the server does: (K, N, C) -> (K,), between 0 and √2.

    Mean distance of its probabilities to the renormalised median of all clients'; computed in float64.
    """
    probabilities_KNC = in_form(logits.double(), "probabilities")
    return outlier_scores(probabilities_KNC, Median()(probabilities_KNC))


def ranks(scores_K: Tensor) -> list[int]:
    """The place of each client when scores fall: 1 is the most outlying. Equal scores share the better place."""
    return [1 + int((scores_K > own).sum()) for own in scores_K]


class SpectralFilter(Aggregation):
    """The mean without the clients that stick out along the direction in which the votes vary most.

        score_k = |<v_k - mean, u>|,   u = first eigenvector of the classes' covariance over the clients

    For each sample apart, in each of `passes` passes, the clients of the highest scores are left out.

    Args:
        share: of the clients, left out in all passes together; what it gives is rounded up to whole clients a pass.
        passes: 1, or 2 as in Cronus, which looks anew after leaving out the first half.
    Raises:
        ValueError: `share` is not in (0, 1), or nobody would be left.

    Source: Chang et al., "Cronus", arXiv 1912.11279; as in Roux et al., arXiv 2402.12265.
    """

    def __init__(self, share: float = 0.25, passes: int = 1, of: Form = "logits") -> None:
        super().__init__(of)
        if not 0 < share < 1 or passes < 1:
            raise ValueError(f"share is {share!r} and passes {passes!r}, wanted share in (0, 1) and passes >= 1.")
        self.share, self.passes = float(share), int(passes)

    def combine(self, votes_KNC: Tensor) -> Tensor:
        clients = len(votes_KNC)
        drop = -int(-(self.share * clients) // self.passes)
        if drop * self.passes >= clients:
            raise ValueError(
                f"votes: found {clients} clients, of which share {self.share:g} in {self.passes} passes would leave "
                f"out {drop * self.passes}. Take a smaller share, or more clients."
            )
        for _ in range(self.passes):
            score_KN = spectral_scores(votes_KNC)
            keep = score_KN.argsort(dim=0, stable=True)[: len(votes_KNC) - drop]
            votes_KNC = votes_KNC.gather(0, keep[..., None].expand(*keep.shape, votes_KNC.shape[-1]))
        return votes_KNC.mean(dim=0)


def spectral_scores(votes_KNC: Tensor) -> Tensor:
    """|<v_k - mean, u>| for each client and sample, (K, N); u as in `SpectralFilter`."""
    centred_NKC = (votes_KNC - votes_KNC.mean(dim=0)).transpose(0, 1)
    # The left singular vectors, times their values, are the projections on the covariance's eigenvectors.
    left_NKK, values_NK, _ = torch.linalg.svd(centred_NKC, full_matrices=False)
    return (left_NKK[..., 0] * values_NK[..., :1]).abs().transpose(0, 1)


class ExpGuard(Aggregation):
    """A weighted mean whose weights fall, round by round, with each client's distance to a robust answer.

        score_k = mean over samples of |v_k - r(v)|;   w_k <- w_k · exp(-eta · score_k);   answer = Σ w_k v_k / Σ w_k

    Every call is a round: the weights stay with the object (`weights`), which begins with equal ones.

    Args:
        eta: how fast a client falls. The source names no value; with probabilities, of which two lie at most √2 apart,
            4 takes a client that always contradicts down to some 2 % of an agreeing one's weight in one round.
        robust: the rule r; None takes the median of each class.

    Source: Roux et al., "On the Byzantine-Resilience of Distillation-Based Federated Learning", ICLR 2025,
    arXiv 2402.12265.
    """

    def __init__(self, eta: float = 4.0, robust: Aggregation | None = None, of: Form = "logits") -> None:
        super().__init__(of)
        self.eta, self.robust = check_positive("eta", eta), robust or Median()
        self._log_weights_K: Tensor | None = None  # their logarithms: a weight itself would be 0 after many rounds

    @property
    def weights(self) -> Tensor | None:
        """The clients' weights (K,), summing to 1; None before the first call."""
        return None if self._log_weights_K is None else self._log_weights_K.softmax(dim=0)

    def combine(self, votes_KNC: Tensor) -> Tensor:
        log_weights_K = fallen(self._start(votes_KNC), votes_KNC, self.robust(votes_KNC), self.eta)
        self._log_weights_K = log_weights_K
        return (log_weights_K.softmax(dim=0).to(votes_KNC)[:, None, None] * votes_KNC).sum(dim=0)

    def _start(self, votes_KNC: Tensor) -> Tensor:
        before = self._log_weights_K
        if before is None:
            return torch.zeros(len(votes_KNC), dtype=torch.float64, device=votes_KNC.device)
        if len(before) != len(votes_KNC):
            raise ValueError(
                f"votes: found {len(votes_KNC)} clients, and this ExpGuard has weights of {len(before)} from the "
                "rounds before. Each federation needs an ExpGuard of its own."
            )
        return before.to(votes_KNC.device)

    def state(self) -> Tensor | None:
        return self._log_weights_K

    def load_state(self, state: Tensor | None) -> None:
        self._log_weights_K = state


def fallen(log_weights_K: Tensor, votes_KNC: Tensor, centre_NC: Tensor, eta: float) -> Tensor:
    """ExpGuard's step as a pure function: log w_k - eta · score_k."""
    return log_weights_K - eta * outlier_scores(votes_KNC, centre_NC).to(log_weights_K)
