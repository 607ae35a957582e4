"""Photographs that a GPU decodes: how much memory they take there, and who waits for whom.

Not run on a GPU: torchvision's decoder on the processor and recorders of calls take its place.
"""

from __future__ import annotations

import weakref
from types import SimpleNamespace

import pytest
import torch

from normkd_explore.data import make_batches
from normkd_explore.data.images import ahead, gpu_jpeg, streaming
from normkd_explore.data.images.gpu_jpeg import Decoder, Refused
from normkd_explore.data.images.jpeg_batch import JpegBytes
from normkd_explore.training.planning import memory
from tests.helpers.photos import CPU, open_photos

CUDA = torch.device("cuda", 1)


@pytest.fixture
def calls(monkeypatch):
    """The numbers of files in each call of the decoder; whole pictures of a call before must be gone by then."""
    real, seen, alive = gpu_jpeg.decode_jpeg, [], weakref.WeakSet()

    def decode(files, device):
        assert not alive, "whole pictures of a call before are still there"
        seen.append(len(files))
        images = real(files, CPU)
        for image in images:
            alive.add(image)
        return images

    monkeypatch.setattr(gpu_jpeg, "decode_jpeg", decode)
    return seen


def pictures(photos, monkeypatch, on_gpu=True, batch=6):
    monkeypatch.setattr(streaming, "choose_decoder", lambda names, device: Decoder(on_gpu, "a test"))
    batches = make_batches(open_photos(photos), "test", batch, augment=False, workers=0)
    return torch.cat([found.images_BCHW for found in batches.epoch(0)])


def whole_bytes(photos):
    split = open_photos(photos).test
    sizes = [streaming.read_rgb(split.path(place)).size for place in range(len(split))]
    return [3 * width * height for width, height in sizes]


def test_a_batch_is_decoded_in_parts_that_fit(photos, monkeypatch, calls):
    one = max(whole_bytes(photos))
    wanted = pictures(photos, monkeypatch)
    images, calls[:] = sum(calls), []
    monkeypatch.setattr(gpu_jpeg, "DECODED_BYTES", 2 * one)
    assert torch.equal(pictures(photos, monkeypatch), wanted)
    assert max(calls) == 2 and sum(calls) == images
    calls.clear()
    monkeypatch.setattr(gpu_jpeg, "DECODED_BYTES", 1)  # a picture larger than that is decoded alone
    assert torch.equal(pictures(photos, monkeypatch), wanted) and calls == [1] * images


def test_without_memory_for_all_a_batch_is_decoded_in_halves(photos, monkeypatch, calls):
    wanted, real = pictures(photos, monkeypatch), gpu_jpeg.decode_jpeg

    def small(files, device):
        if len(files) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(files, device)

    calls.clear()
    monkeypatch.setattr(gpu_jpeg, "decode_jpeg", small)
    assert torch.equal(pictures(photos, monkeypatch), wanted) and max(calls) <= 2


def test_a_picture_for_which_there_is_no_memory_at_all_is_left_to_pillow(photos, monkeypatch, capsys):
    def none(files, device):
        raise RuntimeError("nvjpegDecode failed: out of memory")

    monkeypatch.setattr(gpu_jpeg, "decode_jpeg", none)
    found = pictures(photos, monkeypatch)
    assert "(nvjpegDecode failed: out of memory); Pillow decodes it" in capsys.readouterr().err
    assert torch.equal(found, pictures(photos, monkeypatch, on_gpu=False))


def test_the_decoder_begins_when_the_crops_before_it_are_over(monkeypatch):
    """nvJPEG writes on a stream of its own into memory that they may still read."""
    order = []
    stream = SimpleNamespace(synchronize=lambda: order.append("waited"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    decoded = torch.zeros(3, 4, 4, dtype=torch.uint8)
    monkeypatch.setattr(gpu_jpeg, "decode_jpeg", lambda files, device: order.append("decoded") or [decoded])
    file = JpegBytes(0, torch.zeros(1, dtype=torch.uint8), None, False, 16)
    monkeypatch.setattr(gpu_jpeg, "DECODED_BYTES", 48)
    gpu_jpeg.decode_and_cut([file, file._replace(position=1)], 4, 1.0, CUDA, None, Refused(None))
    assert order == ["waited", "decoded"] * 2


def test_the_thread_works_on_the_gpu_of_its_stream(monkeypatch):
    """Else it would begin on the first GPU and, leaving its stream, open that one from every process."""
    chosen = []

    class Stream:
        device = CUDA

        def __init__(self, device):
            assert device == CUDA

        def record_event(self):
            return None

        def __enter__(self):
            chosen.append("entered")

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert list(ahead.worked_ahead(lambda item: item, [1, 2], CUDA)) == [1, 2]
    assert chosen == [CUDA, "entered", "entered"]


@pytest.mark.parametrize("room, parts", [(2**29, 1), (1000, 0)])
def test_an_estimate_counts_whole_pictures(photos, monkeypatch, room, parts):
    dataset = open_photos(photos)
    monkeypatch.setattr(memory, "DECODED_BYTES", room)
    assert memory.decoding_bytes(dataset, 64, CPU) == 0
    monkeypatch.setattr(memory, "choose_decoder", lambda names, device: Decoder(True, "a test"))
    sizes = [streaming.read_rgb(dataset.train.path(place)).size for place in range(len(dataset.train))]
    mean = sum(3 * width * height for width, height in sizes) / len(sizes)
    assert memory.decoding_bytes(dataset, 64, CUDA) == (round(64 * mean) if parts else room)
