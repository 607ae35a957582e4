"""Two processes on the CPU (gloo) under torchrun learn what one learns."""

from __future__ import annotations

import json
import re

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from normkd_explore.data import make_batches
from normkd_explore.models import create_model
from normkd_explore.training import RunFolder, evaluate, material, train
from normkd_explore.training.recipes.schedule import learning_rate
from normkd_explore.training.runs.checkpoint import latest_checkpoint
from tests.helpers.process_scenes import launch
from tests.helpers.shared_runs import (
    METHODS_HERE,
    assert_close,
    odd_dataset,
    one_each,
    plain_student,
    recipe_of,
    streamed,
    toy_where_empty,
)
from tests.helpers.toy import BATCH, CLASSES, toy_recipe
from tests.helpers.watchers import quiet


@pytest.fixture(scope="module")
def numbers(place):
    """What the two processes of `scene_numbers` found, and their folder."""
    folder = place / "numbers"
    folder.mkdir()
    (folder / "teacher.safetensors").write_bytes((place / "teacher.safetensors").read_bytes())
    done = launch("numbers", folder)
    assert done.returncode == 0, done.stderr
    found = [json.loads((folder / f"found{rank}.json").read_text()) for rank in range(2)]
    return folder, found, done.stderr


@pytest.mark.parametrize("method", METHODS_HERE)
def test_two_processes_learn_what_one_learns(numbers, alone, method):
    """Same losses, gradient norms, metrics and weights, the last (smaller) step of each epoch included."""
    folder, _, _ = numbers
    pairs = zip(RunFolder(folder / "plain" / method).metrics(), RunFolder(alone / method).metrics(), strict=True)
    for ours, theirs in pairs:
        assert ours["train"] == pytest.approx(theirs["train"], rel=1e-4)
        assert ours["val"] == pytest.approx(theirs["val"], rel=1e-4)
        assert ours["val"]["n"] == 21 and ours["lr"] == theirs["lr"]
    assert_close(folder / "plain" / method / "student.safetensors", alone / method / "student.safetensors")


def test_learned_temperature_is_averaged_over_processes(numbers, alone):
    """CTKD's theta is no parameter of the model: without averaging, each process would follow its own share."""
    first, second = (mine["theta"] for mine in numbers[1])
    assert first == second
    alone_theta = latest_checkpoint(alone / "ctkd" / "checkpoints").state["objective"]["distillation.policy.theta"]
    assert first == pytest.approx(alone_theta.item(), abs=2e-6) and abs(first - 1) > 1e-3


def test_every_image_is_counted_once(numbers, alone):
    """31 and 21 images are odd numbers; 21 in steps of 4 leave process 1 without an image in the last step."""
    _, found, _ = numbers
    for mine in found:
        for summary, method in zip(mine["summaries"], METHODS_HERE, strict=True):
            expected = RunFolder(alone / method).summary()["test"]
            assert summary["test"]["n"] == 31
            assert summary["test"] == pytest.approx(expected, rel=1e-4)
        whole = evaluate(plain_student("", CLASSES, 0), make_batches(odd_dataset(), "val", 21, augment=False).epoch(0))
        assert mine["few"] == pytest.approx(whole, rel=1e-5) and whole["n"] == 21


@pytest.mark.parametrize("name, make", [("one_each", one_each), ("streamed", streamed)])
def test_splits_with_fewer_images_than_processes(numbers, tmp_path, name, make):
    """One validation and one test image: process 1 has none and takes part; metrics are those of one process."""
    folder, found, _ = numbers
    before, material.new_student = material.new_student, plain_student
    try:
        train(recipe_of("ce"), tmp_path / name, toy_where_empty(), watch=quiet, dataset=make(tmp_path))
    finally:
        material.new_student = before
    alone = RunFolder(tmp_path / name)
    for mine in found:
        assert mine[name]["test"] == pytest.approx(alone.summary()["test"], rel=1e-4)
        assert mine[name]["test"]["n"] == 1
    for ours, theirs in zip(RunFolder(folder / name).metrics(), alone.metrics(), strict=True):
        assert ours["val"] == pytest.approx(theirs["val"], rel=1e-4) and ours["val"]["n"] == 1
        assert ours["train"] == pytest.approx(theirs["train"], rel=1e-4)


