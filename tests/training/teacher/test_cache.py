"""Kept logits: training with them gives the same numbers to the last bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from normkd_explore.data import Views
from normkd_explore.models import create_model
from normkd_explore.training import Interrupted, Teacher, TeacherCache, compare, make_fabric, train
from normkd_explore.training.teacher import cache as module
from normkd_explore.training.teacher.frozen import CPU_ROWS
from tests.helpers.cached import METHODS, VIEWS, assert_same_run, attach, fill, weights
from tests.helpers.toy import CLASSES, TRAIN, toy_dataset, toy_recipe
from tests.helpers.watchers import quiet


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", ["memory", "folder"])
def test_a_run_with_the_cache_equals_one_without_bit_for_bit(plain, tmp_path, method, place):
    """Twice: with an empty table, and with one that knows every answer."""
    folder, where = plain
    cache = TeacherCache(tmp_path / "cache" if place == "folder" else place, tell=quiet)
    for name in ("cold", "warm"):
        out = tmp_path / name
        where = replace(where, teacher_cache=cache)
        train(toy_recipe(method, epochs=3), out, where, watch=quiet, dataset=toy_dataset())
        assert_same_run(out, folder / method)


def test_with_the_cache_and_without_are_equal_in_bf16_too(plain, tmp_path):
    _, where = plain
    recipe = toy_recipe("normkd", epochs=3, precision="bf16-mixed")
    train(recipe, tmp_path / "plain", where, watch=quiet, dataset=toy_dataset())
    where = replace(where, teacher_cache=TeacherCache("memory", tell=quiet))
    for name in ("cold", "warm"):
        train(recipe, tmp_path / name, where, watch=quiet, dataset=toy_dataset())
        assert_same_run(tmp_path / name, tmp_path / "plain")


def test_the_comparison_can_fail(plain, tmp_path, monkeypatch):
    """One wrong bit of one logit, read once, changes the final weights.

    It is not the last bit: that of a logit near 0.5 is 6e-8, T = 4 leaves a quarter of it, and log_softmax, whose
    values lie near -log 5, rounds to steps of 1.2e-7, so whether it is noticed differs from machine to machine. The bit
    taken here is worth 0.004, thousands of those steps.
    """
    folder, where = plain
    read, changes = module.LogitTable.read, []

    def read_wrongly(table, rows_B):
        logits_BC = read(table, rows_B)
        if not changes:
            before = logits_BC[0, 0].item()
            logits_BC.view(torch.int32)[0, 0] ^= 1 << 16
            changes.append(abs(logits_BC[0, 0].item() - before))
        return logits_BC

    monkeypatch.setattr(module.LogitTable, "read", read_wrongly)
    where = replace(where, teacher_cache=TeacherCache("memory", tell=quiet))
    train(toy_recipe("kd", epochs=3), tmp_path / "run", where, watch=quiet, dataset=toy_dataset())
    assert 1e-3 < changes[0] < 1e-2
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "run", folder / "kd")


def last_bit_of_a_weight(folder):
    tensors = weights(folder)
    tensors["fc.weight"].view(torch.int32)[1, 2] ^= 1
    save_file(tensors, folder / "student.safetensors")


def last_digit_of_a_loss(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    record = json.loads(lines[1])
    record["train"]["kd"] = float(np.nextafter(record["train"]["kd"], np.inf))
    lines[1] = json.dumps(record)
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("damage", [last_bit_of_a_weight, last_digit_of_a_loss])
def test_the_comparison_of_runs_is_strict(plain, tmp_path, damage):
    """The smallest difference that can be written makes two runs different."""
    folder, _ = plain
    shutil.copytree(folder / "kd", tmp_path / "copy")
    assert_same_run(tmp_path / "copy", folder / "kd")
    damage(tmp_path / "copy")
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "copy", folder / "kd")


@pytest.mark.parametrize("epoch, step", [(0, 1), (1, 2), (1, 4), (2, 3)])
def test_resume_stays_exact(plain, tmp_path, epoch, step):
    """Stopped with an empty cache, continued with another empty one or with the folder of before."""
    folder, where = plain
    where = replace(where, teacher_cache=TeacherCache(tmp_path / "cache", tell=quiet))

    def stop(moment, runs):
        if (moment.epoch, moment.step) == (epoch, step):
            os.kill(os.getpid(), signal.SIGINT)

    recipe, out = toy_recipe("normkd", epochs=3), tmp_path / "run"
    with pytest.raises(Interrupted):
        train(recipe, out, where, watch=stop, dataset=toy_dataset())
    place = tmp_path / "cache" if step % 2 else "memory"
    where = replace(where, teacher_cache=TeacherCache(place, tell=quiet))
    train(recipe, out, where, resume=True, watch=quiet, dataset=toy_dataset())
    assert_same_run(out, folder / "normkd")


def test_methods_and_seeds_share_one_cache(plain, tmp_path, monkeypatch):
    """The teacher looks once at each (image, view), whatever learns from it; each student ends as it would alone."""
    folder, where = plain
    seen = []
    evaluate = Teacher.evaluate
    monkeypatch.setattr(Teacher, "evaluate", lambda self, x: seen.append(len(x)) or evaluate(self, x))
    monkeypatch.setattr(module, "place_is_free", lambda teacher, batches: True)
    shared = replace(where, teacher_cache=TeacherCache("memory", tell=quiet))
    for seed in (0, 1):
        recipes = [toy_recipe(method, epochs=3, seed=seed) for method in METHODS]
        outs = [tmp_path / f"{r.method}{seed}" for r in recipes]
        compare(recipes, outs, shared, watch=quiet, dataset=toy_dataset())
    plans = [module.plan_epoch(TRAIN, Views(2), True, seed, epoch) for seed in (0, 1) for epoch in range(3)]
    pairs = {pair for plan in plans for pair in zip(*(values.tolist() for values in plan), strict=True)}
    assert sum(seen) == len(pairs) == shared.teacher_cache._table.filled
    assert len(pairs) < 6 * TRAIN  # some views were met twice
    for method in METHODS:
        assert_same_run(tmp_path / f"{method}0", folder / method)


@settings(max_examples=12, deadline=None)
@given(count=st.integers(1, 3 * CPU_ROWS), seed=st.integers(0, 2**31))
def test_a_teachers_logits_depend_on_the_image_alone(count, seed):
    """At every batch size, place and company: what equality with the cache rests on."""
    torch.manual_seed(7)
    teacher = Teacher(create_model("resnet8x4", num_classes=CLASSES), make_fabric("cpu"))
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(3 * CPU_ROWS, 3, 12, 12, generator=generator)
    chosen = torch.randperm(len(images), generator=generator)[:count]
    together = teacher.evaluate(images.contiguous(memory_format=torch.channels_last))
    images_BCHW = images[chosen].contiguous(memory_format=torch.channels_last)
    assert torch.equal(teacher.evaluate(images_BCHW), together[chosen])
    torch.testing.assert_close(together, teacher.model(images), rtol=1e-4, atol=1e-5)


def test_a_folder_is_reused_by_another_cache(teacher, tmp_path, monkeypatch):
    cached, said = fill(teacher, tmp_path / "c"), []
    known = cached.table.filled
    again, prepared = attach(teacher, tmp_path / "c", said=said)
    assert again.table.filled == known and f"{known:,} of {TRAIN * VIEWS:,} views are known" in said[-1]
    monkeypatch.setattr(Teacher, "evaluate", None)  # may not be asked again
    for batch in prepared.epoch(1):
        assert torch.equal(again.logits(batch), cached.logits(batch))
