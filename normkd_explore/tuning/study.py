"""The search itself: Optuna proposes settings, stops hopeless ones early, and keeps what it learned in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from normkd_explore.tuning.space import Space, Values, rounded
from normkd_explore.tuning.track import Entry

FILE = "study.db"
NAME = "normkd tune"
FREE_TRIALS = 4  # settings whose epochs are known before any is stopped, and before proposals follow what is known
DONE = (TrialState.COMPLETE, TrialState.PRUNED)


class StudyError(ValueError):
    """A search's file cannot be used; the text names it and says what to do."""


class Study:
    """A search that can go on after a stop: every finished setting is in FILE of its folder."""

    def __init__(self, folder: Path, space: Space, seed: int) -> None:
        self.path, self.space = folder / FILE, space
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            storage = optuna.storages.RDBStorage(f"sqlite:///{self.path}")
            pruner = optuna.pruners.MedianPruner(n_startup_trials=FREE_TRIALS)
            self.study = optuna.create_study(
                storage=storage, study_name=NAME, load_if_exists=True, direction="maximize", pruner=pruner
            )
            trials = self.study.trials
        except Exception as error:  # whatever the database raises: it is not one kind
            raise StudyError(
                f"{self.path}: found no usable search ({type(error).__name__}), wanted what `normkd tune` wrote. "
                "Delete the folder and search again, or choose another with --out."
            ) from error
        # Another seed after a stop, or the random ones among the proposals would come a second time.
        self.study.sampler = optuna.samplers.TPESampler(
            seed=seed + len(trials), n_startup_trials=FREE_TRIALS, constant_liar=True
        )
        self._told: set[tuple[int, int]] = set()
        self._take_up(trials)

    def _take_up(self, trials: Sequence[Any]) -> None:
        """Settings that were being tried when the search was stopped are tried again."""
        for trial in trials:
            if trial.state == TrialState.RUNNING:
                self.study.tell(trial.number, state=TrialState.FAIL)
                self.study.enqueue_trial(trial.params)

    def begin_with(self, values: Sequence[Values]) -> None:
        """Try these first, in a search that is new."""
        if not self.study.trials:
            for each in values:
                self.study.enqueue_trial(each)

    @property
    def done(self) -> int:
        """Settings that were tried, those stopped early among them."""
        return len(self.study.get_trials(deepcopy=False, states=DONE))

    def ask(self, count: int) -> list[Any]:
        """Settings to try next."""
        ends = {name: FloatDistribution(low, high, log=True) for name, (low, high) in self.space.ranges.items()}
        return [self.study.ask(ends) for _ in range(count)]

    def values(self, trial: Any) -> Values:
        """What a trial trains with: its numbers, rounded."""
        return rounded({name: trial.params[name] for name in self.space.ranges})

    def hopeless(self, trials: Sequence[Any], epoch: int, entries: Sequence[Entry]) -> list[Entry]:
        """Tell how far these came; those are returned that do worse than half of what was tried before."""
        for entry in entries:
            trial = trials[entry.number]
            if (trial.number, epoch) not in self._told:  # a race that starts again tells the same a second time
                trial.report(entry.top1[-1], epoch)
                self._told.add((trial.number, epoch))
        return [entry for entry in entries if trials[entry.number].should_prune()]

    def tell(self, trials: Sequence[Any], entries: Sequence[Entry]) -> None:
        """Keep how these ended."""
        for trial, entry in zip(trials, entries, strict=True):
            trial.set_user_attr("epochs", len(entry.top1))
            trial.set_user_attr("diverged", entry.diverged)
            if entry.diverged or entry.stopped:
                self.study.tell(trial, state=TrialState.PRUNED)
            else:
                self.study.tell(trial, entry.top1[-1])

    def tried(self) -> list[dict[str, Any]]:
        """All settings that were tried, in their order: values, top1 of a whole run (else None), epochs, diverged."""
        trials = self.study.get_trials(states=DONE)
        return [
            {
                "values": self.values(trial),
                "top1": trial.value if trial.state == TrialState.COMPLETE else None,
                **{name: trial.user_attrs.get(name) for name in ("epochs", "diverged")},
            }
            for trial in trials
        ]
