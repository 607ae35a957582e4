"""What a search found: settings with their spread, which one is chosen, how sure that is, and what it cost."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normkd_explore.analysis.paired import Paired, smallest_p
from normkd_explore.methods import Settings
from normkd_explore.tuning.space import Values
from normkd_explore.tuning.track import Cost

CLEAR = 0.05


@dataclass(frozen=True)
class Final:
    """A setting that was trained on fresh seeds."""

    name: str
    """"published" or "default" for the one to begin with, else "found 1" ..., the best of the search first."""
    values: Values
    searched: float | None
    """Top-1 of its run in the search; None where that was stopped early."""
    by_seed: dict[int, float]
    """Top-1 on held-out images by fresh seed; 0 where the run diverged."""

    @property
    def mean(self) -> float:
        return statistics.mean(self.by_seed.values())

    @property
    def std(self) -> float | None:
        """Over the seeds (divisor n - 1); None with a single one."""
        return statistics.stdev(self.by_seed.values()) if len(self.by_seed) > 1 else None

    def against(self, other: Final) -> Paired:
        """Differences in points, seed by seed."""
        seeds = tuple(self.by_seed)
        points = tuple(round(100 * (self.by_seed[seed] - other.by_seed[seed]), 6) for seed in seeds)
        return Paired(self.name, other.name, seeds, points)


@dataclass(frozen=True)
class Tuned:
    """The end of a search."""

    preset: str
    method: str
    settings: Settings
    """Those of the chosen setting."""
    finals: list[Final]
    """The one to begin with, then the best of the search."""
    tried: list[dict[str, Any]]
    """Every setting of the search, see `Study.tried`."""
    ranges: dict[str, tuple[float, float]]
    cost: Cost
    epochs: int
    images: int
    """Training images of each run."""
    held_out: int
    """Images on which top-1 was measured."""
    trust: str
    """What is known of the teacher and these images."""
    file: Path

    @property
    def chosen(self) -> Final:
        """The best mean over the fresh seeds; the one to begin with where none is above it."""
        return max(self.finals, key=lambda final: final.mean)  # the first of equals

    def how_sure(self) -> str:
        """A sentence or two on how far the choice can be trusted."""
        first, chosen = self.finals[0], self.chosen
        looked = math.sqrt(chosen.mean * (1 - chosen.mean) / self.held_out)
        error = f"A single top-1 on {self.held_out:,} held-out images is uncertain by {100 * looked:.1f} points."
        if chosen is first:
            return f"No setting was ahead of the {first.name} one on fresh seeds, so that one stays. {error}"
        pairs = chosen.against(first)
        spread = f" ± {pairs.std:.2f}" if pairs.n > 1 else ""
        ahead = (
            f"{chosen.name} against {first.name}: {pairs.mean:+.2f}{spread} points (mean, std of {pairs.n} paired "
            f"seeds), ahead on {pairs.wins} of {pairs.n}, sign-flip p = {pairs.p:.2g}."
        )
        verdict = "That is clear." if pairs.p < CLEAR else "That is a hint, not a proof"
        if pairs.p >= CLEAR:
            verdict += f": {pairs.n} pairs cannot give p below {smallest_p(pairs.n):.2g}. More: --resume --seeds N."
        return f"{ahead} {verdict} {error}"

    def as_json(self) -> dict[str, Any]:
        """Everything, in plain values."""
        first = self.finals[0]
        return {
            "preset": self.preset,
            "method": self.method,
            "chosen": self.chosen.name,
            "settings": {
                "loss": dict(self.settings.loss),
                "ce_weight": self.settings.ce_weight,
                "kd_weight": self.settings.kd_weight,
            },
            "finals": [
                {
                    "name": final.name,
                    "values": final.values,
                    "searched_top1": final.searched,
                    "top1_by_seed": final.by_seed,
                    "mean": final.mean,
                    "std": final.std,
                    "difference_points": None if final is first else list(final.against(first).differences),
                }
                for final in self.finals
            ],
            "tried": self.tried,
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
            "how_sure": self.how_sure(),
            "trust": self.trust,
            "cost": vars(self.cost),
            "epochs": self.epochs,
            "images": self.images,
            "held_out": self.held_out,
            "file": str(self.file),
        }
