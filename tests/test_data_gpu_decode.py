"""Who decodes, and that a GPU would show what worker processes show.

No GPU is needed: torchvision's own decoder on the processor takes the place of nvJPEG. What nvJPEG does with real files
is tested only where there is a GPU.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from normkd_explore.data import gpu_jpeg, load_dataset, make_batches, streaming
from normkd_explore.data.drawn import draw_photos
from normkd_explore.data.gpu_jpeg import Decoder, choose_decoder, decode_and_cut, whole_rgb_jpeg

CUDA = torch.device("cuda", 0)
NAMES = [b"a/1.JPEG", b"a/2.jpg", b"b/3.jpeg", b"b/4.png"]


@pytest.fixture
def working(monkeypatch):
    """A GPU whose decoder gives what the processor's gives, shifted by `levels`."""
    shift = {"levels": 0}
    on_processor = gpu_jpeg.decode_jpeg

    def decode(files, device):
        levels = shift["levels"] if device.type == "cuda" else 0
        return [(image.int() + levels).to(torch.uint8) for image in on_processor(files, torch.device("cpu"))]

    monkeypatch.setattr(gpu_jpeg, "decode_jpeg", decode)
    gpu_jpeg._trial.cache_clear()
    yield shift
    gpu_jpeg._trial.cache_clear()


# --- the choice ----------------------------------------------------------------------------------------------


def test_without_a_gpu_worker_processes_decode():
    decoder = choose_decoder(NAMES, torch.device("cpu"))
    assert not decoder.on_gpu
    assert str(decoder) == "worker processes (the device is cpu)"


def test_a_gpu_that_decodes_is_taken(working):
    assert choose_decoder(NAMES, CUDA).on_gpu


@pytest.mark.parametrize(
    "fault, reason",
    [
        (RuntimeError("decode_jpeg: not compiled with nvjpeg"), "not compiled with nvjpeg"),
        (ImportError("cannot import name 'decode_jpeg'"), "cannot import name"),
        (None, "9 levels off"),
    ],
)
def test_a_gpu_that_cannot_or_decodes_wrongly_is_not_taken(working, monkeypatch, fault, reason):
    working["levels"] = 9
    if fault:
        monkeypatch.setattr(gpu_jpeg, "decode_jpeg", lambda *_, **__: (_ for _ in ()).throw(fault))
    decoder = choose_decoder(NAMES, CUDA)
    assert not decoder.on_gpu
    assert reason in decoder.reason


def test_a_folder_of_other_formats_is_left_to_the_processor(working):
    decoder = choose_decoder([b"1.png", b"2.webp", b"3.jpg"], CUDA)
    assert not decoder.on_gpu
    assert "1 of 3 files are JPEG" in decoder.reason


def test_the_choice_can_be_overridden(working, monkeypatch):
    monkeypatch.setenv("NORMKD_DECODER", "workers")
    assert not choose_decoder(NAMES, CUDA).on_gpu
    monkeypatch.setenv("NORMKD_DECODER", "gpu")
    assert choose_decoder(NAMES, CUDA).on_gpu
    with pytest.raises(ValueError, match=r"NORMKD_DECODER.*the device is cpu"):
        choose_decoder(NAMES, torch.device("cpu"))
    monkeypatch.setenv("NORMKD_DECODER", "fast")
    with pytest.raises(ValueError, match="found 'fast', wanted one of auto, gpu, workers"):
        choose_decoder(NAMES, CUDA)


def test_the_choice_is_said_once(capsys):
    gpu_jpeg.announce.cache_clear()
    for _ in range(3):
        gpu_jpeg.announce(Decoder(False, "only a test"))
    assert capsys.readouterr().err == "images are decoded by worker processes (only a test)\n"


# --- the files -----------------------------------------------------------------------------------------------


def stored(mode: str = "RGB", form: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (20, 30), 100 if mode == "L" else None).save(file, form)
    return file.getvalue()


def test_only_whole_jpeg_files_in_rgb_go_to_the_gpu():
    assert whole_rgb_jpeg(stored())
    assert whole_rgb_jpeg(stored() + b"\0\0")  # padding does no harm
    assert not whole_rgb_jpeg(stored("L"))
    assert not whole_rgb_jpeg(stored("CMYK"))
    assert not whole_rgb_jpeg(stored(form="PNG"))
    assert not whole_rgb_jpeg(stored()[:-2])
    assert not whole_rgb_jpeg(b"\xff\xd8 no image \xff\xd9")
    assert not whole_rgb_jpeg(b"")


