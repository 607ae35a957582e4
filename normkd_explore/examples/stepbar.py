"""The progress of a short loop of steps, on a terminal or in a notebook."""

from __future__ import annotations

from normkd_explore.training.progress.pace import Pace
from normkd_explore.training.progress.view import Display, Standing, State, find_display
from normkd_explore.training.run import Moment

REFRESH_SECONDS = 0.3


class StepBar:
    """Shows step, time left, and the loss and top-1 of the newest batch.

    Args:
        name: of what is trained.
        steps: how many there will be.
    """

    def __init__(self, name: str, steps: int, display: Display | None = None, pace: Pace | None = None) -> None:
        self.name, self.steps = name, steps
        self.display, self.pace = display or find_display(), pace or Pace()
        self._shown = float("-inf")

    def step(self, step: int, loss: float, top1: float) -> None:
        """Note that `step`, counted from 1, has just ended."""
        self.pace.step(Moment(0, 1, step, self.steps, 0))
        over = step == self.steps
        if over or self.pace.now - self._shown > REFRESH_SECONDS:
            self._shown = self.pace.now
            self.display.show(self._state(step, loss, top1))
        if over:
            self.display.finish_epoch(self._state(step, loss, top1))
            self.display.close()

    def _state(self, step: int, loss: float, top1: float) -> State:
        return State(
            title="language model",
            epoch=step,
            epochs=self.steps,
            fraction=step / self.steps,
            rate=0.0,
            left=self.pace.left(),
            took=self.pace.took,
            students=[Standing(self.name, loss, top1)],
            unit="step",
        )
