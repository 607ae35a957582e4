"""What lies between a folder of JPEG files and a GPU: worker processes, the thread ahead, and no needless waiting.

No GPU is needed: torchvision's decoder on the processor stands in for nvJPEG, and the device "meta" for one to which
data must be copied.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from normkd_explore.data import load_dataset, make_batches
from normkd_explore.data.glyphs.drawn import draw_photos
from normkd_explore.data.images import gpu_jpeg, streaming
from normkd_explore.data.images.ahead import worked_ahead
from normkd_explore.data.images.gpu_jpeg import Decoder
from normkd_explore.data.images.jpeg_batch import JpegBytes, pack, unpack
from normkd_explore.training import evaluate
from normkd_explore.training.teacher import logit_table
from normkd_explore.training.teacher.kept_rows import KeptRows, row_checks

CPU = torch.device("cpu")


@pytest.fixture
def pretend_gpu(monkeypatch):
    """A decoder on the processor in place of the GPU's."""
    on_processor = gpu_jpeg.decode_jpeg
    monkeypatch.setattr(gpu_jpeg, "decode_jpeg", lambda files, device: on_processor(files, CPU))
    monkeypatch.setattr(streaming, "choose_decoder", lambda names, device: Decoder(True, "a test"))


@pytest.fixture
def photos(tmp_path):
    return draw_photos(tmp_path, train=3, val=2, size=(150, 120))


def open_photos(root):
    return load_dataset("imagenet", root, protocol="paper", image_size=100)


# --- worker processes ----------------------------------------------------------------------------------------

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
        JpegBytes(7, torch.arange(5, dtype=torch.uint8), (1, 2, 3, 4), True),
        JpegBytes(0, torch.arange(9, dtype=torch.uint8), None, False),
    ]
    for items in ([], [pixels[0]], files, [pixels[0], files[1], pixels[1], files[0]]):
        packed = pack(items, 4)
        assert len(packed) == 3 and all(isinstance(part, torch.Tensor) for part in packed)
        back = unpack(packed)
        assert [type(item) for item in back] == [type(item) for item in items]
        for mine, theirs in zip(back, items, strict=True):
            if isinstance(theirs, JpegBytes):
                assert torch.equal(mine.bytes_L, theirs.bytes_L)
                assert (mine.index, mine.box, mine.flip) == (theirs.index, theirs.box, theirs.flip)
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
    assert f"normkd: {path} cannot be read as an image" in done.stderr.splitlines()[-1]


# --- the thread ahead ----------------------------------------------------------------------------------------


def test_results_come_in_order_while_the_next_is_under_way():
    started = []

    def work(item):
        started.append(item)
        assert threading.current_thread() is not threading.main_thread()
        return torch.tensor(item)

    results = worked_ahead(work, iter(range(5)), CPU)
    for wanted in range(5):
        assert next(results) == wanted
        end = time.monotonic() + 10
        while len(started) < min(wanted + 2, 5) and time.monotonic() < end:
            time.sleep(0.001)
        assert started == list(range(min(wanted + 2, 5)))  # one ahead, and no more
    assert list(results) == []


@pytest.mark.parametrize("place", ["work", "items"])
def test_an_error_waits_for_its_turn(place):
    def items():
        for item in range(4):
            if item == 2 and place == "items":
                raise KeyError(item)
            yield item

    def work(item):
        if item == 2:
            raise KeyError(item)
        return torch.tensor(item)

    seen = []
    with pytest.raises(KeyError, match="2"):
        for result in worked_ahead(work, items(), CPU):
            seen.append(int(result))
    assert seen == [0, 1]


def test_stopping_early_ends_the_thread():
    before, done = threading.active_count(), []
    results = worked_ahead(lambda item: done.append(item) or torch.tensor(item), iter(range(100)), CPU)
    next(results)
    results.close()
    assert threading.active_count() <= before and len(done) <= 2  # a thread of an earlier test may end as well


@pytest.mark.parametrize("workers", [0, 1])
def test_epochs_resume_and_end_early_where_a_gpu_decodes(photos, pretend_gpu, workers):
    def batches():
        return make_batches(open_photos(photos), "train", 5, augment=True, seed=2, workers=workers)

    whole = list(batches().epoch(1))
    assert [len(batch.labels_B) for batch in whole] == [5, 5, 2]
    again = batches()
    stopped = again.epoch(0)
    next(stopped)
    stopped.close()
    for start in (0, 1, 2, 3):
        rest = list(again.epoch(1, start))
        assert len(rest) == 3 - start
        for mine, theirs in zip(rest, whole[start:], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_the_thread_leaves_the_generator_of_training_alone(photos, pretend_gpu, monkeypatch):
    """What Pillow decodes for the GPU is cut as it was drawn: a draw there would disturb dropout's."""
    expected = list(make_batches(open_photos(photos), "train", 5, augment=True, workers=0).epoch(0))

    def refuse(files, device):
        raise RuntimeError("refused")

    def draw(seed):
        raise AssertionError("drawn in the thread")

    batches = make_batches(open_photos(photos), "train", 5, augment=True, workers=1)
    stream = iter(batches._loader)  # the worker starts with the ordinary function
    monkeypatch.setattr(gpu_jpeg, "decode_jpeg", refuse)
    monkeypatch.setattr(streaming, "lent_generator", draw)
    del stream
    found = list(batches.epoch(0))
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.images_BCHW - theirs.images_BCHW).abs().max() < 0.02  # one level of 255


