"""How a model is wrapped under torchrun. Not run on a GPU: stand-ins record what would be called there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from normkd_explore.training.machine import processes, strategy


def test_ddp_is_made_in_the_stream_in_which_the_model_is_trained(monkeypatch):
    """In a side stream, PyTorch 2.15 warns that AccumulateGrad's stream is another, and waits at each step."""
    made = []
    monkeypatch.setattr(strategy, "DistributedDataParallel", lambda module, **options: made.append((module, options)))
    monkeypatch.setattr(torch.cuda, "Stream", lambda *_: pytest.fail("a side stream"))
    monkeypatch.setattr(strategy.InThisStream, "_determine_ddp_device_ids", lambda self: [1])
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(processes, "launched", lambda: True)
    model = nn.Linear(1, 1)
    processes.fabric_options("cpu", "")["strategy"].setup_module(model)
    ((wrapped, options),) = made
    assert wrapped is model and options.pop("device_ids") == [1] and list(options.values()) == [False]
