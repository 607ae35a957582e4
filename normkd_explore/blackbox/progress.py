"""The progress of step one: the generator's losses in the place of a student's."""

from __future__ import annotations

from dataclasses import dataclass

from normkd_explore.blackbox.folder import UNIT
from normkd_explore.blackbox.step_one import StepOne
from normkd_explore.training.progress.bar import REFRESH_SECONDS
from normkd_explore.training.progress.pace import Pace
from normkd_explore.training.progress.view import Display, Standing, State, find_display
from normkd_explore.training.run import Moment


@dataclass(frozen=True)
class Losses(Standing):
    """The last finished epoch of step one."""

    record: dict[str, float] | None = None

    def parts(self) -> list[tuple[str, str]]:
        if self.record is None:
            return [("losses", ""), ("come with the first epoch", "")]
        return [(f"{name} {self.record[name]:.3f}", "") for name in ("discriminator", "generator", "information")]

    def short(self) -> str:
        return self.name


class StepOneBar:
    """A watcher for `run_step_one`."""

    def __init__(self, display: Display | None = None, pace: Pace | None = None) -> None:
        self.display, self.pace = display or find_display(), pace or Pace()
        self.refreshed = float("-inf")
        self.one: StepOne | None = None
        self.finished = 0

    def __call__(self, moment: Moment, one: StepOne) -> None:
        if self.one is None:
            self.one, self.finished = one, len(one.history)
        self.pace.step(moment)
        self._show_finished(one)
        if self.pace.now - self.refreshed > REFRESH_SECONDS:
            self.refreshed = self.pace.now
            self.display.show(self._state(one, one.epoch + 1))

    def _show_finished(self, one: StepOne) -> None:
        """An epoch is recorded after its last step; the next call is the first to see that."""
        if len(one.history) > self.finished:
            self.finished = len(one.history)
            self.display.finish_epoch(self._state(one, self.finished))

    def _state(self, one: StepOne, epoch: int) -> State:
        epochs = one.recipe.generator_epochs
        record = one.history[-1] if one.history else None
        return State(
            title="generator",
            epoch=min(epoch, epochs),
            epochs=epochs,
            fraction=(one.epoch * len(one.batches) + one.step) / one.steps,
            rate=self.pace.rate,
            left=self.pace.left(),
            took=self.pace.took,
            students=[Losses("step one", None, None, record=record)],
            unit=UNIT,
        )

    def close(self) -> None:
        """Show how far it came, and leave that as it stands."""
        if self.one is not None:
            self._show_finished(self.one)
            self.display.show(self._state(self.one, self.one.epoch + 1))
        self.display.close()

    def __enter__(self) -> StepOneBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
