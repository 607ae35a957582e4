"""One's own images as a data set: the same numbers from arrays, tensors, torchvision and Hugging Face forms."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from normkd_explore.data import Dataset
from normkd_explore.training.runs.inputs import data_digest

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(60) % 3
TEST = (RANDOM.integers(0, 256, (9, 8, 8, 3), dtype=np.uint8), np.arange(9) % 3)
NAMES = ("cat", "dog", "owl")


class Column:
    """A Hugging Face label feature."""

    names = NAMES


class Rows:
    """A Hugging Face data set: rows by position, features by name."""

    features = MappingProxyType({"image": None, "label": Column()})

    def __init__(self, images, labels) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i):
        return {"image": Image.fromarray(self.images[i]), "label": int(self.labels[i])}


class Pairs(Rows):
    """A torchvision data set."""

    classes = NAMES

    def __getitem__(self, i):
        return Image.fromarray(self.images[i]), int(self.labels[i])


def chw(images) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)


FORMS = {
    "arrays": lambda: Dataset.from_arrays(IMAGES, LABELS, NAMES, TEST),
    "tensors": lambda: Dataset.from_arrays(torch.from_numpy(IMAGES), torch.from_numpy(LABELS), NAMES, TEST),
    "torchvision": lambda: Dataset.from_torch(Pairs(IMAGES, LABELS), Pairs(*TEST)),
    "hugging face": lambda: Dataset.from_torch(Rows(IMAGES, LABELS), Rows(*TEST)),
    "uint8 tensors": lambda: Dataset.from_torch(
        TensorDataset(chw(IMAGES), torch.from_numpy(LABELS)), Pairs(*TEST), class_names=NAMES
    ),
    "float tensors": lambda: Dataset.from_torch(
        TensorDataset(chw(IMAGES) / 255, torch.from_numpy(LABELS)), Pairs(*TEST), class_names=NAMES
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_data_set(form):
    dataset, plain = FORMS[form](), FORMS["arrays"]()
    assert data_digest(dataset) == data_digest(plain)
    assert dataset.class_names == NAMES and dataset.views.count == 162
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (54, 6, 9)
    assert torch.bincount(dataset.val.labels_N).tolist() == [2, 2, 2]
    assert "val is held out of the training images" in dataset.notes


def test_constants_are_those_of_the_training_images():
    dataset = FORMS["arrays"]()
    pixels = dataset.train.images_NHWC.numpy().reshape(-1, 3) / 255
    np.testing.assert_allclose(dataset.mean, pixels.mean(0), atol=5e-5)
    np.testing.assert_allclose(dataset.std, pixels.std(0), atol=5e-5)
    given = Dataset.from_arrays(IMAGES, LABELS, NAMES, TEST, mean=(0.1, 0.2, 0.3), std=(1, 1, 1))
    assert given.mean == (0.1, 0.2, 0.3)


def test_missing_splits_are_held_out_and_said():
    dataset = Dataset.from_arrays(IMAGES, LABELS)
    assert dataset.class_names == ("0", "1", "2")
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (45, 3, 12)
    joined = torch.cat([split.images_NHWC for split in (dataset.train, dataset.val, dataset.test)])
    assert sorted(map(bytes, joined.flatten(1).numpy())) == sorted(map(bytes, IMAGES.reshape(60, -1)))
    assert len(Dataset.from_arrays(IMAGES, LABELS, protocol="paper").train) == 48
    assert Dataset.from_arrays(IMAGES, LABELS, protocol="paper").val is None


def test_grey_pictures_and_other_sizes_are_brought_to_one_form():
    grey = Dataset.from_arrays(IMAGES[..., 0], LABELS)
    assert (grey.train.images_NHWC[..., 0] == grey.train.images_NHWC[..., 2]).all()
    wide = [Image.fromarray(IMAGES[i]).resize((20, 10)) for i in range(60)]
    dataset = Dataset.from_torch(list(zip(wide, LABELS, strict=True)), image_size=10)
    assert dataset.image_size == 10
    centre = np.asarray(wide[0])[:, 5:15]
    images = torch.cat([split.images_NHWC for split in (dataset.train, dataset.val, dataset.test)])
    assert (images.numpy() == centre).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Dataset.from_arrays(IMAGES / 255.0, LABELS), "found float64, wanted uint8 pixels"),
        (lambda: Dataset.from_arrays(chw(IMAGES), LABELS), "looks like .N, 3, H, W.: pass images.transpose"),
        (lambda: Dataset.from_arrays(IMAGES, LABELS[:-1]), "one label for each image"),
        (lambda: Dataset.from_arrays(IMAGES, LABELS * 0.5), "wanted whole numbers"),
        (lambda: Dataset.from_arrays(IMAGES, LABELS - 1), "found -1, wanted class positions from 0 on"),
        (lambda: Dataset.from_arrays(IMAGES, LABELS, NAMES[:2]), "found 2 and a label|found 2 and the label"),
        (lambda: Dataset.from_torch([(chw(IMAGES)[0] / 25.0, 0)] * 4), "Leave Normalize out"),
        (lambda: Dataset.from_torch([{"pixels": 1}] * 4), "found a mapping with pixels, wanted"),
        (lambda: Dataset.from_torch([(np.zeros((8, 6, 3), np.uint8), 0)] * 4), "6 x 8 pixels, wanted one square size"),
    ],
)
def test_what_does_not_fit_is_explained(make, words):
    with pytest.raises((TypeError, ValueError), match=words):
        make()
