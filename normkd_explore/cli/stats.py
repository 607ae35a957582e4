"""`normkd stats`: look at the logits of a file, a finished run or a preset's teacher before training with them.

Heavy imports wait inside the functions, so that `normkd --help` answers at once.

Legend: N samples, C classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from normkd_explore.cli.command import command
from normkd_explore.cli.options import DataPlace, Device, Output, Part, Weights
from normkd_explore.cli.terminal import say, say_json

if TYPE_CHECKING:
    from torch import Tensor, nn

    from normkd_explore.data import Dataset

Sources = Annotated[
    list[str],
    typer.Argument(
        help="Files of logits (.npy .npz .safetensors .pt .csv), run folders, or presets (their teacher).",
        metavar="SOURCE",
    ),
]
Labels = Annotated[
    Path | None, typer.Option(help="File of the true classes, for files of logits without labels.", metavar="FILE")
]
Temperature = Annotated[float, typer.Option(help="KD's temperature.", metavar="NUMBER")]
TNorm = Annotated[float, typer.Option(help="NormKD's T_norm.", metavar="NUMBER")]
Samples = Annotated[
    int, typer.Option(help="How many images, evenly over the split, for runs and presets.", min=1, metavar="N")
]


@command
def stats(
    sources: Sources,
    labels: Labels = None,
    temperature: Temperature = 4.0,
    t_norm: TNorm = 2.0,
    samples: Samples = 1000,
    *,
    data: DataPlace,
    part: Part,
    teacher: Weights,
    device: Device,
    output: Output,
) -> None:
    """Describe logits: their spread, which temperatures suit them, and what would go wrong.

    What says where the data set, the teacher and the device are goes with run folders and presets; models are run in
    float64.
    """
    from normkd_explore.analysis.examine import examine, format_examination

    def found(source: str) -> dict[str, Any]:  # a function, so that one source's logits are gone before the next's come
        logits_NC, labels_N = _logits(source, labels, part.split, samples, data.data_root, teacher, device.device)
        try:
            return examine(logits_NC, labels_N, temperature, t_norm)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{source}: {error}") from error

    results = {source: found(source) for source in sources}
    if output.json:
        say_json(results)
    else:
        say("\n\n".join(format_examination(name, result) for name, result in results.items()))


def _logits(
    source: str,
    labels: Path | None,
    split: str,
    samples: int,
    data_root: Path | None,
    teacher: Weights,
    device: str,
) -> tuple[Tensor, Tensor | None]:
    from normkd_explore.analysis.logit_files import SUFFIXES, load_logits

    path = Path(source)
    if path.is_file() or path.suffix in SUFFIXES:
        return load_logits(path, labels, as_stored=True)
    if labels is not None:
        raise ValueError(f"--labels: goes with a file of logits, and {source} is none. Its data set has the labels.")
    model, dataset = _run(path, data_root) if path.is_dir() else _preset(source, data_root, teacher)
    return _model_logits(model, dataset, split, samples, device)


def _run(folder: Path, data_root: Path | None) -> tuple[nn.Module, Dataset]:
    from normkd_explore.training.measure import open_trained

    _, model, dataset = open_trained(folder, data_root=data_root)
    return model, dataset


def _preset(name: str, data_root: Path | None, teacher: Weights) -> tuple[nn.Module, Dataset]:
    from normkd_explore.training import Where, get_preset, load_teacher, open_dataset, teacher_recipe
    from normkd_explore.training.where import teacher_folder

    if "/" not in name:
        raise ValueError(
            f"{name}: found no such file or folder, wanted a file of logits, a run folder, or a preset such as "
            "glyphs/resnet20-resnet8 (`normkd presets` lists them)."
        )
    recipe = get_preset(name)
    assert recipe.teacher  # every preset has one
    dataset = open_dataset(recipe, data_root)
    trained = teacher_folder(teacher_recipe(name), Where(data_root))
    return load_teacher(recipe.teacher, dataset, teacher.teacher_weights, trained, teacher.teacher_ema), dataset


def _model_logits(model: nn.Module, dataset: Dataset, split: str, samples: int, device: str) -> tuple[Tensor, Tensor]:
    import torch

    from normkd_explore.analysis import model_logits, pictures, spread_index

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    part = dataset.split(split)
    index_N = spread_index(samples, len(part))
    try:
        model = model.to(device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f"device: found {device!r}, wanted auto, cpu, or cuda where PyTorch sees a GPU ({error})."
        ) from error
    return model_logits(model, dataset, pictures(part, index_N)), part.labels_N.cpu()[index_N]
