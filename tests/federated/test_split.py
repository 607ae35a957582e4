"""Who holds which images: nothing lost, nothing twice, skew by alpha, labels withheld."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from normkd_explore.data import load_dataset
from normkd_explore.federated import deal, dirichlet
from normkd_explore.federated.split import first_classes, in_memory
from tests.helpers.toy import CLASSES, toy_dataset

LABELS = torch.arange(2000) % 10


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.floats(1e-6, 1e6), st.integers(0, 5), st.integers(0, 1000))
def test_every_image_has_one_owner(clients, alpha, least, seed):
    parts = dirichlet(LABELS[:300], clients, alpha, least, seed)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(300))
    assert min(map(len, parts)) >= least and len(parts) == clients


def test_a_seed_gives_the_same_shares_and_another_seed_others():
    first, again, other = (dirichlet(LABELS, 8, 0.5, seed=seed) for seed in (1, 1, 2))
    assert all(map(torch.equal, first, again)) and not all(map(torch.equal, first, other))


def test_alpha_decides_how_alike_the_clients_are():
    """Share of a client's largest class, on average: near 1 of 10 for a large alpha, near 1 for a tiny one."""
    largest = []
    for alpha in (0.01, 0.5, 1000.0):
        counts = [torch.bincount(LABELS[part], minlength=10) for part in dirichlet(LABELS, 8, alpha, 1, seed=3)]
        largest.append(np.mean([(own.max() / own.sum()).item() for own in counts]))
    assert largest[0] > 0.6 > largest[1] > 0.2 > largest[2]


def test_proportions_are_dirichlet():
    """Mean 1/K and variance (1/K)(1 - 1/K) / (K alpha + 1) of one client's part of a class, over many draws."""
    clients, alpha = 4, 0.5
    labels = torch.zeros(1000, dtype=torch.int64)
    parts = np.array([len(dirichlet(labels, clients, alpha, 0, seed)[1]) / 1000 for seed in range(800)])
    variance = 0.25 * 0.75 / (clients * alpha + 1)
    assert parts.mean() == pytest.approx(0.25, abs=0.03) and parts.var() == pytest.approx(variance, rel=0.15)


def test_public_images_have_no_labels_and_no_owner():
    dataset = toy_dataset()
    shares = deal(dataset, 3, 0.5, public=16, least=2, seed=0)
    pixels = lambda split: {image.numpy().tobytes() for image in split.images_NHWC}  # noqa: E731
    public = pixels(shares.public.train)
    private = [pixels(own.train) for own in shares.private]
    assert len(public) == 16 and sum(map(len, private)) == 40 and not public & set.union(*private)
    assert shares.public.train.labels_N.unique().tolist() == [0]
    assert shares.public.views.count == 1 and shares.private[0].views == dataset.views
    for image, label in zip(shares.public.train.images_NHWC, shares.public_labels_N, strict=True):
        place = (dataset.train.images_NHWC == image).flatten(1).all(1).nonzero().item()
        assert dataset.train.labels_N[place] == label


def test_first_classes_drop_the_others_everywhere():
    cut = first_classes(toy_dataset(), 3)
    assert cut.num_classes == 3 and cut.class_names == ("a", "b", "c")
    assert all(cut.split(name).labels_N.unique().tolist() == [0, 1, 2] for name in ("train", "val", "test"))
    with pytest.raises(ValueError, match=f"classes: found 9, wanted 2 to {CLASSES} for toy"):
        first_classes(toy_dataset(), 9)


def test_images_on_disk_are_read_once(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("left", "right"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(12):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")
    dataset = in_memory(load_dataset("imagefolder", root=tmp_path, image_size=32))
    first = np.asarray(Image.open(tmp_path / "test" / "left" / "0.png"))
    assert np.array_equal(dataset.test.images_NHWC[0].numpy(), first)
    assert dataset.test.labels_N.tolist() == [0] * 12 + [1] * 12


def test_errors_teach():
    with pytest.raises(ValueError, match=r"public: found 50 of 56 training images.* 16 left over: 2 for each of 8"):
        deal(toy_dataset(), 8, 0.5, public=50, least=2, seed=0)
    with pytest.raises(ValueError, match="found alpha 0"):
        dirichlet(LABELS, 4, 0.0)
