"""Memory worked out before a run is what a real step takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from normkd_explore.data import make_batches
from normkd_explore.models import create_model
from normkd_explore.training import get_preset
from normkd_explore.training.machine.free_memory import available_bytes
from normkd_explore.training.planning.memory import cache_bytes, estimate_memory, kept_for_backward, resident_bytes
from tests.helpers.toy import toy_dataset


def test_kept_tensors_of_a_small_network_are_those_one_can_count(monkeypatch):
    """Convolution and linear layer keep their input, ReLU its output, BatchNorm its input and two statistics."""

    class Small(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
            self.append(nn.Linear(8 * 10 * 10, 7))

    monkeypatch.setattr("normkd_explore.training.planning.memory.create_model", lambda name, num_classes: Small())
    B, pixels = 4, 10 * 10
    image, wide, statistics, logits = B * 3 * pixels, B * 8 * pixels, 2 * 8, B * 7
    counted = 4 * (image + wide + wide + statistics + logits)  # input, BatchNorm's input, ReLU's output
    # Flattening channels_last pixels copies them once more for the linear layer.
    found = sum(kept_for_backward("small", 7, 10, B))
    assert found in (counted, counted + 4 * wide)


@pytest.mark.parametrize("name, size", [("resnet8", 32), ("resnet18", 64), ("mobilenetv1", 64)])
def test_shapes_alone_give_what_a_real_step_keeps(name, size):
    model = create_model(name, num_classes=10).train().to(memory_format=torch.channels_last)
    own = {tensor.data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    kept = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    images_BCHW = torch.zeros(3, 3, size, size).to(memory_format=torch.channels_last)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits_BC = model(images_BCHW)
    assert sum(kept_for_backward(name, 10, size, 3)) == pytest.approx(
        sum(kept.values()) + 4 * logits_BC.numel(), rel=0.02
    )


def test_memory_of_the_published_recipe():
    recipe = get_preset("imagenet/resnet34-resnet18")
    whole, half = (
        estimate_memory(replace(recipe, precision=precision), 1000, 224) for precision in ("32-true", "bf16-mixed")
    )
    assert whole.gradients == whole.momentum == 4 * 11_689_512  # methods' parameter counts, 4 bytes each
    assert whole.weights == pytest.approx(4 * (11_689_512 + 21_797_672), rel=0.01)
    assert half.gradients == whole.gradients
    assert 0.45 < half.activations / whole.activations < 0.6
    quarter = estimate_memory(recipe, 1000, 224, batch_size=128)
    assert quarter.activations / whole.activations == pytest.approx(0.25, rel=0.01)
    assert whole.images == 2 * 512 * 3 * 224 * 224 * 4
    assert whole.total == sum(vars(whole).values())


def test_a_method_without_teacher_needs_less():
    with_teacher, alone = (
        estimate_memory(get_preset("cifar100/resnet20-resnet8x4", method), 100, 32) for method in ("kd", "ce")
    )
    assert with_teacher.weights - alone.weights == pytest.approx(4 * 278_324, rel=0.01)
    assert with_teacher.activations == alone.activations


def test_resident_images_are_counted_as_they_are_kept():
    dataset = toy_dataset()
    batches = [
        make_batches(dataset, split, 4, augment=augment)
        for split, augment in (("train", True), ("val", False), ("test", False))
    ]
    real = sum(b.windows_NSSHR.untyped_storage().nbytes() for b in batches)
    assert resident_bytes(dataset) == real


def test_teacher_logits_of_cifar100():
    assert cache_bytes(162, 50_000, 100) == 3_240_000_000
    assert cache_bytes(0, 50_000, 100) == 0


def test_free_memory_is_known_on_linux():
    free = available_bytes(torch.device("cpu"))
    assert free is None or 2**20 < free < 2**50
