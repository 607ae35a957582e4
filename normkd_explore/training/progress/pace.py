"""How fast a training goes lately, and how long it will still take at that pace."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from normkd_explore.training.run import Moment

WINDOW_SECONDS = 30.0  # long enough to even out single steps, short enough to notice another program on the machine
SAMPLE_SECONDS = 0.25


class Pace:
    """Told of every step, it knows the rate of the last half minute of steps and the seconds that are left.

    What happens between two epochs (evaluation, checkpoint) is timed apart: it is no part of the rate, and it is added
    to what is left once for each epoch that is not over. A stop of the whole program in the midst of an epoch counts.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.began = self.now = clock()
        self.moment: Moment | None = None
        self.stepping = 0.0  # seconds inside epochs, without the first step
        self.steps = self.images = 0  # in those seconds
        self.between: float | None = None  # seconds of the last break between epochs
        self.samples: deque[tuple[float, int, int]] = deque([(0.0, 0, 0)])

    def step(self, moment: Moment) -> None:
        """Note that a step has just ended."""
        before, elapsed = self.moment, self.clock() - self.now
        self.now += elapsed
        self.moment = moment
        if before is None:
            return  # how long the first step took is not known: its start was not seen
        if before.epoch != moment.epoch:
            self.between = max(0.0, elapsed - self.step_seconds)
            return
        self.stepping += elapsed
        self.steps += 1
        self.images += moment.images
        if self.stepping - self.samples[-1][0] >= SAMPLE_SECONDS:
            self.samples.append((self.stepping, self.steps, self.images))
        while len(self.samples) > 2 and self.stepping - self.samples[1][0] >= WINDOW_SECONDS:
            self.samples.popleft()

    @property
    def step_seconds(self) -> float:
        """Seconds of a step lately; 0 before two steps were seen."""
        seconds, steps, _ = self.samples[0]
        return (self.stepping - seconds) / (self.steps - steps) if self.steps > steps else 0.0

    @property
    def rate(self) -> float:
        """Images per second lately; 0 before two steps were seen."""
        seconds, _, images = self.samples[0]
        return (self.images - images) / (self.stepping - seconds) if self.stepping > seconds else 0.0

    @property
    def took(self) -> float:
        """Seconds since the training was first heard of."""
        return self.now - self.began

    def left(self) -> float | None:
        """Seconds that are left, evaluations included once one was seen; None before two steps were seen."""
        if not self.steps or self.moment is None:
            return None
        m = self.moment
        steps = (m.epochs - m.epoch) * m.steps - m.step
        return steps * self.step_seconds + (m.epochs - m.epoch) * (self.between or 0.0)


def duration(seconds: float) -> str:
    """Seconds in the two largest units that fit, e.g. "1 d 6 h", "2 h 5 min", "40 s"."""
    seconds = round(seconds)
    for unit, name, below, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= unit:
            return f"{seconds // unit:,} {name} {seconds % unit // below} {smaller}"
    return f"{seconds} s"
