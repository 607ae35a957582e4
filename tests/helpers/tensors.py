"""State dicts compared to the last bit."""

from __future__ import annotations

import torch


def assert_same_tensors(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
