"""What follows from rates: time, the limit, and advice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from normkd_explore.training import get_preset
from normkd_explore.training.planning.advice import Estimate, Rate, Speeds, Workload, advice, duration, number
from normkd_explore.training.planning.memory import Memory, fitting_batch, gib

GIB = 2**30


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
