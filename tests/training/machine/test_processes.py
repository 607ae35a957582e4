"""Two processes on the CPU (gloo) under torchrun: the numbers of one process, and what happens when one of them ends.

`torchrun -m tests.training.machine.test_processes SCENE FOLDER` runs one of the scenes below in every process; the
tests start it, then look at what it left in FOLDER.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from normkd_explore.data import ArraySplit, Dataset, FileSplit, Views, make_batches
from normkd_explore.methods import METHODS
from normkd_explore.models import create_model
from normkd_explore.training import (
    Interrupted,
    NonFiniteError,
    RunFolder,
    Where,
    compare,
    evaluate,
    make_fabric,
    prepare,
    train,
)
from normkd_explore.training.evaluate import eval_size
from normkd_explore.training.learner import Learner
from normkd_explore.training.machine import processes
from normkd_explore.training.nonfinite import files_named
from normkd_explore.training.objective import Objective
from normkd_explore.training.recipes.schedule import learning_rate
from normkd_explore.training.runs.checkpoint import latest_checkpoint
from tests.helpers.toy import BATCH, CLASSES, toy_dataset, toy_recipe, toy_where

ROOT = Path(__file__).parents[3]
TRAIN_FILES = 18
METHODS_HERE = ("normkd", "ctkd")  # ctkd learns its temperature: a parameter that is not the model's


def plain_student(name: str, num_classes: int, seed: int) -> nn.Module:
    """A student without BatchNorm: what it computes for an image does not depend on the process's other images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2),
            nn.GroupNorm(2, 8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, num_classes),
        )


def recipe_of(method: str, **changes):
    """The toy recipe with a learning rate at which the plain student moves."""
    return toy_recipe(method, lr=0.5, **changes)


def odd_dataset():
    """The toy data with 21 validation and 31 test images: two processes cannot share them evenly."""
    whole, more = toy_dataset(), toy_dataset().train
    return replace(whole, val=first_of(more, 21), test=first_of(more, 31))


def streamed(folder: Path, train_images: int = TRAIN_FILES) -> Dataset:
    """Files with one validation and one test image, too few for two processes; 18 training images make steps of 16, 2.

    Every process writes files of its own, so that none reads one that another is writing.
    """
    whole = toy_dataset()
    parts = {name: (getattr(whole, name), count) for name, count in (("train", train_images), ("val", 1), ("test", 1))}
    own = folder / f"files{processes.rank()}"
    splits = {name: file_split(own / name, images, count) for name, (images, count) in parts.items()}
    return replace(whole, **splits, views=Views(pad=0, countable=False))


