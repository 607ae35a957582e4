"""Kept logits: the same numbers to the last bit, and nothing stale, foreign or damaged is ever read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from normkd_explore.cli import app
from normkd_explore.data import Views, make_batches
from normkd_explore.models import create_model
from normkd_explore.training import Interrupted, RunFolder, Teacher, TeacherCache, compare, make_fabric, train
from normkd_explore.training.teacher import cache as module
from normkd_explore.training.teacher.frozen import CPU_ROWS
from normkd_explore.training.teacher.kept_rows import row_checks
from normkd_explore.training.teacher.logit_table import CacheError, table_bytes
from normkd_explore.training.teacher.table_folder import CHECKS, HEADER, LOGITS
from tests.helpers.toy import BATCH, CLASSES, TRAIN, toy_dataset, toy_recipe, toy_where

VIEWS = 50  # 5 x 5 crops, two flips
METHODS = ("kd", "normkd", "dkd")


def quiet(*_):
    """A watcher, or a listener, that does nothing."""


def weights(folder):
    return load_file(folder / "student.safetensors")


def assert_same_run(mine, theirs):
    """Every bit of the weights, and every number of every epoch but the times."""
    first, second = weights(mine), weights(theirs)
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    for a, b in zip(RunFolder(mine).metrics(), RunFolder(theirs).metrics(), strict=True):
        assert {key: a[key] for key in ("train", "val", "lr")} == {key: b[key] for key in ("train", "val", "lr")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Runs without a cache, three epochs each."""
    folder = tmp_path_factory.mktemp("plain")
    where = toy_where(folder)
    for method in METHODS:
        train(toy_recipe(method, epochs=3), folder / method, where, watch=quiet, dataset=toy_dataset())
    return folder, where


@pytest.fixture
def teacher():
    torch.manual_seed(7)
    return Teacher(create_model("resnet8", num_classes=CLASSES), make_fabric("cpu"))


def batches(seed=0, dataset=None, size=BATCH):
    return make_batches(dataset or toy_dataset(), "train", size, augment=True, seed=seed)


def attach(teacher, place, dataset=None, said=None, **options):
    dataset = dataset or toy_dataset()
    cache = TeacherCache(place, tell=quiet if said is None else said.append, **options)
    return cache.attach(teacher, dataset, batches(dataset=dataset))


def fill(teacher, place, epochs=2):
    """Train-like passes that fill a cache; gives the cached teacher."""
    cached, prepared = attach(teacher, place)
    for epoch in range(epochs):
        for batch in prepared.epoch(epoch):
            cached.logits(batch)
    return cached


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


def test_a_machine_where_the_place_matters_is_noticed(teacher, monkeypatch):
    def by_place(self, images_BCHW):
        return images_BCHW.mean((1, 2, 3))[:, None] + torch.arange(len(images_BCHW))[:, None]

    monkeypatch.setattr(Teacher, "evaluate", by_place)
    with pytest.raises(CacheError, match="last bit"):
        attach(teacher, "memory")
    said = []
    assert attach(teacher, "auto", said=said)[0] is teacher
    assert len(said) == 1 and said[0].startswith("teacher cache off: ")


def test_a_folder_is_reused_by_another_cache(teacher, tmp_path, monkeypatch):
    cached, said = fill(teacher, tmp_path / "c"), []
    known = cached.table.filled
    again, prepared = attach(teacher, tmp_path / "c", said=said)
    assert again.table.filled == known and f"{known:,} of {TRAIN * VIEWS:,} views are known" in said[-1]
    monkeypatch.setattr(Teacher, "evaluate", None)  # may not be asked again
    for batch in prepared.epoch(1):
        assert torch.equal(again.logits(batch), cached.logits(batch))


def test_size_is_computed_and_announced_before_memory_is_taken(teacher, monkeypatch):
    said = []
    attach(teacher, "memory", said=said)
    assert said == ["teacher cache in memory: up to 0.1 MB (56 images x 50 views x 5 classes x 4 bytes)"]
    assert table_bytes(TRAIN * VIEWS, CLASSES) == TRAIN * VIEWS * (CLASSES * 4 + 4) == 67_200
    assert table_bytes(50_000 * 162, 100) == pytest.approx(3.27e9, rel=1e-2)
    monkeypatch.setattr(module, "new_table", None)
    monkeypatch.setattr(module, "available_bytes", lambda device: 3 * 67_200)
    with pytest.raises(TypeError):  # enough when asked for by name: goes on to make the table
        attach(teacher, "memory")
    said = []
    assert attach(teacher, "auto", said=said)[0] is teacher
    assert "0.1 MB of memory wanted" in said[0] and "a quarter of 0.2 MB" in said[0]


