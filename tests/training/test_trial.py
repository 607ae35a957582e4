"""What a method's loss refuses is known before a folder is made."""

from dataclasses import replace

import pytest
import torch

from normkd_explore.data import ArraySplit
from normkd_explore.training import Where, compare
from normkd_explore.training.material import gather
from normkd_explore.training.trial import check_methods
from tests.helpers.toy import toy_dataset, toy_recipe
from tests.helpers.watchers import quiet


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
