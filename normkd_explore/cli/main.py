"""The `normkd` command: train, compare, evaluate and report from a shell.

Heavy imports wait inside the commands, so that `normkd --help` answers at once.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from normkd_explore.cli.stats import stats

app = typer.Typer(
    help="Knowledge distillation with a temperature for every sample: train, compare, evaluate, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Preset = Annotated[str, typer.Argument(help="DATASET/TEACHER-STUDENT, see `normkd presets`.")]
DataRoot = Annotated[Path | None, typer.Option(help="Folder of the data set.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the data; milestones move along.", min=1)]
Seed = Annotated[int, typer.Option(help="Seed of weights, order and views.", min=0)]
DataSeed = Annotated[
    int | None,
    typer.Option(
        help="Seed of order and views alone; --seed then varies all but these: initial weights, dropout.", min=0
    ),
]
Deterministic = Annotated[
    bool,
    typer.Option("--deterministic", help="On a GPU: the same bits in every run. On a CPU they always are."),
]
Out = Annotated[Path | None, typer.Option(help="Run folder; default runs/DATASET/TEACHER-STUDENT/METHOD-seedN.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in that folder exactly where it stopped.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Weights = Annotated[Path | None, typer.Option(help="The teacher's checkpoint file or run folder.")]
BatchSize = Annotated[int | None, typer.Option(help="Images of one step.", min=1)]
LearningRate = Annotated[float | None, typer.Option(help="Highest learning rate.")]
Protocol = Annotated[str, typer.Option(help="holdout: choose on held-out images; paper: test after each epoch.")]
Precision = Annotated[str, typer.Option(help="32-true or bf16-mixed; auto is bf16-mixed for ImageNet on a GPU.")]
Compile = Annotated[
    bool, typer.Option("--compile", help="Compile the networks of a step once, at the start; meant for GPUs.")
]
ImageSize = Annotated[
    int | None, typer.Option(help="Side of the images in pixels; default: the data set's own.", min=8)
]
Workers = Annotated[int | None, typer.Option(help="Processes that decode streamed images.", min=0)]
CacheChoice = Annotated[
    str,
    typer.Option(
        help="Keep the teacher's logits: off, memory, or a folder for later runs. auto: memory where that takes at "
        "most a quarter of what is free. The numbers are the same."
    ),
]
CacheLimit = Annotated[float | None, typer.Option(help="Most gigabytes that kept logits may take.", min=0)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="An argument of the loss, e.g. --set t_norm=1.5; may be repeated."),
]
CeWeight = Annotated[float | None, typer.Option(help="Weight of the cross-entropy.")]
KdWeight = Annotated[float | None, typer.Option(help="Weight of the distillation term.")]


@app.command()
def train(
    preset: Preset = "glyphs/resnet20-resnet8",
    method: Annotated[str, typer.Option(help="Its name; `normkd presets` lists all methods.")] = "normkd",
    data_root: DataRoot = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    out: Out = None,
    resume: Resume = False,
    device: Device = "auto",
    teacher_weights: Weights = None,
    set_: Set = None,
    ce_weight: CeWeight = None,
    kd_weight: KdWeight = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    protocol: Protocol = "holdout",
    precision: Precision = "auto",
    compile_: Compile = False,
    image_size: ImageSize = None,
    workers: Workers = None,
    teacher_cache: CacheChoice = "auto",
    teacher_cache_limit: CacheLimit = None,
    data_seed: DataSeed = None,
    deterministic: Deterministic = False,
) -> None:
    """Train the student of PRESET with a distillation method."""
    from normkd_explore.methods import get_method
    from normkd_explore.training import Where, get_preset
    from normkd_explore.training import train as run

    recipe = get_preset(preset, method, seed)
    settings = _settings(get_method(method), recipe.settings, set_, ce_weight, kd_weight)
    recipe = replace(recipe, settings=settings, data_seed=data_seed)
    recipe = _adjust(recipe, epochs, batch_size, lr, protocol, precision, image_size, device, compile_)
    _announce(recipe, teacher_weights)
    cache = _cache(teacher_cache, teacher_cache_limit)
    where = Where(data_root, teacher_weights, device, workers, cache, deterministic)
    _show(run(recipe, out, where, resume))


@app.command()
def teacher(
    preset: Preset = "glyphs/resnet20-resnet8",
    data_root: DataRoot = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    out: Out = None,
    resume: Resume = False,
    device: Device = "auto",
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    protocol: Protocol = "holdout",
    precision: Precision = "auto",
    compile_: Compile = False,
    image_size: ImageSize = None,
    workers: Workers = None,
    deterministic: Deterministic = False,
) -> None:
    """Train the teacher of PRESET with cross-entropy, where `normkd train` will find it."""
    from normkd_explore.training import Where, teacher_recipe
    from normkd_explore.training import train as run
    from normkd_explore.training.where import teacher_folder

    recipe = teacher_recipe(preset, seed)
    recipe = _adjust(recipe, epochs, batch_size, lr, protocol, precision, image_size, device, compile_)
    where = Where(data_root, None, device, workers, deterministic=deterministic)
    _show(run(recipe, out or teacher_folder(recipe, where), where, resume))


@app.command()
def compare(
    preset: Preset = "glyphs/resnet20-resnet8",
    methods: Annotated[str, typer.Option(help="Names separated by commas.")] = "ce,kd,normkd",
    seeds: Annotated[int, typer.Option(help="How many paired seeds, from 0 on.", min=1)] = 3,
    data_root: DataRoot = None,
    lesson: Annotated[bool, typer.Option("--lesson", help="The short recipe of notebook 02 (glyphs only).")] = False,
    epochs: Epochs = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs; default runs/DATASET/TEACHER-STUDENT.")] = None,
    resume: Resume = False,
    device: Device = "auto",
    teacher_weights: Weights = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    protocol: Protocol = "holdout",
    precision: Precision = "auto",
    compile_: Compile = False,
    image_size: ImageSize = None,
    workers: Workers = None,
    teacher_cache: CacheChoice = "auto",
    teacher_cache_limit: CacheLimit = None,
    data_seed: DataSeed = None,
    deterministic: Deterministic = False,
) -> None:
    """Train one student per method and seed, and compare them in pairs.

    The methods of a seed are trained in lockstep on the same batches. Each seed has batches of its own, so the seeds
    follow one another and share the teacher's work through the cache; where its logits cannot be kept (ImageNet), it
    has to look at each seed's batches anyway. With --data-seed N all seeds have the same batches and differ in all else
    (initial weights, dropout): then all students are trained in lockstep, and the teacher looks at each batch once. The
    differences tell less that way: what another order of images would change is not in them.
    """
    from normkd_explore.training import Where, get_preset
    from normkd_explore.training import compare as run
    from normkd_explore.training import lesson as shorten
    from normkd_explore.training.runs.report import format_report
    from normkd_explore.training.where import run_name

    cache = _cache(teacher_cache, teacher_cache_limit)
    where = Where(data_root, teacher_weights, device, workers, cache, deterministic)
    changes = (epochs, batch_size, lr, protocol, precision, image_size, device, compile_)
    turns = []
    for seed in range(seeds):
        recipes = [get_preset(preset, name.strip(), seed) for name in methods.split(",")]
        recipes = [shorten(recipe) if lesson else recipe for recipe in recipes]
        turns.append([replace(_adjust(recipe, *changes), data_seed=data_seed) for recipe in recipes])
    if data_seed is not None:
        turns = [[recipe for recipes in turns for recipe in recipes]]
    summaries: list[dict[str, Any]] = []
    for recipes in turns:
        outs = [out / run_name(recipe) if out else None for recipe in recipes]
        summaries += run(recipes, outs, where, resume)
    _say(format_report(summaries))


@app.command()
def evaluate(
    run: Annotated[
        Path, typer.Argument(help="A run folder, or a checkpoint file together with --model and --dataset.")
    ],
    model: Annotated[str | None, typer.Option(help="Model of a checkpoint file.")] = None,
    dataset: Annotated[str | None, typer.Option(help="glyphs, cifar10, cifar100, imagenet or imagefolder.")] = None,
    data_root: DataRoot = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    device: Device = "auto",
    image_size: ImageSize = None,
    workers: Workers = None,
) -> None:
    """Measure loss, top-1 and top-5 of a trained model."""
    from normkd_explore.training.measure import measure

    result = measure(run, model, dataset, data_root, split, device, image_size, workers)
    top5 = f", top-5 {100 * result['top5']:.2f} %" if "top5" in result else ""
    name = f"{result['model']} on {result['dataset']} {split}"
    typer.echo(f"{name}: top-1 {100 * result['top1']:.2f} %{top5}, loss {result['loss']:.4f}, n = {result['n']:,}")


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders that hold some.")],
) -> None:
    """Tabulate finished runs: last epoch, best epoch, mean, std, n and paired differences."""
    from normkd_explore.training.runs.report import collect, format_report

    typer.echo(format_report(collect(runs)))


@app.command()
def presets(
    method: Annotated[str, typer.Option(help="Show the settings of this method.")] = "normkd",
) -> None:
    """List the presets with the settings of a method, and say where each value was published."""
    from normkd_explore.training.runs.report import format_presets

    typer.echo(format_presets(method))


@app.command()
def estimate(
    preset: Preset = "glyphs/resnet20-resnet8",
    method: Annotated[str, typer.Option(help="Its name; `normkd presets` lists all methods.")] = "normkd",
    data_root: DataRoot = None,
    seconds: Annotated[float, typer.Option(help="Time for the measurements.", min=0.5)] = 10.0,
    epochs: Epochs = None,
    device: Device = "auto",
    batch_size: BatchSize = None,
    precision: Precision = "auto",
    compile_: Compile = False,
    image_size: ImageSize = None,
    workers: Workers = None,
) -> None:
    """Measure for a few seconds how long training PRESET will take here, what limits it, and whether it fits."""
    from normkd_explore.training import Where, get_preset
    from normkd_explore.training.planning.estimate import estimate as measure

    recipe = get_preset(preset, method)
    recipe = _adjust(recipe, epochs, batch_size, None, recipe.protocol, precision, image_size, device, compile_)
    typer.echo(measure(recipe, Where(data_root, None, device, workers), seconds))


app.command()(stats)


@app.command()
def doctor(data_root: DataRoot = None) -> None:
    """Print versions, devices, data found, and what would run."""
    from normkd_explore.training.planning.doctor import diagnose

    typer.echo(diagnose(data_root))


def _settings(
    method: Any, settings: Any, arguments: list[str] | None, ce_weight: float | None, kd_weight: float | None
) -> Any:
    from normkd_explore.methods.options import read_argument

    changed = {**settings.loss, **dict(read_argument(method, text) for text in arguments or [])}
    weights = {"ce_weight": ce_weight, "kd_weight": kd_weight}
    weights = {name: value for name, value in weights.items() if value is not None}
    if changed == settings.loss and not weights:
        return settings
    return replace(settings, loss=changed, **weights, published=False, source="changed on the command line")


def _adjust(recipe: Any, epochs, batch_size, lr, protocol, precision, image_size, device, compile_) -> Any:
    """The recipe with what the command line changed."""
    import torch

    recipe = recipe.with_epochs(epochs) if epochs else recipe
    on_gpu = torch.cuda.is_available() and device != "cpu"
    if precision == "auto":
        precision = "bf16-mixed" if on_gpu and recipe.dataset == "imagenet" else "32-true"
    changes = {"batch_size": batch_size, "lr": lr, "image_size": image_size}
    changes = {name: value for name, value in changes.items() if value is not None}
    return replace(recipe, protocol=protocol, precision=precision, compile=compile_, **changes)


def _announce(recipe: Any, weights: Path | None) -> None:
    from normkd_explore.methods.options import format_argument

    settings = recipe.settings
    values = ", ".join(f"{name} {format_argument(value)}" for name, value in settings.loss.items()) or "no settings"
    mark = "published" if settings.published else "NOT published for this pair"
    _say(
        f"{recipe.preset}: {recipe.student} with {recipe.method} ({values}; CE x {settings.ce_weight:g}, "
        f"KD x {settings.kd_weight:g}; {mark}: {settings.source})",
        err=True,
    )


def _cache(place: str, limit: float | None) -> Any:
    from normkd_explore.training import TeacherCache

    return TeacherCache(place, None if limit is None else int(limit * 1e9))


def _show(summary: dict[str, Any]) -> None:
    test = summary["test"]
    best = summary["best"]
    top5 = f", top-5 {100 * test['top5']:.2f} %" if "top5" in test else ""
    _say(f"last epoch: test top-1 {100 * test['top1']:.2f} %{top5} (n = {test['n']:,})")
    _say(f"best epoch: {best['epoch']} with {100 * best['top1']:.2f} % on {summary['chosen_on']}")
    _say(f"{summary['train_seconds']:.0f} s of training, {summary['images_per_second']:,.0f} images/s")


def _say(text: str, err: bool = False) -> None:
    """Print once, however many processes torchrun started."""
    if os.environ.get("RANK", "0") == "0":
        typer.echo(text, err=err)


def main() -> None:
    """Run the command; an expected error is one clear line (NORMKD_DEBUG=1 shows where it arose)."""
    try:
        app()
    except Exception as error:
        raise SystemExit(_explain(error)) from None


def _explain(error: Exception) -> int:
    """Say what ended the command and return its exit status; what nobody expected is raised again."""
    from normkd_explore.training import Interrupted, NonFiniteError

    if isinstance(error, Interrupted):
        words = [*(word for word in sys.argv[1:] if word != "--resume"), "--resume"]
        many = int(os.environ.get("WORLD_SIZE", "1")) > 1
        again = ("torchrun ... -m normkd_explore " if many else "normkd ") + shlex.join(words)
        where = f"in epoch {error.epoch + 1} after step {error.step}" if error.step else f"after epoch {error.epoch}"
        _say(f"\nStopped {where}; nothing is lost. Continue with:\n  {again}", err=True)
        return 130
    if os.environ.get("NORMKD_DEBUG") or not isinstance(error, ValueError | OSError | RuntimeError):
        raise error
    # Every process meets a NonFiniteError at the same step; other errors may be one process's alone.
    (_say if isinstance(error, NonFiniteError) else typer.echo)(f"normkd: {error}", err=True)
    return 2