def file_split(folder: Path, images: ArraySplit, count: int) -> FileSplit:
    """Write the first `count` images as files and give their split."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{number}.png" for number in range(count)]
    for name, pixels_SSC in zip(names, images.images_NHWC, strict=False):
        Image.fromarray(pixels_SSC.numpy()).save(folder / name)
    return FileSplit(folder, np.array([os.fsencode(name) for name in names]), images.labels_N[:count], 12)


def one_each(folder: Path) -> Dataset:
    """The same numbers of images as `streamed`, in memory."""
    whole = toy_dataset()
    cut = {name: first_of(getattr(whole, name), n) for name, n in (("train", TRAIN_FILES), ("val", 1), ("test", 1))}
    return replace(whole, **cut)


def first_of(images: ArraySplit, count: int) -> ArraySplit:
    """The first `count` images."""
    return replace(images, images_NHWC=images.images_NHWC[:count], labels_N=images.labels_N[:count])


def quiet(moment, runs):
    """A watcher that shows nothing."""


def at(epoch: int, step: int, act):
    """A watcher that calls `act` once `step` steps of `epoch` are done."""

    def watch(moment, runs):
        if (moment.epoch, moment.step) == (epoch, step):
            act()

    return watch


def interrupt_second() -> None:
    """Ctrl-C on process 1 alone."""
    if processes.rank() == 1:
        os.kill(os.getpid(), signal.SIGINT)


# ------------------------------------------------------------------------------------- scenes, run by every process


def scene_numbers(folder: Path) -> dict[str, object]:
    """Lockstep training, exact metrics, stop and resume, a NaN in one share, an error of the first process."""
    where, data = toy_where_there(folder), odd_dataset()
    found: dict[str, object] = {}
    prepare.new_student = plain_student
    recipes = [recipe_of(method) for method in METHODS_HERE]

    def theta(moment, runs):
        found["theta"] = runs[1].learner.objective.distillation.policy.theta.item()

    outs = [folder / "plain" / recipe.method for recipe in recipes]
    found["summaries"] = compare(recipes, outs, where, watch=theta, dataset=data)
    found["stopped"] = stop_and_resume(folder / "stopped", where, data)
    found["nan"] = poisoned(folder / "nan", data)
    found["refused"] = refused(folder / "plain" / "normkd", where, data)
    found["one_each"] = train(recipe_of("ce"), folder / "one_each", where, watch=quiet, dataset=one_each(folder))
    found["streamed"] = train(recipe_of("ce"), folder / "streamed", where, watch=quiet, dataset=streamed(folder))
    found["too_few"] = too_few(folder, where)
    from normkd_explore.training.teacher.sources import new_student

    prepare.new_student = new_student
    train(toy_recipe("kd"), folder / "bn", where, watch=quiet, dataset=data)
    found["few"] = evaluate(
        plain_student("", CLASSES, 0),
        make_batches(data, "val", 4, augment=False, rank=processes.rank(), world_size=2).epoch(0),
        shared=True,
    )
    return found


def toy_where_there(folder: Path):
    """The teacher that the test put there."""
    return replace(toy_where_empty(), teacher_weights=folder / "teacher.safetensors")


def toy_where_empty():
    """The CPU, nothing else."""
    return Where(device="cpu")


def stop_and_resume(out: Path, where, data) -> list[object]:
    """Ctrl-C on process 1 after step 2 of epoch 2, then on."""
    recipe = recipe_of("ctkd")
    try:
        train(recipe, out, where, watch=at(1, 2, interrupt_second), dataset=data)
    except Interrupted as stop:
        stopped = [stop.epoch, stop.step]
    train(recipe, out, where, resume=True, watch=quiet, dataset=data)
    return stopped


def poisoned(out: Path, data) -> list[object]:
    """Process 1 alone meets a NaN: its model answers with one in the third step."""

    class Poison(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.calls = plain_student("", CLASSES, 0), 0

        def forward(self, images_BCHW):
            self.calls += 1
            bad = self.calls == 3 and processes.rank() == 1
            return self.body(images_BCHW) * (float("nan") if bad else 1.0)

    before, prepare.new_student = prepare.new_student, lambda *_: Poison()
    try:
        train(toy_recipe("ce"), out, Where(device="cpu"), watch=quiet, dataset=data)
    except NonFiniteError as error:
        return [str(error), error.images]
    finally:
        prepare.new_student = before


def refused(out: Path, where, data) -> str:
    """A new run in a finished run's folder."""
    try:
        train(recipe_of("normkd"), out, where, watch=quiet, dataset=data)
    except (FileExistsError, processes.ProcessLost) as error:
        return f"{type(error).__name__}: {error}"


def too_few(folder: Path, where) -> list[object]:
    """One training image for two processes, from files and from memory."""
    said = []
    for name, data in (("files", streamed(folder, 1)), ("memory", replace(odd_dataset(), train=one_each(folder).val))):
        try:
            train(recipe_of("ce"), folder / f"few-{name}", where, watch=quiet, dataset=data)
        except ValueError as error:
            said.append(str(error))
    return [*said, sorted(path.name for path in folder.glob("few-*"))]


def scene_killed(folder: Path) -> None:
    """Process 1 is killed in the middle of epoch 2."""
    die = at(1, 2, lambda: processes.rank() == 1 and os.kill(os.getpid(), signal.SIGKILL))
    fail_clearly(folder, die, False)


def scene_left(folder: Path) -> None:
    """Process 0 leaves without a word in the middle of epoch 2; the killed run of before is continued first."""
    fail_clearly(folder.with_name("killed"), quiet, True)
    fail_clearly(folder, at(1, 3, lambda: processes.rank() == 0 and os._exit(7)), False)


