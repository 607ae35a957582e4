"""Image folders: every layout gives the right images and labels; every fault names its file or folder."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from normkd_explore.data import ArraySplit, FileSplit, load_dataset
from normkd_explore.data.dataset import IMAGENET_MEAN, IMAGENET_STD
from tests.helpers.image_files import write_folder, write_image


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NORMKD_CACHE", str(tmp_path / "cache"))


def values(split):
    return split.images_NHWC[:, 0, 0, 0].tolist()


def test_train_val_and_test_folders_are_the_three_splits(tmp_path):
    dataset = load_dataset("imagefolder", write_folder(tmp_path / "d", {"train": 3, "val": 1, "test": 2}))
    assert values(dataset.train) == [0, 1, 2, 10, 11, 12]
    assert values(dataset.val) == [0, 10]
    assert values(dataset.test) == [0, 1, 10, 11]
    assert dataset.test.labels_N.tolist() == [0, 0, 1, 1]
    assert dataset.class_names == ("ant", "bee")
    assert dataset.views.count == 162


@pytest.mark.parametrize("tested", ["val", "test"])
def test_with_one_more_folder_it_is_the_test_split_and_val_is_held_out(tmp_path, tested):
    root = write_folder(tmp_path / "d", {"train": 10, tested: 2})
    dataset = load_dataset("imagefolder", root)
    assert values(dataset.test) == [0, 1, 10, 11]
    assert (len(dataset.train), len(dataset.val)) == (18, 2)
    assert sorted(values(dataset.train) + values(dataset.val)) == list(range(20))
    assert dataset.val.labels_N.tolist() == [0, 1]
    assert "val is held out of the training images" in dataset.describe()
    paper = load_dataset("imagefolder", root, protocol="paper")
    assert paper.val is None
    assert len(paper.train) == 20


@pytest.mark.parametrize("inside", [".", "train"])
def test_a_folder_of_classes_is_split_by_us_and_says_so(tmp_path, inside):
    dataset = load_dataset("imagefolder", write_folder(tmp_path / "d", {inside: 10}))
    parts = [values(dataset.train), values(dataset.val), values(dataset.test)]
    assert [len(part) for part in parts] == [14, 2, 4]
    assert sorted(value for part in parts for value in part) == list(range(20))
    assert "no test folder: 20% of each class is the test split" in dataset.describe()
    again = load_dataset("imagefolder", tmp_path / "d")
    assert [values(again.train), values(again.val), values(again.test)] == parts


def test_small_images_are_kept_in_memory_with_their_own_statistics(tmp_path):
    dataset = load_dataset("imagefolder", write_folder(tmp_path / "d", {"train": 5, "val": 1, "test": 1}))
    assert isinstance(dataset.train, ArraySplit)
    assert dataset.image_size == 16
    pixels = dataset.train.images_NHWC.numpy() / 255.0
    np.testing.assert_allclose(dataset.mean, pixels.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(dataset.std, pixels.std((0, 1, 2)), atol=1e-4)


def test_large_images_are_streamed_with_the_statistics_of_imagenet(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 2, "val": 1, "test": 1}, size=(120, 100))
    dataset = load_dataset("imagefolder", root)
    assert isinstance(dataset.train, FileSplit)
    assert dataset.image_size == 224
    assert [path.name for path in dataset.train.paths] == ["000.png", "001.png"] * 2
    assert all(path.is_file() for path in dataset.train.paths)
    assert (dataset.mean, dataset.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert dataset.views.count == 0
    assert "streamed from disk" in dataset.describe()


def test_images_that_do_not_fit_are_streamed(tmp_path, monkeypatch):
    monkeypatch.setattr("normkd_explore.data.images.decode.MEMORY_LIMIT", 1000)
    dataset = load_dataset("imagefolder", write_folder(tmp_path / "d", {"train": 2, "test": 1, "val": 1}))
    assert isinstance(dataset.train, FileSplit)
    assert dataset.image_size == 16


def test_imagenet_is_224_pixels_with_its_own_constants(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 2, "val": 1})
    dataset = load_dataset("imagenet", root)
    assert (dataset.name, dataset.image_size) == ("imagenet", 224)
    small = load_dataset("imagenet", root, image_size=8)
    assert isinstance(small.train, ArraySplit)
    assert (small.mean, small.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_different_sizes_become_squares_of_the_middle_size(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 3, "val": 1, "test": 1}, size=(20, 20))
    write_image(root / "train" / "ant" / "wide.png", 200, size=(40, 30))
    write_image(root / "train" / "bee" / "tall.png", 200, size=(12, 50))
    dataset = load_dataset("imagefolder", root)
    assert dataset.train.images_NHWC.shape == (8, 20, 20, 3)
    assert values(dataset.train).count(200) == 2


@pytest.mark.parametrize(
    ("suffix", "mode"), [("jpg", "L"), ("webp", "RGB"), ("bmp", "RGB"), ("png", "RGBA"), ("PNG", "L")]
)
def test_common_kinds_of_files_become_rgb(tmp_path, suffix, mode):
    root = write_folder(tmp_path / "d", {"train": 2, "val": 1, "test": 1})
    write_image(root / "test" / "bee" / f"other.{suffix}", 100, mode=mode)
    dataset = load_dataset("imagefolder", root)
    assert len(dataset.test) == 3
    assert dataset.test.images_NHWC[2].float().sub(100).abs().max() <= 2


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 2, "val": 1, "test": 1})
    palette = Image.new("RGB", (16, 16), (30, 40, 50)).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(root / "test" / "ant" / "palette.png", transparency=bytes([0] * 256))
    assert load_dataset("imagefolder", root).test.images_NHWC[1, 3, 3].tolist() == [30, 40, 50]


def test_stray_and_hidden_files_are_ignored(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 2, "val": 1, "test": 1})
    (root / "train" / "notes.txt").write_text("not a class")
    (root / "train" / "ant" / "list.csv").write_text("not an image")
    (root / "train" / "ant" / "._000.png").write_text("not an image either")
    (root / "train" / ".cache").mkdir()
    assert len(load_dataset("imagefolder", root).train) == 4


def test_loops_of_links_end_and_linked_folders_count(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 2, "val": 1, "test": 1})
    os.symlink(root / "train" / "ant", root / "train" / "ant" / "again", target_is_directory=True)
    os.symlink("self", root / "train" / "bee" / "self")
    write_image(tmp_path / "elsewhere" / "more.png", 99)
    os.symlink(tmp_path / "elsewhere", root / "train" / "bee" / "more", target_is_directory=True)
    assert sorted(values(load_dataset("imagefolder", root).train)) == [0, 1, 10, 11, 99]


def test_the_second_load_decodes_nothing_and_a_changed_file_decodes_again(tmp_path, monkeypatch):
    root = write_folder(tmp_path / "d", {"train": 2, "val": 1, "test": 1}, suffix="bmp")
    first = load_dataset("imagefolder", root)
    with monkeypatch.context() as patch:
        patch.setattr("normkd_explore.data.images.decode.decode_all", lambda *_: pytest.fail("decoded again"))
        assert torch.equal(load_dataset("imagefolder", root).train.images_NHWC, first.train.images_NHWC)
    changed = root / "train" / "ant" / "000.bmp"
    size = changed.stat().st_size
    write_image(changed, 77)
    os.utime(changed, (1, 1))
    assert changed.stat().st_size == size  # only the time of change tells that it is another picture
    assert values(load_dataset("imagefolder", root).train) == [77, 1, 10, 11]


@pytest.mark.parametrize("share", [0, 0.2, 0.7])
def test_a_damaged_image_is_named_and_never_skipped(tmp_path, share):
    generator = np.random.default_rng(0)
    root = write_folder(tmp_path / "d", {"train": 2, "val": 1, "test": 1})
    bad = root / "train" / "bee" / "bad.jpg"
    Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(bad)
    bad.write_bytes(bad.read_bytes()[: int(bad.stat().st_size * share)])
    with pytest.raises(ValueError, match=r"bad.jpg cannot be read as an image .*; replace or remove it"):
        load_dataset("imagefolder", root)


def test_root_must_be_named_and_exist(tmp_path):
    with pytest.raises(ValueError, match="imagefolder needs root"):
        load_dataset("imagefolder")
    with pytest.raises(
        FileNotFoundError, match=r"imagenet: there is no folder .*nowhere; root should be a folder with"
    ):
        load_dataset("imagenet", tmp_path / "nowhere")


def test_one_class_is_too_few(tmp_path):
    with pytest.raises(ValueError, match=r"two or more class folders .*found only 'ant'"):
        load_dataset("imagefolder", write_folder(tmp_path / "d", {"train": 2, "val": 1}, classes=("ant",)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="found none"):
        load_dataset("imagefolder", tmp_path / "empty")


def test_an_empty_class_is_named(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 2, "val": 1})
    (root / "train" / "cat").mkdir()
    with pytest.raises(ValueError, match=r"no images .*train: cat; add images or remove the folders"):
        load_dataset("imagefolder", root)


def test_classes_of_one_split_only_are_named(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 2, "val": 1})
    write_image(root / "val" / "cat" / "0.png")
    with pytest.raises(ValueError, match=r"should hold the same classes: only .*val has cat"):
        load_dataset("imagefolder", root)
    write_image(root / "train" / "cat" / "0.png")
    write_image(root / "train" / "dog" / "0.png")
    with pytest.raises(ValueError, match=r"should hold the same classes: only .*train has dog"):
        load_dataset("imagefolder", root)


@pytest.mark.parametrize("name", ["imagenet", "imagefolder"])
def test_a_flat_val_folder_is_named_with_the_way_out(tmp_path, name):
    """As the archive of ILSVRC's validation images unpacks: no class folders, one image beside the other."""
    root = write_folder(tmp_path / "d", {"train": 3})
    for number in range(3):
        write_image(root / "val" / f"ILSVRC2012_val_0000000{number}.JPEG")
    (root / "val" / ".hidden.jpg").write_bytes(b"")
    with pytest.raises(ValueError) as caught:
        load_dataset(name, root)
    text = str(caught.value)
    assert f"{root / 'val'} should hold two or more class folders" in text
    assert "found none, and 3 images directly in it (ILSVRC2012_val_00000000.JPEG and 2 more)" in text
    assert "make a folder for each class" in text and "ground truth" in text and "valprep" in text


def test_an_empty_val_folder_hears_nothing_of_loose_images(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 3})
    (root / "val").mkdir()
    with pytest.raises(ValueError, match=r"found none$"):
        load_dataset("imagefolder", root)
