"""The progress of a federation: rounds in the place of epochs, the clients' mean in the place of a student."""

from __future__ import annotations

from normkd_explore.federated.federation import Federation
from normkd_explore.federated.recipe import NO_ATTACK
from normkd_explore.training.progress.bar import REFRESH_SECONDS
from normkd_explore.training.progress.pace import Pace
from normkd_explore.training.progress.view import Display, Standing, State, find_display
from normkd_explore.training.run import Moment


class RoundBar:
    """A watcher for `run_rounds`: loss and top-1 on private images so far, the victims' top-1 after each round."""

    def __init__(self, display: Display | None = None, pace: Pace | None = None) -> None:
        self.display, self.pace = display or find_display(), pace or Pace()
        self.refreshed = float("-inf")
        self.federation: Federation | None = None
        self.finished = 0  # rounds that were shown as finished

    def __call__(self, moment: Moment, federation: Federation) -> None:
        if self.federation is None:
            self.federation, self.finished = federation, len(federation.history)
        self.pace.step(moment)
        self._show_finished(federation)
        if self.pace.now - self.refreshed > REFRESH_SECONDS:
            self.refreshed = self.pace.now
            self.display.show(self._state(federation, federation.round + 1))

    def _show_finished(self, federation: Federation) -> None:
        """A round is recorded after its last step; the next call is the first to see that."""
        known = len(federation.history)
        if known > self.finished:
            self.finished = known
            self.display.finish_epoch(self._state(federation, known))

    def _state(self, federation: Federation, round_: int) -> State:
        recipe = federation.recipe
        attack = "clean" if recipe.attack == NO_ATTACK else recipe.attack
        total = sum(map(federation.steps_of, range(recipe.rounds)))
        done = sum(map(federation.steps_of, range(federation.round))) + federation.step
        rounds_left = recipe.rounds - federation.round
        return State(
            title=f"{recipe.aggregate}, {attack}",
            epoch=round_,
            epochs=recipe.rounds,
            fraction=done / total,
            rate=self.pace.rate,
            left=(total - done) * self.pace.step_seconds + rounds_left * (self.pace.between or 0.0),
            took=self.pace.took,
            students=[_standing(federation)],
            unit="round",
        )

    def close(self) -> None:
        """Show how far it came, and leave that as it stands."""
        if self.federation is not None:
            self._show_finished(self.federation)
            self.display.show(
                self._state(self.federation, min(self.federation.round + 1, self.federation.recipe.rounds))
            )
        self.display.close()

    def __enter__(self) -> RoundBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _standing(federation: Federation) -> Standing:
    """Means over the clients of this round so far, and the victims' accuracy after every round."""
    history = federation.history
    split = "val" if history and "val" in history[-1] else "test"
    measured = [record[split]["victims"] for record in history]
    name = f"{len(federation.recipe.victims)} victims"
    if federation.fabric.device.type != "cpu":  # reading the sums would make the host wait for a GPU
        return Standing(name, None, None, split, measured)
    sums = [client.local.read_totals() for client in federation.clients]
    loss, top1 = (sum(own[key] for own in sums) / len(sums) for key in ("ce", "top1"))
    return Standing(name, loss, top1, split, measured)
