"""Real measurements before a run, with drawn images where the data set is not there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from normkd_explore.cli import main
from normkd_explore.data import load_dataset
from normkd_explore.data.glyphs.drawn import SHAPES, draw_photos
from normkd_explore.training import Where, get_preset
from normkd_explore.training.planning.advice import Workload
from normkd_explore.training.planning.estimate import estimate, open_or_draw, probed_batch


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
