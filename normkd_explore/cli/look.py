"""`normkd evaluate`, `report`, `presets` and `doctor`: they look, and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from normkd_explore.cli.command import command
from normkd_explore.cli.options import DataPlace, Device, Images, Part
from normkd_explore.cli.terminal import say


@command
def evaluate(
    run: Annotated[
        Path, Argument(help="A run folder, or a checkpoint file together with --model and --dataset.", metavar="RUN")
    ],
    images: Images,
    part: Part,
    device: Device,
    model: Annotated[str | None, Option(help="Model of a checkpoint file.", metavar="NAME")] = None,
    dataset: Annotated[
        str | None, Option(help="glyphs, cifar10, cifar100, imagenet or imagefolder.", metavar="NAME")
    ] = None,
) -> None:
    """Measure loss, top-1 and top-5 of a trained model."""
    from normkd_explore.training.measure import measure

    places = {"data_root": images.data_root, "image_size": images.image_size, "workers": images.workers}
    result = measure(run, model, dataset, split=part.split, device=device.device, **places)
    top5 = f", top-5 {100 * result['top5']:.2f} %" if "top5" in result else ""
    name = f"{result['model']} on {result['dataset']} {part.split}"
    say(f"{name}: top-1 {100 * result['top1']:.2f} %{top5}, loss {result['loss']:.4f}, n = {result['n']:,}")


@command
def report(
    runs: Annotated[list[Path], Argument(help="Run folders, or folders that hold some.", metavar="RUN")],
) -> None:
    """Tabulate finished runs: last epoch, best epoch, mean, std, n and paired differences."""
    from normkd_explore.federated.report import format_federations, split_off
    from normkd_explore.training.runs.report import collect, format_report

    students, federations = split_off(collect(runs))
    parts = [format_report(students)] if students else []
    parts += [format_federations(federations)] if federations else []
    say("\n\n".join(parts))


@command
def presets(
    method: Annotated[str, Option(help="Show the settings of this method.", metavar="NAME")] = "normkd",
) -> None:
    """List the presets with the settings of a method, and say where each value was published."""
    from normkd_explore.training.runs.report import format_presets

    say(format_presets(method))


@command
def doctor(data: DataPlace) -> None:
    """Print versions, devices, data found, and what would run."""
    from normkd_explore.training.planning.doctor import diagnose

    say(diagnose(data.data_root))
