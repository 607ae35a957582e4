"""Compiled training in seconds: a compiler that only counts, and a small network with dropout."""

from __future__ import annotations

import torch
from torch import nn

from normkd_explore.data import make_batches
from normkd_explore.models.resnet import BasicBlock
from normkd_explore.training import make_fabric
from normkd_explore.training.learner import Learner
from tests.helpers.toy import BATCH, CLASSES, TRAIN, toy_dataset, toy_recipe

FULL_STEPS = TRAIN // BATCH  # the last step of an epoch is smaller


class Backend:
    """A compiler that changes nothing and counts: graphs made, and how often their forward pass ran, for how many."""

    def __init__(self) -> None:
        self.graphs, self.rows = 0, []

    def __call__(self, graph, inputs):
        self.graphs += 1

        def run(*values):
            self.rows.append(
                max(
                    len(value)
                    for value in values
                    if isinstance(value, torch.Tensor)
                    and value.dim() == 4
                    and value.shape[1] == 3
                    and value.shape[-1] > 3
                )
            )
            return graph(*values)

        return run


class Small(nn.Module):
    """A residual network that compiles in seconds, with dropout for what depends on random numbers."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.conv, self.norm, self.block = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), BasicBlock(8, 16, 2)
        self.fc, self.dropout = nn.Linear(16, CLASSES), dropout

    def forward(self, images_BCHW):
        map_BKHW = torch.relu(self.block(self.norm(self.conv(images_BCHW))))
        return self.fc(nn.functional.dropout(map_BKHW.mean((2, 3)), self.dropout, self.training))


def small(dropout: float = 0.5, seed: int = 0) -> Small:
    torch.manual_seed(seed)
    return Small(dropout)


def learner_of(model: nn.Module, **changes) -> tuple[Learner, list]:
    """A learner with cross-entropy, and the batches of an epoch."""
    batches = make_batches(toy_dataset(), "train", BATCH, augment=True)
    learner = Learner(toy_recipe("ce", lr=0.05, **changes), model, make_fabric("cpu"), len(batches))
    return learner, list(batches.epoch(0))


def take_steps(learner: Learner, batches: list, first: int = 0) -> list[float]:
    """Loss after each step."""
    losses = []
    for step, batch in enumerate(batches[first:], first):
        before = learner.totals.clone()
        learner.model.train()
        learner.step(batch, None, 0, step)
        losses.append(float((learner.totals - before)[0]) / len(batch.labels_B))
    return losses