@pytest.fixture
def root(tmp_path):
    """JPEG files of several sizes, one of them in CMYK and one that is a PNG by content."""
    draw_photos(tmp_path, train=2, val=2, size=(150, 120))
    folder = tmp_path / "train" / "disc"
    Image.open(folder / "000.jpg").convert("CMYK").save(folder / "cmyk.jpg")
    Image.open(folder / "001.jpg").resize((90, 200)).save(folder / "tall.jpg", quality=95)
    Image.open(folder / "001.jpg").save(folder / "png.jpg", "PNG")
    return tmp_path


def epoch(root, split, on_gpu, monkeypatch, **options):
    monkeypatch.setattr(streaming, "choose_decoder", lambda names, device: Decoder(on_gpu, "test"))
    dataset = load_dataset("imagenet", root, protocol="paper", image_size=100)
    batches = make_batches(dataset, split, 5, augment=split == "train", **{"workers": 0, "seed": 3} | options)
    assert batches.decoder.on_gpu == on_gpu
    return dataset, list(batches.epoch(2))


@pytest.mark.parametrize("split, workers", [("train", 0), ("train", 1), ("test", 0)])
def test_the_gpu_shows_the_cuts_of_the_workers(root, monkeypatch, working, split, workers):
    dataset, expected = epoch(root, split, False, monkeypatch)
    _, found = epoch(root, split, True, monkeypatch, workers=workers)
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine.index_B, theirs.index_B)
        assert torch.equal(mine.labels_B, theirs.labels_B)
        pixels = [dataset.denormalize(batch.images_BCHW).int() for batch in (mine, theirs)]
        # Pillow and torchvision round resized pixels differently, by one level at most.
        assert (pixels[0] - pixels[1]).abs().max() <= 1
        assert mine.images_BCHW.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("damage", ["truncated", "garbage inside", "gone"])
def test_a_damaged_file_is_named_whoever_decodes(root, monkeypatch, working, on_gpu, damage):
    path = sorted((root / "val" / "square").glob("*.jpg"))[1]
    content = path.read_bytes()
    dataset = load_dataset("imagenet", root, protocol="paper", image_size=100)
    if damage == "gone":
        path.unlink()
    else:
        # Only the second kind looks whole, and so reaches the GPU's decoder.
        table = content.index(b"\xff\xc4") + 4
        broken = content[:table] + b"\xff" * 40 + content[table + 40 :]
        path.write_bytes(content[:1000] if damage == "truncated" else broken)
    monkeypatch.setattr(streaming, "choose_decoder", lambda names, device: Decoder(on_gpu, "test"))
    with pytest.raises((ValueError, FileNotFoundError), match=path.name):
        list(make_batches(dataset, "test", 4, augment=False, workers=0).epoch(0))


def test_a_file_that_only_the_gpu_refuses_is_decoded_by_pillow(root, monkeypatch, working):
    _, expected = epoch(root, "test", False, monkeypatch)
    patched = gpu_jpeg.decode_jpeg
    refused = (root / "val" / "disc" / "000.jpg").stat().st_size

    def picky(files, device):
        if any(len(file) == refused for file in files):
            raise RuntimeError("nvjpegDecodeBatched failed: unsupported chroma subsampling")
        return patched(files, device)

    monkeypatch.setattr(gpu_jpeg, "decode_jpeg", picky)
    _, found = epoch(root, "test", True, monkeypatch)
    apart = [(a.images_BCHW - b.images_BCHW).abs().max() for a, b in zip(found, expected, strict=True)]
    assert max(apart) < 0.02  # one level of 255 is 0.018 after normalisation


def test_a_batch_without_any_jpeg_needs_no_decoder():
    pixels_SSC = torch.zeros(8, 8, 3, dtype=torch.uint8)
    assert decode_and_cut([pixels_SSC, pixels_SSC], 8, 1.0, torch.device("cpu"), None).shape == (2, 8, 8, 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="nvJPEG needs an NVIDIA GPU")
def test_a_real_gpu_shows_the_cuts_of_the_workers(root, monkeypatch):
    if not choose_decoder(NAMES, CUDA).on_gpu:
        pytest.skip(choose_decoder(NAMES, CUDA).reason)
    dataset, expected = epoch(root, "train", False, monkeypatch)
    _, found = epoch(root, "train", True, monkeypatch, device=CUDA)
    for mine, theirs in zip(found, expected, strict=True):
        pixels = [dataset.denormalize(batch.images_BCHW.cpu()).float().numpy() for batch in (mine, theirs)]
        assert np.abs(pixels[0] - pixels[1]).mean() < 4
