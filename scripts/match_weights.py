"""The distillation weights that give several methods the same step size, and the command that compares them so.

    python scripts/match_weights.py glyphs/resnet20-resnet8 --lesson --methods kd,lskd,normkd,normdkd --to kd

A student learns by the method of `--to` with its published settings. At each of its first hundred steps the gradient of
every method is taken at that student's logits: kd_weight times the mean size over the samples, without the
cross-entropy. The weights printed make all of these means equal over the steps and seeds.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch

from normkd_explore.analysis.step_size import gradient_sizes
from normkd_explore.data import make_batches
from normkd_explore.methods import get_method
from normkd_explore.methods.options import changed_settings, split_spec
from normkd_explore.training import (
    Learner,
    Recipe,
    Teacher,
    TeacherCache,
    Where,
    get_preset,
    lesson,
    load_teacher,
    make_fabric,
    new_student,
    open_dataset,
)
from normkd_explore.training.where import teacher_folder


def main() -> None:
    """Measure, print a table and the command."""
    options = arguments()
    weights = matched_weights(options)
    specs = ",".join(f"{spec}:kd_weight={weight:.4g}" for spec, weight in weights.items())
    print(f"normkd compare {options.preset}{' --lesson' * options.lesson} --methods {specs}")


def matched_weights(options: argparse.Namespace) -> dict[str, float]:
    """The weight of each of `options.methods` with which its steps are as large as those of `options.to`; printed."""
    fabric = make_fabric(options.device, options.precision)
    recipes = {spec: recipe_of(spec, options, 0) for spec in options.methods.split(",")}
    totals = {spec: torch.zeros((), dtype=torch.float64) for spec in recipes}
    for seed in range(options.seeds):
        for spec, size in sizes_along(recipe_of(options.to, options, seed), recipes, options, fabric).items():
            totals[spec] += size / options.seeds
    own = recipe_of(options.to, options, 0)
    wanted = own.settings.kd_weight * sizes_of(own, totals, recipes, options.to)
    print(f"mean size of a sample's gradient, {options.steps} steps of {options.to}, {options.seeds} seeds:")
    matched = {spec: wanted / totals[spec].item() for spec in recipes}
    for spec, recipe in recipes.items():
        size, weight = totals[spec].item(), recipe.settings.kd_weight
        print(
            f"  {spec:24} {size:10.4f} x {weight:<6g} = {size * weight:9.4f}   "
            f"same size at kd_weight={matched[spec]:.4g}"
        )
    return matched


def sizes_of(own: Recipe, totals: dict, recipes: dict[str, Recipe], name: str) -> float:
    """The size that the reference method has without its weight."""
    if name not in totals:
        raise SystemExit(f"--to {name}: wanted one of --methods {','.join(recipes)}")
    return totals[name].item()


def sizes_along(recipe: Recipe, recipes: dict[str, Recipe], options: argparse.Namespace, fabric) -> dict[str, float]:
    """Mean gradient size of each method at the logits of a student that learns by `recipe`."""
    where = Where(options.data_root, options.teacher_weights, options.device, teacher_cache=TeacherCache("memory"))
    dataset = open_dataset(recipe, where.data_root)
    model = load_teacher(recipe.teacher, dataset, where.teacher_weights, teacher_folder(recipe, where))
    teacher = Teacher(model, fabric)
    batches = make_batches(dataset, "train", recipe.batch_size, augment=True, seed=recipe.batch_seed)
    student = new_student(recipe.student, dataset.num_classes, recipe.seed)
    learner = Learner(recipe, student, fabric, len(batches), None)
    losses = {spec: get_method(r.method).build(**r.settings.loss) for spec, r in recipes.items()}
    found = {spec: [] for spec in losses}
    seen: list[torch.Tensor] = []
    learner.model.register_forward_hook(lambda module, inputs, output: seen.append(output))
    learner.model.train()
    for step in range(options.steps):
        epoch, place = divmod(step, len(batches))
        batch = next(iter(batches.epoch(epoch, place)))
        logits_t = teacher.logits(batch)
        seen.clear()
        learner.step(batch, logits_t, epoch, place, None)
        logits_s = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
        for spec, loss in losses.items():
            found[spec].append(gradient_sizes(loss, logits_s, logits_t, batch.labels_B).mean().item())
    return {spec: sum(values) / len(values) for spec, values in found.items()}


def recipe_of(spec: str, options: argparse.Namespace, seed: int) -> Recipe:
    """The recipe of METHOD or METHOD:NAME=VALUE:..."""
    name, changes, weights = split_spec(spec)
    recipe = get_preset(options.preset, name, seed)
    recipe = lesson(recipe) if options.lesson else recipe
    recipe = recipe.with_epochs(options.epochs) if options.epochs else recipe
    settings = changed_settings(get_method(name), recipe.settings, changes, **weights)
    return replace(recipe, settings=settings, precision=options.precision)


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("preset")
    parser.add_argument("--methods", default="kd,lskd,normkd,normdkd")
    parser.add_argument("--to", default="kd", help="the method whose step size all get")
    parser.add_argument("--lesson", action="store_true", help="the short recipe of notebook 02")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data-root")
    parser.add_argument("--teacher-weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="32-true")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
