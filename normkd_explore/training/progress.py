"""The progress bar: how far, how fast, how good, and how long still."""

from __future__ import annotations

import time
from typing import Any

from tqdm.auto import tqdm

from normkd_explore.training.run import Moment, Run

REFRESH_SECONDS = 0.5


class ProgressBar:
    """A watcher for `fit` that shows epoch, loss, top-1, images/s and the time left of the whole training.

    On a GPU, reading the loss inside an epoch would make the host wait for the device, so loss and top-1 there are
    those of the last finished epoch. Of several processes the first shows those of its own share of the batches.
    """

    def __init__(self, description: str, disable: bool = False) -> None:
        self.description, self.disable = description, disable
        self.bar: Any = None
        self.images, self.began, self.refreshed = 0, time.perf_counter(), 0.0

    def __call__(self, moment: Moment, runs: list[Run]) -> None:
        if self.bar is None:
            done = moment.epoch * moment.steps + moment.step - 1
            total = moment.epochs * moment.steps
            self.bar = tqdm(
                total=total,
                initial=done,
                desc=self.description,
                unit="step",
                disable=self.disable,
                dynamic_ncols=True,
            )
        self.images += moment.images
        now = time.perf_counter()
        last_step = moment.step == moment.steps
        if now - self.refreshed > REFRESH_SECONDS or last_step:
            self.refreshed = now
            self.bar.set_postfix_str(self._status(moment, runs, now), refresh=False)
        self.bar.update(1)

    def _status(self, moment: Moment, runs: list[Run], now: float) -> str:
        rate = self.images / max(now - self.began, 1e-9)
        parts = [f"epoch {moment.epoch + 1}/{moment.epochs}", f"{rate:,.0f} images/s"]
        for run in runs:
            numbers = self._numbers(run)
            if numbers:
                label = "" if len(runs) == 1 else f"{run.name} "
                parts.append(f"{label}loss {numbers['loss']:.3f} top-1 {100 * numbers['top1']:.1f} %")
        return ", ".join(parts)

    @staticmethod
    def _numbers(run: Run) -> dict[str, float] | None:
        if run.learner.totals.device.type == "cpu":
            return run.learner.read_totals()
        return run.learner.history[-1]["train"] if run.learner.history else None

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
