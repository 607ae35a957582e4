"""Estimates: arithmetic checked by hand, rates under a clock that the test owns, memory against real tensors."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from normkd_explore.cli import main
from normkd_explore.data import load_dataset, make_batches
from normkd_explore.data.glyphs.drawn import SHAPES, draw_photos
from normkd_explore.figures.estimate import gpus_figure, memory_figure, rates_figure
from normkd_explore.models import create_model
from normkd_explore.training import Where, get_preset
from normkd_explore.training.machine.free_memory import available_bytes
from normkd_explore.training.planning.advice import Estimate, Rate, Speeds, Workload, advice, duration, number
from normkd_explore.training.planning.estimate import estimate, measure_rate, open_or_draw, probed_batch
from normkd_explore.training.planning.memory import (
    Memory,
    cache_bytes,
    estimate_memory,
    fitting_batch,
    gib,
    kept_for_backward,
    resident_bytes,
)
from tests.helpers.toy import toy_dataset

GIB = 2**30


class Clock:
    """A clock that stands still unless somebody works."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def work(self, images: int, seconds: float) -> int:
        self.now += seconds
        return images


# --- rates ---------------------------------------------------------------------------------------------------


def test_a_steady_rate_is_measured_exactly():
    clock = Clock()
    rate = measure_rate(lambda: clock.work(32, 0.25), seconds=5, clock=clock)
    assert (rate.mean, rate.slowest, rate.fastest) == (128, 128, 128)
    assert clock.now - 100 == pytest.approx(0.25 + 5)  # one step that is not counted, then the time asked for


def test_the_mean_is_all_images_over_all_time_and_the_spread_its_stretches():
    clock, seconds = Clock(), itertools.chain([9.0], itertools.cycle([1.0, 4.0]))
    rate = measure_rate(lambda: clock.work(8, next(seconds)), seconds=4, clock=clock)
    assert (rate.slowest, rate.fastest) == (2, 8)
    assert rate.mean == pytest.approx(16 / 5)  # not (2 + 8) / 2


def test_a_step_longer_than_the_time_is_measured_twice():
    clock, calls = Clock(), []
    rate = measure_rate(lambda: calls.append(1) or clock.work(10, 50), seconds=1, clock=clock)
    assert rate.mean == 0.2
    assert len(calls) == 3


def test_a_queue_of_work_is_waited_for():
    """A device returns at once and computes later: only the wait shows how long it took."""
    clock, queue = Clock(), []

    def wait():
        clock.now += 0.5 * len(queue)
        queue.clear()

    rate = measure_rate(lambda: queue.append(1) or clock.work(10, 0.1), seconds=2, clock=clock, wait=wait)
    assert rate.mean == pytest.approx(10 / 0.6)


# --- what follows from rates ---------------------------------------------------------------------------------


def test_networks_take_turns_and_decoding_runs_beside_them():
    speeds = Speeds(decoding=1600, teacher=3000, student=2000)
    assert speeds.networks == pytest.approx(1200)
    assert [speeds.step(n) for n in (1, 2, 8)] == pytest.approx([1200, 1600, 1600])
    assert [speeds.limit(n) for n in (1, 2)] == ["student", "decoding"]
    assert replace(speeds, teacher=500).limit() == "teacher"
    assert replace(speeds, teacher=None).networks == 2000


def test_without_workers_decoding_takes_its_turn_too():
    speeds = Speeds(decoding=1600, teacher=3000, student=2000, overlap=False)
    assert 1 / speeds.step() == pytest.approx(1 / 1600 + 1 / 3000 + 1 / 2000)
    assert speeds.limit() == "decoding"
    assert replace(speeds, decoding=2500).limit() == "student"


def test_a_run_counts_its_evaluations():
    """100 epochs over 1,000 images at 50/s, 200 val images each and 300 test images once at 100/s."""
    work = Workload(train=1000, val=200, test=300, epochs=100, num_classes=10)
    assert work.seconds(50, 100) == pytest.approx(100_000 / 50 + 20_300 / 100)
    assert replace(work, val=0).seconds(50, 100) == pytest.approx(100_000 / 50 + 30_000 / 100)


