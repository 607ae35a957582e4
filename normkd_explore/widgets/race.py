"""The race: students trained side by side, drawn in the browser while the kernel is busy training them.

The kernel measures a few times a second and sends the small lists of the running seed; everything shown is in
the widget's state, so a second view or a reopened page shows the same.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from normkd_explore.figures.race import SPLITS, RaceLap, method_strokes, race_picture, standings
from normkd_explore.figures.svg import Svg
from normkd_explore.widgets.bundle import join_modules, join_styles
from normkd_explore.widgets.racelap import SMOOTH_IMAGES, RunningLap
from normkd_explore.widgets.still import StillMixin

if TYPE_CHECKING:
    from normkd_explore.training import Moment, Run

UPDATE_SECONDS = 0.25


class RaceView(StillMixin, anywidget.AnyWidget):
    """Top-1 of several methods' students, on training batches and held-out images, live while they train.

    Show it in a cell, then train in another one::

        for seed in range(2):
            race.begin(seed)
            compare(recipes(seed), watch=race.watch)
        race.finish()

    Args:
        methods: names of the runs, in the order of the legend.
        seeds: how many times the methods race; only the time left depends on it.
    Raises:
        ValueError: no method, one twice, or `seeds` below 1.
    """

    _esm = join_modules("race")
    _css = join_styles("race")
    _setup = traitlets.Dict().tag(sync=True)
    _past: Any = traitlets.List().tag(sync=True)
    _now = traitlets.Dict().tag(sync=True)
    _status = traitlets.Dict().tag(sync=True)

    def __init__(self, methods: Sequence[str] = ("ce", "kd", "normkd"), seeds: int = 1) -> None:
        self.methods, self.seeds = _checked_methods(methods), seeds
        if seeds < 1:
            raise ValueError(f"seeds is {seeds}, wanted at least 1.")
        self._laps: list[RaceLap] = []
        self._running: RunningLap | None = None
        self._progress: dict[str, Any] = {}
        self._phase, self._split, self._sent = "not started", "val", 0.0
        super().__init__(_setup={"methods": method_strokes(self.methods), "smooth": SMOOTH_IMAGES})
        self._share()

    def begin(self, seed: int) -> None:
        """Announce the training of `seed`. A seed that was there already starts anew, and so do those after it."""
        self.finish()
        before = [lap.seed for lap in self._laps]
        if seed in before:
            self._laps = self._laps[: before.index(seed)]
        self._running, self._phase = RunningLap(seed, time.perf_counter()), "starting"
        self._laps.append(RaceLap(seed))
        self._publish()

    def watch(self, moment: Moment, runs: list[Run]) -> None:
        """Watcher for `fit` and `compare`: counts images, and a few times a second measures and sends.

        On a CPU the running sums are read; on a GPU that would make the host wait, so there the training curve has
        one point an epoch, from the learners' history.

        Raises:
            ValueError: `begin` was not called for this training, or a run is none of the race's methods.
        """
        if self._running is None or not self._running.is_next(moment):
            raise ValueError("watch: found a training that was not announced. Call race.begin(seed) before each one.")
        unknown = [run.name for run in runs if run.name not in self.methods]
        if unknown:
            raise ValueError(f"watch: found the run {unknown[0]!r}, wanted only {', '.join(self.methods)}.")
        now = time.perf_counter()
        self._running.count(moment, runs, now)
        if now - self._sent >= UPDATE_SECONDS or moment.step == moment.steps:
            self._phase, self._sent = "training", now
            self._publish()

    def finish(self) -> None:
        """Take up the last epoch's evaluation, which comes after the last step, and let go of the students."""
        if self._running is None:
            return
        self._measure(self._running)
        self._running = None
        if not self._laps[-1].epochs:
            self._laps.pop()
        done = sum(lap.complete for lap in self._laps)
        self._phase = "finished" if done >= self.seeds else "stopped"
        self._share()
        self.renew_still()

    def still(self) -> Svg:
        """Draw what has been measured so far as a picture, which is what a stored notebook keeps."""
        self._publish()
        return race_picture(self.methods, [lap for lap in self._laps if lap.epochs], self._split)

    def _publish(self) -> None:
        if self._running is not None:
            self._measure(self._running)
            self._share()

    def _measure(self, running: RunningLap) -> None:
        running.measure()
        self._laps[-1], self._split = running.snapshot(), running.split
        self._progress = {
            "lap": len(self._laps),
            "laps": max(self.seeds, len(self._laps)),
            **running.progress(laps_left=max(0, self.seeds - len(self._laps))),
        }

    def _share(self) -> None:
        by = "mean" if self._phase == "finished" else "last"
        board = [asdict(row) for row in standings(self.methods, self._laps, by)]
        with self.hold_sync():  # one message, so that no view shows half of an update
            self._past = [asdict(lap) for lap in self._laps[:-1]]
            self._now = asdict(self._laps[-1]) if self._laps else {}
            self._status = {
                "phase": self._phase,
                "split": SPLITS[self._split],
                "board": board,
                "by": by,
                "progress": self._progress,
            }

    def __repr__(self) -> str:
        return f"RaceView({', '.join(self.methods)}; {self.seeds} seed{'s' * (self.seeds > 1)})"


def _checked_methods(methods: Sequence[str]) -> tuple[str, ...]:
    names = tuple(methods)
    if isinstance(methods, str) or not names or len(set(names)) < len(names):
        raise ValueError(f'methods is {methods!r}, wanted different names, such as ("ce", "kd", "normkd").')
    return names
