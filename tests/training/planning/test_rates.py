"""Rates measured by a clock that can be set."""

from __future__ import annotations

import itertools

import pytest

from normkd_explore.training.planning.estimate import measure_rate


class Clock:
    """A clock that stands still unless somebody works."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def work(self, images: int, seconds: float) -> int:
        self.now += seconds
        return images


def test_a_steady_rate_is_measured_exactly():
    clock = Clock()
    rate = measure_rate(lambda: clock.work(32, 0.25), seconds=5, clock=clock)
    assert (rate.mean, rate.slowest, rate.fastest) == (128, 128, 128)
    assert clock.now - 100 == pytest.approx(0.25 + 5)  # one step that is not counted, then the time asked for


def test_the_mean_is_all_images_over_all_time_and_the_spread_its_stretches():
    clock, seconds = Clock(), itertools.chain([9.0], itertools.cycle([1.0, 4.0]))
    rate = measure_rate(lambda: clock.work(8, next(seconds)), seconds=4, clock=clock)
    assert (rate.slowest, rate.fastest) == (2, 8)
    assert rate.mean == pytest.approx(16 / 5)  # not (2 + 8) / 2


def test_a_step_longer_than_the_time_is_measured_twice():
    clock, calls = Clock(), []
    rate = measure_rate(lambda: calls.append(1) or clock.work(10, 50), seconds=1, clock=clock)
    assert rate.mean == 0.2
    assert len(calls) == 3


def test_a_queue_of_work_is_waited_for():
    """A device returns at once and computes later: only the wait shows how long it took."""
    clock, queue = Clock(), []

    def wait():
        clock.now += 0.5 * len(queue)
        queue.clear()

    rate = measure_rate(lambda: queue.append(1) or clock.work(10, 0.1), seconds=2, clock=clock, wait=wait)
    assert rate.mean == pytest.approx(10 / 0.6)
