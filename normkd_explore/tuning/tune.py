"""A search, read top to bottom: short paired runs on a subset, then the best on fresh seeds against the published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from torch import nn

from normkd_explore.data import Dataset
from normkd_explore.files.writing import write_json
from normkd_explore.methods import Settings
from normkd_explore.notices import notice
from normkd_explore.training.machine import processes
from normkd_explore.training.machine.determinism import deterministic_algorithms
from normkd_explore.training.machine.interrupt import Interrupted
from normkd_explore.training.material import Material, gather
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.recipes.settings_file import write_settings
from normkd_explore.training.runs.lock import locked
from normkd_explore.training.runs.report import DISTRUSTED
from normkd_explore.training.settle import settle
from normkd_explore.training.where import HERE, Where, default_folder
from normkd_explore.tuning.folder import TuneFolder, key
from normkd_explore.tuning.plan import FEW_UPDATES, FINALISTS, SHORT_EPOCHS, Plan
from normkd_explore.tuning.result import Final, Tuned
from normkd_explore.tuning.space import Space, Values, advised
from normkd_explore.tuning.study import Study
from normkd_explore.tuning.track import Cost, Track

SAME = 0.005  # relative: proposals are rounded to three digits


def tune(
    recipe: Recipe,
    out: Path | str | None = None,
    where: Where = HERE,
    resume: bool = False,
    plan: Plan | None = None,
    search: Sequence[str] = (),
    epochs: int | None = None,
    dataset: Dataset | None = None,
    teacher: nn.Module | None = None,
    student: nn.Module | None = None,
) -> Tuned:
    """Search temperatures and weights of a recipe's method for its pair, and write settings.yaml into `out`.

    The settings that the recipe has come first, then what the teacher's logits advise, then what Optuna proposes.
    Everything is measured on held-out images; the test split is never looked at. All runs of the search have the
    recipe's seed: the same first weights and batches. The best then meet the recipe's own settings on seeds that had
    no part in the search, and win only if their mean there is higher.

    Args:
        search: ranges NAME=LOW:HIGH besides or instead of those around the recipe's settings.
        epochs: of each short run; None takes 6, or the recipe's where they are fewer. Milestones and a warm-up of the
            weight keep their place in the run.
        dataset, teacher, student: as for `train`.
    Raises:
        ValueError: the method has nothing to tune; there are no held-out images, or the teacher has learned them, so
            that they would choose its imitators; or the folder holds another search.
    """
    plan, full = plan or Plan(), recipe
    if processes.launched():
        raise ValueError("tune: found several processes of torchrun, wanted one; start it without torchrun.")
    space = Space.around(recipe.method, recipe.settings, search)
    recipe = recipe.with_epochs(epochs or min(SHORT_EPOCHS, recipe.epochs))
    (recipe,) = settle([recipe], [], where.device, resume=False)
    recipe = replace(recipe, compile=recipe.compile is True)  # for "auto" these runs are too short
    folder = TuneFolder(Path(out) if out else default_folder(recipe, where).with_name(f"tune-{recipe.method}"))
    with deterministic_algorithms(where.deterministic):
        material = gather([recipe], where, dataset, teacher, student)
        _refuse_leak(material)
        track = Track(recipe, material, plan.images, recipe.epochs / full.epochs)
        with locked(folder.path):
            return _tune(full, space, track, plan, folder, resume)


def _tune(full: Recipe, space: Space, track: Track, plan: Plan, folder: TuneFolder, resume: bool) -> Tuned:
    beginnings = advised(space, track.logits())
    for values in beginnings[1:]:
        space = space.widened(values)
    folder.start(_identity(space, track), resume)
    _announce(track, plan)
    track.cost, fresh = folder.progress()
    study = Study(folder.path, space, track.recipe.seed)
    study.begin_with(beginnings[: plan.trials])
    _search(study, track, plan, folder, fresh)
    finals = _confirm(study, track, plan, folder, fresh)
    return _finish(full, study, track, finals, folder)


def _announce(track: Track, plan: Plan) -> None:
    """Say what is about to be done, and where that is little."""
    epochs, updates = track.recipe.epochs, track.recipe.epochs * track.images // track.recipe.batch_size
    most = plan.most_images(epochs, track.images)
    notice(
        f"tune: {plan.trials} settings, {plan.together} at a time, {epochs} epochs of {track.images:,} images each; "
        f"the best on {plan.seeds} fresh seeds. At most {most:,} images are trained on."
    )
    if updates < FEW_UPDATES:
        notice(
            f"tune: a run of {updates} updates shows who starts fast, not who learns well. Take more --epochs or "
            "--images, or a smaller --batch-size."
        )


def _refuse_leak(material: Material) -> None:
    trust = material.trust
    if material.dataset.val is None:
        raise ValueError(
            "tune: found no held-out images to choose on (protocol paper, or a data set without val), and the test "
            "split is not for choosing. Use --protocol holdout, or give the data set a val split."
        )
    if trust is not None and trust["verdict"] in DISTRUSTED:
        raise ValueError(
            f"tune: {trust['why']} Settings chosen on them would be those that imitate this teacher's memory best. "
            "Train a teacher that has not seen them with `normkd teacher`, or name one with --teacher-weights."
        )


def _identity(space: Space, track: Track) -> dict[str, object]:
    """What may not change while a search goes on."""
    values = {name: value for name, value in asdict(track.recipe).items() if name != "data_seed"}
    ranges = {name: list(ends) for name, ends in space.ranges.items()}
    return {"recipe": values, "ranges": ranges, "images": track.images, "inputs": dict(track.material.inputs[0])}


def _search(study: Study, track: Track, plan: Plan, folder: TuneFolder, fresh: dict[str, dict[int, float]]) -> None:
    """A handful of settings at a time, until there are as many as planned."""
    while (left := plan.trials - study.done) > 0:
        trials = study.ask(min(plan.together, left))
        settings = [study.space.settings(study.values(trial)) for trial in trials]
        try:
            entries = track.race(
                settings,
                track.recipe.seed,
                lambda epoch, running, trials=trials: study.hopeless(trials, epoch, running),  # type: ignore[misc]
            )
        except Interrupted:
            notice(f"{study.done} settings are kept; the {len(trials)} that were running begin again.")
            raise
        study.tell(trials, entries)
        folder.keep(track.cost, fresh)
        best = max((row["top1"] or 0.0 for row in study.tried()), default=0.0)
        notice(f"{study.done} of {plan.trials} settings tried, best top-1 {100 * best:.1f} %")


def _confirm(
    study: Study, track: Track, plan: Plan, folder: TuneFolder, fresh: dict[str, dict[int, float]]
) -> list[Final]:
    """The setting to begin with and the best of the search, on seeds of their own; what is known is not run again."""
    tried, start = study.tried(), study.space.values(study.space.start)
    whole = sorted((row for row in tried if row["top1"] is not None), key=lambda row: -row["top1"])
    found = [row["values"] for row in whole if not _same(row["values"], start)][:FINALISTS]
    candidates = [start, *found]
    seeds = [track.recipe.seed + 1 + number for number in range(plan.seeds)]
    for seed in seeds:
        missing = [values for values in candidates if seed not in fresh.get(key(values), {})]
        if missing:
            entries = track.race([study.space.settings(values) for values in missing], seed)
            for values, entry in zip(missing, entries, strict=True):
                fresh.setdefault(key(values), {})[seed] = 0.0 if entry.diverged else entry.top1[-1]
            folder.keep(track.cost, fresh)
            notice(f"fresh seed {seed}: {len(missing)} settings trained")
    first = "published" if study.space.start.published else "default"
    names = [first, *(f"found {number}" for number in range(1, len(found) + 1))]
    searched = [next((row["top1"] for row in tried if _same(row["values"], values)), None) for values in candidates]
    return [
        Final(name, values, top1, {seed: fresh[key(values)][seed] for seed in seeds})
        for name, values, top1 in zip(names, candidates, searched, strict=True)
    ]


def _same(one: Values, other: Values) -> bool:
    return all(abs(one[name] - other[name]) <= SAME * abs(other[name]) for name in other)


def _finish(full: Recipe, study: Study, track: Track, finals: list[Final], folder: TuneFolder) -> Tuned:
    """Choose, and write settings.yaml and result.json."""
    dataset, recipe, trust = track.material.dataset, track.recipe, track.material.trust
    assert dataset.val is not None  # refused before
    tuned = Tuned(
        preset=full.preset,
        method=full.method,
        settings=full.settings,
        finals=finals,
        tried=study.tried(),
        ranges=study.space.ranges,
        cost=Cost(**vars(track.cost)),
        epochs=recipe.epochs,
        images=track.images,
        held_out=len(dataset.val),
        trust=trust["why"] if trust else "",
        file=folder.settings,
    )
    if tuned.chosen is not finals[0]:
        tuned = replace(tuned, settings=_sourced(study.space.settings(tuned.chosen.values), tuned))
    write_settings(folder.settings, full.preset, full.method, tuned.settings)
    write_json(folder.result, tuned.as_json())
    return tuned


def _sourced(settings: Settings, tuned: Tuned) -> Settings:
    pairs = tuned.chosen.against(tuned.finals[0])
    source = (
        f"normkd tune: {len(tuned.tried)} settings x {tuned.epochs} epochs of {tuned.images:,} images; "
        f"{pairs.mean:+.2f} points against the {tuned.finals[0].name} settings on {pairs.n} fresh seeds"
    )
    return replace(settings, source=source)
