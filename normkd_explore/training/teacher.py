"""A frozen teacher: where its weights come from, and its logits for a batch."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from normkd_explore.data import Batch, Dataset
from normkd_explore.models import create_model, load_checkpoint, pretrained_imagenet
from normkd_explore.training.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SHIPPED = {("glyphs", "resnet20"): "glyphs_resnet20.safetensors"}
"""Teachers inside the package, by data set and model; MODEL_CARD.md beside them says how they were made."""
EXAMPLES = {("glyphs", "resnet8"): "glyphs_resnet8_ce.safetensors"}
"""Students after a short training with cross-entropy: something to look at before one has trained."""


class Teacher:
    """A model that is never changed: eval mode, no gradients; its logits are a function of the image alone."""

    def __init__(self, model: nn.Module, fabric: Fabric) -> None:
        self.model = model.eval().requires_grad_(False).to(fabric.device, memory_format=torch.channels_last)
        self.fabric = fabric

    @torch.no_grad()
    def logits(self, batch: Batch) -> Tensor:
        """Logits (B, C) in float32."""
        with self.fabric.autocast():
            return self.model(batch.images_BCHW).float()

    def fingerprint(self) -> str:
        """SHA-256 of all weights and buffers: equal before and after training, and the key of cached logits."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def load_teacher(name: str, dataset: Dataset, weights: str | Path | None, trained: Path | None = None) -> nn.Module:
    """The teacher `name` with weights for `dataset`.

    `weights` is a checkpoint file or a run folder; without it the shipped teacher (glyphs), torchvision's weights
    (ImageNet) or the run folder `trained` that `normkd teacher` left are taken, in this order. FileNotFoundError says
    how to get one.
    """
    if weights is not None:
        return load_checkpoint(name, weights_file(Path(weights)), num_classes=dataset.num_classes)
    shipped = SHIPPED.get((dataset.name, name))
    if shipped:
        return load_checkpoint(name, _asset(shipped), num_classes=dataset.num_classes)
    if dataset.name == "imagenet" and name in ("resnet18", "resnet34", "resnet50"):
        return pretrained_imagenet(name)
    if trained is not None and (trained / "student.safetensors").exists():
        return load_checkpoint(name, trained / "student.safetensors", num_classes=dataset.num_classes)
    raise FileNotFoundError(
        f"teacher: found no weights of {name} for {dataset.name} (looked in {trained}). Train one with "
        "`normkd teacher PRESET`, or give a checkpoint with --teacher-weights FILE (RepDistiller and mdistiller files "
        "are read as they are)."
    )


def load_example_student(recipe: Recipe, dataset: Dataset) -> nn.Module:
    """A student of the recipe's kind to look at before training: half-trained for glyphs, else with fresh weights."""
    shipped = EXAMPLES.get((dataset.name, recipe.student))
    if shipped:
        return load_checkpoint(recipe.student, _asset(shipped), num_classes=dataset.num_classes)
    return new_student(recipe.student, dataset.num_classes, recipe.seed)


def _asset(name: str) -> Path:
    return Path(str(files("normkd_explore") / "assets" / name))


def weights_file(path: Path) -> Path:
    """The weights inside a run folder, or the file itself."""
    if path.is_dir():
        inside = path / "student.safetensors"
        if not inside.exists():
            raise FileNotFoundError(
                f"{path} has no student.safetensors: the run did not finish. Continue it with --resume, "
                "or name another run."
            )
        return inside
    if not path.exists():
        raise FileNotFoundError(f"weights: {path} does not exist; wanted a checkpoint file or a run folder.")
    return path


def new_student(name: str, num_classes: int, seed: int) -> nn.Module:
    """A student with fresh weights that depend on `seed` alone; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create_model(name, num_classes=num_classes)
