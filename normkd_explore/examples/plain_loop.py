"""NormKD in a loop of your own: autocast, gradient scaling, and steps made of several batches.

    python -m normkd_explore.examples.plain_loop

Copy `train_epoch`; nothing in it knows of this package but the loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normkd_explore.losses import LogitLoss, NormKD

Pair = tuple[Tensor, Tensor]


def train_epoch(
    student: nn.Module,
    teacher: nn.Module,
    loader: Iterable[Pair],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    distil: LogitLoss,
    dtype: torch.dtype = torch.bfloat16,
    accumulate: int = 1,
) -> float:
    """One pass over `loader`, with one update for every `accumulate` batches; returns the mean loss of an image.

    Losses are means over a batch, so each batch counts by its share of its step's images: as one large batch would.
    """
    device = next(student.parameters()).device
    student.train()
    teacher.eval()  # also the teacher's batch norm must not learn
    total, seen = torch.zeros((), device=device), 0
    for batches in _groups(loader, accumulate):
        images_of_step = sum(len(labels_B) for _, labels_B in batches)
        for images_BCHW, labels_B in batches:
            images_BCHW, labels_B = images_BCHW.to(device), labels_B.to(device)
            with torch.autocast(device.type, dtype):
                with torch.no_grad():
                    logits_t = teacher(images_BCHW)
                logits_s = student(images_BCHW)
                loss = 0.1 * F.cross_entropy(logits_s, labels_B) + 0.9 * distil(logits_s, logits_t, labels_B)
            scaler.scale(loss * (len(labels_B) / images_of_step)).backward()
            total += loss.detach() * len(labels_B)
        scaler.unscale_(optimizer)  # before clipping, so that the limit is one of true gradients
        nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        seen += images_of_step
    return total.item() / seen


def _groups(loader: Iterable[Pair], size: int) -> Iterator[list[Pair]]:
    batches = iter(loader)
    while group := list(islice(batches, size)):
        yield group


def main() -> None:
    """Glyphs-100, the teacher that comes with the package, two passes."""
    from normkd_explore.examples.small_glyphs import small_glyphs

    loader, _, teacher, student = small_glyphs()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9)
    # bfloat16 needs no scaling; float16, on a GPU, does: then torch.amp.GradScaler("cuda").
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for epoch in range(2):
        loss = train_epoch(student, teacher, loader, optimizer, scaler, NormKD(2.0), accumulate=2)
        print(f"epoch {epoch + 1}: loss {loss:.3f}")


if __name__ == "__main__":
    main()
