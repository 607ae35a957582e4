"""Who decodes, and that a GPU would show what worker processes show.

No GPU is needed: torchvision's own decoder on the processor takes the place of nvJPEG. What nvJPEG does with real files
is tested only where there is a GPU.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from normkd_explore.data import load_dataset, make_batches
from normkd_explore.data.glyphs.drawn import draw_photos
from normkd_explore.data.images import gpu_jpeg, streaming
from normkd_explore.data.images.gpu_jpeg import Decoder, Refused, choose_decoder, decode_and_cut
from normkd_explore.data.images.jpeg_header import whole_rgb_jpeg

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
    assert decode_and_cut([pixels_SSC, pixels_SSC], 8, 1.0, torch.device("cpu"), None, Refused(Path)).shape == (
        2,
        8,
        8,
        3,
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="nvJPEG needs an NVIDIA GPU")
def test_a_real_gpu_shows_the_cuts_of_the_workers(root, monkeypatch):
    if not choose_decoder(NAMES, CUDA).on_gpu:
        pytest.skip(choose_decoder(NAMES, CUDA).reason)
    dataset, expected = epoch(root, "train", False, monkeypatch)
    _, found = epoch(root, "train", True, monkeypatch, device=CUDA)
    for mine, theirs in zip(found, expected, strict=True):
        pixels = [dataset.denormalize(batch.images_BCHW.cpu()).float().numpy() for batch in (mine, theirs)]
        assert np.abs(pixels[0] - pixels[1]).mean() < 4


# --- damage and refusal --------------------------------------------------------------------------------------


def noisy(**options) -> bytes:
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels_HWC).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 100, "subsampling": 0}, {"optimize": True}])
def test_usual_jpeg_files_go_to_the_gpu(options):
    assert whole_rgb_jpeg(noisy(**options))


def test_files_coded_in_rgb_are_left_to_pillow():
    """Without a look at Adobe's marker, their red, green and blue would be taken for brightness and colour."""
    coded = noisy(keep_rgb=True)
    assert not whole_rgb_jpeg(coded)
    start = coded.index(b"\xff\xee")  # Adobe's marker; libjpeg then goes by the components' names
    bare = coded[:start] + coded[start + 2 + int.from_bytes(coded[start + 2 : start + 4], "big") :]
    with Image.open(io.BytesIO(bare)) as image:
        assert image.mode == "RGB" and "adobe" not in image.info
    assert not whole_rgb_jpeg(bare)
    unnamed = coded.replace(b"R\x11\0G\x11\0B\x11\0", b"\1\x11\0\2\x11\0\3\x11\0")
    assert unnamed != coded and not whole_rgb_jpeg(unnamed)  # the marker's 0 alone says RGB
    ycbcr = unnamed[: start + 15] + b"\1" + unnamed[start + 16 :]
    with Image.open(io.BytesIO(ycbcr)) as image:
        assert image.info["adobe_transform"] == 1
    assert whole_rgb_jpeg(ycbcr)


def test_a_header_with_zeroed_bytes_is_left_to_pillow():
    """Pillow itself accepts some of these: only what it says of them is trusted."""
    content = noisy()
    pixels = content.index(b"\xff\xda")
    for start in range(2, pixels - 60):
        assert not whole_rgb_jpeg(content[:start] + bytes(60) + content[start + 60 :]), start


@pytest.mark.parametrize(
    "fault", [torch.AcceleratorError("an illegal read"), RuntimeError("CUDA error: an illegal read")]
)
def test_a_failing_device_is_no_reason_to_try_again(root, monkeypatch, working, fault):
    calls = []

    def decode(files, device):
        calls.append(len(files))
        raise fault

    monkeypatch.setattr(gpu_jpeg, "decode_jpeg", decode)
    with pytest.raises(type(fault), match=str(fault)):
        epoch(root, "test", True, monkeypatch)
    assert 1 <= len(calls) <= 2  # the second batch may be under way


def test_refused_files_are_said_and_given_to_the_gpu_no_more(root, monkeypatch, working, capsys):
    patched, calls = gpu_jpeg.decode_jpeg, []
    paths = [root / "val" / "disc" / "000.jpg", root / "val" / "square" / "001.jpg"]
    refused = {path.stat().st_size for path in paths}

    def picky(files, device):
        calls.append(len(files))
        if any(len(file) in refused for file in files):
            raise RuntimeError("unsupported\nand more")
        return patched(files, device)

    monkeypatch.setattr(gpu_jpeg, "decode_jpeg", picky)
    monkeypatch.setattr(streaming, "choose_decoder", lambda names, device: Decoder(True, "test"))
    dataset = load_dataset("imagenet", root, protocol="paper", image_size=100)
    batches = make_batches(dataset, "test", 8, augment=False, workers=0)
    first = list(batches.epoch(0))
    assert len(calls) < 2 * 8 and max(calls) == 8
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"the GPU cannot decode {paths[0]} (unsupported); Pillow decodes it",
        "the GPU refused 2 files so far; Pillow decodes them",
    ]
    calls.clear()
    second = list(batches.epoch(0))
    assert calls == [6]
    assert capsys.readouterr().err == ""
    assert all(torch.equal(a.images_BCHW, b.images_BCHW) for a, b in zip(first, second, strict=True))
