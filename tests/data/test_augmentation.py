"""Batched augmentation equals the standard recipe: zero-pad by 4, crop 32, flip, normalise; all views equally often.

torchvision's own operations, one image at a time, are the reference.
"""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from normkd_explore.data import ArraySplit, Dataset, Views, make_batches

MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)


def random_dataset(count, views, size=32):
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)
    split = ArraySplit(images, torch.arange(count) % 10)
    return Dataset("random", split, None, split, tuple("abcdefghij"), MEAN, STD, views)


def recipe(image_HWC, pad, dy, dx, flip):
    size = image_HWC.shape[0]
    image_CHW = TF.crop(TF.pad(image_HWC.permute(2, 0, 1), [pad] * 4), dy, dx, size, size)
    return TF.horizontal_flip(image_CHW) if flip else image_CHW


def normalized(image_CHW):
    pixels = image_CHW.numpy().astype(np.float64) / 255
    return (pixels - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]


@pytest.mark.parametrize(("views", "size"), [(Views(), 32), (Views(flip=False), 32), (Views(pad=2), 17)])
def test_every_view_has_the_pixels_of_the_recipe(views, size):
    dataset = random_dataset(3, views, size)
    batches = make_batches(dataset, "train", 2, augment=True)
    for image in range(3):
        index_V = torch.full((views.count,), image)
        batch = batches.batch(index_V, torch.arange(views.count))
        for view in range(views.count):
            dy, dx, flip = views.decode(view)
            expected = normalized(recipe(dataset.train.images_NHWC[image], views.pad, dy, dx, flip))
            np.testing.assert_allclose(batch.images_BCHW[view].numpy(), expected, rtol=0, atol=2e-6)


def test_the_border_is_black_before_normalisation():
    dataset = random_dataset(1, Views())
    corner = make_batches(dataset, "train", 1, augment=True).batch(torch.tensor([0]), torch.tensor([0])).images_BCHW
    np.testing.assert_allclose(corner[0, :, 0, 0].numpy(), -np.array(MEAN) / np.array(STD), rtol=1e-6)


def test_views_are_drawn_equally_often():
    dataset = random_dataset(1620, Views(), size=8)
    batches = make_batches(dataset, "train", 405, augment=True, seed=5)
    drawn = torch.cat([batch.view_B for epoch in range(10) for batch in batches.epoch(epoch)])
    counts = torch.bincount(drawn, minlength=162).double()
    expected = len(drawn) / 162
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    # 161 degrees of freedom: mean 161, standard deviation 17.9; 5 standard deviations either side.
    assert 71 < chi_square < 251


def test_views_of_one_image_differ_between_epochs_and_images_of_one_epoch_differ():
    dataset = random_dataset(300, Views(), size=8)
    batches = make_batches(dataset, "train", 300, augment=True)
    view_EN = torch.stack([next(batches.epoch(e)).view_B[next(batches.epoch(e)).index_B.argsort()] for e in range(4)])
    assert len(view_EN[0].unique()) > 100
    assert (view_EN[0] == view_EN[1]).double().mean() < 0.05


def test_the_pixels_of_a_batch_are_those_of_its_index_and_view():
    dataset = random_dataset(40, Views())
    for batch in make_batches(dataset, "train", 16, augment=True).epoch(2):
        for image_CHW, index, view in zip(batch.images_BCHW, batch.index_B, batch.view_B, strict=True):
            dy, dx, flip = dataset.views.decode(int(view))
            expected = normalized(recipe(dataset.train.images_NHWC[index], 4, dy, dx, flip))
            np.testing.assert_allclose(image_CHW.numpy(), expected, rtol=0, atol=2e-6)


def test_evaluation_shows_every_image_in_order_as_it_is():
    dataset = random_dataset(25, Views())
    batches = list(make_batches(dataset, "test", 10, augment=False).epoch(3))
    images_NCHW = torch.cat([batch.images_BCHW for batch in batches])
    assert torch.equal(torch.cat([batch.index_B for batch in batches]), torch.arange(25))
    assert torch.equal(torch.cat([batch.labels_B for batch in batches]), dataset.test.labels_N)
    assert torch.equal(images_NCHW, dataset.normalize(dataset.test.images_NHWC))
    assert all((batch.view_B == dataset.views.identity).all() for batch in batches)


def test_the_identity_view_of_augmentation_equals_evaluation():
    dataset = random_dataset(6, Views())
    everything = torch.arange(6)
    seen = make_batches(dataset, "train", 6, augment=True).batch(everything, torch.full((6,), dataset.views.identity))
    assert torch.equal(seen.images_BCHW, dataset.normalize(dataset.train.images_NHWC))


def test_batches_are_float32_and_channels_last():
    batch = next(make_batches(random_dataset(4, Views()), "train", 4, augment=True).epoch(0))
    assert batch.images_BCHW.dtype == torch.float32
    assert batch.images_BCHW.shape == (4, 3, 32, 32)
    assert batch.images_BCHW.is_contiguous(memory_format=torch.channels_last)


def test_normalize_and_denormalize_are_inverse():
    dataset = random_dataset(5, Views())
    images_NHWC = dataset.train.images_NHWC
    assert torch.equal(dataset.denormalize(dataset.normalize(images_NHWC)), images_NHWC)


def test_normalize_names_what_it_found():
    dataset = random_dataset(2, Views())
    with pytest.raises(
        ValueError, match=r"uint8 images of shape \(N, H, W, 3\), found torch.float32 of \(2, 3, 4, 4\)"
    ):
        dataset.normalize(torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize(
    "images", [torch.zeros(2, 4, 5, 3, dtype=torch.uint8), torch.zeros(2, 4, 4, 3), torch.zeros(2, 3)]
)
def test_a_split_names_images_that_it_cannot_hold(images):
    with pytest.raises(ValueError, match=r"uint8 of shape \(N, S, S, 3\), square and RGB, found torch"):
        ArraySplit(images, torch.zeros(2, dtype=torch.int64))


def test_a_split_names_labels_that_do_not_fit():
    with pytest.raises(ValueError, match=r"labels_N must be int64 of shape \(2,\), found torch.int64 of \(3,\)"):
        ArraySplit(torch.zeros(2, 4, 4, 3, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