def scene_long(folder: Path) -> None:
    """A long run that waits for Ctrl-C on torchrun; the run that process 0 left is continued first."""
    fail_clearly(folder.with_name("left"), quiet, True)
    ready = folder / f"ready{os.environ['RANK']}"

    def watch(moment, runs):
        ready.touch()
        time.sleep(0.05)

    recipe = toy_recipe("ce", epochs=1000)
    prepare.new_student = plain_student
    try:
        train(recipe, folder / "run", Where(device="cpu"), watch=watch, dataset=odd_dataset())
    except Interrupted as stop:
        (folder / f"stopped{processes.rank()}").write_text(f"{stop.epoch} {stop.step}")
        raise SystemExit(130) from None


def fail_clearly(folder: Path, watch, resume: bool) -> None:
    """Train as the command does: an expected error is one line."""
    prepare.new_student = plain_student
    try:
        train(recipe_of("ctkd"), folder / "run", toy_where_there(folder.parent), resume, watch, odd_dataset())
    except RuntimeError as error:
        print(f"normkd: {error}", file=sys.stderr, flush=True)
        raise SystemExit(2) from None


# ------------------------------------------------------------------------------------------------------- the tests


def torchrun(scene: str, folder: Path, *before: str) -> list[str]:
    """The command that runs a scene in two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *before]
    return [*launcher, "-m", "tests.training.machine.test_processes", scene, str(folder)]


def environment() -> dict[str, str]:
    """One thread a process; the package and the tests can be imported."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def launch(scene: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a scene to its end."""
    folder.mkdir(exist_ok=True)
    command = torchrun(scene, folder)
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the toy teacher."""
    folder = tmp_path_factory.mktemp("processes")
    toy_where(folder)
    return folder


@pytest.fixture(scope="module")
def alone(place):
    """The same runs in one process."""
    folder = place / "alone"
    before, prepare.new_student = prepare.new_student, plain_student
    try:
        for method in METHODS_HERE:
            train(recipe_of(method), folder / method, toy_where_there(place), watch=quiet, dataset=odd_dataset())
    finally:
        prepare.new_student = before
    return folder


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


def assert_close(first: Path, second: Path, **tolerance: float) -> None:
    ours, theirs = load_file(first), load_file(second)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}")


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
    before, prepare.new_student = prepare.new_student, plain_student
    try:
        train(recipe_of("ce"), tmp_path / name, toy_where_empty(), watch=quiet, dataset=make(tmp_path))
    finally:
        prepare.new_student = before
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


def test_batch_coupled_methods_are_those_whose_loss_is_no_mean_over_samples():
    """For all other methods the mean of two halves' losses is the loss of the whole."""
    generator = torch.Generator().manual_seed(0)
    z_s_BC, z_t_BC = 3 * torch.randn(2, 8, 10, generator=generator)
    target_B = torch.randint(10, (8,), generator=generator)
    coupled = set()
    for name, method in METHODS.items():
        if not method.needs_teacher or method.needs_features:
            continue
        loss = Objective(name, method.cifar100, 100)
        whole, *halves = (
            loss(z_s_BC[part], z_t_BC[part], target_B[part], 50).kd.item()
            for part in (slice(None), slice(0, None, 2), slice(1, None, 2))
        )
        if sum(halves) / 2 != pytest.approx(whole, rel=1e-4):
            coupled.add(name)
    features = {name for name, method in METHODS.items() if method.needs_features}
    assert processes.BATCH_COUPLED - features == coupled
    assert processes.announcement(["kd", "dist"], 64)[1].startswith("dist: this loss compares the samples")
    assert len(processes.announcement(["kd"], 64)) == 1


