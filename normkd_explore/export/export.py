"""From a run to a file, which is opened again and compared with the run before it gets its name.

Shapes: N images, S image size in pixels, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from normkd_explore.analysis.logits import pictures, run_model, spread_index
from normkd_explore.data import Dataset
from normkd_explore.export.formats import FORMATS, Facts, Run, traced
from normkd_explore.export.student import Deployed
from normkd_explore.files.writing import replacing
from normkd_explore.training.measure import open_trained

IMAGES = 1000
TOLERANCE = 1e-3
"""Largest difference of a logit as a share of the largest logit; rounding in float32 stays a hundred times below."""
STEP = 256


@dataclass(frozen=True)
class Export:
    """What was written, and how near it is to the student that was trained."""

    path: Path
    format: str
    images: int
    """Test images on which both were run."""
    difference: float
    """Largest absolute difference of a logit."""
    top1: float
    """Accuracy of the file on those images, a fraction."""
    top1_before: float
    """Accuracy of the student itself."""
    image_size: int
    classes: int

    @property
    def snippet(self) -> str:
        """Five lines of Python that classify a picture with the file."""
        return FORMATS[self.format].snippet.format(file=self.path, size=self.image_size)


def export_run(
    run: Path,
    format: str = "onnx",
    out: Path | None = None,
    images: int = IMAGES,
    model: str | None = None,
    dataset: str | None = None,
    data_root: Path | None = None,
    image_size: int | None = None,
) -> Export:
    """Export the student of a run folder, or of a checkpoint file with `model` and `dataset`; see `export_model`.

    Without `out` the file is student.onnx or student.pt2 in the run folder, or beside the checkpoint file.
    """
    FORMATS[format].require()
    name, network, data = open_trained(run, model, dataset, data_root, image_size)
    place = out or (run / f"student.{format}" if run.is_dir() else run.with_suffix(f".{format}"))
    return export_model(network, data, place, format, images, {"model": name})


def export_model(
    network: nn.Module, data: Dataset, out: Path, format: str = "onnx", images: int = IMAGES, facts: Facts | None = None
) -> Export:
    """Write a network of this data set's classes as one file with normalisation and class names inside.

    The file takes uint8 images (B, S, S, 3), RGB, any B, and gives logits (B, C). Before it gets its name it is opened
    and run beside the network on up to `images` test images, evenly over the split.

    Raises:
        FileExistsError: `out` exists.
        ValueError: the format needs packages that are missing.
        ValueError: the network cannot be traced, or the file's logits are not the network's; then nothing is left.
    """
    FORMATS[format].require()
    if out.exists():
        raise FileExistsError(f"{out} exists: remove it, or choose another file with --out.")
    pictures_NSS3, labels_N = _shown(data, images)
    size, student = pictures_NSS3.shape[1], Deployed(network, data.mean, data.std)
    told = {"classes": "\n".join(data.class_names), "dataset": data.name, **(facts or {})}
    wanted_NC = run_model(network.cpu(), data.normalize(pictures_NSS3), torch.float32)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        FORMATS[format].write(traced(student, size), temporary, told)
        found_NC = _answers(FORMATS[format].open(temporary), pictures_NSS3)
        difference = _checked(found_NC, wanted_NC)
    top1, before = ((logits.argmax(1) == labels_N).float().mean().item() for logits in (found_NC, wanted_NC))
    return Export(out, format, len(labels_N), difference, top1, before, size, data.num_classes)


def _shown(data: Dataset, images: int) -> tuple[Tensor, Tensor]:
    index_N = spread_index(images, len(data.test))
    return pictures(data.test, index_N).cpu(), data.test.labels_N.cpu()[index_N]


def _answers(run: Run, pictures_NSS3: Tensor) -> Tensor:
    """Also in two sizes of a batch: one image alone, and many."""
    alone, *others = [run(part) for part in (pictures_NSS3[:1], *pictures_NSS3[1:].split(STEP)) if len(part)]
    return torch.cat([alone, *others])


def _checked(found_NC: Tensor, wanted_NC: Tensor) -> float:
    """The largest difference of a logit; a ValueError where it is more than rounding."""
    if found_NC.shape != wanted_NC.shape:
        raise ValueError(f"the file gave logits {tuple(found_NC.shape)}, wanted {tuple(wanted_NC.shape)}: not kept.")
    difference = (found_NC - wanted_NC).abs().max().item()
    allowed = TOLERANCE * max(1.0, wanted_NC.abs().max().item())
    if not difference <= allowed:  # also where it is NaN
        raise ValueError(
            f"the file's logits differ from the student's by {difference:.3g}, wanted at most {allowed:.3g}, so it was "
            "not kept. A layer behaves in another way outside PyTorch: try the other --format."
        )
    return difference
