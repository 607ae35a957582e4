"""`normkd evaluate`, `report`, `presets` and `doctor`: they look, and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from normkd_explore.cli.command import command
from normkd_explore.cli.options import DataPlace, Device, Images, Output, Part
from normkd_explore.cli.report import show_federations, show_report
from normkd_explore.cli.terminal import say, say_json, show


@command
def evaluate(
    run: Annotated[
        Path, Argument(help="A run folder, or a checkpoint file together with --model and --dataset.", metavar="RUN")
    ],
    images: Images,
    part: Part,
    device: Device,
    output: Output,
    model: Annotated[str | None, Option(help="Model of a checkpoint file.", metavar="NAME")] = None,
    dataset: Annotated[
        str | None, Option(help="glyphs, cifar10, cifar100, imagenet or imagefolder.", metavar="NAME")
    ] = None,
) -> None:
    """Measure loss, top-1 and top-5 of a trained model."""
    from normkd_explore.training.measure import measure

    result = measure(
        run, model, dataset, images.data_root, part.split, device.device, images.image_size, images.workers
    )
    if output.json:
        say_json({"run": str(run), "split": part.split, **result})
        return
    top5 = f", top-5 {100 * result['top5']:.2f} %" if "top5" in result else ""
    name = f"{result['model']} on {result['dataset']} {part.split}"
    say(f"{name}: top-1 {100 * result['top1']:.2f} %{top5}, loss {result['loss']:.4f}, n = {result['n']:,}")


@command
def report(
    runs: Annotated[list[Path], Argument(help="Run folders, or folders that hold some.", metavar="RUN")],
    output: Output,
) -> None:
    """Tabulate finished runs: last epoch, best epoch, mean, std, n and paired differences."""
    from normkd_explore.federated.folder import FederatedSummary
    from normkd_explore.federated.report import pool_federations, split_off
    from normkd_explore.training.runs.report import collect, tabulate
    from normkd_explore.training.runs.results import StudentSummary

    students, federations = split_off(collect(runs, StudentSummary | FederatedSummary))
    found, pooled = tabulate(students), pool_federations(federations)
    if output.json:
        say_json({**found.to_json(), "federations": [federation.to_json() for federation in pooled]})
        return
    if students:
        show_report(found)
    if students and federations:
        say("")
    if federations:
        show_federations(pooled)


@command
def presets(
    output: Output,
    method: Annotated[str, Option(help="Show the settings of this method.", metavar="NAME")] = "normkd",
) -> None:
    """List the presets with the settings of a method, and say where each value was published."""
    from normkd_explore.cli.presets import known_presets, presets_table
    from normkd_explore.methods import METHODS

    found = known_presets(method)
    if output.json:
        say_json(found)
        return
    show(presets_table(method, found))
    say("\nfolder/TEACHER-STUDENT --data-root DIR takes any two models and your own images.")
    say(f"Methods: {', '.join(METHODS)}.")


@command
def doctor(data: DataPlace) -> None:
    """Print versions, devices, data found, and what would run."""
    from normkd_explore.training.planning.doctor import diagnose

    marks = {"missing": "yellow", "damaged": "red", "not possible": "yellow", "ready": "green", "possible": "green"}
    say(diagnose(data.data_root), marks=marks)
