"""Losses under DistributedDataParallel: `torchrun -m tests.helpers.loss_scene FILE` leaves their gradients in FILE."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from normkd_explore.language import TokenKL, TokenNormKD
from normkd_explore.losses import CTKD, DKD, KD, LSKD, NormDKD, NormKD
from tests.helpers.feature_cases import rand

ROWS, CLASSES = 16, 7
LOSSES: dict[str, Callable[[], nn.Module]] = {
    loss.__name__: loss for loss in (KD, NormKD, LSKD, DKD, NormDKD, CTKD, TokenKL, TokenNormKD)
}
TOKENS = ("TokenKL", "TokenNormKD")
COUNTS = torch.tensor([1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 1, 1], dtype=torch.bool)
"""Which positions of the token losses count: 3 for the first process, 7 for the second."""


class Whole(nn.Module):
    """A student and its loss, which may learn too, as one module: then DDP averages all of it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.student, self.loss, self.tokens = nn.Linear(5, CLASSES), LOSSES[name](), name in TOKENS
        self.double()

    def forward(self, rows_B: Tensor, whole_step: int) -> Tensor:
        """The part that these rows of the step's `whole_step` have in its loss."""
        logits_s, logits_t = self.student(rand(ROWS, 5, seed=1)[rows_B]), 2 * rand(ROWS, CLASSES, seed=2)[rows_B]
        if self.tokens:
            counted_B = COUNTS[rows_B]
            return self.loss(logits_s, logits_t, counted_B) * counted_B.sum() / COUNTS.sum()
        return self.loss(logits_s, logits_t, rows_B % CLASSES) * len(rows_B) / whole_step


def gradients(module: nn.Module) -> dict[str, Tensor]:
    """Those of all parameters by name, without what DDP puts before it."""
    return {name.removeprefix("module."): p.grad for name, p in module.named_parameters() if p.grad is not None}


def main(file: Path) -> None:
    """Each process takes its half of the rows in two unequal batches, and waits for the other at the last."""
    distributed.init_process_group("gloo")
    rank, size, found = distributed.get_rank(), distributed.get_world_size(), {}
    own_B = torch.arange(ROWS).chunk(size)[rank]
    for name in LOSSES:
        module = DistributedDataParallel(Whole(name))
        parts = own_B.split([3, len(own_B) - 3])
        for part, rows_B in enumerate(parts, 1):
            with nullcontext() if part == len(parts) else module.no_sync():
                (size * module(rows_B, ROWS)).backward()  # DDP takes the mean of the processes
        found |= {f"{name} {key}": gradient for key, gradient in gradients(module).items()}
    if rank == 0:
        save_file(found, file)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