def test_too_large_is_refused_with_the_numbers(teacher, tmp_path, monkeypatch):
    with pytest.raises(CacheError, match=r"0.1 MB wanted, the limit is 0.0 MB"):
        attach(teacher, "memory", limit=1000)
    monkeypatch.setattr(module, "available_bytes", lambda device: 60_000)
    with pytest.raises(CacheError, match=r"0.1 MB of memory wanted, 0.1 MB are free.*--teacher-cache DIR"):
        attach(teacher, "memory")
    full = type("Usage", (), {"free": 50_000})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: full)
    with pytest.raises(CacheError, match=r"but there is 0\.\d MB of disk space free"):
        attach(teacher, tmp_path / "c")
    assert not (tmp_path / "c" / HEADER).exists()


def test_memory_is_counted_for_the_processes_of_one_machine(teacher, monkeypatch):
    """Two machines with four processes each: four tables share a machine's memory, not eight."""
    monkeypatch.setattr(module.processes, "size", lambda: 8)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(module, "new_table", None)
    monkeypatch.setattr(module, "available_bytes", lambda device: 4 * 67_200)
    with pytest.raises(TypeError):  # enough: goes on to make the table
        attach(teacher, "memory")
    monkeypatch.setattr(module, "available_bytes", lambda device: 4 * 67_200 - 1)
    with pytest.raises(CacheError, match=r"0.3 MB of memory wanted, 0.3 MB are free"):
        attach(teacher, "memory")
    monkeypatch.delenv("LOCAL_WORLD_SIZE")  # not started by torchrun: all may be here
    monkeypatch.setattr(module, "available_bytes", lambda device: 8 * 67_200 - 1)
    with pytest.raises(CacheError, match=r"0.5 MB of memory wanted"):
        attach(teacher, "memory")


@pytest.mark.parametrize("place", ["memory", "auto"])
def test_views_that_cannot_be_counted(teacher, place):
    dataset = replace(toy_dataset(), views=Views(countable=False))
    said = []
    if place == "auto":
        assert attach(teacher, place, dataset, said)[0] is teacher
        assert said == ["teacher cache off: the views of an image cannot be counted (random resized crops)."]
    else:
        with pytest.raises(CacheError, match="cannot be counted"):
            attach(teacher, place, dataset, said)


def foreign_weights(dataset, teacher, monkeypatch):
    with torch.no_grad():
        next(teacher.model.parameters())[0, 0, 0, 0] += 1e-3
    return dataset


def foreign_image(dataset, teacher, monkeypatch):
    dataset.train.images_NHWC[3, 2, 1, 0] ^= 1
    return dataset


def foreign_views(dataset, teacher, monkeypatch):
    return replace(dataset, views=Views(pad=2, flip=False))


