"""The training benchmark measures what it says: its parts, without the clock."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks import field_loop
from benchmarks.batched_students import batched_step, one_after_the_other
from benchmarks.bench import BATCH, CLASSES, SIDE, Bench, random_dataset, waits_inside_an_epoch
from benchmarks.host_waits import waits_between
from benchmarks.limit import Convolution, convolutions, find_limit, forward_flops
from benchmarks.training import print_table, rows
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


@pytest.mark.parametrize("contestant", ["field", "tuned", "ours", "cached", "student"])
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
    asked = forward_flops("resnet8", CLASSES, SIDE)
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


def test_the_limit_is_the_best_of_product_and_convolutions(monkeypatch):
    """With a clock that makes each work take as long as it is told: the fastest per operation wins."""
    asked = []

    def seconds(work, device):
        work()
        asked.append(work.__qualname__.rpartition(".")[2])
        return 1e-3 if asked[-1] == "both" else 1.0

    monkeypatch.setattr("benchmarks.limit._best_seconds", seconds)
    limit = find_limit(("resnet8", "resnet8x4"), CLASSES, SIDE, 2, torch.device("cpu"), torch.float32)
    assert limit.what.endswith("with backward") and "convolution" in limit.what  # of resnet8x4, which has three alike
    assert limit.flops == pytest.approx(3 * 2 * 2 * 32**2 * 64**2 * 9 / 1e-3)
    assert asked.count("forward") == asked.count("both") and asked.count("<lambda>") == 1


def test_convolutions_of_a_network_are_counted():
    found = convolutions("resnet8", CLASSES, SIDE)
    assert found[Convolution(16, 16, 3, 1, 1, 32)] == 2 and found[Convolution(3, 16, 3, 1, 1, 32)] == 1
    without_classifier = forward_flops("resnet8", CLASSES, SIDE) - 2 * 64 * CLASSES
    assert sum(count * kind.flops for kind, count in found.items()) == without_classifier


def test_the_table_compares_with_the_field_turn_by_turn(capsys):
    """A machine that slows down between turns changes no ratio."""
    turns = {row: [] for row in rows(["32-true", "bf16-mixed"])}
    for speed in (1.0, 0.5, 0.8):
        for row, found in turns.items():
            rate = {"field": 100, "tuned": 110, "ours": 200, "cached": 300, "student": 320}[row[0]]
            rate *= speed * (2 if row[1] == "bf16-mixed" else 1)
            found.append({"rate": rate, "share": rate / 1000, "limit": 1e12 * speed, "limit_of": "a product"})
    print_table("a/b", turns)
    printed = capsys.readouterr().out
    lines = {tuple(line.split()[:2]): line.split()[2:] for line in printed.splitlines()}
    assert lines["cached", "bf16-mixed"][:6] == ["300", "480", "600", "6.00", "6.00", "6.00"]
    assert lines["field", "32-true"][3:6] == ["1.00"] * 3 and ("field", "bf16-mixed") not in lines
    assert "limit in bf16-mixed: 1,000 GFLOP/s, a product" in printed
