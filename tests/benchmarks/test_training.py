"""The training benchmark measures what it says: its parts, without the clock."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks import field_loop
from benchmarks.batched_students import batched_step, one_after_the_other
from benchmarks.host_waits import waits_between
from benchmarks.training import BATCH, Bench, forward_flops, random_dataset, waits_inside_an_epoch
from normkd_explore.data import make_batches
from normkd_explore.losses import KD
from normkd_explore.models import create_model
from normkd_explore.training import Learner

PAIR = "resnet8/resnet8"


def test_reads_by_the_host_are_counted_between_start_and_stop():
    value = torch.ones(3)

    def run(start, stop):
        value.sum().item()
        start()
        for _ in range(4):
            value.sum().item()
        stop()
        value.sum().item()

    assert waits_between(run) == {"aten::_local_scalar_dense": 4}


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Loop and losses read values to check them on a CPU alone, where reading costs no waiting."""
    for place in ("checks", "training.learner"):
        monkeypatch.setattr(f"normkd_explore.{place}._may_read_values", lambda tensor: False)
    monkeypatch.setattr(Learner, "raise_if_bad", lambda learner, epoch: None)


def test_no_step_waits_for_the_device(as_on_a_gpu):
    """Batch, cached logits, student's step: the host reads no value of any of them."""
    assert waits_inside_an_epoch(Bench(PAIR, 4, 12 * BATCH, "cpu")) == {}


def test_a_wait_in_the_step_would_be_found(as_on_a_gpu, monkeypatch):
    count = Learner._count
    monkeypatch.setattr(Learner, "_count", lambda self, loss, *rest: (loss.ce.item(), count(self, loss, *rest)))
    assert waits_inside_an_epoch(Bench(PAIR, 3, 10 * BATCH, "cpu")) == {"aten::_local_scalar_dense": 3}


@pytest.mark.parametrize("contestant", ["field", "ours", "cached", "student"])
def test_every_contestant_runs(contestant, monkeypatch):
    monkeypatch.setattr(field_loop, "WORKERS", 0)
    assert Bench(PAIR, 1, 8 * BATCH, "cpu").rate(contestant) > 0


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="images: found 64, wanted at least 1024"):
        Bench(PAIR, 10, 64, "cpu")


def test_field_pictures_and_loss_are_the_same_task():
    """Its normalised pictures are among our views of the image, and its KD term is KD."""
    dataset = random_dataset(70)
    image, label = field_loop.Pictures(dataset)[5]
    views = torch.arange(dataset.views.count)
    ours = make_batches(dataset, "train", BATCH, augment=True).batch(torch.full_like(views, 5), views)
    distance = (ours.images_BCHW - image).abs().amax((1, 2, 3))
    assert label == ours.labels_B[0] and (distance < 1e-5).sum() == 1
    logits = torch.randn(2, 8, 100)
    torch.testing.assert_close(field_loop._kd(*logits), KD(4.0)(*logits))


def test_arithmetic_of_a_step_is_counted():
    """Against an independent count: outputs x inputs of each weight, times 2 operations and 3 passes."""
    model, counted = create_model("resnet8x4", num_classes=100).eval(), []

    def count(module, inputs, output):
        places = output.shape[-2:].numel() if isinstance(module, nn.Conv2d) else 1
        counted.append(module.weight.numel() * places)

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    model(torch.zeros(1, 3, 32, 32))
    bench = Bench("resnet8/resnet8x4", 1, 8 * BATCH, "cpu")
    assert bench.step_flops("cached") == bench.step_flops("student") == 6 * sum(counted)
    asked = forward_flops("resnet8")
    assert bench.step_flops("ours") == bench.step_flops("field") == 6 * sum(counted) + asked
    assert 0 < 9 * asked < 2 * sum(counted)  # a quarter of the width: about a sixteenth


def test_batched_students_get_the_gradients_of_students_alone():
    torch.manual_seed(0)
    models = [create_model("resnet8", num_classes=10) for _ in range(2)]
    images_BCHW, labels_B = torch.randn(8, 3, 16, 16), torch.randint(10, (8,))
    gradients, losses = batched_step(models)(images_BCHW, labels_B)
    alone = one_after_the_other(models, images_BCHW, labels_B)
    torch.testing.assert_close(losses, torch.stack(alone), rtol=1e-4, atol=1e-5)
    for student, model in enumerate(models):
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[name][student], parameter.grad, rtol=1e-3, atol=1e-4, msg=name)
