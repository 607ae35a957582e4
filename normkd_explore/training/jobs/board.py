"""One display for several trainings at the same time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace

from normkd_explore.training.jobs.turn import Turn
from normkd_explore.training.progress.view import Display, Standing, State

REFRESH_SECONDS = 0.3


class Board:
    """Turns that are done and those that run, as one training of which a seed is the unit."""

    def __init__(self, turns: list[Turn], display: Display, clock: Callable[[], float] = time.perf_counter) -> None:
        self.turns, self.display, self.clock = turns, display, clock
        self.began, self.refreshed = clock(), float("-inf")
        self.running: dict[int, State] = {}
        self.done: set[int] = set()
        self.first: float | None = None  # the share that was done before: other parts' work, or an interrupted run's
        self.said: set[str] = set()

    def shown(self, number: int, state: State) -> None:
        """Note where a turn is."""
        self.running[number] = state
        self._refresh()

    def epoch(self, number: int, state: State) -> None:
        """Note how an epoch of a turn ended; its title says of which."""
        self.running[number] = state
        self.display.finish_epoch(state)

    def finished(self, number: int) -> None:
        """Note that a turn is over."""
        self.running.pop(number, None)
        self.done.add(number)
        if self.running or len(self.done) == len(self.turns):  # between two turns there is nobody to show
            self._refresh(force=True)

    def say(self, line: str) -> None:
        """Print a line that several processes may say, once."""
        if line not in self.said:
            self.said.add(line)
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave what is shown as it stands."""
        if self.running or self.done:
            self._refresh(force=True)
        self.display.close()

    def _refresh(self, force: bool = False) -> None:
        if force or self.clock() - self.refreshed > REFRESH_SECONDS:
            self.refreshed = self.clock()
            self.display.show(self.state())

    def state(self) -> State:
        """All turns as one."""
        fractions = [state.fraction for state in self.running.values()]
        over = len(self.done) == len(self.turns)
        fraction = 1.0 if over else min(0.999, (len(self.done) + sum(fractions)) / len(self.turns))
        self.first = fraction if self.first is None else self.first
        took = self.clock() - self.began
        gained = fraction - self.first
        return State(
            title=f"{len(self.running)} at once" if self.running else "all",
            epoch=len(self.done),
            epochs=len(self.turns),
            fraction=fraction,
            rate=sum(state.rate for state in self.running.values()),
            left=took * (1 - fraction) / gained if gained > 0 else None,
            took=took,
            students=[student for number in sorted(self.running) for student in self._students(number)],
            unit="seeds done",
        )

    def _students(self, number: int) -> list[Standing]:
        """Those of a turn; their names say the seed, unless they do so already."""
        name, students = self.turns[number].name, self.running[number].students
        return [s if "seed" in s.name else replace(s, name=f"{s.name} {name}") for s in students]
