"""One exchange: what the clients say of the public images, what is uploaded, what the server concludes.

Legend: K clients, N public images, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from normkd_explore.data import Batch
from normkd_explore.data.batches import mixed_seed
from normkd_explore.federated.aggregation import Aggregation
from normkd_explore.federated.attacks import Attack, Insight
from normkd_explore.federated.defences import ExpGuard, client_scores, ranks


class Exchange(NamedTuple):
    """What went over the wire in one round."""

    uploads_KNC: Tensor
    """The logits that the server got."""
    answer_NC: Tensor
    """What it sent back, as logits: the clients' teacher of this round."""


@torch.no_grad()
def predict(model: nn.Module, batches: Iterable[Batch]) -> Tensor:
    """Logits (N, C) of all images in order, in float32; the model is put in eval mode for the time and back."""
    was_training = model.training
    model.eval()
    logits_NC = torch.cat([model(batch.images_BCHW).float() for batch in batches])
    model.train(was_training)
    return logits_NC


def forge(logits_KNC: Tensor, attack: Attack | None, malicious: int, seed: int = 0) -> Tensor:
    """The uploads: what the clients say, the last `malicious` ones through `attack`.

    Each attacker has a generator of its own, drawn from (seed, client), and may look at the honest clients' mean.
    """
    if attack is None or malicious == 0:
        return logits_KNC
    honest = len(logits_KNC) - malicious
    mean_NC = logits_KNC[:honest].softmax(dim=-1).mean(dim=0)
    uploads_KNC = logits_KNC.clone()
    for client in range(honest, len(logits_KNC)):
        generator = torch.Generator().manual_seed(mixed_seed(seed, client))
        uploads_KNC[client] = attack(logits_KNC[client], Insight(mean_NC, generator))
    return uploads_KNC


def exchange(logits_KNC: Tensor, attack: Attack | None, malicious: int, rule: Aggregation, seed: int = 0) -> Exchange:
    """Attack, upload and aggregate the clients' logits."""
    uploads_KNC = forge(logits_KNC, attack, malicious, seed)
    return Exchange(uploads_KNC, rule.teach(uploads_KNC))


def describe(made: Exchange, rule: Aggregation, malicious: int, labels_N: Tensor) -> dict[str, Any]:
    """What one can say of an exchange, for metrics.jsonl: plain numbers.

    answer_top1: share of the public images that the server's answer gets right, by labels that nobody trains on;
    uploads_top1: the same of each upload. outlier_scores: see `client_scores`; attacker_ranks: the malicious clients'
    places among them, 1 the most outlying. weights: ExpGuard's, where that is the rule.
    """
    scores_K = client_scores(made.uploads_KNC)
    right = lambda logits: (logits.argmax(dim=-1) == labels_N).double().mean(dim=-1)  # noqa: E731
    found: dict[str, Any] = {
        "answer_top1": right(made.answer_NC).item(),
        "uploads_top1": right(made.uploads_KNC).tolist(),
        "outlier_scores": scores_K.tolist(),
        "attacker_ranks": ranks(scores_K)[len(scores_K) - malicious :],
    }
    if isinstance(rule, ExpGuard) and rule.weights is not None:
        found["weights"] = rule.weights.tolist()
    return found
