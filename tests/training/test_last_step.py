"""An epoch's last step of one image: refused before the run where batch normalisation could not go on."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from normkd_explore.data import load_dataset, make_batches
from normkd_explore.data.batches import Schedule, make_schedule
from normkd_explore.data.glyphs.drawn import draw_photos
from normkd_explore.training import Learner, make_fabric, new_student, train
from normkd_explore.training.last_step import check_last_step
from tests.helpers.toy import CLASSES, toy_dataset, toy_recipe, toy_where


def recipe(batch_size: int, student: str = "resnet18"):
    return replace(toy_recipe("normkd", epochs=1), batch_size=batch_size, student=student)


def fresh(recipe):
    return new_student(recipe.student, CLASSES, recipe.seed)


def test_torch_refuses_one_image_at_all():
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        new_student("resnet18", CLASSES, 0).train()(torch.zeros(1, 3, 32, 32))


def test_the_run_is_refused_before_it_begins(tmp_path):
    """56 images: five steps of 11, and one image."""
    steps = []
    with pytest.raises(ValueError, match=r"batch_size: resnet18 .* Found 56 images and batch_size 11; take .* 10,"):
        train(
            recipe(11),
            tmp_path / "run",
            toy_where(tmp_path),
            watch=lambda *_: steps.append(1),
            dataset=toy_dataset(side=32),
        )
    assert not steps and not (tmp_path / "run").exists()


@pytest.mark.parametrize("batch_size, student", [(10, "resnet18"), (56, "resnet18"), (11, "resnet8")])
def test_what_can_be_trained_is_not_refused(batch_size, student):
    check_last_step([recipe(batch_size, student)], toy_dataset(side=32), Schedule(56, 56, batch_size, 0, 1), fresh)


def test_shares_of_several_processes_count():
    shared = make_schedule(57, 18, 0, 2, drop_last=False, equal_shares=True)  # 56 images, the last step has two
    with pytest.raises(ValueError, match="Found 56 images and batch_size 18"):
        check_last_step([recipe(18)], toy_dataset(side=32), shared, fresh)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 4))
def test_the_batch_size_it_names_leaves_more_than_one(images, shares, world_size):
    from normkd_explore.training.last_step import _last_share, _remedy

    images, batch_size = images * world_size, shares * world_size
    assume(_last_share(images, batch_size, world_size) == 1)
    named = re.search(r"take batch_size (\d+)", _remedy(Schedule(images, images, batch_size, 0, world_size)))
    if named is None:
        assert images < 2 * world_size
        return
    other = int(named.group(1))
    steps = [min(other, images - start) for start in range(0, images, other)]
    assert other % world_size == 0 and steps[-1] >= 2 * world_size


def test_a_step_that_meets_it_says_what_to_do():
    """Where no check came first, as in a loop of one's own."""
    dataset = toy_dataset(side=32)
    batch = next(make_batches(dataset, "train", 1, augment=False).epoch(0))
    learner = Learner(recipe(11), new_student("resnet18", CLASSES, 0), make_fabric("cpu"), 6)
    learner.model.train()
    with pytest.raises(ValueError, match=r"batch_size: resnet18 with normkd .* Take another batch_size"):
        learner.step(batch, torch.zeros(1, CLASSES), 0, 0)


@pytest.mark.parametrize("layout, counts, named", [("train", 1, "val"), ("", 2, "val"), ("", 1, "test")])
def test_a_split_left_without_images_is_named(tmp_path, layout, counts, named):
    source = draw_photos(tmp_path / "drawn", train=counts, val=1, size=(120, 110))
    with pytest.raises(ValueError, match=rf'the "{named}" split has no images: .* add images'):
        load_dataset("imagefolder", source if layout else source / "train")
