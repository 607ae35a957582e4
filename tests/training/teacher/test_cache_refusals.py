"""Kept logits that cannot be had or belong to another run: refused with the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from normkd_explore.data import Views
from normkd_explore.models import create_model
from normkd_explore.training import Teacher, TeacherCache
from normkd_explore.training.teacher import cache as module
from normkd_explore.training.teacher.logit_table import CacheError, table_bytes
from normkd_explore.training.teacher.table_folder import HEADER
from tests.helpers.cached import VIEWS, attach, batches, fill
from tests.helpers.toy import CLASSES, TRAIN, toy_dataset
from tests.helpers.watchers import quiet


def test_a_machine_where_the_place_matters_is_noticed(teacher, monkeypatch):
    def by_place(self, images_BCHW):
        return images_BCHW.mean((1, 2, 3))[:, None] + torch.arange(len(images_BCHW))[:, None]

    monkeypatch.setattr(Teacher, "evaluate", by_place)
    with pytest.raises(CacheError, match="last bit"):
        attach(teacher, "memory")
    said = []
    assert attach(teacher, "auto", said=said)[0] is teacher
    assert len(said) == 1 and said[0].startswith("teacher cache off: ")


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
