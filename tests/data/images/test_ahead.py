"""The thread that prepares the next batch: in order, one ahead, its errors in their turn."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from normkd_explore.data import make_batches
from normkd_explore.data.images import gpu_jpeg, streaming
from normkd_explore.data.images.ahead import worked_ahead
from tests.helpers.photos import CPU, open_photos


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
