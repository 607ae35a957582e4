"""Streamed images: torchvision's crops, keyed by (seed, epoch, image), whatever the workers and the first step."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from normkd_explore.data import load_dataset, make_batches
from normkd_explore.data.batches import mixed_seed
from normkd_explore.data.images import streaming
from normkd_explore.data.images.gpu_jpeg import Decoder, JpegBytes

SIZE = 24


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2), ("test", 3)):
        for name in ("ant", "bee"):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                height, width = random.integers(100, 140, 2)
                coarse = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
                Image.fromarray(coarse).resize((width, height)).save(folder / split / name / f"{number}.png")
    return folder


@pytest.fixture
def dataset(root, monkeypatch):
    monkeypatch.setattr("normkd_explore.data.images.decode.MEMORY_LIMIT", 0)
    return load_dataset("imagefolder", root, image_size=SIZE)


def batches(dataset, split="train", **options):
    return make_batches(dataset, split, **{"batch_size": 5, "augment": True, "workers": 0} | options)


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )


def test_an_epoch_shows_every_image_once_with_its_label(dataset):
    epoch = list(batches(dataset).epoch(0))
    assert [len(batch.labels_B) for batch in epoch] == [5, 5, 2]
    index_N = torch.cat([batch.index_B for batch in epoch])
    assert torch.equal(index_N.sort().values, torch.arange(12))
    assert torch.equal(torch.cat([batch.labels_B for batch in epoch]), dataset.train.labels_N[index_N])
    assert all((batch.view_B == -1).all() for batch in epoch)
    assert epoch[0].images_BCHW.shape == (5, 3, SIZE, SIZE)
    assert epoch[0].images_BCHW.dtype == torch.float32
    assert epoch[0].images_BCHW.is_contiguous(memory_format=torch.channels_last)


def test_the_number_of_workers_changes_nothing(dataset):
    alone, shared = batches(dataset, seed=4), batches(dataset, seed=4, workers=2)
    for epoch in (0, 1):
        assert same(list(alone.epoch(epoch)), list(shared.epoch(epoch)))


def test_an_abandoned_epoch_leaves_no_trace_in_the_next(dataset):
    expected = list(batches(dataset).epoch(1))
    interrupted = batches(dataset, workers=2)
    next(interrupted.epoch(0))
    assert same(expected, list(interrupted.epoch(1)))


@pytest.mark.parametrize("start", [1, 2, 3])
def test_an_epoch_can_be_resumed_at_any_step(dataset, start):
    whole = list(batches(dataset, seed=2).epoch(3))
    assert same(whole[start:], list(batches(dataset, seed=2).epoch(3, start)))


def test_crops_differ_between_epochs_and_seeds(dataset):
    def images(seed, epoch):
        taken = list(batches(dataset, seed=seed).epoch(epoch))
        order = torch.cat([batch.index_B for batch in taken]).argsort()
        return torch.cat([batch.images_BCHW for batch in taken])[order]

    assert not torch.equal(images(0, 0), images(0, 1))
    assert not torch.equal(images(0, 1), images(1, 0))


def test_processes_share_the_same_crops(dataset):
    options = {"batch_size": 4, "seed": 1}
    whole = list(batches(dataset, **options).epoch(0))
    for rank in range(2):
        share = list(batches(dataset, rank=rank, world_size=2, **options).epoch(0))
        for mine, all_of_it in zip(share, whole, strict=True):
            assert torch.equal(mine.images_BCHW, all_of_it.images_BCHW[rank::2])


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("batch_size", [8, 16])
def test_a_process_without_images_takes_part_with_empty_batches(dataset, workers, batch_size):
    """6 images and 8 processes: each image is met once, and no process stops."""
    options = {"batch_size": batch_size, "augment": False, "workers": workers, "world_size": 8}
    shares = [list(batches(dataset, "test", rank=rank, **options).epoch(0)) for rank in range(8)]
    assert [[len(batch.labels_B) for batch in share] for share in shares] == [[1]] * 6 + [[0]] * 2
    for batch in shares[7]:
        assert batch.images_BCHW.shape == (0, 3, SIZE, SIZE) and batch.images_BCHW.dtype == torch.float32
        assert batch.labels_B.dtype == batch.index_B.dtype == torch.int64
    (whole,) = batches(dataset, "test", batch_size=6, augment=False).epoch(0)
    together = torch.cat([batch.images_BCHW for share in shares for batch in share])
    assert torch.equal(together, whole.images_BCHW)


def test_a_gpu_that_decodes_has_nothing_to_do_for_an_empty_share(dataset, monkeypatch):
    """The files' bytes reach the decoder, here a stand-in for a GPU's, only where there are some."""
    seen = []

    def decode(files, size, *_):
        seen.append([file.position if isinstance(file, JpegBytes) else None for file in files])
        return torch.zeros(len(files), size, size, 3, dtype=torch.uint8)

    monkeypatch.setattr(streaming, "choose_decoder", lambda names, device: Decoder(True, "a test"))
    monkeypatch.setattr(streaming, "decode_and_cut", decode)
    for rank in range(8):
        share = batches(dataset, "test", batch_size=8, augment=False, rank=rank, world_size=8)
        assert [batch.images_BCHW.shape for batch in share.epoch(0)] == [(int(rank < 6), 3, SIZE, SIZE)]
    assert len(seen) == 6 and all(len(files) == 1 for files in seen)


def test_the_global_generator_is_neither_read_nor_moved(dataset):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = list(batches(dataset).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert same(first, list(batches(dataset).epoch(0)))


def test_training_cuts_what_torchvision_cuts(dataset):
    batch = next(batches(dataset, seed=6).epoch(2))
    recipe = v2.Compose([v2.RandomResizedCrop(SIZE), v2.RandomHorizontalFlip()])
    for image_CHW, index in zip(batch.images_BCHW, batch.index_B.tolist(), strict=True):
        with torch.random.fork_rng():
            torch.manual_seed(mixed_seed(6, 2, index))
            expected = np.array(recipe(Image.open(dataset.train.path(index))))
        assert np.array_equal(dataset.denormalize(image_CHW[None])[0].numpy(), expected)


def test_evaluation_is_resize_256_and_central_crop_224_in_proportion(dataset):
    recipe = v2.Compose([v2.Resize(round(SIZE * 256 / 224)), v2.CenterCrop(SIZE)])
    (batch,) = batches(dataset, "test", batch_size=6, augment=False).epoch(0)
    assert batch.index_B.tolist() == list(range(6))
    for image_CHW, path in zip(batch.images_BCHW, dataset.test.paths, strict=True):
        expected = np.array(recipe(Image.open(path)))
        assert np.array_equal(dataset.denormalize(image_CHW[None])[0].numpy(), expected)


def test_without_flips_a_mirror_image_never_occurs(root, dataset):
    unflipped = load_dataset("imagefolder", root, image_size=SIZE, flip=False)
    expected = v2.RandomResizedCrop(SIZE)
    for batch in batches(unflipped, seed=6).epoch(2):
        for image_CHW, index in zip(batch.images_BCHW, batch.index_B.tolist(), strict=True):
            with torch.random.fork_rng():
                torch.manual_seed(mixed_seed(6, 2, index))
                crop = np.array(expected(Image.open(unflipped.train.path(index))))
            assert np.array_equal(unflipped.denormalize(image_CHW[None])[0].numpy(), crop)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_from_any_process(dataset, workers):
    path = dataset.test.path(4)
    intact = path.read_bytes()
    path.write_bytes(intact[: len(intact) // 2])
    try:
        with pytest.raises(ValueError, match=rf"{path.name} cannot be read as an image"):
            list(batches(dataset, "test", augment=False, workers=workers).epoch(0))
    finally:
        path.write_bytes(intact)
