"""Training with kept logits: runs compared to the last bit, and caches filled."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from normkd_explore.data import make_batches
from normkd_explore.training import RunFolder, TeacherCache
from tests.helpers.toy import BATCH, toy_dataset
from tests.helpers.watchers import quiet

VIEWS = 50  # 5 x 5 crops, two flips
METHODS = ("kd", "normkd", "dkd")


def weights(folder):
    return load_file(folder / "student.safetensors")


def assert_same_run(mine, theirs):
    """Every bit of the weights, and every number of every epoch but the times."""
    first, second = weights(mine), weights(theirs)
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    for a, b in zip(RunFolder(mine).metrics(), RunFolder(theirs).metrics(), strict=True):
        assert {key: a[key] for key in ("train", "val", "lr")} == {key: b[key] for key in ("train", "val", "lr")}


def batches(seed=0, dataset=None, size=BATCH):
    return make_batches(dataset or toy_dataset(), "train", size, augment=True, seed=seed)


def attach(teacher, place, dataset=None, said=None, **options):
    dataset = dataset or toy_dataset()
    cache = TeacherCache(place, tell=quiet if said is None else said.append, **options)
    return cache.attach(teacher, dataset, batches(dataset=dataset))


def fill(teacher, place, epochs=2):
    """Train-like passes that fill a cache; gives the cached teacher."""
    cached, prepared = attach(teacher, place)
    for epoch in range(epochs):
        for batch in prepared.epoch(epoch):
            cached.logits(batch)
    return cached
