"""Several students on the same batches: which recipes can be trained together, and what tells the students apart."""

from __future__ import annotations

from normkd_explore.training.recipes.recipe import Recipe

FREE = {"preset", "student", "method", "settings", "teacher", "seed", "data_seed"}
"""What may differ between recipes in lockstep; of teachers and of seeds of the batches there can still be only one."""


def check_lockstep(recipes: list[Recipe]) -> None:
    """ValueError, naming what differs, unless all recipes take the same batches and the same teacher."""
    seeds = {recipe.batch_seed for recipe in recipes}
    if len(seeds) > 1:
        raise ValueError(
            f"recipes: the seeds {sorted(seeds)} decide other batches; in lockstep all must see the same. Train them "
            "seed by seed, or give all one data_seed (--data-seed), so that seed varies all but the batches."
        )
    for name, value in vars(recipes[0]).items():
        for other in recipes[1:]:
            if name not in FREE and getattr(other, name) != value:
                raise ValueError(
                    f"recipes: {name} is {value!r} and {getattr(other, name)!r}; in lockstep all must have the same."
                )
    if len({recipe.teacher for recipe in recipes} - {None}) > 1:
        raise ValueError("recipes: found several teachers; students in lockstep share one.")


def label(recipe: Recipe, recipes: list[Recipe]) -> str:
    """A student's name among those of `recipes`: its method, with the seed where there are several."""
    several = len({other.seed for other in recipes}) > 1
    return f"{recipe.method} seed {recipe.seed}" if several else recipe.method