def test_fewer_training_images_than_processes_are_refused_before_anything_is_written(numbers):
    for files, memory, written in (mine["too_few"] for mine in numbers[1]):
        assert files == memory
        assert "found 1 training images for 2 processes, wanted at least one for each" in files
        assert written == []


def test_ctrl_c_on_one_process_stops_all_at_one_step_and_resume_is_exact(numbers):
    """The continued run ends with the bits of the one that was never stopped."""
    folder, found, _ = numbers
    assert [mine["stopped"] for mine in found] == [[1, 2], [1, 2]]
    files = (folder / "stopped" / "student.safetensors", folder / "plain" / "ctkd" / "student.safetensors")
    assert_close(*files, rtol=0, atol=0)
    for mine, theirs in zip(*(RunFolder(path.parent).metrics() for path in files), strict=True):
        assert mine["train"] == theirs["train"] and mine["val"] == theirs["val"]


def test_nan_in_one_share_stops_all_with_the_images_of_the_step(numbers):
    _, found, _ = numbers
    steps = list(make_batches(odd_dataset(), "train", BATCH, augment=True, seed=0).epoch(0))
    for message, images in (mine["nan"] for mine in found):
        assert re.search(r"not finite in epoch 1, step 2 \(learning rate 0\.\d+\)", message)
        assert sorted(images) == sorted(steps[2].index_B.tolist())
        assert all(str(image) in message for image in images)


def test_an_error_of_the_first_process_ends_the_others_too(numbers):
    first, second = (mine["refused"] for mine in numbers[1])
    assert first.startswith("FileExistsError") and "--out" in first
    assert second.startswith("ProcessLost: process 1 of 2 ends because the first one did") and "finished run" in second


def test_batch_norm_sees_each_share_and_averages_its_statistics(numbers, place):
    """An independent loop that shows each half of a batch by itself and averages gradients and running statistics."""
    recipe, data = toy_recipe("kd"), odd_dataset()
    teacher = create_model("resnet8", num_classes=CLASSES).eval()
    teacher.load_state_dict(load_file(place / "teacher.safetensors"))
    torch.manual_seed(recipe.seed)
    student = create_model("resnet8", num_classes=CLASSES)
    optimizer = torch.optim.SGD(student.parameters(), recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
    batches = make_batches(data, "train", BATCH, augment=True, seed=recipe.seed)
    for epoch in range(recipe.epochs):
        for step, batch in enumerate(batches.epoch(epoch)):
            rate = learning_rate(recipe.schedule, recipe.lr, epoch * len(batches) + step, len(batches), recipe.epochs)
            optimizer.param_groups[0]["lr"] = rate
            before, buffers = {k: v.clone() for k, v in student.named_buffers()}, []
            for share in (slice(0, None, 2), slice(1, None, 2)):
                student.load_state_dict(before, strict=False)
                images_BCHW = batch.images_BCHW[share]
                with torch.no_grad():
                    target_BC = F.softmax(teacher(images_BCHW) / 4, dim=1)
                logits_BC = student(images_BCHW)
                kd = 16 * F.kl_div(F.log_softmax(logits_BC / 4, dim=1), target_BC, reduction="batchmean")
                loss = 0.1 * F.cross_entropy(logits_BC, batch.labels_B[share]) + 0.9 * kd
                (loss / 2).backward()
                buffers.append({k: v.clone() for k, v in student.named_buffers()})
            mean = {k: (v + buffers[1][k]) / 2 if v.is_floating_point() else v for k, v in buffers[0].items()}
            student.load_state_dict(mean, strict=False)
            optimizer.step()
            optimizer.zero_grad()
    ours = load_file(numbers[0] / "bn" / "student.safetensors")
    for name, tensor in student.state_dict().items():
        torch.testing.assert_close(ours[name], tensor, rtol=2e-3, atol=2e-4, msg=name)


def test_the_log_says_once_what_a_share_means(numbers):
    text = numbers[2]
    said = "2 processes: 8 of each batch's 16 images a process"
    assert text.count(said) == 1  # though the scene has six runs and two processes
    assert "compares the samples" not in text and "deprecated" not in text
