"""How much a search may do."""

from __future__ import annotations

from dataclasses import dataclass

SHORT_EPOCHS = 6
FEW_UPDATES = 200
"""Below so many a run says who starts fast, not who learns well."""
FINALISTS = 2
"""Settings that are compared with the one to begin with on fresh seeds."""


@dataclass(frozen=True)
class Plan:
    """The size of a search; together with recipe and ranges it decides which settings are tried."""

    trials: int = 16
    """Settings to try, the first of which are the published one and what the teacher's logits advise."""
    together: int = 4
    """Students trained at a time, in lockstep: the teacher is asked once for all of them."""
    images: int = 2400
    """Training images of each short run, a fixed choice of the same share of every class."""
    seeds: int = 3
    """Fresh seeds on which the best settings meet the published one."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) is not int or value < 1:
                raise ValueError(f"{name}: found {value!r}, wanted a whole number of at least 1.")
        if self.trials < 2:
            raise ValueError("trials: found 1, wanted at least 2: one setting leaves nothing to choose.")

    def most_images(self, epochs: int, images: int) -> int:
        """Images that all students together are trained on, if none is stopped early."""
        return (self.trials + (FINALISTS + 1) * self.seeds) * epochs * images
