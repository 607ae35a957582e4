"""A run: one learner with the folder that keeps it, and the moments at which others may look at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from normkd_explore.training.learner import Learner
from normkd_explore.training.runs.folder import RunFolder


@dataclass
class Run:
    """A learner and the folder where it is kept (None: in memory only, or kept by another process)."""

    name: str
    learner: Learner
    folder: RunFolder | None = None

    @property
    def kept(self) -> RunFolder:
        """The folder of a run that has one."""
        assert self.folder is not None
        return self.folder


@dataclass(frozen=True)
class Moment:
    """Where training is: `step` of `steps` are done in `epoch` (from 0) of `epochs`, the last with `images` in all."""

    epoch: int
    epochs: int
    step: int
    steps: int
    images: int


Watcher = Callable[[Moment, list[Run]], None]
