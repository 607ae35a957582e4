"""CIFAR as class folders of PNG files: the same data set as the archive, known by its contents in any order."""

import hashlib
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from normkd_explore.data import cifar_folder, load_dataset
from normkd_explore.data.cifar import LAYOUTS
from normkd_explore.data.dataset import ArraySplit

CLASSES = ("apple", "bed", "cloud")
REAL = os.environ.get("NORMKD_CIFAR100_FOLDER")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Three classes, 10 + 4 images each, with a cache of their own."""
    monkeypatch.setenv("NORMKD_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 4)):
        for name in CLASSES:
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{name}_{i}.png")
    return tmp_path / "data"


def as_published(monkeypatch, root):
    """Let the small set count as the published one."""
    with warnings.catch_warnings(action="ignore"):
        splits, names, _ = cifar_folder.read_class_folders("cifar100", root)
    digests = {split: cifar_folder.content_digest(images, names) for split, images in splits.items()}
    monkeypatch.setitem(cifar_folder.DIGESTS, "cifar100", digests)
    monkeypatch.setitem(cifar_folder.COUNTS, "cifar100", {"train": 10, "test": 4})
    monkeypatch.setattr(cifar_folder, "CLASSES", {"cifar100": 3, "cifar10": 10})


def test_class_folders_are_read_with_the_published_normalisation(root):
    with pytest.warns(UserWarning, match="not cifar100 as published: 3 classes instead of 100"):
        dataset = load_dataset("cifar100", root=root)
    assert (dataset.name, dataset.class_names) == ("cifar100", CLASSES)
    assert (dataset.mean, dataset.std) == (LAYOUTS["cifar100"].mean, LAYOUTS["cifar100"].std)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (27, 3, 12)
    assert dataset.views.count == 162
    pixels = np.asarray(Image.open(root / "test" / "bed" / "bed_2.png"))
    np.testing.assert_array_equal(dataset.test.images_NHWC[4 + 2].numpy(), pixels)
    assert dataset.test.labels_N.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_the_digest_is_that_of_the_definition_in_any_order():
    images = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
    labels = torch.tensor([2, 0, 1, 1, 2])
    sums = [
        hashlib.sha256(CLASSES[y].encode() + b"\0" + x.numpy().tobytes()).digest()
        for x, y in zip(images, labels.tolist(), strict=True)
    ]
    expected = hashlib.sha256(b"".join(sorted(sums))).hexdigest()
    order = torch.tensor([3, 1, 4, 0, 2])
    for split in (ArraySplit(images, labels), ArraySplit(images[order], labels[order])):
        assert cifar_folder.content_digest(split, CLASSES) == expected
    swapped = labels[[0, 1, 2, 4, 3]]
    assert cifar_folder.content_digest(ArraySplit(images, swapped), CLASSES) != expected


def test_true_pixels_are_recognised_whatever_the_files_are_called(root, monkeypatch, recwarn):
    as_published(monkeypatch, root)
    recwarn.clear()
    for place in (root / "train").iterdir():
        for i, path in enumerate(sorted(place.iterdir())):
            path.rename(place / f"{(7 * i + 3) % 10}-renamed.png")
    dataset = load_dataset("cifar100", root=root)
    assert dataset.notes == ("30 + 12 images in 3 class folders: cifar100, its published pixels",)
    assert not recwarn.list


def test_one_changed_pixel_is_said(root, monkeypatch):
    as_published(monkeypatch, root)
    path = root / "train" / "bed" / "bed_3.png"
    pixels = np.array(Image.open(path))
    pixels[5, 6, 1] ^= 1
    Image.fromarray(pixels).save(path)
    with pytest.warns(UserWarning, match="pixels or classes of train/ are others"):
        dataset = load_dataset("cifar100", root=root)
    assert "NOT cifar100 as published" in dataset.notes[0]


def test_images_of_another_size_are_refused_by_name(root):
    Image.new("RGB", (64, 64)).save(root / "train" / "apple" / "apple_0.png")
    with pytest.raises(ValueError, match=r"apple_0.png has 64 x 64 pixels, wanted 32 x 32"):
        load_dataset("cifar100", root=root)


def test_a_class_in_one_split_alone_is_refused_by_name(root):
    (root / "test" / "bed").rename(root / "test" / "bad")
    with pytest.raises(ValueError, match=r"other classes in train/ than in test/: bad, bed"):
        load_dataset("cifar100", root=root)


@pytest.mark.skipif(not REAL, reason="NORMKD_CIFAR100_FOLDER does not name a folder with CIFAR-100's images")
def test_the_real_images_are_recognised(recwarn):
    dataset = load_dataset("cifar100", root=Path(REAL))
    assert "its published pixels" in dataset.notes[0]
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (45_000, 5_000, 10_000)
    assert not recwarn.list
