"""A GPU is never waited for without need; the device "meta" stands in for one to which data must be copied."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from normkd_explore.data import make_batches
from normkd_explore.data.images import streaming
from normkd_explore.training import evaluate
from tests.helpers.photos import open_photos


class Copies(TorchDispatchMode):
    """Records what is copied from the host to the device "meta"."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.device.type == "meta":
            sources = [arg for arg in args if isinstance(arg, torch.Tensor) and arg.device.type == "cpu" and arg.ndim]
            blocking = not (kwargs or {}).get("non_blocking", False)
            self.found += [(tuple(source.shape), source.dtype, blocking) for source in sources]
        return result


def test_a_step_copies_its_pixels_and_nothing_else(photos):
    """What an epoch needs goes to the device before its first step, and what a step needs is not waited for."""
    batches = make_batches(open_photos(photos), "train", 5, augment=True, workers=0, device="meta")
    with Copies() as copies:
        for step, batch in enumerate(batches.epoch(0)):
            if step == 0:
                copies.found.clear()
            assert {part.device.type for part in batch} == {"meta"}
    assert copies.found == [((images, 100, 100, 3), torch.uint8, False) for images in (5, 2)]


def test_constants_are_made_once(photos, monkeypatch):
    batches = make_batches(open_photos(photos), "train", 5, augment=True, workers=0)

    def again(*_):
        raise AssertionError("made inside an epoch")

    monkeypatch.setattr("normkd_explore.data.dataset.row_constants", again)
    monkeypatch.setattr(streaming, "row_constants", again)
    assert len(list(batches.epoch(0))) == 3


def test_an_evaluation_takes_its_counts_to_the_device_once(photos, monkeypatch):
    model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 4))
    batches = list(make_batches(open_photos(photos), "test", 3, augment=False, workers=0).epoch(0))
    made, original = [], torch.Tensor.new_tensor
    monkeypatch.setattr(torch.Tensor, "new_tensor", lambda *a, **k: made.append(1) or original(*a, **k))
    monkeypatch.setattr(torch, "tensor", lambda *a, **k: pytest.fail("made from the host's values"))
    found = evaluate(model, batches)
    assert found["n"] == 8 and len(batches) == 3 and len(made) == 1
