"""The loop against an independent one, in lockstep, and in trouble."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from normkd_explore.data import make_batches
from normkd_explore.models import create_model, load_checkpoint
from normkd_explore.training import (
    NonFiniteError,
    Run,
    RunFolder,
    Teacher,
    compare,
    fit,
    make_fabric,
    new_student,
    train,
)
from normkd_explore.training.learner import Learner
from normkd_explore.training.recipes.schedule import learning_rate, scale_milestones
from tests.helpers.toy import BATCH, CLASSES, TRAIN, toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import quiet


def test_equals_a_plain_loop_in_plain_pytorch(tmp_path):
    """R11: the framework changes no number: a twenty-line loop with torch's SGD and the KD formula agrees."""
    dataset, where, recipe = toy_dataset(), toy_where(tmp_path), toy_recipe("kd")
    train(recipe, tmp_path / "run", where, watch=quiet, dataset=dataset)
    teacher = load_checkpoint("resnet8", where.teacher_weights, num_classes=CLASSES).eval()
    torch.manual_seed(recipe.seed)
    student = create_model("resnet8", num_classes=CLASSES)
    optimizer = torch.optim.SGD(student.parameters(), recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
    batches = make_batches(dataset, "train", BATCH, augment=True, seed=recipe.seed)
    for epoch in range(recipe.epochs):
        for step, batch in enumerate(batches.epoch(epoch)):
            for group in optimizer.param_groups:
                at = epoch * len(batches) + step
                group["lr"] = learning_rate(recipe.schedule, recipe.lr, at, len(batches), recipe.epochs)
            with torch.no_grad():
                target_BC = F.softmax(teacher(batch.images_BCHW) / 4, dim=1)
            logits_BC = student(batch.images_BCHW)
            kd = 16 * F.kl_div(F.log_softmax(logits_BC / 4, dim=1), target_BC, reduction="batchmean")
            (0.1 * F.cross_entropy(logits_BC, batch.labels_B) + 0.9 * kd).backward()
            optimizer.step()
            optimizer.zero_grad()
    ours = load_file(tmp_path / "run" / "student.safetensors")
    for name, tensor in student.state_dict().items():
        torch.testing.assert_close(ours[name], tensor, rtol=2e-3, atol=2e-4, msg=name)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_lockstep_students_end_as_they_would_alone(tmp_path, precision):
    dataset, where = toy_dataset(), toy_where(tmp_path)
    recipes = [toy_recipe(method, precision=precision) for method in ("ce", "kd", "normkd")]
    compare(recipes, [tmp_path / "lockstep" / r.method for r in recipes], where, watch=quiet, dataset=dataset)
    for recipe in recipes:
        train(recipe, tmp_path / "alone" / recipe.method, where, watch=quiet, dataset=dataset)
        together = load_file(tmp_path / "lockstep" / recipe.method / "student.safetensors")
        alone = load_file(tmp_path / "alone" / recipe.method / "student.safetensors")
        assert all(torch.equal(tensor, together[name]) for name, tensor in alone.items()), recipe.method


def test_students_differ_between_methods_and_seeds(tmp_path):
    where = toy_where(tmp_path)
    weights = {}
    for method, seed in (("kd", 0), ("normkd", 0), ("kd", 1)):
        out = tmp_path / f"{method}{seed}"
        train(toy_recipe(method, epochs=1, seed=seed), out, where, watch=quiet, dataset=toy_dataset())
        weights[method, seed] = load_file(out / "student.safetensors")["fc.weight"]
    assert not torch.equal(weights["kd", 0], weights["normkd", 0])
    assert not torch.equal(weights["kd", 0], weights["kd", 1])


def test_teacher_is_never_changed_and_the_student_is_in_train_mode(tmp_path):
    dataset, where, fabric = toy_dataset(), toy_where(tmp_path), make_fabric("cpu")
    teacher = Teacher(load_checkpoint("resnet8", where.teacher_weights, num_classes=CLASSES), fabric)
    before = teacher.fingerprint()
    batches = make_batches(dataset, "train", BATCH, augment=True)
    recipe = toy_recipe("normkd")
    learner = Learner(recipe, new_student("resnet8", CLASSES, 0), fabric, len(batches))
    modes = []

    def watch(moment, runs):
        modes.append((moment.epoch, learner.model.training, teacher.model.training))

    fit([Run("normkd", learner)], batches, make_batches(dataset, "val", 8, augment=False), "val", teacher, watch)
    assert teacher.fingerprint() == before
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
    assert {mode[1:] for mode in modes} == {(True, False)} and {mode[0] for mode in modes} == {0, 1}
    assert [record["val"]["n"] for record in learner.history] == [20, 20]


def test_global_random_state_is_left_alone(tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train(toy_recipe("ce", epochs=1), tmp_path / "run", watch=quiet, dataset=toy_dataset())
    assert torch.equal(before, torch.get_rng_state())


def test_nan_stops_before_the_update_and_says_where(tmp_path):
    """R6: the step that went wrong changes no parameter, whichever part of the loss noticed it."""
    dataset, fabric = toy_dataset(), make_fabric("cpu")
    batches = make_batches(dataset, "train", BATCH, augment=True)
    learner = Learner(toy_recipe("ce", lr=1e30), new_student("resnet8", CLASSES, 0), fabric, len(batches))
    seen = []

    def watch(moment, runs):
        seen.append({name: tensor.clone() for name, tensor in learner.module.named_parameters()})

    with pytest.raises(NonFiniteError, match=r"epoch 1, step \d+ \(learning rate .*--lr"):
        fit([Run("ce", learner)], batches, batches, "val", watch=watch)
    assert all(torch.equal(tensor, seen[-1][name]) for name, tensor in learner.module.named_parameters())
    assert all(torch.isfinite(tensor).all() for tensor in seen[-1].values())


def test_nan_in_the_distillation_loss_names_the_step_too(tmp_path):
    recipe = toy_recipe("normkd", lr=1e30)
    with pytest.raises(NonFiniteError, match=r"normkd.*not finite in epoch 1"):
        train(recipe, tmp_path / "run", toy_where(tmp_path), watch=quiet, dataset=toy_dataset())
    assert not RunFolder(tmp_path / "run").finished


def test_run_folder_holds_what_it_promises(tmp_path):
    recipe = toy_recipe("dkd")
    summary = train(recipe, tmp_path / "run", toy_where(tmp_path), watch=quiet, dataset=toy_dataset())
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "config.yaml",
        "environment.json",
        "inputs.json",
        "metrics.jsonl",
        "student.safetensors",
        "checkpoints",
        "summary.json",
    }
    folder = RunFolder(tmp_path / "run")
    assert folder.recipe() == recipe
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    # The warm-up of DKD: 1/20 in the first epoch, 2/20 in the second.
    assert [line["kd_weight"] for line in lines] == pytest.approx([0.05, 0.10])
    assert summary["last"]["epoch"] == 2 and summary["chosen_on"] == "val" and summary["test"]["n"] == 30
    assert summary["best"]["top1"] == max(line["val"]["top1"] for line in lines)
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["packages"]["torch"]
    assert lines[0]["images_per_second"] > 0 and TRAIN == 56


def test_paper_protocol_reports_last_and_best_test_epoch(tmp_path):
    dataset = replace(toy_dataset(), val=None)
    summary = train(toy_recipe("ce", epochs=3), tmp_path / "run", watch=quiet, dataset=dataset)
    metrics = RunFolder(tmp_path / "run").metrics()
    assert summary["chosen_on"] == "test"
    assert summary["test"] == metrics[-1]["test"] and summary["best"]["top1"] == max(m["test"]["top1"] for m in metrics)


def test_an_evaluation_that_is_not_finite_ends_with_the_epoch_and_the_remedy(tmp_path):
    """Batch norm's running statistics may overflow while every training batch, which does not use them, is fine."""

    def spoil(moment, runs):
        for name, buffer in runs[0].learner.module.named_buffers():
            if moment.epoch == 1 and name.endswith("running_mean"):
                buffer.fill_(float("nan"))

    with pytest.raises(NonFiniteError, match=r"resnet8 with ce: the val loss after epoch 2 is nan.*lower --lr"):
        train(toy_recipe("ce"), tmp_path / "run", watch=spoil, dataset=toy_dataset())
    assert [line["epoch"] for line in RunFolder(tmp_path / "run").metrics()] == [1]


def test_published_step_schedule():
    """0.05 for epochs 1-150, then a tenth after epochs 150, 180 and 210, as the field's CIFAR-100 recipe says."""
    epochs = (0, 149, 150, 180, 210, 239)
    rates = [learning_rate("step", 0.05, epoch * 782, 782, 240, (150, 180, 210)) for epoch in epochs]
    assert rates == pytest.approx([0.05, 0.05, 0.005, 0.0005, 0.00005, 0.00005])
    assert scale_milestones((150, 180, 210), 240, 24) == (15, 18, 21)


def test_one_cycle_rises_once_and_ends_near_zero():
    rates = [learning_rate("one_cycle", 0.1, step, 10, 10) for step in range(100)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.1) and top == 20
    assert all(b > a for a, b in pairwise(rates[: top + 1]))
    assert all(b < a for a, b in pairwise(rates[top:]))
    assert rates[-1] < 1e-4
