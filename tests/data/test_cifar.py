"""CIFAR files are read as they are published; every fault names the file and the remedy."""

import io
import tarfile

import numpy as np
import pytest
import torch

from normkd_explore.data import cifar, load_dataset
from normkd_explore.data.holdout import balanced_holdout
from tests.helpers.fake_cifar import pixels, python2_pickle, write_cifar10, write_cifar100

OFFLINE = {"download": False, "check_md5": False}


@pytest.fixture(autouse=True)
def no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("NORMKD_CACHE", str(tmp_path / "cache"))

    def refuse(*_args, **_options):
        raise OSError("no route to host")

    monkeypatch.setattr(cifar, "download_url", refuse)


def test_cifar100_images_labels_and_names(tmp_path):
    write_cifar100(tmp_path)
    dataset = load_dataset("cifar100", tmp_path, protocol="paper", **OFFLINE)
    assert dataset.class_names == ("thing0", "thing1", "thing2", "thing3")
    assert dataset.val is None
    assert (len(dataset.train), len(dataset.test)) == (80, 8)
    rows = pixels(80, seed=0)
    for index, row, column in [(0, 0, 0), (7, 3, 30), (79, 31, 31)]:
        planes = [rows[index, plane * 1024 + row * 32 + column] for plane in range(3)]
        assert dataset.train.images_NHWC[index, row, column].tolist() == planes
    assert dataset.train.labels_N[:6].tolist() == [0, 1, 2, 3, 0, 1]
    assert dataset.mean == (0.5071, 0.4867, 0.4408)
    assert dataset.views.count == 162


def test_cifar10_joins_its_five_files(tmp_path):
    write_cifar10(tmp_path)
    dataset = load_dataset("cifar10", tmp_path, protocol="paper", **OFFLINE)
    assert (len(dataset.train), len(dataset.test)) == (60, 12)
    second = torch.from_numpy(pixels(12, seed=1)[0].reshape(3, 32, 32).transpose(1, 2, 0).copy())
    assert torch.equal(dataset.train.images_NHWC[12], second)
    assert dataset.std == (0.2470, 0.2435, 0.2616)


def test_holdout_takes_the_same_balanced_images_each_time(tmp_path):
    write_cifar100(tmp_path)
    one, two = (load_dataset("cifar100", tmp_path, **OFFLINE) for _ in range(2))
    assert (len(one.train), len(one.val), len(one.test)) == (72, 8, 8)
    assert torch.bincount(one.val.labels_N).tolist() == [2, 2, 2, 2]
    assert torch.equal(one.val.images_NHWC, two.val.images_NHWC)
    whole = load_dataset("cifar100", tmp_path, protocol="paper", **OFFLINE).train.images_NHWC
    parts = torch.cat([one.train.images_NHWC, one.val.images_NHWC])
    assert sorted(map(bytes, parts.flatten(1).numpy())) == sorted(map(bytes, whole.flatten(1).numpy()))


