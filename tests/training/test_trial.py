"""What a method's loss refuses is known before a folder is made."""

import shutil
from dataclasses import replace

import pytest
import torch

from normkd_explore.data import ArraySplit
from normkd_explore.training import RunFolder, Where, compare, train, trial
from normkd_explore.training.machine import processes
from normkd_explore.training.material import gather
from normkd_explore.training.trial import check_methods, check_pictures
from tests.helpers.shared_runs import file_split, streamed
from tests.helpers.toy import toy_dataset, toy_recipe
from tests.helpers.watchers import at, quiet


def two_classes():
    dataset = toy_dataset()
    parts = {
        name: ArraySplit(part.images_NHWC, part.labels_N % 2)
        for name in ("train", "val", "test")
        if (part := getattr(dataset, name))
    }
    return replace(dataset, **parts, class_names=("a", "b"))


def run(folder, methods, dataset, **given):
    recipes = [toy_recipe(method, epochs=1) for method in methods]
    return compare(recipes, [folder / m for m in methods], Where(device="cpu"), watch=quiet, dataset=dataset, **given)


def network():
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(12, 2))


@pytest.mark.parametrize("refused", ["normkd", "lskd", "normdkd"])
def test_two_classes_are_refused_before_any_folder_is_made(tmp_path, refused):
    with pytest.raises(ValueError, match=rf"method {refused} on toy: .*2 classes, wanted at least 3.*constant temp"):
        run(tmp_path, ("ce", "kd", refused), two_classes(), teacher=network(), student=network())
    assert list(tmp_path.iterdir()) == []


def test_two_classes_are_no_trouble_for_the_others(tmp_path):
    summaries = run(tmp_path, ("ce", "kd", "dkd"), two_classes(), teacher=network(), student=network())
    assert [summary["method"] for summary in summaries] == ["ce", "kd", "dkd"]


def test_networks_without_features_are_refused_before_any_folder_is_made(tmp_path):
    with pytest.raises(ValueError, match=r"method fitnet on toy: .*features"):
        run(tmp_path, ("ce", "fitnet"), two_classes(), teacher=network(), student=network())
    assert list(tmp_path.iterdir()) == []


def test_the_trial_draws_no_random_numbers_of_the_run(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    recipes = [toy_recipe("normkd", epochs=1)]
    teacher = torch.nn.Sequential(network(), torch.nn.Linear(2, 5))
    material = gather(recipes, Where(device="cpu"), toy_dataset(), teacher)
    torch.manual_seed(5)
    check_methods(recipes, material)
    assert torch.equal(torch.rand(3), expected)


def break_file(path):
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize("name", ["val", "test"])
def test_a_damaged_image_to_measure_on_is_known_before_any_folder_is_made(tmp_path, name):
    dataset = streamed(tmp_path)
    path = getattr(dataset, name).path(0)
    break_file(path)
    with pytest.raises(ValueError, match=rf"{name}: 1 of 1 images are damaged: {path} cannot be read.*replace or rem"):
        train(toy_recipe("ce"), tmp_path / "run", Where(device="cpu", workers=0), watch=quiet, dataset=dataset)
    assert not (tmp_path / "run").exists()


def test_a_test_image_that_breaks_while_a_run_goes_on_is_replaced_or_removed_and_the_run_ends(tmp_path, capsys):
    dataset, where = streamed(tmp_path), Where(device="cpu", workers=0)
    test = file_split(tmp_path / "test", toy_dataset().test, 3)
    dataset, whole = replace(dataset, test=test), test.path(1).read_bytes()
    out = tmp_path / "run"
    with pytest.raises(ValueError, match=rf"{test.path(1)} cannot be read"):
        train(toy_recipe("ce"), out, where, watch=at(1, 2, lambda: break_file(test.path(1))), dataset=dataset)
    assert not RunFolder(out).finished
    again = {"where": where, "watch": quiet, "resume": True}
    with pytest.raises(ValueError, match="test: 1 of 3 images are damaged"):
        train(toy_recipe("ce"), out, dataset=dataset, **again)
    shutil.copytree(out, tmp_path / "other")
    test.path(1).write_bytes(whole)
    assert train(toy_recipe("ce"), out, dataset=dataset, **again)["test"]["n"] == 3
    removed = replace(test, names_N=test.names_N[[0, 2]], labels_N=test.labels_N[[0, 2]])
    summary = train(toy_recipe("ce"), tmp_path / "other", dataset=replace(dataset, test=removed), **again)
    assert summary["test"]["n"] == 2 and len(summary["inputs"]["changed"]) == 1
    assert "validation or test images changed" in capsys.readouterr().err


def test_reading_many_images_is_announced(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trial, "MANY", 2)
    processes.say_once.cache_clear()
    check_pictures(streamed(tmp_path))
    assert capsys.readouterr().err == "reading the 2 val and test images once, to see that none is damaged\n"