def foreign_torch(dataset, teacher, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.0.1")
    return dataset


def foreign_threads(dataset, teacher, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    return dataset


def foreign_mean(dataset, teacher, monkeypatch):
    return replace(dataset, mean=(0.5, 0.5, 0.4))


def foreign_classes(dataset, teacher, monkeypatch):
    return replace(dataset, class_names=(*dataset.class_names, "f"))


@pytest.mark.parametrize(
    "change, reason",
    [
        (foreign_weights, "teacher's weights: found"),
        (foreign_image, "images: found"),
        (foreign_views, r"views: found \[2, 2\], wanted \[2, 1\]"),
        (foreign_torch, r"torch: found .*, wanted 2\.0\.1"),
        (foreign_threads, "machine: found .*77 threads"),
        (foreign_mean, "normalisation"),
        (foreign_classes, r"shape: found \[56, 5\], wanted \[56, 6\]"),
    ],
)
def test_another_runs_cache_is_refused_with_the_reason(teacher, tmp_path, monkeypatch, change, reason):
    fill(teacher, tmp_path / "c", epochs=1)
    dataset = change(toy_dataset(), teacher, monkeypatch)
    with pytest.raises(CacheError, match=rf"belongs to another run \({reason}.*delete"):
        attach(teacher, tmp_path / "c", dataset)


def test_memory_of_another_run_is_not_read(teacher):
    """One object, two teachers: the second gets a table of its own."""
    cache = TeacherCache("memory", tell=quiet)
    first, prepared = cache.attach(teacher, toy_dataset(), batches())
    next(iter(prepared.epoch(0)))
    torch.manual_seed(8)
    other = Teacher(create_model("resnet8", num_classes=CLASSES), teacher.fabric)
    second, prepared = cache.attach(other, toy_dataset(), batches())
    assert second.table.filled == 0 and first.table.filled > 0
    batch = next(iter(prepared.epoch(0)))
    assert torch.equal(second.logits(batch), other.logits(batch))


def truncate(folder):
    with open(folder / LOGITS, "rb+") as file:
        file.truncate(file.seek(0, 2) - 4)


def empty(folder):
    (folder / CHECKS).write_bytes(b"")


def remove(folder):
    (folder / LOGITS).unlink()


def break_header(folder):
    (folder / HEADER).write_text('{"format": 1')


def wrong_version(folder):
    header = json.loads((folder / HEADER).read_text())
    (folder / HEADER).write_text(json.dumps({**header, "format": 99}))


@pytest.mark.parametrize(
    "damage, reason",
    [
        (truncate, r"logits.f32 is damaged: it has 55,996 bytes, wanted 56,000"),
        (empty, r"checks.i32 is damaged: it has 0 bytes"),
        (remove, r"logits.f32 cannot be opened"),
        (break_header, r"cache.json is damaged"),
        (wrong_version, r"has format 99, wanted 1"),
    ],
)
def test_a_damaged_folder_is_refused_with_the_reason(teacher, tmp_path, damage, reason):
    fill(teacher, tmp_path / "c", epochs=1)
    damage(tmp_path / "c")
    with pytest.raises(CacheError, match=reason):
        attach(teacher, tmp_path / "c")


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_of_a_known_row_is_noticed(tmp_path_factory, data):
    torch.manual_seed(7)
    teacher = Teacher(create_model("resnet8", num_classes=CLASSES), make_fabric("cpu"))
    folder = tmp_path_factory.mktemp("flip")
    known = torch.nonzero(fill(teacher, folder / "c", epochs=1).table.known_R).flatten().tolist()
    row = data.draw(st.sampled_from(known))
    byte, bit = data.draw(st.integers(0, 4 * CLASSES - 1)), data.draw(st.integers(0, 7))
    values = np.memmap(folder / "c" / LOGITS, np.uint8, "r+")
    values[row * 4 * CLASSES + byte] ^= 1 << bit
    values.flush()
    with pytest.raises(CacheError, match=f"row {row} does not match its checksum"):
        attach(teacher, folder / "c")


def test_rows_that_changed_places_are_noticed():
    rows, logits = torch.arange(4), torch.randn(4, 100)
    assert (row_checks(rows, logits) != row_checks(rows.flip(0), logits)).all()
    assert (row_checks(rows, torch.zeros(4, 3)) != 0).all()


def test_a_folder_with_other_things_is_left_alone(teacher, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CacheError, match=r"holds no cache.json \(found thesis.tex\)"):
        attach(teacher, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way(teacher, tmp_path):
    (tmp_path / "c").write_text("")
    with pytest.raises(CacheError, match="cannot be written"):
        attach(teacher, tmp_path / "c")
    with pytest.raises(ValueError, match="empty name"):
        TeacherCache("")


KILLED = """
import sys
from tests.training.teacher.test_cache import *
torch.manual_seed(7)
teacher = Teacher(create_model("resnet8", num_classes=CLASSES), make_fabric("cpu"))
cached, prepared = attach(teacher, sys.argv[1])
write, count = cached.table.write, 0
def dying(rows, logits):
    global count
    count += 1
    if count == 3:  # in the middle: the rows are written, their checksums are not
        cached.table.kept.rows_RC.index_copy_(0, rows, logits)
        os.kill(os.getpid(), signal.SIGKILL)
    write(rows, logits)
cached.table.write = dying
for batch in prepared.epoch(0):
    pass
"""


def test_killed_between_row_and_checksum(teacher, tmp_path):
    """kill -9 in the middle of a write: the folder opens again, and only whole rows count."""
    # Blocks of 32 of one stretch of 56 images: two writes an epoch, so a smaller block is set for the third.
    code = KILLED.replace("cached, prepared", "module.CPU_ROWS = 16\ncached, prepared", 1)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "c")], timeout=100)
    assert done.returncode == -signal.SIGKILL
    cached, prepared = attach(teacher, tmp_path / "c")
    assert cached.table.filled == 32
    for batch in prepared.epoch(0):
        assert torch.equal(cached.logits(batch), teacher.logits(batch))
    assert cached.table.filled == TRAIN


def test_the_command_shares_one_cache_between_seeds(monkeypatch):
    """`normkd compare` hands the same cache to every seed; the options say where it is and how large it may be."""
    places = []
    monkeypatch.setattr("normkd_explore.training.compare", lambda *args: places.append(args[2]) or [])
    options = {"--seeds": "2", "--teacher-cache": "folder", "--teacher-cache-limit": "1.5", "--device": "cpu"}
    CliRunner().invoke(app, ["compare", *(word for option in options.items() for word in option)])
    first, second = places
    assert first.teacher_cache is second.teacher_cache
    assert (first.teacher_cache.place, first.teacher_cache.limit) == ("folder", 1_500_000_000)


@pytest.mark.parametrize("option, place", [([], "auto"), (["--teacher-cache", "off"], "off")])
def test_train_takes_the_option(monkeypatch, option, place):
    places = []
    monkeypatch.setattr("normkd_explore.training.train", lambda recipe, out, where, resume: places.append(where))
    CliRunner().invoke(app, ["train", "--device", "cpu", *option])
    assert places[0].teacher_cache.place == place