def test_the_true_sizes_hold_out_exactly_5000():
    for classes in (10, 100):
        labels_N = torch.arange(50_000) % classes
        kept, held_out = balanced_holdout(labels_N, 0.1, 5_000)
        assert (len(kept), len(held_out)) == (45_000, 5_000)
        assert torch.bincount(labels_N[held_out]).unique().tolist() == [5_000 // classes]
        assert len(torch.cat([kept, held_out]).unique()) == 50_000


def test_root_may_be_the_folder_itself(tmp_path):
    folder = write_cifar100(tmp_path)
    assert load_dataset("cifar100", folder, **OFFLINE).num_classes == 4


def pack(root, folder):
    archive = root / "cifar-100-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    return archive


def test_a_local_archive_is_unpacked(tmp_path):
    folder = write_cifar100(tmp_path / "made")
    pack(tmp_path, folder)
    assert load_dataset("cifar100", tmp_path, **OFFLINE).num_classes == 4
    assert sorted(path.name for path in (tmp_path / "cifar-100-python").iterdir()) == ["meta", "test", "train"]


@pytest.mark.parametrize("download", [True, False])
def test_missing_files_name_the_folder_and_what_to_put_there(tmp_path, download):
    folder = write_cifar100(tmp_path)
    (folder / "train").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset("cifar100", tmp_path, download=download, check_md5=False)
    message = str(caught.value)
    reason = "download failed (no route to host)" if download else "download=False"
    for part in (f"no train in {folder}", "cifar-100-python.tar.gz", "--data-root", str(tmp_path), reason):
        assert part in message


def test_the_default_folder_is_in_the_cache(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cache.datasets.cifar-10-batches-py"):
        load_dataset("cifar10")


def test_a_download_is_used(tmp_path, monkeypatch):
    folder = write_cifar100(tmp_path / "server")
    archive = pack(tmp_path / "server", folder)

    def fetch(url, root, filename, md5):
        assert url.endswith("cifar-100-python.tar.gz")
        (root / filename).write_bytes(archive.read_bytes())

    monkeypatch.setattr(cifar, "download_url", fetch)
    assert load_dataset("cifar100", tmp_path / "here", check_md5=False).num_classes == 4


def test_files_with_another_md5_are_refused(tmp_path):
    folder = write_cifar100(tmp_path)
    with pytest.raises(ValueError, match=r"its MD5 is .* the published one .*Delete it and get") as caught:
        load_dataset("cifar100", tmp_path, download=False)
    assert str(folder / "meta") in str(caught.value)


def test_an_archive_with_another_md5_is_refused(tmp_path):
    pack(tmp_path, write_cifar100(tmp_path / "made"))
    with pytest.raises(FileNotFoundError, match="is damaged \\(its MD5 is not the published one\\)"):
        load_dataset("cifar100", tmp_path, download=False)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.95, 0.9999])
def test_truncated_files_are_named(tmp_path, share):
    file = write_cifar100(tmp_path) / "test"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match=r"test is damaged or not a CIFAR file.*Delete it and get the data set again"):
        load_dataset("cifar100", tmp_path, **OFFLINE)


@pytest.mark.parametrize(
    ("contents", "fault"),
    [
        ([1, 2], "should hold a dictionary, found list"),
        ({"fine_labels": [0]}, '"data" should be uint8 pixels'),
        ({"data": np.zeros((2, 3071), np.uint8), "fine_labels": [0, 1]}, r"found uint8 \(2, 3071\)"),
        ({"data": np.zeros((2, 3072), np.uint8), "fine_labels": [0]}, "it has 2 images and 1 labels"),
        ({"data": np.zeros((2, 3072), np.uint8)}, '"fine_labels" should be a list of integers'),
        (
            {"data": np.zeros((2, 3072), np.uint8), "fine_labels": [0, 4]},
            r"labels should be in 0 \.\. 3, found 0 \.\. 4",
        ),
        ({"data": np.zeros((2, 3072), np.uint8), "fine_labels": [0, "1"]}, "should be a list of integers"),
    ],
)
def test_files_of_the_wrong_size_or_kind_are_named(tmp_path, contents, fault):
    (write_cifar100(tmp_path) / "test").write_bytes(python2_pickle(contents))
    with pytest.raises(ValueError, match=fault) as caught:
        load_dataset("cifar100", tmp_path, **OFFLINE)
    assert str(tmp_path / "cifar-100-python" / "test") in str(caught.value)


def test_a_truncated_archive_is_named(tmp_path):
    archive = pack(tmp_path, write_cifar100(tmp_path / "made"))
    archive.write_bytes(archive.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"cannot take .* out of .*tar.gz.*delete it and get it again"):
        load_dataset("cifar100", tmp_path, **OFFLINE)


def test_noise_in_place_of_an_archive_is_named(tmp_path):
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(io.BytesIO(bytes(range(256))).read())
    with pytest.raises(ValueError, match="delete it and get it again"):
        load_dataset("cifar100", tmp_path, **OFFLINE)
