"""Seeding one device's generators draws what `torch.manual_seed` draws."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from normkd_explore.training.machine.seeding import seed_generators

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


def draws(device: str) -> list[torch.Tensor]:
    ones = torch.ones(64, device=device)
    return [F.dropout(ones), torch.rand(5, device=device), torch.randperm(20), torch.randn(3)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_the_same_numbers_as_after_manual_seed(device, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        wanted = draws(device)
        seed_generators(seed, torch.device(device))
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(draws(device), wanted, strict=True))


def test_another_seed_draws_something_else():
    with torch.random.fork_rng():
        seed_generators(1, torch.device("cpu"))
        first = torch.rand(5)
        seed_generators(2, torch.device("cpu"))
        assert not torch.equal(first, torch.rand(5))
