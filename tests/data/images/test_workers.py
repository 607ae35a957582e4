"""Worker processes: few open files, bytes that come back as they were, damaged files named in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from normkd_explore.data import make_batches
from normkd_explore.data.images import streaming
from normkd_explore.data.images.gpu_jpeg import Decoder
from normkd_explore.data.images.jpeg_batch import JpegBytes, pack, unpack
from tests.helpers.photos import open_photos

BIG_BATCH = """
import resource, sys, time
from PIL import Image
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
import torch
from normkd_explore.data import load_dataset, make_batches
from normkd_explore.data.images import gpu_jpeg
from normkd_explore.data.images import streaming
root = Path(sys.argv[1])
for name in ("train/a", "train/b", "test/a", "test/b"):
    (root / name).mkdir(parents=True)
    for number in range(768 if "train" in name else 1):
        Image.new("RGB", (8, 8), (number % 256, 0, 0)).save(root / name / f"{number}.jpg")
real = gpu_jpeg.decode_jpeg
gpu_jpeg.decode_jpeg = lambda files, device: real(files, torch.device("cpu"))
streaming.choose_decoder = lambda names, device: gpu_jpeg.Decoder(True, "a test")
dataset = load_dataset("imagefolder", root, protocol="paper", image_size=97)
batches = make_batches(dataset, "train", 512, augment=True, workers=1)
seen = []
for batch in batches.epoch(0):
    time.sleep(0.3)  # the worker runs ahead
    seen += batch.index_B.tolist()
print(sorted(seen) == list(range(1536)))
"""


def test_a_batch_of_512_files_needs_few_open_files(tmp_path):
    """A file for each tensor in flight: with one an image, this would wait for ever."""
    command = [sys.executable, "-c", BIG_BATCH, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stdout == "True\n", done.stderr[-1000:]


def test_packed_files_come_back_as_they_were():
    pixels = [torch.full((4, 4, 3), value, dtype=torch.uint8) for value in (1, 2)]
    files = [
        JpegBytes(7, torch.arange(5, dtype=torch.uint8), (1, 2, 3, 4), True, 70),
        JpegBytes(0, torch.arange(9, dtype=torch.uint8), None, False, 12_000_000),
    ]
    for items in ([], [pixels[0]], files, [pixels[0], files[1], pixels[1], files[0]]):
        packed = pack(items, 4)
        assert len(packed) == 3 and all(isinstance(part, torch.Tensor) for part in packed)
        back = unpack(packed)
        assert [type(item) for item in back] == [type(item) for item in items]
        for mine, theirs in zip(back, items, strict=True):
            if isinstance(theirs, JpegBytes):
                assert torch.equal(mine.bytes_L, theirs.bytes_L)
                assert mine._replace(bytes_L=None) == theirs._replace(bytes_L=None)
            else:
                assert torch.equal(mine, theirs)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_damaged_file_is_one_clear_line_from_a_worker(photos, pretend_gpu, monkeypatch, on_gpu):
    monkeypatch.setattr(streaming, "choose_decoder", lambda names, device: Decoder(on_gpu, "a test"))
    path = photos / "val" / "disc" / "001.jpg"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ValueError) as caught:
        list(make_batches(open_photos(photos), "test", 3, augment=False, workers=1).epoch(0))
    assert str(caught.value).startswith(f"{path} cannot be read as an image") and "\n" not in str(caught.value)


def test_the_command_says_it_in_one_line(photos, tmp_path):
    path = photos / "train" / "disc" / "001.jpg"
    path.write_bytes(path.read_bytes()[:900])
    command = [sys.executable, "-m", "normkd_explore", "teacher", "folder/resnet14-resnet8", "--data-root", photos]
    command += ["--epochs", 1, "--batch-size", 4, "--device", "cpu", "--image-size", 97, "--workers", 1]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=200, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    said = done.stderr.splitlines()[-1]
    assert said.startswith("normkd: ") and f"{path} cannot be read as an image" in said