def test_a_process_that_ends_ends_all_with_a_message_and_a_run_to_continue(place, alone):
    """kill -9 of one, os._exit of the other, then Ctrl-C on torchrun; each run is continued by the next launch."""
    killed = launch("killed", place / "killed")
    assert killed.returncode != 0
    assert "process 0 of 2 lost another one" in killed.stderr and "--resume" in killed.stderr
    assert not RunFolder(place / "killed" / "run").finished
    left = launch("left", place / "left")
    assert left.returncode != 0 and "process 1 of 2 lost another one" in left.stderr
    (place / "long").mkdir()
    long = subprocess.Popen(
        torchrun("long", place / "long"), cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True
    )
    wait_for(long, place / "long" / "ready0", place / "long" / "ready1")
    long.send_signal(signal.SIGINT)
    _, text = long.communicate(timeout=60)
    assert long.returncode != 0
    stopped = [(place / "long" / f"stopped{rank}").read_text() for rank in range(2)]
    assert stopped[0] == stopped[1], text
    point = latest_checkpoint(place / "long" / "run" / "checkpoints")
    assert f"{point.epoch} {point.step}" == stopped[0]
    for name in ("killed", "left"):
        assert_close(place / name / "run" / "student.safetensors", alone / "ctkd" / "student.safetensors")


def test_evaluation_steps_leave_no_process_without_an_image():
    """513 images in steps of 512 would leave one image to two processes; one process keeps its 256."""
    assert eval_size(513, 2) == 510 and eval_size(10_000, 2) == 512
    assert eval_size(257, 1) == 256 and eval_size(1, 4) == 1024


def test_nan_of_the_teacher_names_the_images_of_the_step():
    """The message holds the positions in the split; a shorter step before it leaves none of its own behind."""
    fabric = make_fabric("cpu")
    learner = Learner(toy_recipe("normkd"), plain_student("", CLASSES, 0), fabric, 4)
    batches = list(make_batches(toy_dataset(), "train", BATCH, augment=True, seed=0).epoch(0))
    learner.step(batches[0], torch.randn(BATCH, CLASSES), 0, 0)
    bad = batches[3]  # the short one
    learner.step(bad, torch.full((len(bad.index_B), CLASSES), float("nan")), 0, 3)
    learner.step(batches[1], torch.randn(BATCH, CLASSES), 0, 4)
    with pytest.raises(NonFiniteError, match=r"epoch 1, step 3 .*training split: \d+") as caught:
        learner.raise_if_bad(0)
    assert caught.value.images == bad.index_B.tolist()


def test_images_from_files_are_named(tmp_path):
    files = FileSplit(tmp_path, np.array([b"a.png", b"b/c.png", b"d.png"]), torch.zeros(3, dtype=torch.long), 8)
    message = r"step 3\. Their files: .*d\.png, .*a\.png\."
    with (
        pytest.raises(NonFiniteError, match=message) as caught,
        files_named(replace(toy_dataset(), train=files)),
    ):
        raise NonFiniteError("step 3.", [2, 0])
    assert caught.value.images == [2, 0] and "c.png" not in str(caught.value)


def wait_for(process: subprocess.Popen, *paths: Path) -> None:
    """Wait until all `paths` exist, as long as the process lives."""
    until = time.monotonic() + 60
    while not all(path.exists() for path in paths):
        assert process.poll() is None and time.monotonic() < until, process.communicate()[1]
        time.sleep(0.05)


def test_processes_choose_devices_from_torchruns_environment(monkeypatch):
    """Two machines with four processes each; wrong wishes are answered before anything starts."""
    assert processes.fabric_options("cuda", "1") == {"devices": [1]} and processes.fabric_options("cpu", "") == {
        "devices": 1
    }
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    options = processes.fabric_options("cpu", "")
    assert (options["devices"], options["num_nodes"]) == (4, 2)
    with pytest.raises(ValueError, match=r"cuda:1.*under torchrun.*CUDA_VISIBLE_DEVICES"):
        processes.fabric_options("cuda", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"4 processes and 2 GPUs.*--nproc-per-node"):
        processes.fabric_options("cuda", "")
    monkeypatch.setenv("WORLD_SIZE", "7")
    with pytest.raises(ValueError, match=r"7 processes in all and 4 on this machine"):
        processes.fabric_options("cpu", "")


def main(scene: str, folder: Path) -> None:
    """Run a scene in this process and leave what it found."""
    make_fabric("cpu")
    found = globals()[f"scene_{scene}"](folder)
    (folder / f"found{processes.rank()}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
