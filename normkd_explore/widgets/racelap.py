"""One seed of a race while it runs: counts images, reads the students' sums, and makes curves of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from normkd_explore.figures.race import RaceLap
from normkd_explore.figures.style import rounded
from normkd_explore.training.progress.pace import Pace

if TYPE_CHECKING:
    from normkd_explore.training import Moment, Run

SMOOTH_IMAGES = 1000  # a training point is the mean over about so many images: standard error up to 1.6 points
MOST_KNOTS = 256


class RunningLap:
    """Knots of (images seen, right answers so far) for each method; a curve's value is the slope between two knots.

    Running sums make thinning exact: with a knot taken out, the slope over its neighbours is the mean over both parts.
    """

    def __init__(self, seed: int, now: float = 0.0) -> None:
        self.seed, self.split = seed, "val"
        self.moment: Moment | None = None
        self.runs: list[Run] = []
        self.images = 0  # seen since the start of the training
        self.ends: list[int] = []  # images seen at the end of each epoch
        self.knots: list[int] = [0]
        self.right: dict[str, list[float]] = {}
        self.valid: dict[str, list[float]] = {}
        self._right_before: dict[str, float] = {}  # in the epochs that the history has
        self._now, self._preparing = now, 0.0
        self._pace = Pace(lambda: self._now)

    def is_next(self, moment: Moment) -> bool:
        """Whether `moment` lies after the last one, as within one training."""
        last = self.moment
        return last is None or (moment.epoch, moment.step) > (last.epoch, last.step)

    def count(self, moment: Moment, runs: list[Run], now: float) -> None:
        """Take note of one step; `now` in seconds."""
        if self.moment is None:
            self._start(moment, runs)
            self._preparing = now - self._now
        self.moment, self._now = moment, now
        self._pace.step(moment)
        self.images += moment.images
        if moment.step == moment.steps:
            self.ends.append(self.images)

    def _start(self, moment: Moment, runs: list[Run]) -> None:
        """Begin with the first step, or with a later one of a resumed training."""
        self.runs = runs
        self.ends = [moment.images * moment.steps * epoch for epoch in range(1, moment.epoch + 1)]
        self.images = moment.images * (moment.epoch * moment.steps + moment.step - 1)
        self._right_before = {run.name: 0.0 for run in runs}
        self.right = {run.name: [0.0] for run in runs}
        self.valid = {run.name: [] for run in runs}

    def measure(self) -> None:
        """Take up the history's new epochs and, on a CPU, the sums of the running one."""
        if self.moment is None:
            return
        finished = min(len(run.learner.history) for run in self.runs)
        for epoch in range(len(self.valid[self.runs[0].name]), finished):
            self._take_epoch(epoch)
        on_cpu = all(run.learner.totals.device.type == "cpu" for run in self.runs)
        if on_cpu:
            seen = self.images - self._start_of(finished)
            self._add_knot(
                self.images,
                {
                    run.name: self._right_before[run.name] + run.learner.read_totals()["top1"] * seen
                    for run in self.runs
                },
            )

    def _start_of(self, epoch: int) -> int:
        return self.ends[epoch - 1] if epoch else 0

    def _take_epoch(self, epoch: int) -> None:
        for run in self.runs:
            record = run.learner.history[epoch]
            self.split = "val" if "val" in record else "test"
            self.valid[run.name].append(100 * record[self.split]["top1"])
            self._right_before[run.name] += record["train"]["top1"] * (self.ends[epoch] - self._start_of(epoch))
        self._add_knot(self.ends[epoch], self._right_before)

    def _add_knot(self, images: int, right: dict[str, float]) -> None:
        if images <= self.knots[-1]:
            return
        self.knots.append(images)
        for name, value in right.items():
            self.right[name].append(value)
        if len(self.knots) > MOST_KNOTS:
            del self.knots[1:-1:2]
            for values in self.right.values():
                del values[1:-1:2]

    def snapshot(self) -> RaceLap:
        """Give the curves: at each knot top-1 over the last images up to it, so that a line ends where training is."""
        if self.moment is None:
            return RaceLap(self.seed)
        knots = np.array(self.knots)
        ahead = knots[1:]
        behind = np.maximum(np.searchsorted(knots, ahead - SMOOTH_IMAGES, side="right") - 1, 0)
        width = ahead - knots[behind]
        curves = {name: np.array(values) for name, values in self.right.items()}
        return RaceLap(
            seed=self.seed,
            epochs=self.moment.epochs,
            total=(self.ends[0] if self.ends else self.moment.steps * self.moment.images) * self.moment.epochs,
            images=ahead.tolist(),
            train={name: rounded(100 * (sums[1:] - sums[behind]) / width, 2) for name, sums in curves.items()},
            ends=self.ends[: min(len(values) for values in self.valid.values())],
            valid={name: rounded(values, 2) for name, values in self.valid.items()},
        )

    def progress(self, laps_left: int) -> dict[str, Any]:
        """Where the training is, how fast lately, and the seconds left with `laps_left` more such trainings."""
        if self.moment is None:
            return {"seed": self.seed}
        m, pace = self.moment, self._pace
        return {
            "seed": self.seed,
            "epoch": m.epoch + 1,
            "epochs": m.epochs,
            "step": m.step,
            "steps": m.steps,
            "share": (m.epoch * m.steps + m.step) / (m.epochs * m.steps),
            "images_per_second": round(pace.rate, 1) or None,
            "seconds_left": self._seconds_left(laps_left),
        }

    def _seconds_left(self, laps_left: int) -> float | None:
        """At the pace of the last half minute, with evaluations and, for each training to come, its preparation."""
        m, left = self.moment, self._pace.left()
        if m is None or left is None:
            return None
        step_seconds = self._pace.step_seconds
        whole = m.epochs * (m.steps * step_seconds + (self._pace.between or 0.0))
        return round(left + laps_left * (whole + max(0.0, self._preparing - step_seconds)), 1)