# --- waiting -------------------------------------------------------------------------------------------------


class Copies(TorchDispatchMode):
    """Records what is copied from the host to the device "meta"."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.device.type == "meta":
            sources = [arg for arg in args if isinstance(arg, torch.Tensor) and arg.device.type == "cpu" and arg.ndim]
            blocking = not (kwargs or {}).get("non_blocking", False)
            self.found += [(tuple(source.shape), source.dtype, blocking) for source in sources]
        return result


def test_a_step_copies_its_pixels_and_nothing_else(photos):
    """What an epoch needs goes to the device before its first step, and what a step needs is not waited for."""
    batches = make_batches(open_photos(photos), "train", 5, augment=True, workers=0, device="meta")
    with Copies() as copies:
        for step, batch in enumerate(batches.epoch(0)):
            if step == 0:
                copies.found.clear()
            assert {part.device.type for part in batch} == {"meta"}
    assert copies.found == [((images, 100, 100, 3), torch.uint8, False) for images in (5, 2)]


def test_constants_are_made_once(photos, monkeypatch):
    batches = make_batches(open_photos(photos), "train", 5, augment=True, workers=0)

    def again(*_):
        raise AssertionError("made inside an epoch")

    monkeypatch.setattr("normkd_explore.data.dataset.row_constants", again)
    monkeypatch.setattr(streaming, "row_constants", again)
    assert len(list(batches.epoch(0))) == 3


def test_an_evaluation_takes_its_counts_to_the_device_once(photos, monkeypatch):
    model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 4))
    batches = list(make_batches(open_photos(photos), "test", 3, augment=False, workers=0).epoch(0))
    made, original = [], torch.Tensor.new_tensor
    monkeypatch.setattr(torch.Tensor, "new_tensor", lambda *a, **k: made.append(1) or original(*a, **k))
    monkeypatch.setattr(torch, "tensor", lambda *a, **k: pytest.fail("made from the host's values"))
    found = evaluate(model, batches)
    assert found["n"] == 8 and len(batches) == 3 and len(made) == 1


class Event:
    """What a GPU's copy to the host is waited for with."""

    def __init__(self):
        self.over, self.waited = False, 0

    def query(self):
        return self.over

    def synchronize(self):
        self.over, self.waited = True, self.waited + 1


def test_kept_logits_come_from_a_gpu_without_waiting(monkeypatch, tmp_path):
    """Training has them at once; they are in the file once their copies are over; `finish` alone waits."""
    events, sent = [], []

    def send(values):
        host = torch.full_like(values, torch.nan)  # not there yet
        events.append(Event())
        sent.append((host, values.clone()))
        return host, events[-1]

    def arrive(number):
        sent[number][0].copy_(sent[number][1])

    monkeypatch.setattr(logit_table, "sent_to_host", send)
    kept_RC, checks_R = torch.zeros(6, 3), torch.zeros(6, dtype=torch.int32)
    kept = KeptRows(kept_RC, checks_R, tmp_path / "lock")
    table = logit_table.LogitTable(torch.zeros(6, 3), torch.zeros(6, dtype=torch.bool), kept)
    logits_BC, rows_B = torch.arange(1.0, 19).view(6, 3), torch.arange(6)
    for part in rows_B.split(2):
        table.write(part, logits_BC[part])
    assert torch.equal(table.read(rows_B), logits_BC)  # training has them at once
    assert not table.missing(rows_B).any() and not kept.known(rows_B).any()
    arrive(0)
    events[0].over = True
    table.read(rows_B[:1])
    assert torch.equal(kept.known(rows_B), rows_B < 2)
    assert torch.equal(kept_RC[:2], logits_BC[:2]) and not kept_RC[2:].any()
    assert [event.waited for event in events] == [0, 0, 0]
    arrive(1), arrive(2)
    table.finish()
    assert torch.equal(kept_RC, logits_BC) and table.filled == 6
    assert torch.equal(checks_R, row_checks(rows_B, logits_BC))
    assert not events[0].waited and events[1].waited == events[2].waited == 1
