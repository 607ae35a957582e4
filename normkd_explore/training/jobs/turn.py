"""What is trained together: the students of one seed, in lockstep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from normkd_explore.training.recipes.recipe import Recipe


@dataclass(frozen=True)
class Turn:
    """Recipes for one call of `compare`, and a run folder for each."""

    recipes: list[Recipe]
    outs: list[Path]

    @property
    def name(self) -> str:
        """The seed, or what else tells this turn from others."""
        seeds = sorted({recipe.seed for recipe in self.recipes})
        return f"seed {', '.join(map(str, seeds))}"
