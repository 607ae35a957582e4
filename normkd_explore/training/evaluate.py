"""Accuracy of a model on a split: every image counted once, over all processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normkd_explore.data import Batch, Batches, Dataset, make_batches
from normkd_explore.training.machine import processes


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[Batch], shared: bool = False) -> dict[str, Any]:
    """Mean cross-entropy, top-1 and top-5 accuracy (fractions) and the number of images n.

    top-5 is left out where there are five classes or fewer. The model is put in eval mode for the time and back.
    `shared` says that `batches` are this process's share of the split: the sums of all processes are added, and the
    result is that of one process on the whole split.
    """
    was_training = model.training
    model.eval()
    sums, chances, images = torch.zeros(3, device=next((p.device for p in model.parameters()), None)), 0, 0
    for batch in batches:
        if len(batch.labels_B):  # the last step of a split may have no image for this process
            logits_BC = model(batch.images_BCHW)
            sums = sums + _batch_sums(logits_BC, batch.labels_B)
            chances, images = chances + logits_BC.numel(), images + len(logits_BC)
    model.train(was_training)
    # What the host knows joins the sums here: within the loop a GPU would be waited for at every batch.
    sums = torch.cat([sums, sums.new_tensor([chances, images])])
    loss, top1, top5, classes, n = (processes.total(sums) if shared else sums).tolist()
    if n == 0:
        raise ValueError("batches: found none, wanted at least one image to evaluate on.")
    result = {"loss": loss / n, "top1": top1 / n, "top5": top5 / n, "n": round(n)}
    if classes / n <= 5:
        del result["top5"]
    return result


def _batch_sums(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Cross-entropy and hits among the first one and five classes, summed over the batch."""
    logits_BC = logits_BC.float()
    best_BK = logits_BC.topk(min(5, logits_BC.shape[1]), dim=-1).indices
    hit_BK = best_BK == labels_B[:, None]
    loss = F.cross_entropy(logits_BC, labels_B, reduction="sum")
    return torch.stack([loss, hit_BK[:, 0].sum(), hit_BK.any(-1).sum()])


def eval_batches(dataset: Dataset, split: str, device: torch.device, workers: int | None = None) -> Batches:
    """This process's share of a split, each image as it is."""
    return make_batches(
        dataset,
        split,
        eval_size(len(dataset.split(split)), processes.size()),
        augment=False,
        device=device,
        workers=workers,
        rank=processes.rank(),
        world_size=processes.size(),
    )


def eval_size(images: int, size: int) -> int:
    """Images of an evaluation step: 256 a process, or a few less where the last step would leave a process none."""
    fitting = (step for step in range(256 * size, 0, -size) if images % step == 0 or images % step >= size)
    return next(fitting, 256 * size)