@pytest.mark.parametrize(
    "seconds, text",
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min"), (106_764, "1 d 5 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_numbers_and_bytes_are_readable():
    assert [number(x) for x in (1234.6, 83.14, 0.523)] == ["1,235", "83.1", "0.523"]
    assert [gib(x) for x in (1.5 * GIB, 2**20)] == ["1.5 GiB", "1.0 MiB"]


def some_estimate(**changes) -> Estimate:
    rates = {"decoding": (1600, 1500, 1700), "student": (2000, 1900, 2100), "teacher": (3000, 2900, 3100)}
    rates |= {"together": (1100, 1000, 1250), "evaluation": (1500, 1400, 1600)}
    values = {name: Rate(*value) for name, value in rates.items()}
    fixed = {
        "recipe": get_preset("imagenet/resnet34-resnet18"),
        "workload": Workload(1_276_167, 5_000, 50_000, 100, 1000),
        "memory": Memory(GIB, 0, 0, 8 * GIB, 0, 0),
        "available": 80 * GIB,
        "device": "cuda:0",
        "probed_batch": 512,
        "workers": 8,
        "decoder": "worker processes",
        "overlap": True,
        "views": 0,
    }
    return Estimate(**(fixed | values | changes))


def test_the_report_says_time_limit_and_memory():
    text = str(some_estimate())
    likely = 127_616_700 / 1100 + 550_000 / 1500
    shortest, longest = 127_616_700 / 1250 + 550_000 / 1600, 127_616_700 / 1000 + 550_000 / 1400
    assert some_estimate().seconds() == pytest.approx((likely, shortest, longest))
    assert "1 d 8 h (1 d 4 h to 1 d 11 h): 100 epochs x 1,276,167 images, 550,000 evaluated" in text
    assert "limit      student; the parts alone promise 1,200 images/s" in text
    assert "9.0 GiB wanted at batch 512, 80.0 GiB free on cuda:0" in text
    assert "no view of an image comes twice" in text


def test_kept_logits_save_the_teachers_repeated_views():
    """Two views, two epochs: an image shows 1.5 different views on average, so a quarter of the teacher's work goes."""
    e = some_estimate(views=2, workload=Workload(3000, 0, 0, 2, 10))
    assert e.cache == 2 * 3000 * 10 * 4
    assert e.cache_saves() == pytest.approx(0.25 * 6000 / 3000)
    assert some_estimate().cache_saves() == 0
    assert "with them kept" in str(e)


def said(**changes) -> str:
    return "\n".join(advice(some_estimate(**changes)))


def test_advice_fits_the_limit(monkeypatch):
    monkeypatch.setattr("normkd_explore.training.planning.advice.usable_cores", lambda: 16)
    slow = Rate(100, 90, 110)
    assert "--workers 16" in said(decoding=slow)
    assert "256 pixels" in said(decoding=slow, workers=16)
    assert "bf16-mixed" in said()
    assert "bf16-mixed" not in said(recipe=replace(get_preset("imagenet/resnet34-resnet18"), precision="bf16-mixed"))
    assert "--teacher-cache" in said(teacher=slow, views=162)
    assert "normkd compare" in said(teacher=slow, views=0)
    assert "needs a GPU" in said(device="cpu", together=slow)
    assert said(device="cpu") == ""


def test_advice_names_a_batch_that_fits():
    memory = Memory(weights=GIB, gradients=0, momentum=0, activations=12 * GIB, working=2 * GIB, images=2 * GIB)
    # 1 GiB fixed and 32 MiB an image: 90 % of 8 GiB holds 198 images.
    assert fitting_batch(memory, 512, int(0.9 * 8 * GIB)) == 128
    assert "--batch-size 128" in said(memory=memory, available=8 * GIB)
    assert fitting_batch(memory, 512, 100 * GIB) == 512
    assert fitting_batch(memory, 512, GIB) == 0
    assert "smaller model" in said(memory=memory, available=GIB)


# --- memory --------------------------------------------------------------------------------------------------


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


# --- a real measurement --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return draw_photos(tmp_path_factory.mktemp("photos"), train=8, val=3, size=(140, 120))


def test_drawn_photos_are_an_image_folder_and_always_the_same(photos, tmp_path):
    dataset = load_dataset("imagefolder", photos, image_size=100, protocol="paper")
    assert dataset.class_names == SHAPES
    assert (len(dataset.train), len(dataset.test)) == (32, 12)
    again = draw_photos(tmp_path, train=2, val=1, size=(140, 120))
    for path in again.rglob("*.jpg"):
        assert path.read_bytes() == (photos / path.relative_to(again)).read_bytes()


@pytest.mark.parametrize("workers, overlap", [(0, False), (1, True)])
def test_a_real_folder_is_measured(photos, workers, overlap):
    recipe = replace(get_preset("folder/resnet18-resnet18"), epochs=3, batch_size=8, image_size=97, protocol="paper")
    found = estimate(recipe, Where(photos, device="cpu", workers=workers), seconds=0.2)
    assert found.workload == Workload(train=32, val=0, test=12, epochs=3, num_classes=4)
    assert (found.workers, found.overlap, found.note) == (workers, overlap, "")
    for rate in (found.decoding, found.teacher, found.student, found.together, found.evaluation):
        assert 0 < rate.slowest <= rate.mean <= rate.fastest
    assert found.together.mean < found.teacher.mean  # the whole is slower than a part of it
    assert found.limit in ("teacher", "student")
    assert found.seconds()[1] <= found.seconds()[0] <= found.seconds()[2]


@pytest.mark.parametrize("method", ["ce", "fitnet"])
def test_methods_without_teacher_or_with_features_are_measured(method):
    recipe = replace(get_preset("glyphs/resnet8-resnet8", method), data_options={"train_size": 200, "test_size": 100})
    found = estimate(recipe, Where(device="cpu"), seconds=0.1)
    assert (found.teacher is None) == (method == "ce")
    assert found.memory.dataset > 0
    assert not found.overlap


def test_drawn_images_stand_in_for_imagenet(tmp_path):
    recipe = get_preset("imagenet/resnet34-resnet18")
    dataset, work, note = open_or_draw(recipe, Where(), tmp_path)
    assert (work.train, work.val, work.test, work.num_classes) == (1_276_167, 5_000, 50_000, 1000)
    assert dataset.image_size == 224
    assert "drawn JPEG files of 500 x 375" in note
    assert open_or_draw(replace(recipe, protocol="paper"), Where(), tmp_path)[1].train == 1_281_167


def test_random_images_stand_in_for_cifar_without_a_download(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NORMKD_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    dataset, work, note = open_or_draw(get_preset("cifar100/resnet56-resnet20"), Where(), tmp_path)
    assert (work.train, work.val, work.test) == (45_000, 5_000, 10_000)
    assert work.resident == 45_000 * 40 * 40 * 3 + 15_000 * 32 * 32 * 3
    assert "random images" in note
    assert dataset.views.count == 162


def test_a_folder_that_was_named_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        estimate(get_preset("imagenet/resnet34-resnet18"), Where(tmp_path / "nowhere", device="cpu"))


def test_a_flat_folder_is_refused(tmp_path):
    draw_photos(tmp_path, train=1, val=1, size=(120, 100))
    for file in (tmp_path / "val").glob("*/*.jpg"):
        file.rename(tmp_path / "val" / f"{file.parent.name}.jpg")
        file.parent.rmdir()
    with pytest.raises(ValueError, match="two or more class folders"):
        estimate(get_preset("imagenet/resnet34-resnet18"), Where(tmp_path, device="cpu"))


def test_a_cpu_is_not_given_a_batch_of_minutes():
    recipe = get_preset("imagenet/resnet34-resnet18")
    assert probed_batch(recipe, 224, torch.device("cpu"), fitting=512) == 32
    assert probed_batch(recipe, 224, torch.device("cuda"), fitting=512) == 512
    assert probed_batch(recipe, 224, torch.device("cuda"), fitting=256) == 256
    assert probed_batch(recipe, 224, torch.device("cuda"), fitting=0) == 1
    assert probed_batch(get_preset("cifar100/resnet56-resnet20"), 32, torch.device("cpu"), fitting=64) == 64


def test_the_command(photos, capsys, monkeypatch):
    words = ["normkd", "estimate", "folder/resnet18-resnet18", "--data-root", str(photos), "--seconds", "0.5"]
    words += ["--image-size", "32", "--batch-size", "8", "--workers", "0", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as done:
        main()
    assert not done.value.code
    printed = capsys.readouterr().out
    assert "30 epochs x 28 images" in printed
    for word in ("decoding", "teacher", "student", "all together", "whole run", "limit", "memory"):
        assert word in printed


# --- pictures ------------------------------------------------------------------------------------------------


def test_figures_show_the_numbers_they_were_given():
    memory = Memory(GIB, GIB, GIB, 4 * GIB, 2 * GIB, GIB, GIB)
    stacked = memory_figure({"one": memory, "two": memory}, {"24 GiB": 24})
    assert sum(bar.x[0] for bar in stacked.data) == memory.total / GIB
    lines = gpus_figure(Speeds(decoding=1600, teacher=3000, student=2000), most=3)
    assert [line.y for line in lines.data] == [(1200, 2400, 3600), (1600,) * 3, (1200, 1600, 1600)]
    dots = rates_figure({"decoding": Rate(10, 8, 13), "teacher": None})
    assert len(dots.data) == 1
    assert (dots.data[0].error_x.array, dots.data[0].error_x.arrayminus) == ((3.0,), (2.0,))
