"""The progress of a training: a watcher for `fit` that knows how far, how fast, how good, and how long still."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from normkd_explore.training.progress.pace import Pace
from normkd_explore.training.progress.view import Display, Standing, State, find_display
from normkd_explore.training.run import Moment, Run

REFRESH_SECONDS = 0.3


class ProgressBar:
    """Shows epoch, loss, top-1, images/s and the time left of the whole training, wherever there is to show it.

    On a GPU, reading the loss inside an epoch would make the host wait for the device, so loss and top-1 there are
    those of the last finished epoch. Of several processes the first shows those of its own share of the batches.
    """

    def __init__(self, disable: bool = False, display: Display | None = None, pace: Pace | None = None) -> None:
        self.display = None if disable else display or find_display()
        self.pace = pace or Pace()
        self.refreshed = float("-inf")
        self.runs: list[Run] = []
        self.finished = 0  # epochs that were shown as finished

    def __call__(self, moment: Moment, runs: list[Run]) -> None:
        if self.display is None:
            return
        if not self.runs:
            self.runs, self.finished = runs, len(runs[0].learner.history)
        self.pace.step(moment)
        with self._unless_closed():
            self._show_finished(self.display, moment)
            if self.pace.now - self.refreshed > REFRESH_SECONDS:
                self.refreshed = self.pace.now
                self.display.show(self._state(moment))

    @contextmanager
    def _unless_closed(self) -> Iterator[None]:
        """A terminal or pipe that is closed is no reason to stop: from then on nothing is shown."""
        try:
            yield
        except OSError:
            self.display = None

    def _show_finished(self, display: Display, moment: Moment) -> None:
        """An epoch is recorded after its last step, once it was evaluated; the next call is the first to see that."""
        known = len(self.runs[0].learner.history)
        if known > self.finished:
            self.finished = known
            display.finish_epoch(self._state(moment, known))

    def _state(self, moment: Moment, finished: int | None = None) -> State:
        """Where training is now, or how the last finished epoch ended."""
        over = finished == moment.epochs
        share = (moment.epoch * moment.steps + moment.step) / (moment.epochs * moment.steps)
        return State(
            title=_title(self.runs),
            epoch=finished or moment.epoch + 1,
            epochs=moment.epochs,
            fraction=1.0 if over else min(share, 0.999),
            rate=self.pace.rate,
            left=self.pace.left(),
            took=self.pace.took,
            students=[_standing(run, finished is None) for run in self.runs],
        )

    def close(self) -> None:
        """Show how far it came, and leave that as it stands."""
        if self.display is None:
            return
        with self._unless_closed():
            if moment := self.pace.moment:
                self._show_finished(self.display, moment)
                over = self.finished == moment.epochs
                self.display.show(self._state(moment, self.finished if over else None))
            self.display.close()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _standing(run: Run, running: bool) -> Standing:
    """A student's numbers; where `running`, loss and top-1 are those of the epoch so far."""
    history, totals = run.learner.history, run.learner.totals
    numbers = history[-1]["train"] if history else {}
    if running and totals.device.type == "cpu" and totals[-1] > 0:
        numbers = run.learner.read_totals()
    split = "val" if history and "val" in history[-1] else "test"
    measured = [record[split]["top1"] for record in history]
    return Standing(run.name, numbers.get("loss"), numbers.get("top1"), split, measured)


def _title(runs: list[Run]) -> str:
    """The student's model, and the seed where all have one."""
    recipes = [run.learner.recipe for run in runs]
    models, seeds = {recipe.student for recipe in recipes}, {recipe.seed for recipe in recipes}
    model = models.pop() if len(models) == 1 else f"{len(runs)} students"
    return f"{model} seed {seeds.pop()}" if len(seeds) == 1 else model
