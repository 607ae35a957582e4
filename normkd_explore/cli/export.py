"""`normkd export`: a finished student as one file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from normkd_explore.cli.command import command
from normkd_explore.cli.options import DataPlace, Output
from normkd_explore.cli.terminal import say, say_json


@command
def export(
    run: Annotated[
        Path, Argument(help="A run folder, or a checkpoint file together with --model and --dataset.", metavar="RUN")
    ],
    place: DataPlace,
    output: Output,
    format: Annotated[
        Literal["onnx", "pt2"], Option(help="onnx: for any runtime; pt2: for PyTorch.", metavar="NAME")
    ] = "onnx",
    out: Annotated[
        Path | None, Option(help="The file; default: student.onnx or student.pt2 in the run folder.", metavar="FILE")
    ] = None,
    images: Annotated[
        int, Option(help="Test images on which file and student are compared.", min=1, metavar="N")
    ] = 1000,
    model: Annotated[str | None, Option(help="Model of a checkpoint file.", metavar="NAME")] = None,
    dataset: Annotated[
        str | None, Option(help="glyphs, cifar10, cifar100, imagenet or imagefolder.", metavar="NAME")
    ] = None,
) -> None:
    """Write a student as one file that classifies raw pictures, compared with the student before it is kept."""
    from normkd_explore.export import export_run

    made = export_run(run, format, out, images, model, dataset, place.data_root)
    if output.json:
        figures = {"images": made.images, "difference": made.difference, "top1": made.top1, "before": made.top1_before}
        say_json({"path": str(made.path), "format": format, "image_size": made.image_size, **figures})
        return
    size = made.path.stat().st_size
    say(f"{made.path} ({size / 1e6:.2f} MB): uint8 images (B, {made.image_size}, {made.image_size}, 3), RGB")
    say(
        f"on {made.images:,} test images: top-1 {100 * made.top1:.2f} %, the student {100 * made.top1_before:.2f} %; "
        f"largest difference of a logit {made.difference:.1e}"
    )
    typer.echo("\n" + made.snippet)  # to be copied: never wrapped
